//! `squall export` and `squall import`: a whole cloud as one file that any engine takes in.
//!
//! The file holds one consistent cut of the state, then the objects, then the log files ([`file`]). Every frame carries a
//! checksum that hangs on all frames before it, so that a cut, a changed bit and a swapped part are found. Both sides sum up
//! what they hold per kind ([`digest`]), which tells whether a target holds what its file says.
//!
//! A running cloud is exported by its own server ([`source`]), which goes on serving: objects that are deleted meanwhile are
//! kept until the export has ended ([`held`]). A target is filled before its server runs ([`target`]), because rooms hold
//! definitions in memory: the file is checked as a whole first, then objects and log files are laid down, then the state
//! is taken in as one transaction, then everything is read back and compared.
//!
//! What it does not do: export a part of a cloud, or carry versions and leases (see `squall_store::Record`).

pub mod command;
pub mod digest;
pub mod file;
pub mod held;
mod record;
pub mod source;
pub mod target;
#[cfg(test)]
mod tests;
