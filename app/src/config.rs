//! Settings of a running cloud: flags, then SQUALL_* variables (both read by the command line), then squall.toml.

use crate::cli::Up;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use squall_meter::price::Prices;
use squall_types::{AccountId, Region};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// squall.toml. Unknown keys are errors. Every key is optional; since 0.1.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Data directory.
    pub data: Option<PathBuf>,
    /// Address to listen on. Default `127.0.0.1:4566`.
    pub listen: Option<String>,
    /// `sqlite` (default), `memory`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    pub state: Option<String>,
    /// Twelve digits. Default `000000000000`.
    pub account: Option<String>,
    /// Regions that answer; the first is the default. Default `["us-east-1"]`.
    pub regions: Option<Vec<String>>,
    /// Accept any credentials as root (loopback only). Default false.
    pub dev: Option<bool>,
    /// Domain of deployed APIs besides `localhost`.
    pub domain: Option<String>,
    /// `full` (default), `namespaces` or `none`.
    pub isolation: Option<String>,
    /// How functions run; see `docs/operate/configuration.md`.
    #[serde(default)]
    pub runtime: squall_runtime::Options,
    /// Where objects lie; files in the data directory without it. Since 0.2.
    #[serde(default)]
    pub objects: squall_engine_objects::Options,
    /// How usage is kept. Since 0.2.
    #[serde(default)]
    pub meter: squall_meter::Options,
    /// What usage costs. Default: AWS's public list prices. Since 0.2.
    #[serde(default)]
    pub prices: Prices,
}

/// Where state is kept.
#[derive(Clone)]
pub enum StateKind {
    /// SQLite in the data directory.
    Sqlite,
    /// In memory, gone with the process.
    Memory,
    /// A PostgreSQL database.
    Postgres(Box<squall_engine_postgres::Options>),
}

impl std::fmt::Debug for StateKind {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StateKind::Sqlite => f.write_str("sqlite"),
            StateKind::Memory => f.write_str("memory"),
            StateKind::Postgres(options) => f.write_str(options.shown()),
        }
    }
}

/// Everything, checked.
#[derive(Debug)]
pub struct Settings {
    /// Data directory.
    pub data: PathBuf,
    /// Address.
    pub listen: SocketAddr,
    /// Engine.
    pub state: StateKind,
    /// Account.
    pub account: AccountId,
    /// Regions, at least one.
    pub regions: Vec<Region>,
    /// Any credentials count as root.
    pub dev: bool,
    /// Domain.
    pub domain: Option<String>,
    /// Isolation level.
    pub isolation: squall_sandbox::Level,
    /// How functions run.
    pub runtime: squall_runtime::Options,
    /// The bucket for objects; `None`: files in the data directory.
    pub objects: Option<squall_engine_objects::Options>,
    /// How usage is kept.
    pub meter: squall_meter::Options,
    /// What usage costs.
    pub prices: Prices,
    /// An export to take in first.
    pub import: Option<PathBuf>,
}

/// The data directory where no setting names one.
///
/// # Errors
/// Neither XDG_DATA_HOME nor HOME is set.
pub fn default_data() -> Result<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    match (var("XDG_DATA_HOME"), var("HOME")) {
        (Some(xdg), _) if xdg.is_absolute() => Ok(xdg.join("squall")),
        (_, Some(home)) => Ok(home.join(".local/share/squall")),
        _ => bail!("neither XDG_DATA_HOME nor HOME is set: name the data directory with --data DIR"),
    }
}

fn read_file(path: Option<&Path>) -> Result<File> {
    let fallback = Path::new("squall.toml");
    let path = match path {
        Some(p) => p,
        None if fallback.exists() => fallback,
        None => return Ok(File::default()),
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("read {}", path.display()))
}

