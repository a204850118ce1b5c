//! What is wrong between us and Redis, said in the log when it begins or changes and when it is over, not each time.

use std::sync::{Mutex, PoisonError};

/// What was said last; nothing while all is well.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Option<String>>);

/// What there is to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// This is wrong, which was not before.
    Wrong(String),
    /// What was wrong is not any more.
    Over,
}

impl Trouble {
    /// What is new, now that `wrong` is wrong, or nothing.
    pub(super) fn news(&self, wrong: Option<String>) -> Option<News> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *said == wrong {
            return None;
        }
        said.clone_from(&wrong);
        Some(wrong.map_or(News::Over, News::Wrong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_said() {
        let (trouble, wrong) = (Trouble::default(), |text: &str| Some(text.to_owned()));
        assert_eq!(trouble.news(None), None);
        assert_eq!(trouble.news(wrong("refused")), Some(News::Wrong("refused".to_owned())));
        assert_eq!(trouble.news(wrong("refused")), None);
        assert_eq!(trouble.news(wrong("late")), Some(News::Wrong("late".to_owned())));
        assert_eq!(trouble.news(None), Some(News::Over));
        assert_eq!(trouble.news(None), None);
    }
}
