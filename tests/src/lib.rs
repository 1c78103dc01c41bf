//! End-to-end tests against a started server.
//!
//! The tests are in `tests/e2e/`, the client programs that they run in `clients/`. `cargo xtask test` installs AWS's clients,
//! builds `squall` and runs them; `cargo xtask test -p squall-tests -- NAME` runs some.
