//! Everything that speaks SQL.

pub mod embedded;
