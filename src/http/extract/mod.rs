//! Extractors, whose refusals are problems that name the field.

mod json;
mod params;

pub(super) use self::json::Json;
pub(super) use self::params::{Page, Path, Query};
