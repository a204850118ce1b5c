use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};

use super::*;
use crate::agent::format;
use crate::domain::AgentType;

fn size(width: u16, height: u16) -> TerminalSize {
    TerminalSize::new(width, height).unwrap()
}

fn terminal() -> Emulator {
    Emulator::new(size(20, 10))
}

#[test]
fn the_screen_is_text_without_trailing_blanks() {
    let mut terminal = terminal();
    terminal.feed(b"one  \r\n\r\n  two \x1b[31mred\x1b[0m  \r\n\r\n");
    assert_eq!(terminal.text(), "one\n\n  two red");
    terminal.feed(b"\x1b[2J\x1b[H");
    assert_eq!(terminal.text(), "");
    terminal.feed(b"\r\n\r\nbelow");
    assert_eq!(terminal.text(), "\n\nbelow");
}

#[test]
fn wide_and_combined_characters_are_one_each() {
    let mut terminal = terminal();
    terminal.feed("日本語|e\u{301}|👩|\r\n".as_bytes());
    // The last column is too narrow for a wide character: it moves to the next row.
    terminal.feed("1234567890123456789語".as_bytes());
    assert_eq!(terminal.text(), "日本語|e\u{301}|👩|\n1234567890123456789\n語");
}

#[test]
fn a_character_in_two_pieces_is_whole() {
    let mut terminal = terminal();
    for byte in "é语".as_bytes() {
        terminal.feed(&[*byte]);
    }
    assert_eq!(terminal.text(), "é语");
}

#[test]
fn the_title_is_known_and_split_sequences_are_put_together() {
    let mut terminal = terminal();
    for byte in b"\x1b]2;busy\x07a\x1b]0;idle\x1b\\b\x1b[1mc" {
        terminal.feed(&[*byte]);
    }
    assert_eq!(&*terminal.title(), "idle");
    assert_eq!(terminal.text(), "abc");
}

#[test]
fn questions_are_answered() {
    let mut terminal = terminal();
    let mut ask = |question: &[u8]| String::from_utf8(terminal.feed(question)).unwrap();
    assert!(ask(b"\x1b[c").starts_with("\x1b[?"));
    assert_eq!(ask(b"\x1b[5n"), "\x1b[0n");
    assert_eq!(ask(b"ab\x1b[6n"), "\x1b[1;3R");
    assert_eq!(ask(b"\x1b]11;?\x1b\\"), "\x1b]11;rgb:0000/0000/0000\x1b\\");
    assert_eq!(ask(b"\x1b]10;?\x07"), "\x1b]10;rgb:e5e5/e5e5/e5e5\x07");
    assert_eq!(ask(b"\x1b]4;196;?\x07"), "\x1b]4;196;rgb:ffff/0000/0000\x07");
    assert_eq!(ask(b"\x1b]4;232;?\x07"), "\x1b]4;232;rgb:0808/0808/0808\x07");
    assert_eq!(ask(b"\x1b]11;#123456\x07\x1b]11;?\x07"), "\x1b]11;rgb:1212/3434/5656\x07");
    assert_eq!(ask(b"\x1b[18t"), "\x1b[8;10;20t");
    assert_eq!(ask(b"\x1b]52;c;?\x07"), "", "the clipboard is nobody's business");
}

#[test]
fn marked_paste_is_known() {
    let mut terminal = terminal();
    assert!(!terminal.bracketed_paste());
    terminal.feed(b"\x1b[?2004h");
    assert!(terminal.bracketed_paste());
}

#[test]
fn a_frame_shows_when_it_is_whole_or_overdue() {
    let mut terminal = terminal();
    terminal.feed(b"old\x1b[?2026h\x1b[2J\x1b[Hnew");
    assert_eq!(terminal.text(), "old");
    assert!(terminal.frame_deadline().is_some());
    terminal.feed(b" frame\x1b[?20");
    assert_eq!(terminal.text(), "old");
    terminal.feed(b"26l");
    assert_eq!(terminal.text(), "new frame");
    assert_eq!(terminal.frame_deadline(), None);

    terminal.feed(b"\x1b[?2026h\r\nnever ended");
    assert_eq!(terminal.text(), "new frame");
    terminal.end_frame();
    assert_eq!(terminal.text(), "new frame\nnever ended");
    assert_eq!(terminal.frame_deadline(), None);
}

