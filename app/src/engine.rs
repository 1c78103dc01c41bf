//! Opens what a cloud is kept in: the data directory, the state engine and the objects.
//!
//! A cloud has an id, a row of its state that is made once. The data directory notes it, because log files and packages belong
//! to one state: a server that found the wrong one beside them would clean them away as leftovers.

use crate::backup;
use crate::config::{Settings, StateKind};
use crate::moving::held::HeldObjects;
use crate::moving::{file, source};
use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use squall_engine_files::{FileObjects, MemoryObjects};
use squall_engine_memory::Memory;
use squall_engine_postgres::Postgres;
use squall_engine_sqlite::Sqlite;
use squall_store::objects::Objects;
use squall_store::{Key, Kind, State, StateExt as _, Txn, envelope};
use squall_types::{Random as _, SystemClock, SystemRandom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The cloud's id.
const CLOUD: Kind = Kind::kv(0x00, 2);
/// Where the data directory notes it.
const CLOUD_FILE: &str = "cloud";
/// What belongs to a cloud in its data directory.
const OWN: [&str; 6] = [backup::STATE_FILE, "state.db-wal", "state.db-shm", "objects", "logs", CLOUD_FILE];

/// What a cloud is kept in.
pub struct Engine {
    /// Its state.
    pub state: Arc<dyn State>,
    /// Its objects.
    pub objects: HeldObjects,
    /// What copies it; absent where not everything lies in the data directory.
    pub backup: Option<Arc<dyn backup::Source>>,
    postgres: Option<Postgres>,
    /// Held for this process: starting cleans up what a crash left, which must not be another server's.
    _lock: std::fs::File,
}

struct SqliteSource(Arc<Sqlite>);

#[async_trait]
impl backup::Source for SqliteSource {
    async fn cut(&self, to: &Path) -> Result<()> {
        Ok(self.0.backup(to).await?)
    }
}

impl Engine {
    /// Opens everything, for a data directory that was taken.
    ///
    /// # Errors
    /// The engine's: each text says what to do.
    pub async fn open(settings: &Settings, lock: std::fs::File) -> Result<Engine> {
        let noted = noted(&settings.data)?;
        match &settings.state {
            StateKind::Memory if noted.is_some() => bail!(
                "{} holds the packages and logs of a durable cloud, which --state memory would not keep: choose another \
                 directory with --data DIR",
                settings.data.display()
            ),
            StateKind::Memory => {
                let objects = HeldObjects::new(Arc::new(MemoryObjects::default()));
                let state = Arc::new(Memory::new(Arc::new(SystemClock)));
                Ok(Engine { state, objects, backup: None, postgres: None, _lock: lock })
            }
            StateKind::Postgres(options) => {
                let options = options.as_ref().clone().node(node_name(&settings.data)?);
                let engine = Postgres::open(options).await?;
                let (state, objects) = (Arc::new(engine.clone()), objects(settings).await?);
                Ok(Engine { state, objects, backup: None, postgres: Some(engine), _lock: lock })
            }
            StateKind::Sqlite => {
                let engine = Arc::new(Sqlite::open(&settings.data, Arc::new(SystemClock))?);
                let objects = objects(settings).await?;
                // A backup holds what lies in the data directory: without the objects it would not be whole.
                let backup = settings.objects.is_none();
                let backup = backup.then(|| Arc::new(SqliteSource(engine.clone())) as Arc<dyn backup::Source>);
                Ok(Engine { state: engine, objects, backup, postgres: None, _lock: lock })
            }
        }
    }

    /// Gives the state free for another server.
    pub async fn close(self) {
        if let Some(postgres) = &self.postgres {
            postgres.close().await;
        }
    }

    /// Makes sure that the data directory's logs and packages are those of this state; a new cloud gets its id here.
    ///
    /// # Errors
    /// They are another cloud's.
    pub async fn adopt(&self, settings: &Settings) -> Result<()> {
        if matches!(settings.state, StateKind::Memory) {
            return Ok(());
        }
        let noted = noted(&settings.data)?;
        let id = match (self.cloud().await?, &noted) {
            (Some(id), _) => id,
            (None, Some(_)) => bail!(
                "the state ({:?}) is empty, but {} holds the packages and logs of another cloud: check --state, choose \
                 another directory with --data DIR, or move that cloud with `squall export` and `squall import`",
                settings.state,
                settings.data.display()
            ),
            (None, None) => {
                let id = unique(16);
                self.state.commit(Txn::new().put(cloud_key(), envelope::seal(id.as_bytes()))).await?;
                id
            }
        };
        match noted {
            Some(noted) if noted != id => bail!(
                "{} holds the packages and logs of another cloud than the state ({:?}): choose another directory with \
                 --data DIR, or check --state",
                settings.data.display(),
                settings.state
            ),
            Some(_) => Ok(()),
            None => note(&settings.data, &id),
        }
    }

    async fn cloud(&self) -> Result<Option<String>> {
        let Some(row) = self.state.get(cloud_key()).await? else { return Ok(None) };
        Ok(Some(String::from_utf8_lossy(envelope::open(&row.value)?).into_owned()))
    }

    /// What `squall export` writes of it, and where `squall import` writes to.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn source(&self, settings: &Settings) -> Result<source::Source> {
        let head = file::Head {
            program: concat!("squall ", env!("CARGO_PKG_VERSION")).into(),
            engine: format!("{:?}", settings.state),
            cloud: self.cloud().await?.unwrap_or_default(),
            account: settings.account.to_string(),
            regions: settings.regions.iter().map(ToString::to_string).collect(),
        };
        let (state, objects) = (self.state.clone(), self.objects.clone());
        Ok(source::Source { state, objects, logs: settings.data.join("logs"), head })
    }
}

