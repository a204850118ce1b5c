//! The words of the product: ids, tenants, users, agents, messages. Types and rules; no I/O, no framework.

mod agent;
mod allowed_address;
mod api_key;
mod approval;
mod cache_key;
mod credential;
mod cutoff;
mod display_name;
mod ended_session;
mod event_id;
mod id;
mod keyring;
mod message;
mod network;
mod password;
mod principal;
mod random;
mod remote_url;
mod request_key;
mod service;
mod signing_key;
mod store;
mod tenant;
mod tenant_limits;
mod timeline;
mod user;
mod whose;

pub use self::agent::{
    Agent, AgentKind, AgentState, AgentType, NewAcp, NewAgent, NewAgentKind, NewProgram, NewRemote, TerminalSize, Transport,
};
pub use self::allowed_address::AllowedAddress;
pub use self::api_key::{ApiKey, ApiKeyName, SecretDigest};
pub use self::approval::{Approval, ApprovalOption, ApprovalPolicy, ApprovalState, NewApproval};
pub use self::cache_key::{CacheId, CacheKey};
pub use self::credential::Credential;
pub use self::cutoff::{Cutoff, SessionsEnded};
pub use self::display_name::{DisplayName, is_control};
pub use self::ended_session::EndedSession;
pub use self::event_id::{EventId, Fence};
pub use self::id::{AgentId, ApiKeyId, ApprovalId, QueuedId, ReplicaId, SessionId, TenantId, UserId};
pub use self::keyring::{KeyId, KeyRing, Mac, MacPurpose, Opened, Purpose, RepeatedKey, Sealed, Unsealable};
pub use self::message::{AgentStatus, Message, MessagePage, MessageRole};
pub use self::network::{counted_address, networks_of, site_of};
pub use self::password::{PasswordHash, PasswordRejected, PasswordRules};
pub use self::principal::Principal;
pub use self::random::random_bytes;
pub use self::remote_url::RemoteUrl;
pub use self::request_key::{Asked, IdempotencyKey, RequestKey};
pub use self::service::Service;
pub use self::signing_key::{PublicKey, SIGNATURE_BYTES, SigningKey};
pub use self::store::StoreUnavailable;
pub use self::tenant::{Slug, Tenant, TenantScope};
pub use self::tenant_limits::{LimitOverride, TenantLimits};
pub use self::timeline::{TimelineEntry, TimelineKind};
pub use self::user::{Email, User, UserRole};
pub use self::whose::Whose;

/// A rule that a text broke on its way into a domain type; says what is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(pub &'static str);
