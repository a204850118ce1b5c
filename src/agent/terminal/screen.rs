//! The emulator's screen, and the rows that scrolled off its top, as text.

use alacritty_terminal::event::EventListener;
use alacritty_terminal::grid::Dimensions;
use alacritty_terminal::index::Line;
use alacritty_terminal::term::{Term, TermMode};
use alacritty_terminal::vte::ansi::cursor_icon::CursorIcon;
use alacritty_terminal::vte::ansi::{
    Attr, CharsetIndex, ClearMode, CursorShape, CursorStyle, Handler, Hyperlink, KeyboardModes, KeyboardModesApplyBehavior,
    LineClearMode, Mode, ModifyOtherKeys, PrivateMode, Rgb, ScpCharPath, ScpUpdateMode, StandardCharset, TabulationClearMode,
};

use crate::domain::TerminalSize;

use super::alternate::Alternate;
use super::screen_text;
use super::scrollback::Scrollback;

/// Rows that the emulator itself keeps above the screen.
pub(super) const MOST_ROWS_ABOVE: usize = 2000;
/// Rows above the screen that are taken over in one go; one sequence scrolls no more than a screen, which is half as much again.
const MANY_ROWS_ABOVE: usize = 1000;

/// A terminal that tells what scrolled off its screen from what was cleared on it: the emulator keeps both above the screen.
pub(super) struct Screen<T> {
    pub(super) term: Term<T>,
    alternate: Alternate,
    scrollback: Scrollback,
}

impl<T: EventListener> Screen<T> {
    pub(super) fn new(mut term: Term<T>) -> Self {
        let alternate = Alternate::put_away(&mut term);
        Self { term, alternate, scrollback: Scrollback::default() }
    }

    /// Gives it another size.
    pub(super) fn resize(&mut self, size: TerminalSize) {
        self.term.resize(size);
        self.alternate.resized(&mut self.term);
    }

    #[cfg(test)]
    pub(super) fn make_alternate(&mut self) {
        self.alternate.make(&mut self.term);
    }

    /// What scrolled off, if it belongs above what is on the screen.
    pub(super) fn above(&self) -> Option<&Scrollback> {
        (!self.term.mode().contains(TermMode::ALT_SCREEN)).then_some(&self.scrollback)
    }

    /// All that scrolled off.
    pub(super) fn scrolled_off(&self) -> &Scrollback {
        &self.scrollback
    }

    /// The same, to let go of it.
    pub(super) fn scrolled_off_mut(&mut self) -> &mut Scrollback {
        &mut self.scrollback
    }

    /// Takes over the rows above the screen.
    pub(super) fn take_rows_above(&mut self) {
        let rows = self.term.history_size();
        if rows == 0 {
            return;
        }
        for row in (1..=i32::try_from(rows).unwrap_or(i32::MAX)).rev() {
            let row = &self.term.grid()[Line(-row)];
            self.scrollback.push(|text| {
                screen_text::push_row(row, text);
            });
        }
        self.term.grid_mut().clear_history();
    }

    fn take_many_rows_above(&mut self) {
        if self.term.history_size() >= MANY_ROWS_ABOVE {
            self.take_rows_above();
        }
    }
}

/// Passes calls on to the emulator as they are. The trait's own methods do nothing: one that a new version of it adds is to be added here.
macro_rules! pass_on {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $name(&mut self, $($argument: $kind),*) {
            self.term.$name($($argument),*);
        })*
    };
}

impl<T: EventListener> Handler for Screen<T> {
    fn input(&mut self, c: char) {
        self.term.input(c);
        self.take_many_rows_above();
    }

    fn linefeed(&mut self) {
        self.term.linefeed();
        self.take_many_rows_above();
    }

    fn newline(&mut self) {
        self.term.newline();
        self.take_many_rows_above();
    }

    fn scroll_up(&mut self, rows: usize) {
        self.term.scroll_up(rows);
        self.take_many_rows_above();
    }

    fn delete_lines(&mut self, rows: usize) {
        self.term.delete_lines(rows);
        self.take_many_rows_above();
    }

    fn clear_screen(&mut self, mode: ClearMode) {
        self.take_rows_above();
        if matches!(mode, ClearMode::Saved) {
            self.scrollback.clear();
        }
        self.term.clear_screen(mode);
        // What was on the screen did not scroll off it.
        self.term.grid_mut().clear_history();
    }

    fn reset_state(&mut self) {
        self.term.reset_state();
        self.scrollback.clear();
    }

    fn set_private_mode(&mut self, mode: PrivateMode) {
        self.alternate.before(mode, &mut self.term);
        self.term.set_private_mode(mode);
    }

    pass_on! {
        set_title(title: Option<String>);
        set_cursor_style(style: Option<CursorStyle>);
        set_cursor_shape(shape: CursorShape);
        goto(line: i32, column: usize);
        goto_line(line: i32);
        goto_col(column: usize);
        insert_blank(count: usize);
        move_up(rows: usize);
        move_down(rows: usize);
        identify_terminal(intermediate: Option<char>);
        device_status(kind: usize);
        move_forward(columns: usize);
        move_backward(columns: usize);
        move_down_and_cr(rows: usize);
        move_up_and_cr(rows: usize);
        put_tab(count: u16);
        backspace();
        carriage_return();
        bell();
        substitute();
        set_horizontal_tabstop();
        scroll_down(rows: usize);
        insert_blank_lines(rows: usize);
        erase_chars(count: usize);
        delete_chars(count: usize);
        move_backward_tabs(count: u16);
        move_forward_tabs(count: u16);
        save_cursor_position();
        restore_cursor_position();
        clear_line(mode: LineClearMode);
        clear_tabs(mode: TabulationClearMode);
        set_tabs(interval: u16);
        reverse_index();
        terminal_attribute(attribute: Attr);
        set_mode(mode: Mode);
        unset_mode(mode: Mode);
        report_mode(mode: Mode);
        unset_private_mode(mode: PrivateMode);
        report_private_mode(mode: PrivateMode);
        set_scrolling_region(top: usize, bottom: Option<usize>);
        set_keypad_application_mode();
        unset_keypad_application_mode();
        set_active_charset(index: CharsetIndex);
        configure_charset(index: CharsetIndex, charset: StandardCharset);
        set_color(index: usize, color: Rgb);
        dynamic_color_sequence(prefix: String, index: usize, terminator: &str);
        reset_color(index: usize);
        clipboard_store(clipboard: u8, base64: &[u8]);
        clipboard_load(clipboard: u8, terminator: &str);
        decaln();
        push_title();
        pop_title();
        text_area_size_pixels();
        text_area_size_chars();
        set_hyperlink(hyperlink: Option<Hyperlink>);
        set_mouse_cursor_icon(icon: CursorIcon);
        report_keyboard_mode();
        push_keyboard_mode(modes: KeyboardModes);
        pop_keyboard_modes(count: u16);
        set_keyboard_mode(modes: KeyboardModes, behavior: KeyboardModesApplyBehavior);
        set_modify_other_keys(mode: ModifyOtherKeys);
        report_modify_other_keys();
        set_scp(path: ScpCharPath, update: ScpUpdateMode);
    }
}
