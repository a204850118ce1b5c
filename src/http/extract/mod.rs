//! Extractors, whose refusals are problems that name the field.

mod json;
mod operator;
mod params;

pub(super) use self::json::Json;
pub(super) use self::operator::Operator;
pub(super) use self::params::{ApiKeysPage, ApprovalsPage, CircuitsPage, Page, Path, Query, Second, TimelinePage};
