//! Reading and showing one section.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_aux::serde_introspection::serde_introspect;

use super::error::Problem;
use super::value::MASK;

/// A settings struct whose serde field names are its variables in lower case.
pub(super) trait Section: Default + DeserializeOwned + Serialize {
    /// Variables whose value is never shown, not even when it is wrong.
    const SECRETS: &'static [&'static str] = &[];

    /// Rules between the variables of this section.
    fn check(&self, _problems: &mut Vec<Problem>) {}

    /// Names of the section's variables, as the environment spells them.
    fn variables() -> Vec<String> {
        serde_introspect::<Self>().iter().map(|name| name.to_uppercase()).collect()
    }

    /// The section's variables with their effective values, secrets masked.
    fn show(&self) -> Vec<(String, String)> {
        let shown = serde_json::to_value(self).unwrap_or_default();
        Self::variables()
            .into_iter()
            .map(|name| {
                let value = match &shown[name.to_lowercase()] {
                    serde_json::Value::Null => String::new(),
                    serde_json::Value::String(text) => text.clone(),
                    serde_json::Value::Array(items) => {
                        items.iter().filter_map(serde_json::Value::as_str).collect::<Vec<_>>().join(",")
                    }
                    other => other.to_string(),
                };
                (name, value)
            })
            .collect()
    }
}

/// Reads a section; wrong variables are added to `problems` and keep their default.
pub(super) fn read<S: Section>(variables: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> S {
    let set = S::variables().into_iter().filter_map(|name| {
        let value = variables.get(&name)?.trim();
        (!value.is_empty()).then(|| (name, value.to_owned()))
    });
    let good: Vec<(String, String)> = set
        .filter(|(name, value)| match envy::from_iter::<_, S>([(name.clone(), value.clone())]) {
            Ok(_) => true,
            Err(error) => {
                let shown = if S::SECRETS.contains(&name.as_str()) { MASK } else { value };
                problems.push(Problem::new(name, shown, expectation(&error)));
                false
            }
        })
        .collect();
    let section: S = envy::from_iter(good).unwrap_or_default();
    let mut more = Vec::new();
    section.check(&mut more);
    // A variable that is wrong is not missing too.
    more.retain(|problem| problems.iter().all(|before| before.variable != problem.variable));
    problems.extend(more);
    section
}

/// What the variable's type expects, out of envy's error.
fn expectation(error: &envy::Error) -> String {
    let text = match error {
        envy::Error::Custom(text) => text.clone(),
        envy::Error::MissingValue(name) => format!("a value for {name}"),
    };
    match text.split_once("expected ") {
        Some((_, expected)) => expected.to_owned(),
        None => text,
    }
}
