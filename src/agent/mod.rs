//! What an agent is while it lives: a program in a pseudo-terminal, and the conversation that its screen shows. Or ([`acp`]) a program
//! that speaks the Agent Client Protocol, or ([`remote`]) one that another server runs, and whose conversation is followed.
//!
//! [`Workspace`] is where it works, [`Launch`] what is started there, [`LiveAgent`] the agent itself, [`History`] where its messages
//! are kept. The way of a user message: [`LiveAgent::send_user`] -> `live` (claim, type, Return, reaction) -> `pty` -> the program ->
//! `terminal` (screen) -> `format` (what is new, what is the answer) -> `conversation` (messages, status) -> subscribers and history.

mod acp;
mod conversation;
mod format;
mod history;
mod launch;
mod live;
mod pipes;
mod pty;
mod remote;
mod supervisor;
mod teller;
mod terminal;
mod typing;
mod uploads;
mod workspace;

pub use self::acp::{AcpError, AcpOptions, Entry, Leave};
pub use self::history::{History, HistoryError, Kept};
pub use self::launch::{Launch, SpawnError, environment, whole_environment};
pub use self::live::{
    AgentEvent, Ended, LiveAgent, Pace, ScreenError, ScreenSubscription, SendError, SpawnOptions, Subscription, Told,
};
pub use self::remote::{AttachOptions, RemoteError, Unreachable};
pub(crate) use self::remote::{EventParser, Sent};
pub use self::supervisor::{AgentError, Supervisor, SupervisorParts, TimelineWatch, Waiting, Whereabouts, reseal_env};
pub use self::uploads::{MAX_UPLOAD_BYTES, Uploads};
pub use self::workspace::Workspace;