#[test]
fn what_could_grow_without_bound_does_not() {
    let mut terminal = terminal();
    terminal.feed(b"\x1b]2;kept\x07\x1b]2;");
    for _ in 0..1000 {
        terminal.feed(&[b'x'; 4096]);
    }
    assert!(terminal.filter.held() <= 1025);
    terminal.feed(b"\x07\x1b]8;;http://example.com/\x1b\\link\x1b]8;;\x1b\\");
    assert_eq!(&*terminal.title(), "kept");
    assert_eq!(terminal.text(), "link");
    terminal.feed("\u{301}".repeat(1000).as_bytes());
    assert_eq!(terminal.text(), "link");
    assert_eq!(terminal.text().len(), 4);
}

#[test]
fn a_failing_emulator_starts_over() {
    let mut terminal = terminal();
    // A colour with so many digits that, in a build with overflow checks, the emulator's arithmetic fails.
    terminal.feed(b"before\x1b]4;1;#");
    terminal.feed(&[b'0'; 60]);
    terminal.feed(b"\x07");
    terminal.feed(b"after");
    assert!(terminal.text().ends_with("after"), "{:?}", terminal.text());
    assert!(terminal.restarts <= 1);
    println!("the emulator was restarted {} times", terminal.restarts);
}

/// Beginnings of what programs send, to be cut, repeated and mixed with noise.
const PIECES: [&str; 24] = [
    "\x1b[",
    "\x1b]",
    "\x1bP",
    "\x1b_",
    "\x1b^",
    "\x1b[?1049h",
    "\x1b[?1049l",
    "\x1b[?2026h",
    "\x1b[?2026l",
    "\x1b]4;1;#",
    "\x1b]4;",
    "\x1b[99999999999;",
    "\x1b[9999L",
    "\x1b[9999P",
    "\x1b[9999@",
    "\x1b[5;3r",
    "\x1b[?6h",
    "\x1b[22t",
    "\x1b[23t",
    "\x1b(0",
    "\x1b7\x1b8",
    "語\u{301}",
    "\x1b#8",
    "\x1bc",
];

fn noise(rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.random_range(1..40) {
        match rng.random_range(0..5) {
            0 => {
                let mut random = vec![0; rng.random_range(1..200)];
                rng.fill_bytes(&mut random);
                bytes.extend(random);
            }
            1 => bytes.extend(rng.random_range(0..100_000_u32).to_string().bytes()),
            2 => {
                let finals = b";:?!> mHABCDJKLMPSTX@hlrtun\r\n\t\x08";
                bytes.extend((0..rng.random_range(1..80)).filter_map(|_| finals.choose(rng).copied()));
            }
            _ => {
                let piece = PIECES.choose(rng).unwrap().as_bytes();
                bytes.extend(&piece[..rng.random_range(1..=piece.len())]);
            }
        }
    }
    bytes
}

/// The whole text, with what scrolled off.
fn all(terminal: &mut Emulator) -> String {
    let screen = terminal.text().into();
    terminal.with_scrollback(&screen).to_string()
}

fn lines(numbers: std::ops::RangeInclusive<u32>) -> String {
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join("\r\n")
}

