//! The local copy of the root credentials, and how client commands find a cloud.

use crate::cli::Connect;
use crate::config::default_data;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// `DATA/credentials`: what clients on this machine need. Mode 0600.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// URL of the cloud as last started.
    pub endpoint: String,
    /// Root access key id.
    pub access_key_id: String,
    /// Root secret.
    pub secret_access_key: String,
    /// Default region.
    pub region: String,
}

const FILE: &str = "credentials";

impl Local {
    /// Writes the file atomically.
    ///
    /// # Errors
    /// The data directory cannot be written.
    pub fn write(&self, data: &Path) -> Result<()> {
        let (path, tmp) = (data.join(FILE), data.join(".credentials.tmp"));
        let write = || -> std::io::Result<()> {
            let _ = std::fs::remove_file(&tmp);
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tmp)?;
            file.write_all(toml::to_string(self).map_err(std::io::Error::other)?.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&tmp, &path)
        };
        write().with_context(|| format!("write {}", path.display()))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It is absent or unreadable; the text says what to do.
    pub fn read(data: &Path) -> Result<Self> {
        let path = data.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("read {}", path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                bail!(
                    "no cloud in {}: start one with `squall up`, or name its data directory with --data DIR",
                    data.display()
                )
            }
            Err(e) => Err(e).with_context(|| format!("read {}", path.display())),
        }
    }
}

/// Finds the cloud of a client command: flags and AWS variables, else the data directory.
///
/// # Errors
/// Half a set of variables, or no cloud in the data directory.
pub fn endpoint(connect: &Connect) -> Result<squall_deploy::client::Endpoint> {
    let var = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let region = connect.region.clone().or_else(|| var("AWS_REGION")).or_else(|| var("AWS_DEFAULT_REGION"));
    let url = connect.endpoint.clone().or_else(|| if connect.data.is_none() { var("AWS_ENDPOINT_URL") } else { None });
    let keys = (var("AWS_ACCESS_KEY_ID"), var("AWS_SECRET_ACCESS_KEY"));
    if let (Some(url), (Some(access_key), Some(secret))) = (url.clone(), keys) {
        return Ok(squall_deploy::client::Endpoint {
            url,
            access_key,
            secret,
            session_token: var("AWS_SESSION_TOKEN"),
            region: region.unwrap_or_else(|| "us-east-1".into()),
        });
    }
    let data = match &connect.data {
        Some(data) => data.clone(),
        None => default_data()?,
    };
    let local = match (Local::read(&data), &url) {
        (Ok(local), _) => local,
        (Err(_), Some(url)) => {
            bail!(
                "the endpoint {url} is known but no credentials are: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for instance by eval \"$(squall env)\""
            )
        }
        (Err(e), None) => return Err(e),
    };
    Ok(squall_deploy::client::Endpoint {
        url: url.unwrap_or(local.endpoint),
        access_key: local.access_key_id,
        secret: local.secret_access_key,
        session_token: None,
        region: region.unwrap_or(local.region),
    })
}

/// The lines of `squall env`.
#[must_use]
pub fn export_lines(local: &Local) -> String {
    let pairs = [
        ("AWS_ENDPOINT_URL", &local.endpoint),
        ("AWS_ACCESS_KEY_ID", &local.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &local.secret_access_key),
        ("AWS_REGION", &local.region),
        ("AWS_DEFAULT_REGION", &local.region),
    ];
    pairs.iter().map(|(name, value)| format!("export {name}={value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_file_reads_back_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let local = Local {
            endpoint: "http://127.0.0.1:4566".into(),
            access_key_id: "AKIAEXAMPLE".into(),
            secret_access_key: "s/+=".into(),
            region: "us-east-1".into(),
        };
        local.write(dir.path()).unwrap();
        local.write(dir.path()).unwrap();
        assert_eq!(Local::read(dir.path()).unwrap(), local);
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(export_lines(&local).contains("export AWS_SECRET_ACCESS_KEY=s/+=\n"));
    }

    #[test]
    fn an_empty_folder_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Local::read(dir.path()).unwrap_err().to_string().contains("squall up"));
    }
}
