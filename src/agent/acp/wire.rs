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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agent_client_protocol::TransportFrame as Frame;
    use tokio::io::{DuplexStream, duplex};
    use tokio::time::sleep;

    use super::*;

    /// A program's ends of its pipes, the protocol's end, and why it was no longer listened to.
    async fn wired(test: impl AsyncFnOnce(DuplexStream, DuplexStream, Channel, Fault)) {
        let (stdin, ours_in) = duplex(1024);
        let (ours_out, stdout) = duplex(64 * 1024);
        let fault = Fault::default();
        let (channel, moves) = connect(ours_in, ours_out, Arc::clone(&fault));
        tokio::select! {
            () = test(stdin, stdout, channel, fault) => {}
            () = async { moves.await; std::future::pending().await } => {}
        }
    }

    fn request(id: usize) -> String {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"fs/read_text_file\",\"params\":{{}}}}\n")
    }

    fn waiting(channel: &mut Channel) -> usize {
        std::iter::from_fn(|| channel.rx.try_recv().ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_take_answers_is_not_listened_to() {
        wired(async |_stdin, mut stdout, mut channel, _| {
            let asks = async {
                for id in 0.. {
                    stdout.write_all(request(id).as_bytes()).await.unwrap();
                }
            };
            tokio::select! {
                () = asks => {}
                () = sleep(Duration::from_secs(1)) => {}
            }
            assert_eq!(waiting(&mut channel), MAX_OWED);
            let answer = Frame::parse_json(r#"{"jsonrpc":"2.0","id":0,"result":{}}"#);
            channel.tx.unbounded_send(answer).unwrap();
            sleep(Duration::from_secs(1)).await;
            assert_eq!(waiting(&mut channel), 1, "one answer, one more request");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn messages_are_told_from_noise_however_they_come() {
        wired(async |_stdin, mut stdout, mut channel, fault| {
            for piece in [
                "hello\n\n",
                "[]\n{}\n",
                "{\"jsonrpc\":\"2.0\",\"meth",
                "od\":\"a\"}\r\n{\"jsonrpc\":\"2.0\",\"method\":\"b\"}\n",
                "rest",
            ] {
                stdout.write_all(piece.as_bytes()).await.unwrap();
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(waiting(&mut channel), 2);
            drop(stdout);
            sleep(Duration::from_millis(1)).await;
            assert!(channel.rx.try_recv().is_err_and(|error| error.is_closed()), "the end is told");
            assert_eq!(fault.get(), None);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn too_long_a_line_and_too_much_noise_are_the_end() {
        for (piece, why) in [
            ("x".repeat(1000), "it writes a line that is too long"),
            ("x\n".repeat(500), "it writes lines that are no JSON-RPC messages"),
        ] {
            wired(async |_stdin, mut stdout, _channel, fault| {
                while stdout.write_all(piece.as_bytes()).await.is_ok() {}
                assert_eq!(fault.get(), Some(&why));
            })
            .await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_lines_also_to_who_has_closed_its_input() {
        wired(async |stdin, _stdout, channel, _| {
            let mut lines = BufReader::new(stdin).lines();
            channel.tx.unbounded_send(Frame::parse_json(r#"{"jsonrpc":"2.0","method":"a","params":{"text":"x\ny"}}"#)).unwrap();
            let line = lines.next_line().await.unwrap().unwrap();
            assert!(line.contains(r#""text":"x\ny""#), "{line}");
            drop(lines);
            for _ in 0..10 {
                channel.tx.unbounded_send(Frame::parse_json(r#"{"jsonrpc":"2.0","method":"a"}"#)).unwrap();
                sleep(Duration::from_millis(1)).await;
            }
            assert!(!channel.tx.is_closed(), "what nobody reads is dropped");
        })
        .await;
    }
}
