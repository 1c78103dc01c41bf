//! End-to-end tests: every test starts a server of its own and is one of its customers.

mod clients;
