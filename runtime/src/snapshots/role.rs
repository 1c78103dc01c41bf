//! What one instance has to do with a snapshot: it makes one, is made of one, or neither.

use crate::Function;
use crate::launch::Mount;
use crate::snapshots::{Made, Snapshot};
use parking_lot::Mutex;
use squall_service::SessionCredentials;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::oneshot;

/// Least time that init code has before a snapshot, as on AWS.
const INIT_MIN: Duration = Duration::from_secs(130);
/// Pages of the interpreter and its libraries, beside the function's own memory.
const IMAGE_SLACK_BYTES: u64 = 256 << 20;
/// Where the snapshot is seen.
const INSIDE: &str = "/var/snapshot";

/// The making of a snapshot.
pub struct Take {
    /// Where its file goes.
    pub image: PathBuf,
    /// Most bytes that it may have.
    pub bytes_max: u64,
    zygote: u64,
    token: String,
    tell: Mutex<Option<oneshot::Sender<Made>>>,
}

impl Take {
    pub fn new(snapshot: &Snapshot, memory_mb: u32, tell: oneshot::Sender<Made>) -> Self {
        Self {
            image: snapshot.folder.0.join("image"),
            bytes_max: (u64::from(memory_mb) << 20) + IMAGE_SLACK_BYTES,
            zygote: snapshot.zygote.number(),
            token: snapshot.token.clone(),
            tell: Mutex::new(Some(tell)),
        }
    }

    /// Tells how it has ended; the first counts.
    pub fn end(&self, made: Made) {
        if let Some(tell) = self.tell.lock().take() {
            let _ = tell.send(made);
        }
    }
}

enum Kind {
    Makes(Take),
    Restores(Arc<Snapshot>),
}

/// See the module.
#[derive(Default)]
pub struct Role {
    kind: OnceLock<Kind>,
    /// The snapshot could not be restored: the instance starts as others do.
    has_failed: AtomicBool,
    credentials: OnceLock<SessionCredentials>,
}

impl Role {
    pub fn makes_to(&self, take: Take) {
        let _ = self.kind.set(Kind::Makes(take));
    }

    pub fn restores_from(&self, snapshot: Arc<Snapshot>) {
        let _ = self.kind.set(Kind::Restores(snapshot));
    }

    pub fn failed(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }

    /// The snapshot that it makes.
    pub fn making(&self) -> Option<&Take> {
        match self.kind.get() {
            Some(Kind::Makes(take)) => Some(take),
            _ => None,
        }
    }

    fn restoring(&self) -> Option<&Arc<Snapshot>> {
        match self.kind.get() {
            Some(Kind::Restores(snapshot)) if !self.has_failed.load(Ordering::Relaxed) => Some(snapshot),
            _ => None,
        }
    }

    /// It is made of a snapshot.
    pub fn is_restored(&self) -> bool {
        self.restoring().is_some()
    }

    /// It makes one or is made of one.
    pub fn is_in_use(&self) -> bool {
        self.making().is_some() || self.is_restored()
    }

    /// The zygote that it must be a fork of.
    pub fn zygote(&self) -> Option<u64> {
        self.making().map(|take| take.zygote).or_else(|| self.restoring().map(|s| s.zygote.number()))
    }

    /// The snapshot as the instance sees it.
    pub fn mount(&self) -> Option<Mount> {
        self.restoring().map(|s| Mount { host: s.folder.0.clone(), inside: INSIDE.into() })
    }

    /// How long the init may take; `default_s` where no snapshot is made.
    pub fn init_time(&self, function: &Function, default_s: u64) -> Duration {
        match self.making() {
            Some(_) => function.timeout.max(INIT_MIN),
            None => Duration::from_secs(default_s),
        }
    }

    /// The variables that are not those of other instances: what to do, and where the credentials are. A snapshot outlives the
    /// credentials that were given to its maker, so SDKs fetch theirs, as on AWS.
    pub fn variables(&self, session: &SessionCredentials) -> Option<[(&'static str, String); 3]> {
        let (order, token) = match self.kind.get()? {
            Kind::Makes(take) => ("make", &take.token),
            Kind::Restores(snapshot) => ("restore", &snapshot.token),
        };
        let _ = self.credentials.set(session.clone());
        Some([
            ("_SQUALL_SNAPSHOT", order.to_owned()),
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                format!("http://{}{}", crate::launch::RUNTIME_API, super::api::CREDENTIALS_PATH),
            ),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", token.clone()),
        ])
    }

    /// The credentials, for who knows the token.
    pub fn credentials(&self, token: &str) -> Option<&SessionCredentials> {
        let own = match self.kind.get()? {
            Kind::Makes(take) => &take.token,
            Kind::Restores(snapshot) => &snapshot.token,
        };
        self.credentials.get().filter(|_| own == token)
    }
}
