//! Extractors, whose refusals are problems that name the field.

mod json;
mod params;
mod principal;

pub(super) use self::json::Json;
pub(super) use self::params::{Page, Path, Query};
