//! The sandbox as a launcher.
