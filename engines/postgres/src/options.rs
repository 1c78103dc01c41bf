//! How to reach the database: the URL, checked, and why an engine could not be opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use squall_types::Clock;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// The schema (namespace) that holds the tables unless the URL names one.
pub const SCHEMA: &str = "squall";
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// What an engine needs to know.
#[derive(Clone)]
pub struct Options {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) tls: Option<Tls>,
    pub(crate) schema: String,
    pub(crate) shown: String,
    pub(crate) is_sole: bool,
    /// Names this server among those that use the database: 1 to 64 bytes, the same after a restart. Default `node`.
    pub node: String,
    /// Time that decides what is due. Default: the database's own.
    pub clock: Option<Arc<dyn Clock>>,
    /// How long a call waits for a database that is away before it is answered with an error. Default 8 s.
    pub patience: Duration,
}

/// How a connection is encrypted; the server's certificate is always verified.
#[derive(Clone)]
pub(crate) struct Tls {
    /// A file of certificates to trust instead of the system's.
    pub roots: Option<PathBuf>,
}

impl Options {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…&sslrootcert=…&schema=…`.
    ///
    /// `sslmode`: `disable` (default) or `require`, `verify-ca`, `verify-full`, which all encrypt and verify. `host` may
    /// be a folder with a socket (`postgres:///DATABASE?host=/run/postgresql`). Other parameters are libpq's.
    ///
    /// # Errors
    /// `Url`, naming what cannot be used.
    pub fn parse(url: &str) -> Result<Options, OpenError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut schema, mut roots, mut mode) = (SCHEMA.to_owned(), None, "disable".to_owned());
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("schema", value)) => value.clone_into(&mut schema),
                Some(("sslrootcert", value)) => roots = Some(PathBuf::from(value)),
                Some(("sslmode", value)) => value.clone_into(&mut mode),
                _ => rest.push(pair),
            }
        }
        let is_name = |name: &str| {
            let mut bytes = name.bytes();
            name.len() <= 63
                && bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
                && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if !is_name(&schema) {
            return Err(OpenError::Url(format!("schema={schema}: expected lower-case letters, digits and _")));
        }
        let tls = match mode.as_str() {
            "disable" => None,
            "require" | "verify-ca" | "verify-full" => Some(Tls { roots }),
            other => {
                return Err(OpenError::Url(format!(
                    "sslmode={other}: expected disable, require, verify-ca or verify-full"
                )));
            }
        };
        let plain = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config: tokio_postgres::Config =
            plain.parse().map_err(|error| OpenError::Url(crate::conn::describe(&error)))?;
        if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            // Of several hosts only the primary can be written to.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(CONNECT).tcp_user_timeout(Duration::from_secs(20));
        if config.get_application_name().is_none() {
            config.application_name("squall");
        }
        if config.get_hosts().is_empty() {
            return Err(OpenError::Url("it names no host".into()));
        }
        let shown = shown(&config);
        let (node, patience) = ("node".to_owned(), Duration::from_secs(8));
        Ok(Options { config, tls, schema, shown, is_sole: true, node, clock: None, patience })
    }

    /// Where the database is, without credentials: for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Sets the server's name.
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Options {
        self.node = node.into();
        self
    }

    /// Lets servers with other names use the schema at the same time; all of them must be opened so. Without it a second
    /// server is refused, because the rooms above keep definitions in memory. The engine itself then pays a little more
    /// for transactions that were refused because a row is absent.
    #[must_use]
    pub fn beside_others(mut self) -> Options {
        self.is_sole = false;
        self
    }

    /// Sets the time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Options {
        self.clock = Some(clock);
        self
    }

    /// Sets how long calls wait for a database that is away.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Options {
        self.patience = patience;
        self
    }
}

fn shown(config: &tokio_postgres::Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => String::new(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("database `{database}` on {host} port {port}")
}

/// Why the state could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL cannot be used.
    #[error("the postgres URL cannot be used: {0}")]
    Url(String),
    /// Nobody answers there.
    #[error(
        "cannot reach PostgreSQL ({shown}): {why}. Is it running, and do host and port of --state match its \
         listen_addresses?"
    )]
    Unreachable {
        /// Where.
        shown: String,
        /// The cause.
        why: String,
    },
    /// The server knows neither the user nor the password, or not the database.
    #[error(
        "PostgreSQL refused the login ({shown}): {why}. Check user, password and database of --state, and pg_hba.conf"
    )]
    Login {
        /// Where.
        shown: String,
        /// The cause.
        why: String,
    },
    /// The server is too old.
    #[error("PostgreSQL {found} ({shown}) is too old: Squall needs 15 or newer")]
    Old {
        /// Where.
        shown: String,
        /// Its version.
        found: String,
    },
    /// Written by a newer program.
    #[error("the state ({shown}) has schema {found}, this program knows up to {known}: upgrade the program")]
    Newer {
        /// Where.
        shown: String,
        /// Its schema version.
        found: i64,
        /// The newest one known.
        known: i64,
    },
    /// Another server uses the state.
    #[error(
        "the state ({shown}) is in use by another server (`{node}`): stop it, or wait {seconds} s after it was killed. \
         A second cloud in the same database needs a schema of its own: ?schema=NAME"
    )]
    InUse {
        /// Where.
        shown: String,
        /// The other server.
        node: String,
        /// How long its claim lasts yet.
        seconds: i64,
    },
    /// A certificate cannot be used.
    #[error("TLS to PostgreSQL: {0}")]
    Tls(String),
    /// The database refused something else.
    #[error("prepare the state ({shown}): {why}")]
    Database {
        /// Where.
        shown: String,
        /// The cause.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_refused_by_name() {
        let good = Options::parse("postgres://u:secret@db.example:5433/cloud?schema=two&sslmode=require").expect("url");
        assert_eq!((good.schema.as_str(), good.tls.is_some()), ("two", true));
        assert_eq!(good.shown(), "database `cloud` on db.example port 5433");
        let socket = Options::parse("postgres:///cloud?host=/run/postgresql&user=u").expect("url");
        assert_eq!(socket.shown(), "database `cloud` on /run/postgresql port 5432");
        for (url, part) in [
            ("postgres://h/d?schema=Bad-Name", "schema="),
            ("postgres://h/d?sslmode=prefer", "sslmode="),
            ("postgres://h/d?unknown=1", "unknown"),
            ("postgres:///d", "host"),
        ] {
            let Err(error) = Options::parse(url) else { panic!("{url}") };
            assert!(error.to_string().contains(part), "{url}: {error}");
        }
    }
}
