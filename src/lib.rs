//! One HTTP API for a whole organisation's coding agents.
pub mod config;
pub mod domain;
pub mod postgres;
pub mod rate_limit;
pub mod redis;
pub mod session;