impl Settings {
    /// Merges and checks.
    ///
    /// # Errors
    /// A setting that cannot be used; the text names it.
    pub fn load(up: Up) -> Result<Self> {
        let file = read_file(up.config.as_deref())?;
        let regions = match up.region {
            Some(list) => list.split(',').map(|r| r.trim().to_owned()).collect(),
            None => file.regions.unwrap_or_else(|| vec!["us-east-1".to_owned()]),
        };
        let settings = Self {
            data: absolute(match up.data.or(file.data) {
                Some(data) => data,
                None => default_data()?,
            })?,
            listen: listen(&up.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1:4566".into()))?,
            state: state(&up.state.or(file.state).unwrap_or_else(|| "sqlite".into()))?,
            account: account(&up.account.or(file.account).unwrap_or_else(|| "000000000000".into()))?,
            regions: parse_regions(&regions)?,
            dev: up.dev || file.dev.unwrap_or(false),
            domain: up.domain.or(file.domain),
            isolation: isolation(&up.isolation.or(file.isolation).unwrap_or_else(|| "full".into()))?,
            runtime: squall_runtime::Options { sdk_dir: up.sdk_dir.or(file.runtime.sdk_dir.clone()), ..file.runtime },
            objects: objects(squall_engine_objects::Options {
                url: up.objects.or(file.objects.url.clone()),
                ..file.objects
            })?,
            meter: file.meter,
            prices: file.prices,
            import: None,
        };
        if settings.objects.is_some() && matches!(settings.state, StateKind::Memory) {
            bail!(
                "--state memory forgets everything with the process, and takes no bucket for objects: leave out [objects]"
            );
        }
        if settings.dev && !settings.listen.ip().is_loopback() {
            bail!("--dev accepts any credentials and is for loopback addresses only, not {}", settings.listen);
        }
        Ok(settings)
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).with_context(|| format!("resolve {}", path.display()))
}

fn listen(text: &str) -> Result<SocketAddr> {
    text.parse().with_context(|| format!("--listen {text}: expected ADDRESS:PORT, such as 127.0.0.1:4566"))
}

fn state(text: &str) -> Result<StateKind> {
    match text {
        "sqlite" => Ok(StateKind::Sqlite),
        "memory" => Ok(StateKind::Memory),
        _ if text.starts_with("postgres://") || text.starts_with("postgresql://") => {
            // The URL itself is not repeated: it may hold a password.
            let options = squall_engine_postgres::Options::parse(text).context("--state")?;
            Ok(StateKind::Postgres(Box::new(options)))
        }
        _ => bail!("--state {text}: expected sqlite, memory or postgres://USER:PASSWORD@HOST:PORT/DATABASE"),
    }
}

fn objects(options: squall_engine_objects::Options) -> Result<Option<squall_engine_objects::Options>> {
    if options == squall_engine_objects::Options::default() {
        return Ok(None);
    }
    options.location()?;
    Ok(Some(options))
}

fn account(text: &str) -> Result<AccountId> {
    AccountId::parse(text).with_context(|| format!("--account {text}: expected twelve digits"))
}

fn parse_regions(names: &[String]) -> Result<Vec<Region>> {
    let regions: Result<Vec<_>> = names
        .iter()
        .map(|n| Region::parse(n).with_context(|| format!("--region {n}: expected names such as us-east-1")))
        .collect();
    let regions = regions?;
    if regions.is_empty() {
        bail!("at least one region is needed");
    }
    Ok(regions)
}

fn isolation(text: &str) -> Result<squall_sandbox::Level> {
    match text {
        "full" => Ok(squall_sandbox::Level::Full),
        "namespaces" => Ok(squall_sandbox::Level::Namespaces),
        "none" => Ok(squall_sandbox::Level::None),
        _ => bail!("--isolation {text}: expected full, namespaces or none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(change: impl FnOnce(&mut Up)) -> Result<Settings> {
        let mut up = Up { data: Some("/tmp/x".into()), ..Up::default() };
        change(&mut up);
        Settings::load(up)
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused_by_name() {
        type Change = fn(&mut Up);
        let cases: [(Change, &str); 7] = [
            (|u| u.listen = Some("nowhere".into()), "--listen"),
            (|u| u.state = Some("mysql://x".into()), "expected sqlite"),
            (|u| u.state = Some("postgres://u:pa55word@h/d?sslmode=some".into()), "sslmode=some"),
            (|u| u.account = Some("12".into()), "--account"),
            (|u| u.region = Some("US".into()), "--region"),
            (|u| u.isolation = Some("some".into()), "--isolation"),
            (
                |u| {
                    u.dev = true;
                    u.listen = Some("0.0.0.0:1".into());
                },
                "--dev",
            ),
        ];
        for (change, part) in cases {
            let error = format!("{:#}", up(change).expect_err(part));
            assert!(error.contains(part) && !error.contains("pa55word"), "{error}");
        }
        let good = up(|u| u.state = Some("postgres://u:pa55word@db.example/cloud".into())).expect("a URL");
        let shown = format!("{good:?}");
        assert!(shown.contains("db.example") && !shown.contains("pa55word"), "{shown}");
    }

    #[test]
    fn unknown_keys_of_the_file_are_errors() {
        assert!(toml::from_str::<File>("listen = \"127.0.0.1:1\"\n[runtime]\nconcurrency = 10\n").is_ok());
        let error =
            toml::from_str::<File>("[objects]\nurl = \"s3://b\"\nsecret = \"x\"").expect_err("typo").to_string();
        assert!(error.contains("secret"), "{error}");
        let error = toml::from_str::<File>("lisen = \"x\"").expect_err("typo").to_string();
        assert!(error.contains("lisen"), "{error}");
    }
}
