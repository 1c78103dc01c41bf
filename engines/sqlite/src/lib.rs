//! The embedded durable state engine on SQLite.