/// The directory may be filled from an export of that cloud.
///
/// # Errors
/// It holds another one's packages and logs.
pub fn may_hold(data: &Path, cloud: &str) -> Result<()> {
    match noted(data)? {
        Some(noted) if noted != cloud => bail!(
            "{} holds the packages and logs of another cloud: choose another directory with --data DIR, or have them set \
             aside by --replace",
            data.display()
        ),
        _ => Ok(()),
    }
}

/// Moves what is there of a cloud into a folder beside it, and answers which; `None` when there is nothing.
///
/// # Errors
/// The state is not in the data directory, or the disk refuses.
pub fn set_aside(settings: &Settings) -> Result<Option<PathBuf>> {
    if let StateKind::Postgres(_) = settings.state {
        bail!("--replace does not touch databases: name another schema in --state (?schema=NAME), or drop the old one");
    }
    let there: Vec<&str> = OWN.into_iter().filter(|name| settings.data.join(name).exists()).collect();
    if there.is_empty() {
        return Ok(None);
    }
    let folder = (1..).map(|n| settings.data.join(format!("replaced-{n}"))).find(|folder| !folder.exists());
    let folder = folder.context("a free name")?;
    std::fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
    for name in there {
        std::fs::rename(settings.data.join(name), folder.join(name)).with_context(|| format!("move {name} aside"))?;
    }
    Ok(Some(folder))
}

fn cloud_key() -> Key {
    Key::new(CLOUD, 0, 0)
}

fn noted(data: &Path) -> Result<Option<String>> {
    let path = data.join(CLOUD_FILE);
    match std::fs::read_to_string(&path) {
        Ok(id) => Ok(Some(id.trim().to_owned()).filter(|id| !id.is_empty())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("read {}", path.display())),
    }
}

fn note(data: &Path, id: &str) -> Result<()> {
    let path = data.join(CLOUD_FILE);
    std::fs::write(&path, id).with_context(|| format!("write {}", path.display()))
}

/// That many random bytes, in hexadecimal.
fn unique(length: usize) -> String {
    let mut bytes = vec![0; length];
    SystemRandom.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where objects lie; a bucket is written to, read and listed before anything relies on it.
async fn objects(settings: &Settings) -> Result<HeldObjects> {
    let Some(options) = &settings.objects else {
        let folder = settings.data.join("objects");
        let files = FileObjects::open(&folder).with_context(|| format!("open {}", folder.display()))?;
        return Ok(HeldObjects::new(Arc::new(files) as Arc<dyn Objects>));
    };
    let credentials = squall_engine_objects::Credentials::find(options, |name| std::env::var(name).ok())?;
    let store = squall_engine_objects::S3Objects::new(options, &credentials)?;
    store.check().await?;
    Ok(HeldObjects::new(Arc::new(store)))
}

/// The name under which a shared database knows this data directory's server, made once: after a crash the next server
/// of the same directory takes over at once.
fn node_name(data: &Path) -> Result<String> {
    let path = data.join("node");
    match std::fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(40).collect();
    let name = format!("{host}-{}", unique(6));
    std::fs::write(&path, &name).with_context(|| format!("write {}", path.display()))?;
    Ok(name)
}

/// Makes the data directory if it is absent, and takes it for this process.
///
/// # Errors
/// It cannot be made, or another server has it.
pub fn take(data: &Path) -> Result<std::fs::File> {
    let mut make = std::fs::DirBuilder::new();
    make.recursive(true).mode(0o700);
    make.create(data).with_context(|| format!("make the data directory {}", data.display()))?;
    let path = data.join("server.lock");
    let file = std::fs::File::create(&path).with_context(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!(
                "{} is in use by another server: stop it, or choose another directory with --data DIR",
                data.display()
            )
        }
        Err(std::fs::TryLockError::Error(e)) => Err(e).with_context(|| format!("lock {}", path.display())),
    }
}
