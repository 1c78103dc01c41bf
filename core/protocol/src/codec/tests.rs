//! Cases for every protocol.
