//! Which language runtimes the host offers, and what a sandbox needs to run them.
//!
//! The search runs in the background from the start of the server: candidates on `PATH`, of the usual version managers and in
//! the usual folders are asked for their version, and the answers are kept by path, size and time of change, so that a second
//! start asks nobody. A path that the configuration names wins; among the others the highest version does.

mod search;

pub(crate) use search::output as run;

use crate::{Mount, Options, wasm};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// Kinds of runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Node.js of this major version.
    Node(u32),
    /// Python 3 of this minor version.
    Python(u32),
    /// Java of this feature version.
    Java(u32),
    /// Ruby 3 of this minor version.
    Ruby(u32),
    /// The package brings its own `bootstrap`.
    Provided,
    /// The package brings its own `bootstrap.wasm`.
    Wasm,
}

impl Family {
    /// The family of a runtime identifier that this product knows.
    #[must_use]
    pub fn of(runtime: &str) -> Option<Self> {
        Some(match runtime {
            "nodejs18.x" => Self::Node(18),
            "nodejs20.x" => Self::Node(20),
            "nodejs22.x" => Self::Node(22),
            "nodejs24.x" => Self::Node(24),
            "python3.9" => Self::Python(9),
            "python3.10" => Self::Python(10),
            "python3.11" => Self::Python(11),
            "python3.12" => Self::Python(12),
            "python3.13" => Self::Python(13),
            "python3.14" => Self::Python(14),
            "java11" => Self::Java(11),
            "java17" => Self::Java(17),
            "java21" => Self::Java(21),
            "java25" => Self::Java(25),
            "ruby3.2" => Self::Ruby(2),
            "ruby3.3" => Self::Ruby(3),
            "ruby3.4" => Self::Ruby(4),
            "provided.al2" | "provided.al2023" => Self::Provided,
            wasm::RUNTIME => Self::Wasm,
            _ => return None,
        })
    }

    /// The identifier of an interpreter with that version, if it is one of AWS's.
    fn id(self) -> Option<String> {
        match self {
            Self::Node(18 | 20 | 22 | 24) => self.name(),
            Self::Python(9..=14) => self.name(),
            Self::Java(11 | 17 | 21 | 25) => self.name(),
            Self::Ruby(2..=4) => self.name(),
            _ => None,
        }
    }

    fn name(self) -> Option<String> {
        match self {
            Self::Node(major) => Some(format!("nodejs{major}.x")),
            Self::Python(minor) => Some(format!("python3.{minor}")),
            Self::Java(feature) => Some(format!("java{feature}")),
            Self::Ruby(minor) => Some(format!("ruby3.{minor}")),
            Self::Provided | Self::Wasm => None,
        }
    }
}

/// Every identifier that can be served, given the interpreter.
pub const IDENTIFIERS: &[&str] = &[
    "nodejs18.x",
    "nodejs20.x",
    "nodejs22.x",
    "nodejs24.x",
    "python3.9",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "java11",
    "java17",
    "java21",
    "java25",
    "ruby3.2",
    "ruby3.3",
    "ruby3.4",
    "provided.al2",
    "provided.al2023",
    wasm::RUNTIME,
];

/// A runtime that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Identifier, such as `nodejs20.x`.
    pub id: String,
    /// Kind.
    pub family: Family,
    /// The interpreter on the host; empty for custom runtimes.
    pub exe: PathBuf,
    /// Its full version, such as `20.20.2`.
    pub version: String,
    /// The interpreter as a sandbox sees it.
    pub exe_inside: PathBuf,
    /// The interpreter's prefix as a sandbox sees it, where it is not below `/usr`.
    pub prefix_inside: Option<String>,
    /// What a sandbox must mount for it; what is below `/usr` is always there.
    pub mounts: Vec<Mount>,
}

impl Found {
    /// ARN of the runtime's version as `RuntimeVersionConfig` and the log show it.
    #[must_use]
    pub fn version_arn(&self, region: &str) -> String {
        let digest = Sha256::digest(format!("{}@{}", self.id, self.version));
        let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        format!("arn:aws:lambda:{region}::runtime:{hex}")
    }

    /// `python:3.11`, `nodejs:20`, `provided:al2023`: the name in INIT_START.
    pub(crate) fn log_name(&self) -> String {
        match self.family {
            Family::Node(major) => format!("nodejs:{major}"),
            Family::Python(minor) => format!("python:3.{minor}"),
            Family::Java(feature) => format!("java:{feature}"),
            Family::Ruby(minor) => format!("ruby:3.{minor}"),
            Family::Provided | Family::Wasm => self.id.replacen('.', ":", 1),
        }
    }

