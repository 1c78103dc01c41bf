//! What can go wrong on the way from a file to running functions.

use std::path::PathBuf;

use crate::client;
use crate::yaml::Pos;

/// A failed command. Its text is written for the person who typed the command; print the sources with it (`{:#}` of anyhow).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file says something that cannot be done; names file and line.
    #[error("{at}: {text}")]
    Config {
        /// Where.
        at: Pos,
        /// What is wrong and what to do about it.
        text: String,
    },
    /// A file could not be read.
    #[error("{verb} `{}`", path.display())]
    Io {
        /// What was tried, such as "read".
        verb: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The code package breaks a limit or cannot be built.
    #[error("package of `{function}`: {text}")]
    Package {
        /// Key of the function, or the service's name for a shared package.
        function: String,
        /// What is wrong.
        text: String,
    },
    /// The cloud answered an error while doing what `doing` says.
    #[error("{doing}")]
    Call {
        /// Such as "creating table Users".
        doing: String,
        /// The answer.
        source: client::Error,
    },
    /// What was asked cannot be done, and nothing was changed by it.
    #[error("{0}")]
    Refused(String),
    /// The cloud did not reach the wanted state in time, or reached a failed one.
    #[error("{0}")]
    State(String),
}

/// A fault at a place of the file.
pub(crate) fn at(at: &Pos, text: impl Into<String>) -> Error {
    Error::Config { at: at.clone(), text: text.into() }
}

/// Names what was being done when the cloud answered an error.
pub(crate) trait Doing<T> {
    /// `doing` is a phrase such as "creating table Users".
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, client::Error> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Call { doing: doing(), source })
    }
}
