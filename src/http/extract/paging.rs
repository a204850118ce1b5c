//! Lists are told page by page: `?limit=&after=`.

use serde::{Deserialize, Deserializer, de::Error};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Items a page at most.
const MAX: u16 = 100;

/// How many items a page is to have: 1 to 100, `DEFAULT` unless told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Limit<const DEFAULT: u16>(u16);

impl<const DEFAULT: u16> Limit<DEFAULT> {
    /// Items of the page.
    pub(in crate::http) fn get(self) -> u16 {
        self.0
    }

    /// Items to read: one more tells whether there is a next page.
    pub(in crate::http) fn and_one(self) -> u16 {
        self.0 + 1
    }

    /// Leaves in `items`, of which [`Self::and_one`] were read, those of the page. Returns what the last of them is known by, if there is
    /// a next page.
    pub(in crate::http) fn cut<T, C>(self, items: &mut Vec<T>, cursor: impl FnOnce(&T) -> C) -> Option<C> {
        let more = items.len() > usize::from(self.0);
        items.truncate(usize::from(self.0));
        items.last().filter(|_| more).map(cursor)
    }
}

impl<const DEFAULT: u16> Default for Limit<DEFAULT> {
    fn default() -> Self {
        const { assert!(DEFAULT >= 1 && DEFAULT <= MAX) };
        Self(DEFAULT)
    }
}

impl<'de, const DEFAULT: u16> Deserialize<'de> for Limit<DEFAULT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit = String::deserialize(deserializer)?.parse().ok().filter(|limit| (1..=MAX).contains(limit));
        limit.map(Self).ok_or_else(|| D::Error::custom(format_args!("expected a whole number from 1 to {MAX}")))
    }
}

impl<const DEFAULT: u16> PartialSchema for Limit<DEFAULT> {
    fn schema() -> RefOr<Schema> {
        let whole = ObjectBuilder::new().schema_type(Type::Integer);
        whole.minimum(Some(1)).maximum(Some(MAX)).default(Some(DEFAULT.into())).into()
    }
}

impl<const DEFAULT: u16> ToSchema for Limit<DEFAULT> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_next_page_if_more_was_read() {
        let limit = Limit::<2>::default();
        assert_eq!((limit.get(), limit.and_one()), (2, 3));
        for (read, page, next) in [(vec![], vec![], None), (vec![1, 2], vec![1, 2], None), (vec![1, 2, 3], vec![1, 2], Some(2))] {
            let mut items = read;
            assert_eq!(limit.cut(&mut items, |item| *item), next);
            assert_eq!(items, page);
        }
    }
}
