//! The file that keeps a conversation, in the form of coder/agentapi.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent::{History, HistoryError};
use crate::domain::{EventId, Fence, Message, MessageRole};

/// The form of the file.
const VERSION: u64 = 1;
/// A larger file is no conversation.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// A conversation as it was kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) messages: Vec<Message>,
    /// The first message that the agent was to be sent; may be empty.
    pub(super) initial_prompt: String,
    /// Whether it was sent.
    pub(super) initial_prompt_sent: bool,
}

#[derive(Serialize, Deserialize)]
struct Document<'a> {
    version: u64,
    messages: Vec<StoredMessage<'a>>,
    #[serde(default)]
    initial_prompt: std::borrow::Cow<'a, str>,
    #[serde(default)]
    initial_prompt_sent: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredMessage<'a> {
    id: i64,
    message: std::borrow::Cow<'a, str>,
    role: MessageRole,
    time: DateTime<Utc>,
}

/// Reads the conversation that is kept in a file, for the agent's life `life`; nothing if there is no such file.
pub(super) fn load(path: &Path, life: Fence) -> Result<Option<Kept>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("failed to read state file: {error}")),
    }
    let corrupt = |why: &dyn std::fmt::Display| format!("failed to unmarshal state (corrupted or invalid JSON): {why}");
    if bytes.len() as u64 > MAX_BYTES {
        return Err(corrupt(&"the file is too large"));
    }
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| corrupt(&error))?;
    if value["version"] != VERSION {
        return Err(format!("unsupported state file version {} (expected {VERSION})", value["version"]));
    }
    let document: Document = serde_json::from_value(value).map_err(|error| corrupt(&error))?;
    let in_order = document.messages.windows(2).all(|pair| pair[0].id < pair[1].id);
    if !in_order || document.messages.first().is_some_and(|first| first.id < 0) {
        return Err(corrupt(&"the messages are not in order"));
    }
    Ok(Some(kept(document, life)))
}

fn kept(document: Document, life: Fence) -> Kept {
    let count = i64::try_from(document.messages.len()).unwrap_or(i64::MAX);
    // Told before all that this life tells.
    let first = EventId::before(life).as_i64() - count;
    let messages = document.messages.into_iter().zip(first..);
    Kept {
        messages: messages
            .map(|(message, event)| Message {
                id: message.id,
                role: message.role,
                content: message.message.into(),
                time: message.time,
                event: EventId::from_i64(event),
            })
            .collect(),
        initial_prompt: document.initial_prompt.into_owned(),
        initial_prompt_sent: document.initial_prompt_sent,
    }
}

/// Keeps a conversation in a file. Clones keep the same one.
#[derive(Clone)]
pub(super) struct StateFile(Option<Arc<Keeper>>);

struct Keeper {
    path: PathBuf,
    initial_prompt: String,
    kept: Mutex<Conversation>,
}

/// What is in the file, but for what could not be written.
struct Conversation {
    messages: Vec<Message>,
    /// How many of the messages are of an earlier life.
    earlier: usize,
    initial_prompt_sent: bool,
    /// Something is newer than the file.
    changed: bool,
    /// Nothing is kept any more: what an agent shows while it is stopped is no part of the conversation.
    closed: bool,
}

impl StateFile {
    /// Keeps what follows `kept` in the file at `path`; nothing without a path.
    pub(super) fn new(path: Option<PathBuf>, kept: Kept) -> Self {
        Self(path.map(|path| {
            let conversation = Conversation {
                earlier: kept.messages.len(),
                messages: kept.messages,
                initial_prompt_sent: kept.initial_prompt_sent,
                changed: false,
                closed: false,
            };
            Arc::new(Keeper { path, initial_prompt: kept.initial_prompt, kept: Mutex::new(conversation) })
        }))
    }

    /// Keeps `messages`, which may be all or those that are new, and nothing after them if they are the `last`.
    pub(super) async fn keep(&self, messages: Vec<Message>, last: bool) -> io::Result<()> {
        let Some(keeper) = self.0.clone() else { return Ok(()) };
        tokio::task::spawn_blocking(move || keeper.keep(messages, last)).await.map_err(io::Error::other)?
    }
}

impl History for StateFile {
    async fn save(&self, messages: Vec<Message>) -> Result<(), HistoryError> {
        self.keep(messages, false).await.map_err(|error| HistoryError::Failed(Box::new(error)))
    }
}

impl Keeper {
    /// One at a time: whoever comes later has what is newer, or finds that it is in the file.
    fn keep(&self, messages: Vec<Message>, last: bool) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.closed {
            return Ok(());
        }
        kept.closed = last;
        for message in messages {
            kept.take(message, &self.initial_prompt);
        }
        if kept.changed {
            self.write(&kept)?;
            kept.changed = false;
        }
        Ok(())
    }

    fn write(&self, kept: &Conversation) -> io::Result<()> {
        let messages = kept.messages.iter().map(|message| StoredMessage {
            id: message.id,
            message: (*message.content).into(),
            role: message.role,
            time: message.time,
        });
        let document = Document {
            version: VERSION,
            messages: messages.collect(),
            initial_prompt: self.initial_prompt.as_str().into(),
            initial_prompt_sent: kept.initial_prompt_sent,
        };
        let mut text = serde_json::to_vec(&document)?;
        text.push(b'\n');
        replace(&self.path, &text)
    }
}

impl Conversation {
    fn take(&mut self, message: Message, initial_prompt: &str) {
        match self.messages.binary_search_by_key(&message.id, |known| known.id) {
            Ok(at) if self.messages[at].event >= message.event => return,
            // That it is told again in this life is no change of it.
            Ok(at) if self.messages[at].content == message.content && self.messages[at].time == message.time => {
                self.messages[at] = message;
                return;
            }
            Ok(at) => self.messages[at] = message,
            Err(at) => {
                // While a prompt waits nobody else may send, so it is the first that is said by a user.
                self.initial_prompt_sent |=
                    at >= self.earlier && message.role == MessageRole::User && *message.content == *initial_prompt;
                self.messages.insert(at, message);
            }
        }
        self.changed = true;
    }
}

/// Puts a file in place of one that may be there, whole or not at all, also if the machine fails.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".tmp");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().inspect_err(|_| {
        // Why it could not be written is what counts.
        let _gone = fs::remove_file(&new);
    })
}
