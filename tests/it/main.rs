//! Black-box tests: the real program, real Postgres, real Redis, real pseudo-terminals, faults on purpose.
//!
//! Run by `make test`, which starts the Postgres that `AGENTAPI_TEST_DATABASE_URL` names; each test makes a database of its own
//! in it, starts a Redis of its own where it needs one, and starts the program on a free port.

mod acp;
mod agents;
mod attach;
mod auth;
mod cache;
mod cache_store;
mod circuit_breakers;
mod circuit_scripts;
mod circuit_stores;
mod circuits;
mod command_budget;
mod command_line;
mod database_roles;
mod deployment;
mod documentation;
mod embedded_defaults;
mod event_streams;
mod isolation;
mod keys;
mod logging;
mod login_limits;
mod module_directions;
mod open_files;
mod outbound;
mod problems;
mod queue;
mod rate_limit;
mod rate_limit_scripts;
mod rate_limit_stores;
mod redis_faults;
mod redis_refusals;
mod redis_user;
mod redis_waits;
mod remote_agents;
mod replicas;
mod rest;
mod row_level_security;
mod secrets;
mod session_store;
mod sessions;
mod single_agent;
mod single_agent_acp;
mod single_agent_events;
mod single_agent_http;
mod single_agent_process;
mod single_agent_state;
mod support;
mod tenant_limits;
mod tls;
mod upstash_look_alike;
