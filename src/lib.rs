//! One HTTP API for a whole organisation's coding agents.
pub mod agent;
pub mod config;
pub mod domain;
