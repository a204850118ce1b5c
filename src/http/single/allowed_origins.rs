//! The origins whose pages may call from a browser, with the rules and texts of coder/agentapi.

use url::Url;

use super::list;

/// A list of origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Any.
    Any,
    /// These; in lower case.
    Only(Vec<Pattern>),
}

/// An origin, or those that begin and end like this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Exactly(String),
    /// What stands before and after the one `*` in it.
    Around(String, String),
}

impl AllowedOrigins {
    /// Reads a list of origins; `*` among them allows any, and one `*` within one stands for any text.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn parse(items: &[String]) -> Result<Self, String> {
        list::check(items)?;
        if items.iter().any(|item| item == "*") {
            return Ok(Self::Any);
        }
        items.iter().map(|item| pattern(item)).collect::<Result<_, _>>().map(Self::Only)
    }

    /// Whether pages of `origin` may call.
    pub(super) fn allow(&self, origin: &str) -> bool {
        let origin = origin.to_lowercase();
        match self {
            Self::Any => true,
            Self::Only(patterns) => patterns.iter().any(|pattern| pattern.matches(&origin)),
        }
    }
}

impl Pattern {
    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Exactly(only) => only == origin,
            Self::Around(before, after) => {
                origin.len() >= before.len() + after.len() && origin.starts_with(before) && origin.ends_with(after)
            }
        }
    }
}

/// One origin of the list: scheme, host and port; what follows them is dropped.
fn pattern(item: &str) -> Result<Pattern, String> {
    let invalid = |why: &str| format!("'{item}' is not a valid origin: {why}");
    let (scheme, rest) =
        item.split_once("://").ok_or_else(|| invalid("expected a scheme and a host, as in https://example.com"))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Only a star in place of a label or a port is no part of an URL.
    let probe = authority.replacen(":*", "", 1).replacen('*', "x", 1);
    let url = Url::parse(&format!("{scheme}://{probe}")).map_err(|error| invalid(&error.to_string()))?;
    if !url.has_host() || authority.is_empty() {
        return Err(invalid("it has no host"));
    }
    let origin = format!("{scheme}://{authority}").to_lowercase();
    Ok(match origin.split_once('*') {
        Some((before, after)) => Pattern::Around(before.to_owned(), after.to_owned()),
        None => Pattern::Exactly(origin),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(items: &[&str]) -> Result<AllowedOrigins, String> {
        AllowedOrigins::parse(&items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn an_origin_is_compared_without_case_path_and_what_a_star_stands_for() {
        let origins =
            parse(&["http://localhost:3284", "https://Example.com/path?x#y", "https://*.acme.test", "http://dev.test:*"]);
        let origins = origins.expect("valid");
        for allowed in [
            "http://localhost:3284",
            "HTTP://LOCALHOST:3284",
            "https://example.com",
            "https://a.acme.test",
            "https://a.b.acme.test",
            "http://dev.test:8080",
        ] {
            assert!(origins.allow(allowed), "{allowed}");
        }
        for refused in [
            "",
            "null",
            "http://localhost",
            "http://example.com",
            "https://acme.test",
            "https://a.acme.test.evil",
            "https://.acme.tes",
        ] {
            assert!(!origins.allow(refused), "{refused}");
        }
        assert_eq!(parse(&["https://a", "*"]), Ok(AllowedOrigins::Any));
    }

    #[test]
    fn wrong_lists_are_refused_in_the_words_of_the_reference() {
        for (items, expected) in [
            (&[][..], "the list must not be empty"),
            (&["http://a b"], "'http://a b' contains whitespace characters, which are not allowed"),
            (&["http://a,http://b"], "'http://a,http://b' contains comma characters, which are not allowed"),
        ] {
            assert_eq!(parse(items), Err(expected.to_owned()));
        }
        for item in ["example.com", "https://", "https://[::1", "://x"] {
            assert!(parse(&[item]).expect_err(item).starts_with(&format!("'{item}' is not a valid origin: ")), "{item}");
        }
    }
}
