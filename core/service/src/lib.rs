//! What a room is, and the few traits by which rooms meet without importing each other.
//!
//! A room is one service: a [`Room`] that the gateway calls after it has authenticated and authorised a request. Its shape:
//! `api.rs` (generated: tables, types, the `Api` trait and `dispatch`), `ops/` (one function per operation), `rules.rs` (pure
//! decisions), `tables.rs` (the only file that builds keys), `error.rs` (one enum and the one `match` that gives code and
//! status), `worker.rs` where something runs by itself, and `tests.rs`.
//!
//! Rooms do not know HTTP types, engines, the environment or the system clock: they get [`Deps`]. They meet through
//! [`Invoke`] (functions), [`LogSink`] (what functions print), [`Identity`] (credentials, roles, decisions), [`Front`]
//! (deployed HTTP APIs and function URLs), [`StreamSource`] (change streams that triggers follow), [`EventSources`] (what runs
//! event source mappings) and [`Destination`] (where records of failures and successes go).

mod ctx;
mod front;
mod identity;
mod invoke;
mod mapping;
mod room;
mod stream;

pub use ctx::{Ctx, Deps, Principal};
pub use front::{Caller, Front, HttpRequest};
pub use identity::{Access, AccessDenied, Credential, CredentialError, Identity, RoleCheck, SessionCredentials};
pub use invoke::{Invocation, InvocationKind, Invoke, Invoker, LogEvent, LogSink, Outcome};
pub use mapping::{Destination, EventSources, Mapping, SourceKind, StartingPosition};
pub use room::{BodyLimit, Room};
pub use stream::{StreamError, StreamPage, StreamRecord, StreamShard, StreamSource, StreamStart};
