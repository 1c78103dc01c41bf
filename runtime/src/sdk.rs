//! The SDK that AWS's managed runtimes carry: boto3 for Python, `@aws-sdk/*` for Node.js.
//!
//! Prepared once per family on first need, below `<data>/sdk/<family>`: installed by the host's own pip or npm into a folder
//! beside and then moved there, so that it is whole or not there. An operator without a way to the registries names a folder
//! instead. Where it cannot be had, functions run without; health and doctor tell.

use crate::Options;
use crate::runtimes::{Family, Found, Registry};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// Past this the installation has failed.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(600);
/// The last SDK for JavaScript that runs on Node.js 18.
const NODE18_RANGE: &str = "@>=3.0.0 <3.900.0";

/// How it stands with an SDK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SdkState {
    /// In this folder.
    Ready(PathBuf),
    /// The runtime has none.
    NotNeeded,
    /// It could not be had: the reason, and what to do.
    Failed(String),
}

/// The SDKs.
pub struct Sdk {
    root: PathBuf,
    given: Option<PathBuf>,
    may_install: bool,
    node_packages: Vec<String>,
    python_packages: Vec<String>,
    path: OsString,
    families: Mutex<BTreeMap<String, Arc<OnceCell<SdkState>>>>,
}

/// The name of the folder, and the folder below it that is mounted.
fn family(found: &Found) -> Option<(String, &'static str)> {
    match found.family {
        Family::Python(minor) => Some((format!("python3.{minor}"), "")),
        Family::Node(18) => Some(("nodejs18".into(), "node_modules")),
        Family::Node(_) => Some(("nodejs".into(), "node_modules")),
        // AWS's Java has none; its Ruby has, which is not prepared here.
        Family::Java(_) | Family::Ruby(_) | Family::Provided | Family::Wasm => None,
    }
}

impl Sdk {
    /// SDKs below the data directory of these options.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            root: options.data_dir.join("sdk"),
            given: options.sdk_dir.clone(),
            may_install: options.sdk_install,
            node_packages: options.sdk_node_packages.clone(),
            python_packages: options.sdk_python_packages.clone(),
            path: options.host.path.clone(),
            families: Mutex::new(BTreeMap::new()),
        }
    }

    /// The folder of the runtime's SDK, if it is there.
    pub fn folder(&self, found: &Found) -> Option<PathBuf> {
        let (name, below) = family(found)?;
        let roots = self.given.iter().chain([&self.root]);
        roots.map(|root| root.join(&name).join(below)).find(|folder| folder.is_dir())
    }

    /// Every family that was asked for, with its state; families under way are left out.
    pub fn states(&self) -> Vec<(String, SdkState)> {
        let families = self.families.lock();
        families.iter().filter_map(|(name, cell)| Some((name.clone(), cell.get()?.clone()))).collect()
    }

    /// Waits until the runtime's SDK is there or has failed; the first caller installs. A failure is tried again by the next
    /// caller.
    pub async fn prepare(&self, found: &Found, registry: &Registry) -> SdkState {
        let Some((name, _)) = family(found) else { return SdkState::NotNeeded };
        let cell = self.families.lock().entry(name.clone()).or_default().clone();
        let state = cell.get_or_init(|| self.make(&name, found, registry)).await.clone();
        if matches!(state, SdkState::Failed(_)) {
            let mut families = self.families.lock();
            if families.get(&name).is_some_and(|c| Arc::ptr_eq(c, &cell)) {
                families.insert(name, Arc::new(OnceCell::new()));
            }
        }
        state
    }

    async fn make(&self, name: &str, found: &Found, registry: &Registry) -> SdkState {
        if let Some(folder) = self.folder(found) {
            return SdkState::Ready(folder);
        }
        if !self.may_install {
            return SdkState::Failed(format!(
                "no SDK for {}: installing is switched off (runtime.sdk_install) and runtime.sdk_dir holds none",
                found.id
            ));
        }
        let tmp = self.root.join(format!(".{name}.tmp-{}", std::process::id()));
        let done = self.install(&tmp, found, registry).await.and_then(|()| {
            let to = self.root.join(name);
            std::fs::rename(&tmp, &to).map_err(|e| format!("move {} to {}: {e}", tmp.display(), to.display()))
        });
        let _ = std::fs::remove_dir_all(&tmp);
        match (done, self.folder(found)) {
            (_, Some(folder)) => SdkState::Ready(folder),
            (Err(e), None) => failed(found, &e),
            (Ok(()), None) => failed(found, "the installation left nothing"),
        }
    }

    async fn install(&self, tmp: &Path, found: &Found, registry: &Registry) -> Result<(), String> {
        let _ = std::fs::remove_dir_all(tmp);
        std::fs::create_dir_all(tmp).map_err(|e| format!("make {}: {e}", tmp.display()))?;
        match found.family {
            Family::Python(minor) => self.pip(tmp, found, minor, registry).await,
            Family::Node(major) => self.npm(tmp, found, major).await,
            Family::Java(_) | Family::Ruby(_) | Family::Provided | Family::Wasm => Ok(()),
        }
    }

    /// By the interpreter's own pip; where it has none (Debian splits it off), by another Python's for this version.
    async fn pip(&self, tmp: &Path, found: &Found, minor: u32, registry: &Registry) -> Result<(), String> {
        let base = |exe: &Path| {
            let mut command = Command::new(exe);
            command.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
            command.arg("--target").arg(tmp).env("PYTHONNOUSERSITE", "1").env_remove("PYTHONPATH");
            command
        };
        let mut own = base(&found.exe);
        own.args(&self.python_packages);
        let Err(mut error) = output(own).await else { return Ok(()) };
        for other in registry.all().await {
            if !matches!(other.family, Family::Python(_)) || other.exe == found.exe {
                continue;
            }
            let mut command = base(&other.exe);
            command.args(["--only-binary=:all:", "--no-compile", "--python-version", &format!("3.{minor}")]);
            command.args(&self.python_packages);
            match output(command).await {
                Ok(()) => return Ok(()),
                Err(e) => error = e,
            }
        }
        Err(error)
    }

    async fn npm(&self, tmp: &Path, found: &Found, major: u32) -> Result<(), String> {
        let mut path = found.exe.parent().map(|p| p.as_os_str().to_owned()).unwrap_or_default();
        path.push(":");
        path.push(&self.path);
        let mut command = Command::new("npm");
        command.args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--no-save", "--ignore-scripts"]);
        command.args(["--omit=dev", "--loglevel=error", "--prefix"]).arg(tmp).current_dir(tmp).env("PATH", &path);
        let range = if major == 18 { NODE18_RANGE } else { "" };
        command.args(self.node_packages.iter().map(|p| format!("{p}{range}")));
        output(command).await
    }
}

fn failed(found: &Found, reason: &str) -> SdkState {
    SdkState::Failed(format!(
        "the SDK for {} could not be installed ({reason}): functions that bundle their own still run; to add it, give this \
         host a way to the package registry, or name a folder that holds it in the configuration (runtime.sdk_dir)",
        found.id
    ))
}

async fn output(command: Command) -> Result<(), String> {
    crate::runtimes::run(command, INSTALL_TIMEOUT).await.map(|_| ())
}
