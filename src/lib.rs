//! One HTTP API for a whole organisation's coding agents.
pub mod config;
pub mod data_dir;
pub mod domain;
pub mod postgres;