#[test]
fn what_scrolls_off_is_kept_however_it_comes() {
    let text = lines(1..=5000);
    for piece in [1, 100, 4096, text.len()] {
        let mut terminal = terminal();
        text.as_bytes().chunks(piece).for_each(|piece| {
            terminal.feed(piece);
        });
        assert_eq!(all(&mut terminal), text.replace("\r\n", "\n"), "in pieces of {piece}");
    }
    // Whole in one frame; and wrapped, without a line feed.
    let mut terminal = terminal();
    terminal.feed(format!("\x1b[?2026h{text}\x1b[?2026l").as_bytes());
    assert_eq!(all(&mut terminal), text.replace("\r\n", "\n"));
    let mut terminal = Emulator::new(size(20, 10));
    terminal.feed("x".repeat(20 * 4000).as_bytes());
    assert_eq!(all(&mut terminal), vec!["x".repeat(20); 4000].join("\n"));
}

#[test]
fn what_is_cleared_did_not_scroll_off() {
    let mut terminal = terminal();
    terminal.feed(b"old frame\r\n\x1b[2J\x1b[H");
    terminal.feed(format!("{}\x1b[2J\x1b[H", lines(1..=12)).as_bytes());
    terminal.feed(b"new frame");
    assert_eq!(all(&mut terminal), "1\n2\nnew frame");
    terminal.feed(b"\x1b[3J");
    assert_eq!(all(&mut terminal), "new frame", "the program cleared what had scrolled off");
    terminal.feed(format!("\r\n{}\x1bc", lines(1..=20)).as_bytes());
    assert_eq!(all(&mut terminal), "", "it started over");
}

#[test]
fn what_scrolled_off_is_no_part_of_a_full_screen_program() {
    let mut terminal = terminal();
    terminal.feed(format!("{}\x1b[?1049h\x1b[Hin full\x1b[9;1H\n\n\nmore", lines(1..=12)).as_bytes());
    assert_eq!(all(&mut terminal), terminal.text());
    terminal.feed(b"\x1b[?1049l");
    assert_eq!(all(&mut terminal), lines(1..=12).replace("\r\n", "\n"));
}

#[test]
fn what_scrolled_off_before_a_mark_is_forgotten() {
    let mut terminal = terminal();
    terminal.feed(format!("{}\r\n", lines(1..=20)).as_bytes());
    let mark = terminal.mark();
    terminal.feed(lines(21..=31).as_bytes());
    terminal.forget_before(mark);
    assert_eq!(all(&mut terminal), lines(12..=31).replace("\r\n", "\n"));
}

#[test]
fn a_smaller_screen_keeps_its_upper_rows() {
    let mut terminal = Emulator::new(size(20, 40));
    terminal.feed(lines(1..=30).as_bytes());
    terminal.resize(size(20, 10));
    assert_eq!(all(&mut terminal), lines(1..=30).replace("\r\n", "\n"));
}

