//! What is said of wrong settings.

use std::fmt;

/// One wrong variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name.
    pub variable: String,
    /// The value that was found, masked if the variable is secret.
    pub value: String,
    /// What is expected instead.
    pub expected: String,
}

impl Problem {
    pub(super) fn new(variable: &str, value: &str, expected: impl Into<String>) -> Self {
        Self { variable: variable.to_owned(), value: value.to_owned(), expected: expected.into() }
    }
}

/// Every wrong setting of a start, in one message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The wrong variables, in the order of the sections.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    pub(super) fn env_file(error: &dotenvy::Error) -> Self {
        // A parse error quotes the line, which may hold a secret: only its position is told.
        let (value, expected) = match error {
            dotenvy::Error::LineParse(_, position) => {
                (format!("column {position} of a line"), "lines of the form NAME=value, quoted where needed".to_owned())
            }
            dotenvy::Error::Io(error) => (error.to_string(), "a readable file".to_owned()),
            _ => ("unreadable".to_owned(), "lines of the form NAME=value".to_owned()),
        };
        Self::new(vec![Problem::new("file .env", &value, expected)])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.problems.len() == 1 { "setting is" } else { "settings are" };
        write!(f, "{} {plural} wrong:", self.problems.len())?;
        for Problem { variable, value, expected } in &self.problems {
            write!(f, "\n  {variable}={value:?}: expected {expected}")?;
        }
        Ok(())
    }
}
