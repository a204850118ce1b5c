//! The `agentapi` program.

fn main() {}
