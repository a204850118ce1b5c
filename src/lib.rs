//! One HTTP API for a whole organisation's coding agents.
pub mod agent;
pub mod cache;
pub mod circuit_breaker;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod domain;
pub mod http;
pub mod lifecycle;
pub mod outbound;
pub mod postgres;
pub mod rate_limit;
pub mod redis;
pub mod replica;
pub mod session;
pub mod telemetry;
pub mod tls;