/// How long random input is tried: `AGENTAPI_FUZZ_SECONDS`, or a moment.
fn fuzz_time() -> Duration {
    let seconds = std::env::var("AGENTAPI_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

#[test]
fn no_input_at_any_size_breaks_it_nor_what_is_read_off_it() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (begun, mut rounds) = (Instant::now(), 0_u64);
    while begun.elapsed() < fuzz_time() {
        rounds += 1;
        let (mut terminal, mut before) = (Emulator::new(size(80, 40)), String::new());
        let kind = *AgentType::ALL.choose(&mut rng).unwrap();
        for _ in 0..20 {
            terminal.feed(&noise(&mut rng));
            let screen: Arc<str> = terminal.text().into();
            let after = terminal.with_scrollback(&screen).to_string();
            let new = format::new_text(kind, &before, &after);
            let asked = String::from_utf8_lossy(&noise(&mut rng)).into_owned();
            let message = format::agent_message(kind, new, &asked);
            assert!(message.len() <= after.len() + 1000, "seed {seed}");
            let _ready = format::is_ready(kind, &screen);
            let _asks = format::question(kind, &screen);
            let _does = format::activity(kind, &terminal.title());
            before = after;
        }
    }
    println!("{rounds} rounds");
}

#[test]
fn no_input_at_any_size_breaks_it() {
    let mut rng = StdRng::seed_from_u64(20_261_122);
    let mut restarts = 0;
    for round in 0..400 {
        // Few of the largest: a million cells each.
        let limit = if round % 100 == 0 { 1000 } else { 60 };
        let mut terminal = Emulator::new(size(rng.random_range(10..=limit), rng.random_range(10..=limit)));
        for _ in 0..20 {
            terminal.feed(&noise(&mut rng));
            if rng.random_range(0..10) == 0 {
                terminal.resize(size(rng.random_range(10..=limit), rng.random_range(10..=limit)));
            }
            if terminal.frame_deadline().is_some() && rng.random() {
                terminal.end_frame();
            }
        }
        let text = terminal.text();
        let (rows, columns) = (terminal.screen.term.screen_lines(), terminal.screen.term.columns());
        assert!(text.split('\n').count() <= rows);
        assert!(text.chars().count() <= rows * (columns + 1) * 17);
        assert!(all(&mut terminal).len() <= text.len() + 1024 * 1024);
        restarts += terminal.restarts;
    }
    println!("the emulator was restarted {restarts} times");
}

#[test]
fn the_alternate_screen_is_made_when_it_is_first_shown() {
    let mut terminal = terminal();
    let rows_of_other = |terminal: &mut Emulator| {
        terminal.screen.term.swap_alt();
        let rows = terminal.screen.term.screen_lines();
        terminal.screen.term.swap_alt();
        rows
    };
    terminal.feed(b"one\x1b[?25l\x1b[?2004h");
    assert_eq!(rows_of_other(&mut terminal), 1);
    terminal.resize(size(30, 20));
    assert_eq!(rows_of_other(&mut terminal), 1);
    terminal.feed(b"\x1b[?10");
    terminal.feed(b"49h\x1b[20;30Hx");
    assert_eq!(terminal.text(), format!("{}{}x", "\n".repeat(19), " ".repeat(29)));
    terminal.resize(size(20, 10));
    terminal.feed(b"\x1b[?1049l");
    assert_eq!(terminal.text(), "one");
    assert_eq!(terminal.restarts, 0);
}

#[test]
fn an_alternate_screen_that_is_made_late_is_as_one_that_was_always_there() {
    let mut rng = StdRng::seed_from_u64(20_261_123);
    let mut shown = 0;
    for _ in 0..60 {
        let first = size(rng.random_range(10..=40), rng.random_range(10..=40));
        let (mut late, mut always) = (Emulator::new(first), Emulator::new(first));
        always.screen.make_alternate();
        for _ in 0..20 {
            let bytes = noise(&mut rng);
            assert_eq!(late.feed(&bytes), always.feed(&bytes));
            if rng.random_range(0..10) == 0 {
                let next = size(rng.random_range(10..=40), rng.random_range(10..=40));
                late.resize(next);
                always.resize(next);
            }
            if late.frame_deadline().is_some() && rng.random() {
                assert_eq!(late.end_frame(), always.end_frame());
            }
            let (text, same) = (late.text().into(), always.text().into());
            assert_eq!(text, same);
            assert_eq!(late.with_scrollback(&text), always.with_scrollback(&same));
            assert_eq!(late.restarts, always.restarts);
            shown += u32::from(late.screen.term.mode().contains(TermMode::ALT_SCREEN));
        }
    }
    assert!(shown > 50, "{shown}");
}

#[test]
fn recordings_of_real_agents_leave_a_screen() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/recordings/raw");
    let Ok(recordings) = std::fs::read_dir(&folder) else {
        println!("skipped: no recordings at {}", folder.display());
        return;
    };
    for recording in recordings {
        let path = recording.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // The beginning is enough to see the agent draw.
        let bytes = &bytes[..bytes.len().min(300_000)];
        let mut terminal = Emulator::new(size(120, 40));
        for piece in bytes.chunks(4096) {
            terminal.feed(piece);
        }
        terminal.end_frame();
        assert!(!terminal.text().is_empty(), "{}", path.display());
        assert_eq!(terminal.restarts, 0, "{}", path.display());
    }
}
