//! Black-box tests.

mod deployment;
