//! Starts servers for tests and signs requests to them.
