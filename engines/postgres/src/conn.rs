//! Connections: making one, prepared statements, pipelines, and what a failure means.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::maybe_done;
use parking_lot::Mutex;
use squall_store::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::options::{OpenError, Options};

/// A connection that takes longer is given up: the network lost it, or the server hangs.
pub(crate) const ANSWER: Duration = Duration::from_secs(20);

/// Settings of a session. The limits free what a node that is gone left locked. A database may be set up to acknowledge
/// commits before they are on its disk; this engine promises that they are (stronger settings are left as they are).
const SESSION: &str = "set lock_timeout = '5s'; set statement_timeout = '15s';
  set idle_in_transaction_session_timeout = '15s'; set default_transaction_isolation = 'read committed';
  select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'";
/// What helps but need not be there. All access is by key, so a statement is planned once, for an index: a plan made
/// while a table was empty must not scan it later. Long values are compressed by the cheaper method where there is one.
const TUNING: &str = "set enable_seqscan = off; set jit = off; set plan_cache_mode = force_generic_plan;
  set default_toast_compression = lz4; set client_min_messages = warning";

/// Parameters of a statement.
pub(crate) type Params<'a> = Vec<Box<dyn ToSql + Sync + Send + 'a>>;

/// A statement of a pipeline.
pub(crate) struct Step<'a> {
    pub sql: &'static str,
    pub params: Params<'a>,
}

impl<'a> Step<'a> {
    pub fn new(sql: &'static str, params: Params<'a>) -> Step<'a> {
        Step { sql, params }
    }
}

/// What a failed statement means.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The transaction lost against another one; nothing happened, and it may be tried again at once.
    Again(String),
    /// The connection is of no use any more.
    Lost(String),
    /// The database refused; nothing happened.
    Refused(String),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Trouble {
        let text = describe(&error);
        let Some(code) = error.code() else { return Trouble::Lost(text) };
        if [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::UNIQUE_VIOLATION,
        ]
        .contains(code)
        {
            return Trouble::Again(text);
        }
        // A session that ended, a server that stops or starts or became a standby, a statement that is not known.
        let lost = ["08", "57P", "25P03", "25006", "26000", "0A000"];
        if lost.iter().any(|class| code.code().starts_with(class)) {
            Trouble::Lost(text)
        } else {
            Trouble::Refused(text)
        }
    }
}

impl Trouble {
    /// For a caller for whom nothing happened.
    pub fn unavailable(self) -> Error {
        match self {
            Trouble::Again(why) | Trouble::Lost(why) | Trouble::Refused(why) => Error::Unavailable(why),
        }
    }

    pub fn timed_out() -> Trouble {
        Trouble::Lost("the database does not answer".into())
    }
}

/// The error with its cause, which the driver's own text leaves out.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => source.to_string(),
        (None, None) => error.to_string(),
    }
}

/// How to make connections.
pub(crate) struct Link {
    pub options: Options,
    tls: Option<MakeRustlsConnect>,
}

impl Link {
    pub fn new(options: Options) -> Result<Link, OpenError> {
        let tls = options.tls.as_ref().map(crate::tls::connector).transpose()?;
        Ok(Link { options, tls })
    }

    /// A new connection, set up.
    pub async fn connect(&self) -> Result<Conn, tokio_postgres::Error> {
        let config = &self.options.config;
        let client = match &self.tls {
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                tokio::spawn(connection.map(drop));
                client
            }
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection.map(drop));
                client
            }
        };
        // The schema's name holds nothing that needs quoting.
        client.batch_execute(&format!("set search_path to \"{}\"; {SESSION}", self.options.schema)).await?;
        for setting in TUNING.split(';') {
            if let Err(error) = client.batch_execute(setting).await {
                tracing::debug!(%error, setting, "the database does not know a setting");
            }
        }
        Ok(Conn { client, statements: Mutex::default() })
    }

    /// A connection within the time that a caller may wait; the reason otherwise.
    pub async fn connect_soon(&self, limit: Duration) -> Result<Conn, String> {
        match tokio::time::timeout(limit, self.connect()).await {
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(error)) => Err(describe(&error)),
            Err(_) => Err("no answer".into()),
        }
    }

    /// Why a first connection failed, for the operator.
    pub fn explain(&self, error: &tokio_postgres::Error) -> OpenError {
        let (shown, why) = (self.options.shown.clone(), describe(error));
        match error.code().map(SqlState::code) {
            Some(code) if code.starts_with("28") || code == "3D000" => OpenError::Login { shown, why },
            Some(_) => OpenError::Database { shown, why },
            None if error.to_string().contains("TLS") => OpenError::Tls(format!("{shown}: {why}")),
            // The driver itself lacks a password that the server asks for.
            None if why.contains("password") || why.contains("authentication") => OpenError::Login { shown, why },
            None => OpenError::Unreachable { shown, why },
        }
    }
}

/// A connection with its prepared statements.
pub(crate) struct Conn {
    pub client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
}

impl Conn {
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    async fn prepared(&self, sql: &'static str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.lock().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.lock().insert(sql, statement.clone());
        Ok(statement)
    }

    pub async fn query(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let statement = self.prepared(sql).await?;
        self.client.query(&statement, params).await
    }

    pub async fn execute(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, tokio_postgres::Error> {
        let statement = self.prepared(sql).await?;
        self.client.execute(&statement, params).await
    }

    /// Sends all statements at once and waits for all answers: one round trip. After the first failure the answers
    /// behind it mean nothing, and neither does an end of the transaction among them.
    pub async fn pipeline(&self, steps: &[Step<'_>]) -> Result<Vec<Vec<Row>>, tokio_postgres::Error> {
        let mut statements = Vec::with_capacity(steps.len());
        for step in steps {
            statements.push(self.prepared(step.sql).await?);
        }
        let mut running: Vec<_> = steps
            .iter()
            .zip(&statements)
            .map(|(step, statement)| {
                let client = &self.client;
                let query = async move {
                    let params: Vec<&(dyn ToSql + Sync)> = step.params.iter().map(|p| &**p as _).collect();
                    client.query(statement, &params).await
                };
                maybe_done(query.boxed())
            })
            .collect();
        // A statement is sent when it is first polled, so the order of polls is the order on the wire.
        poll_fn(|cx| {
            let mut pending = false;
            for future in &mut running {
                pending |= future.poll_unpin(cx).is_pending();
            }
            if pending { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        running.iter_mut().filter_map(|future| Pin::new(future).take_output()).collect()
    }
}

/// Waits for an answer, within bounds.
pub(crate) async fn answered<T>(what: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Trouble> {
    match tokio::time::timeout(ANSWER, what).await {
        Ok(done) => done.map_err(Trouble::from),
        Err(_) => Err(Trouble::timed_out()),
    }
}
