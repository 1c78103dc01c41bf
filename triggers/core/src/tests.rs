//! Mappings over a stream and a function that tests write themselves; time is the runtime's, which stands still and jumps.

mod delivery;
mod failures;
mod fake;
mod windows;
