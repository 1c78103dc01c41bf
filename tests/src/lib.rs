//! End-to-end tests against a started server.