    /// What follows the `v` in INIT_START.
    pub(crate) fn log_version(&self) -> String {
        let skip = match self.family {
            Family::Python(_) | Family::Ruby(_) => 2,
            Family::Wasm => 0,
            _ => 1,
        };
        let rest: Vec<&str> = self.version.split('.').skip(skip).collect();
        if rest.is_empty() { "1".into() } else { rest.join(".") }
    }
}

type All = BTreeMap<String, Arc<Found>>;

/// Looks for interpreters once, for `doctor`.
pub async fn discover(options: &Options) -> Vec<Found> {
    search::all(options).await
}

/// What was found; waits while the search still runs.
pub struct Registry {
    found: watch::Receiver<Option<All>>,
}

impl Registry {
    /// Begins the search.
    pub(crate) fn start(options: &Options, python_client: PathBuf) -> Self {
        let (done, found) = watch::channel(None);
        let options = options.clone();
        tokio::spawn(async move {
            let all = search::all(&options).await;
            search::compile_client(&all, &python_client).await;
            let _ = done.send(Some(all.into_iter().map(|f| (f.id.clone(), Arc::new(f))).collect()));
        });
        Self { found }
    }

    /// The runtime with that identifier.
    ///
    /// # Errors
    /// The identifier is unknown, or the host lacks the interpreter: a text that says how to add it.
    pub async fn find(&self, id: &str) -> Result<Arc<Found>, String> {
        if let Some(Some(found)) = self.found.borrow().as_ref().map(|all| all.get(id).cloned()) {
            return Ok(found);
        }
        self.with(|all| all.get(id).cloned().ok_or_else(|| missing(id, all))).await
    }

    /// Everything found.
    pub async fn all(&self) -> Vec<Arc<Found>> {
        self.with(|all| all.values().cloned().collect()).await
    }

    /// Everything found, or `None` while the search still runs.
    pub fn so_far(&self) -> Option<Vec<Arc<Found>>> {
        self.found.borrow().as_ref().map(|all| all.values().cloned().collect())
    }

    async fn with<T>(&self, look: impl FnOnce(&All) -> T) -> T {
        let mut found = self.found.clone();
        match found.wait_for(Option::is_some).await {
            Ok(all) => look(all.as_ref().unwrap_or(&BTreeMap::new())),
            // The search has died, which is only so when the server ends.
            Err(_) => look(&BTreeMap::new()),
        }
    }
}

fn missing(id: &str, all: &All) -> String {
    let have: Vec<&str> = all.keys().map(String::as_str).collect();
    let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
    let how = match Family::of(id) {
        Some(Family::Node(major)) => format!(
            "install Node.js {major} (for example `nvm install {major}`, or a build from nodejs.org below /opt), or name its \
             path in the configuration: [runtime.runtimes] \"{id}\" = \"/path/to/node\""
        ),
        Some(Family::Python(minor)) => format!(
            "install Python 3.{minor} (for example `uv python install 3.{minor}`, `pyenv install 3.{minor}` or your \
             distribution's package), or name its path in the configuration: [runtime.runtimes] \"{id}\" = \"/path/to/python3.{minor}\""
        ),
        Some(Family::Java(feature)) => format!(
            "install Java {feature} (on Debian and Ubuntu `apt-get install openjdk-{feature}-jre-headless`), set JAVA_HOME, or name \
             its path in the configuration: [runtime.runtimes] \"{id}\" = \"/path/to/bin/java\""
        ),
        Some(Family::Ruby(minor)) => format!(
            "install Ruby 3.{minor} (for example `rbenv install 3.{minor}`, or your distribution's package), or name its path in \
             the configuration: [runtime.runtimes] \"{id}\" = \"/path/to/ruby\""
        ),
        Some(Family::Wasm) => "this squall was built without the cargo feature `wasm`".into(),
        _ => format!("supported are {}", IDENTIFIERS.join(", ")),
    };
    format!("The runtime {id} is not available on this host: {how}, and restart. Available: {have}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identifier_has_a_family_and_comes_back() {
        for id in IDENTIFIERS {
            let family = Family::of(id).expect("known");
            assert!(matches!(family, Family::Provided | Family::Wasm) || family.id().as_deref() == Some(*id));
        }
        assert_eq!(Family::of("nodejs16.x"), None);
        assert_eq!(Family::Node(21).id(), None);
    }

    #[test]
    fn a_missing_runtime_says_how_to_add_it() {
        let text = missing("nodejs24.x", &BTreeMap::new());
        assert!(text.contains("nvm install 24") && text.contains("Available: none"), "{text}");
        assert!(missing("cobol85", &BTreeMap::new()).contains("supported are nodejs18.x"));
    }
}
