//! Tables in Markdown.

use std::fmt;
use std::time::Duration;

/// A table with a heading and notes.
pub(crate) struct Table {
    title: &'static str,
    /// The first is text; the others are figures, put to the right.
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(title: &'static str, columns: &[&'static str]) -> Self {
        Self { title, columns: columns.to_vec(), rows: Vec::new(), notes: Vec::new() }
    }

    /// A table of figures that may have goals.
    pub(crate) fn with_goals(title: &'static str) -> Self {
        Self::new(title, &["figure", "goal", "result", "met"])
    }

    pub(crate) fn row(&mut self, cells: &[&str]) {
        assert_eq!(cells.len(), self.columns.len(), "a row of {} has a cell a column", self.title);
        self.rows.push(cells.iter().map(|&cell| cell.to_owned()).collect());
    }

    /// A figure without a goal.
    pub(crate) fn figure(&mut self, what: &str, result: &str) {
        self.row(&[what, "", result, ""]);
    }

    /// A figure that should be no more than a goal, both in the same unit.
    pub(crate) fn goal(&mut self, what: &str, (value, goal): (f64, f64), show: impl Fn(f64) -> String) {
        let met = if value <= goal { "yes" } else { "**no**" };
        self.row(&[what, &format!("≤ {}", show(goal)), &show(value), met]);
    }

    /// A figure that should be no less than a goal, both in the same unit.
    pub(crate) fn goal_at_least(&mut self, what: &str, (value, goal): (f64, f64), show: impl Fn(f64) -> String) {
        let met = if value >= goal { "yes" } else { "**no**" };
        self.row(&[what, &format!("≥ {}", show(goal)), &show(value), met]);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.columns[column].chars().count(), 3]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |f: &mut fmt::Formatter<'_>, cells: &mut dyn Iterator<Item = &str>| {
            for (column, (cell, &width)) in cells.zip(&widths).enumerate() {
                if column == 0 {
                    write!(f, "| {cell:<width$} |")?;
                } else {
                    write!(f, " {cell:>width$} |")?;
                }
            }
            writeln!(f)
        };
        writeln!(f, "### {}\n", self.title)?;
        line(f, &mut self.columns.iter().copied())?;
        write!(f, "|{}|", "-".repeat(widths[0] + 2))?;
        for &width in &widths[1..] {
            write!(f, "{}:|", "-".repeat(width + 1))?;
        }
        writeln!(f)?;
        for row in &self.rows {
            line(f, &mut row.iter().map(String::as_str))?;
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "- {note}")?;
        }
        Ok(())
    }
}

/// `0.12 s`
pub(crate) fn seconds(value: f64) -> String {
    format!("{value:.2} s")
}

/// Bytes in megabytes.
pub(crate) fn mb(bytes: u64) -> f64 {
    // Exact: both are a millionth part.
    Duration::from_micros(bytes).as_secs_f64()
}

/// `12.3 MB`; a megabyte is 10^6 bytes.
pub(crate) fn megabytes(value: f64) -> String {
    format!("{value:.1} MB")
}

/// `0.012 %`
pub(crate) fn percent(value: f64) -> String {
    format!("{value:.3} %")
}

/// A part of one, in whole percent.
pub(crate) fn share(value: f64) -> String {
    format!("{:.0} %", 100.0 * value)
}

/// Seconds in nanoseconds.
pub(crate) fn nanos(seconds: f64) -> String {
    format!("{:.0} ns", seconds * 1e9)
}

/// A number with its thousands apart.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds, to the microsecond.
pub(crate) fn millis(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1e3)
}

/// The `quantile` of `sorted`, by the nearest rank; zero of nothing.
pub(crate) fn quantile(sorted: &[Duration], quantile: Quantile) -> Duration {
    let rank = (sorted.len() * quantile.0).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// A quantile in whole percent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantile(usize);

pub(crate) const P50: Quantile = Quantile(50);
pub(crate) const P99: Quantile = Quantile(99);
