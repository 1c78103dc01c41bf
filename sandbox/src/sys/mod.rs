//! Thin safe wrappers over the system calls that std does not offer.
//!
//! Each wrapper takes borrowed or owned descriptors and C strings, so that the `unsafe` blocks need only the facts of
//! their own lines.

pub(crate) mod landlock;
pub(crate) mod mount;
pub(crate) mod net;
pub(crate) mod netlink;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod seccomp;
pub(crate) mod socket;
mod syscalls;

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;

/// Turns the C convention (-1 and errno) into a result.
pub(crate) fn check<T: Copy + PartialOrd + Default>(ret: T) -> io::Result<T> {
    if ret < T::default() { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// A path or argument as the kernel wants it.
pub(crate) fn cstring(s: impl AsRef<OsStr>) -> io::Result<CString> {
    CString::new(s.as_ref().as_bytes()).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "contains a zero byte"))
}

/// Adds "verb object" to an error, keeping its kind and text.
pub(crate) trait Context<T> {
    fn context(self, what: impl std::fmt::Display) -> io::Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl std::fmt::Display) -> io::Result<T> {
        self.map_err(|e| io::Error::new(e.kind(), format!("{what}: {e}")))
    }
}
