//! The terminal that an agent believes it runs in: bytes in; screen text, window title and answers to its questions out.

mod alternate;
mod answer;
mod osc_filter;
mod screen;
mod screen_text;
mod scrollback;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use alacritty_terminal::event::{Event, EventListener};
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::term::{Config, Osc52, Term, TermMode};
use alacritty_terminal::vte::ansi::Processor;

use crate::domain::TerminalSize;

use self::osc_filter::OscFilter;
use self::screen::Screen;
pub(crate) use self::scrollback::Mark;
use self::scrollback::Scrollback;

/// A terminal without a window. Whatever bytes it is fed, it neither panics nor grows beyond a bound given by its size.
pub(crate) struct Emulator {
    screen: Screen<Events>,
    parser: Processor,
    filter: OscFilter,
    events: Events,
    size: TerminalSize,
    title: Arc<str>,
    /// Failures of the emulator that were survived.
    restarts: u32,
}

/// What the emulator has to say; taken out after each piece of input.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<Event>>>);

impl Events {
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl EventListener for Events {
    fn send_event(&self, event: Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

impl Dimensions for TerminalSize {
    fn total_lines(&self) -> usize {
        self.screen_lines()
    }

    fn screen_lines(&self) -> usize {
        usize::from(self.height())
    }

    fn columns(&self) -> usize {
        usize::from(self.width())
    }
}

fn new_screen(size: TerminalSize, events: Events) -> Screen<Events> {
    let config = Config { scrolling_history: screen::MOST_ROWS_ABOVE, osc52: Osc52::Disabled, ..Config::default() };
    Screen::new(Term::new(config, &size, events))
}

impl Emulator {
    /// A blank terminal.
    pub(crate) fn new(size: TerminalSize) -> Self {
        let events = Events::default();
        Self {
            screen: new_screen(size, events.clone()),
            parser: Processor::new(),
            filter: OscFilter::default(),
            events,
            size,
            title: Arc::from(""),
            restarts: 0,
        }
    }

    /// Takes what the program wrote; returns what the terminal answers, to be written to the program.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.guarded(|emulator| {
            let Self { screen, parser, filter, .. } = emulator;
            filter.pass(bytes, |piece| parser.advance(screen, piece));
            screen.take_rows_above();
        });
        self.answers()
    }

    /// When a frame that the program began but did not end is shown as it is; `None` outside a synchronized update.
    pub(crate) fn frame_deadline(&self) -> Option<Instant> {
        self.parser.sync_timeout().sync_timeout()
    }

    /// Shows an unfinished frame as it is; returns what the terminal answers.
    pub(crate) fn end_frame(&mut self) -> Vec<u8> {
        self.guarded(|emulator| {
            emulator.parser.stop_sync(&mut emulator.screen);
            emulator.screen.take_rows_above();
        });
        self.answers()
    }

    /// Gives the terminal another size.
    pub(crate) fn resize(&mut self, size: TerminalSize) {
        self.size = size;
        self.guarded(|emulator| {
            emulator.screen.resize(size);
            emulator.screen.take_rows_above();
        });
    }

    /// The screen's rows without trailing blanks, joined by line feeds, without blank rows at the end.
    pub(crate) fn text(&mut self) -> String {
        screen_text::read(&mut self.screen.term)
    }

    /// `screen`, which is its text, below the rows that scrolled off it. A program that draws on the alternate screen has none.
    pub(crate) fn with_scrollback(&self, screen: &Arc<str>) -> Arc<str> {
        match self.screen.above().map(Scrollback::text) {
            None | Some("") => Arc::clone(screen),
            Some(rows) => [rows, screen].concat().into(),
        }
    }

    /// The place behind the last row that scrolled off.
    pub(crate) fn mark(&self) -> Mark {
        self.screen.scrolled_off().end()
    }

    /// Lets go of the rows that scrolled off before `mark`.
    pub(crate) fn forget_before(&mut self, mark: Mark) {
        self.screen.scrolled_off_mut().forget_before(mark);
    }

    /// The window title that the program last set.
    pub(crate) fn title(&self) -> Arc<str> {
        Arc::clone(&self.title)
    }

    /// Whether the program asked for pasted text to be marked (mode 2004).
    pub(crate) fn bracketed_paste(&self) -> bool {
        self.screen.term.mode().contains(TermMode::BRACKETED_PASTE)
    }

    /// Runs a step of the emulator. Its input is whatever a program prints and its arithmetic is not ours: should a step ever
    /// panic, the terminal goes on with a blank screen instead of taking the agent's task down.
    fn guarded(&mut self, step: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| step(self))).is_err() {
            self.restarts += 1;
            tracing::error!(restarts = self.restarts, "the terminal emulator failed on an agent's output; its screen is cleared");
            self.events = Events::default();
            self.screen = new_screen(self.size, self.events.clone());
            self.parser = Processor::new();
            self.filter = OscFilter::default();
        }
    }

    fn answers(&mut self) -> Vec<u8> {
        let mut answers = Vec::new();
        for event in self.events.take() {
            match event {
                Event::Title(title) => self.title = title.into(),
                Event::ResetTitle => self.title = Arc::from(""),
                other => answer::write(&other, &self.screen.term, self.size, &mut answers),
            }
        }
        answers
    }
}

#[cfg(test)]
mod tests;
