//! Programs that stand for agents: this one once more, in another part.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Failure;

/// Stamps on the screen at once: more than are written between two frames, so that a viewer sees every one.
const STAMPS: usize = 16;
/// What stands before and behind a stamp.
const MARK: u8 = b'@';
/// Digits of a stamp: nanoseconds since 1970.
const DIGITS: usize = 19;
/// What each line of a flood has behind its number.
const TEXT: &str = "the quick brown fox jumps over the lazy dog, and does so again";
/// Bytes of a line of a flood.
pub(crate) const LINE: u64 = 76;
/// Between two pieces of a flood that has a rate.
const PIECE: Duration = Duration::from_millis(10);

/// The command of a program that writes a stamp at each interval.
pub(crate) fn ticking(interval: Duration) -> Result<[String; 3], Failure> {
    command("--tick", interval.as_millis())
}

/// The command of a program that writes so many lines a second; with 0 as many as are read.
pub(crate) fn flooding(lines: u32) -> Result<[String; 3], Failure> {
    command("--flood", lines.into())
}

fn command(option: &str, value: u128) -> Result<[String; 3], Failure> {
    let program = std::env::current_exe()?.into_os_string().into_string().map_err(|_| "the path of this program is no text")?;
    Ok([program, option.to_owned(), value.to_string()])
}

/// Now, as a stamp.
pub(crate) fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// Draws over its lines at each interval, the newest stamps on them.
pub(crate) fn tick(millis: u64) -> Result<(), Failure> {
    let mut stamps = VecDeque::new();
    loop {
        if stamps.len() == STAMPS {
            stamps.pop_front();
        }
        stamps.push_back(now());
        let mut screen = "\x1b[H".to_owned();
        for stamp in &stamps {
            writeln!(screen, "@{stamp}@")?;
        }
        let mut output = std::io::stdout().lock();
        output.write_all(screen.as_bytes())?;
        output.flush()?;
        sleep(Duration::from_millis(millis));
    }
}

/// The stamps in `bytes`, in order, and how many bytes need not be looked at again.
pub(crate) fn stamps(bytes: &[u8]) -> (Vec<u64>, usize) {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(place) = bytes[from..].iter().position(|&byte| byte == MARK) {
        let begin = from + place;
        let Some(stamp) = bytes.get(begin + 1..begin + 1 + DIGITS) else { return (found, begin) };
        match std::str::from_utf8(stamp).ok().and_then(|digits| digits.parse().ok()) {
            Some(stamp) => {
                found.push(stamp);
                // Behind the closing mark.
                from = (begin + DIGITS + 2).min(bytes.len());
            }
            None => from = begin + 1,
        }
    }
    (found, bytes.len())
}

/// Writes numbered lines.
pub(crate) fn flood(lines_a_second: u32) -> Result<(), Failure> {
    let lines = if lines_a_second == 0 { 45 } else { lines_a_second / 100 };
    let (mut number, mut next) = (0_u64, Instant::now());
    let mut output = std::io::stdout().lock();
    loop {
        let mut piece = String::new();
        for _ in 0..lines {
            number += 1;
            writeln!(piece, "{number:>12} {TEXT}")?;
        }
        output.write_all(piece.as_bytes())?;
        output.flush()?;
        if lines_a_second > 0 {
            // One that is held up does not catch up.
            next = (next + PIECE).max(Instant::now());
            sleep(next.saturating_duration_since(Instant::now()));
        }
    }
}
