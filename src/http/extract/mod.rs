//! Extractors, whose refusals are problems that name the field.

mod json;
mod operator;
mod paging;
mod params;

pub(super) use self::json::Json;
pub(super) use self::operator::Operator;
pub(super) use self::paging::Limit;
pub(super) use self::params::{ApiKeysPage, ApprovalsPage, CircuitsPage, Page, Path, Query, Second, TimelinePage};
