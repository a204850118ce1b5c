//! Lines between a program and the protocol: what the program writes is bounded before the protocol sees it.

use std::io;
use std::sync::{Arc, OnceLock};

use agent_client_protocol::{Channel, RawJsonRpcMessage, TransportFrame};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::watch;

/// Longest line that a program may write, in bytes: a large file to be written fits.
const MAX_LINE: usize = 8 * 1024 * 1024;
/// Lines of a program that are no messages, as some print at their start; more are taken for a program that speaks something else.
const MAX_NOISE: usize = 1000;
/// Requests of the agent that may wait for their answers. More than may wait for people and terminals, so that it is no dead end.
const MAX_OWED: usize = 64;

/// Output is read in pieces of this size, which a pipe holds.
const PIECE: usize = 64 * 1024;

/// Why the program was no longer listened to, if not because it closed its output.
pub(super) type Fault = Arc<OnceLock<&'static str>>;

/// Connects a program's pipes with a channel of the protocol. The future moves what is written; it ends with the connection.
pub(super) fn connect(
    input: impl AsyncWrite + Unpin,
    output: impl AsyncRead + Unpin,
    fault: Fault,
) -> (Channel, impl Future<Output = ()>) {
    let (ours, protocols) = Channel::duplex();
    let (frames, to_protocol) = ours.into_parts();
    let moves = async move {
        let owed = watch::Sender::new(0);
        let deliver = move |frame| to_protocol.unbounded_send(frame).is_ok();
        tokio::join!(receive(output, deliver, &owed, fault), send(frames, input, &owed));
    };
    (protocols, moves)
}

/// Reads messages until the output ends. The protocol learns of that by the end of the channel, which `deliver` holds.
async fn receive(
    output: impl AsyncRead + Unpin,
    deliver: impl Fn(TransportFrame) -> bool,
    owed: &watch::Sender<usize>,
    fault: Fault,
) {
    let mut lines = Lines { output: BufReader::with_capacity(PIECE, output), noise: 0 };
    loop {
        let frame = match lines.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(why) => {
                let _first = fault.set(why);
                return;
            }
        };
        if matches!(frame, TransportFrame::Single(RawJsonRpcMessage::Request(_))) {
            // Cannot fail: the sender is at hand.
            let _ = owed.subscribe().wait_for(|owed| *owed < MAX_OWED).await;
            owed.send_modify(|owed| *owed += 1);
        }
        if !deliver(frame) {
            return;
        }
    }
}

/// Writes messages until the connection ends. To a program that does not read any more, nothing is written.
async fn send(
    mut frames: impl Stream<Item = TransportFrame> + Unpin,
    mut input: impl AsyncWrite + Unpin,
    owed: &watch::Sender<usize>,
) {
    let mut reads = true;
    while let Some(frame) = frames.next().await {
        let Ok(mut line) = frame.to_json() else { continue };
        line.push('\n');
        if reads {
            reads = write(&mut input, line.as_bytes()).await.is_ok();
        }
        if matches!(frame, TransportFrame::Single(RawJsonRpcMessage::Response(_))) {
            owed.send_modify(|owed| *owed = owed.saturating_sub(1));
        }
    }
}

async fn write(input: &mut (impl AsyncWrite + Unpin), line: &[u8]) -> io::Result<()> {
    input.write_all(line).await?;
    input.flush().await
}

/// The messages that a program writes.
struct Lines<R> {
    output: R,
    noise: usize,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// The next message; nothing once the output has ended. What is no message is passed over.
    async fn next(&mut self) -> Result<Option<TransportFrame>, &'static str> {
        loop {
            // However much there is to read, others get their turn.
            tokio::task::coop::consume_budget().await;
            let Some(line) = self.line().await? else { return Ok(None) };
            match TransportFrame::parse_json(&line) {
                frame @ TransportFrame::Single(_) => return Ok(Some(frame)),
                _ => self.pass_over(&line)?,
            }
        }
    }

    fn pass_over(&mut self, line: &str) -> Result<(), &'static str> {
        if line.trim().is_empty() {
            return Ok(());
        }
        self.noise += 1;
        tracing::debug!(bytes = line.len(), "an agent wrote a line that is no message");
        if self.noise > MAX_NOISE { Err("it writes lines that are no JSON-RPC messages") } else { Ok(()) }
    }

    async fn line(&mut self) -> Result<Option<String>, &'static str> {
        let mut line = Vec::new();
        loop {
            let piece = self.output.fill_buf().await.map_err(|_| "its output cannot be read")?;
            if piece.is_empty() {
                // A line without an end is no message.
                return Ok(None);
            }
            let end = piece.iter().position(|&byte| byte == b'\n');
            let taken = end.unwrap_or(piece.len());
            if line.len() + taken > MAX_LINE {
                return Err("it writes a line that is too long");
            }
            line.extend_from_slice(&piece[..taken]);
            self.output.consume(end.map_or(taken, |end| end + 1));
            if end.is_some() {
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
        }
    }
}
