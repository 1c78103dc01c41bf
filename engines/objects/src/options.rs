//! Where objects are, and with which keys.

use serde::Deserialize;
use squall_store::objects::is_valid_name;
use std::fmt;
use std::path::{Path, PathBuf};

/// `[objects]` of squall.toml. Unknown keys are errors. Since 0.2.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// `s3://BUCKET/PREFIX`; the prefix may be left out. Without a URL objects are files in the data directory.
    pub url: Option<String>,
    /// The store's address, such as `http://127.0.0.1:9000`. Default: AWS in the region.
    pub endpoint: Option<String>,
    /// Region to sign for. Default `us-east-1`.
    pub region: Option<String>,
    /// File with `aws_access_key_id`, `aws_secret_access_key` and perhaps `aws_session_token`, a `KEY = VALUE` a line (the
    /// section `[default]` of an AWS credentials file will do). Default: the environment, see [`Credentials::find`].
    pub credentials_file: Option<PathBuf>,
}

/// Options that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The URL.
    #[error("[objects] url = {0:?}: expected s3://BUCKET or s3://BUCKET/PREFIX")]
    Url(String),
    /// The endpoint.
    #[error("[objects] endpoint = {0:?}: expected http://HOST:PORT or https://HOST")]
    Endpoint(String),
    /// Other keys without a URL would be ignored.
    #[error("[objects] has settings but no url: name the bucket with url = \"s3://BUCKET/PREFIX\"")]
    NoUrl,
    /// No keys.
    #[error(
        "[objects] url needs credentials: set SQUALL_OBJECTS_ACCESS_KEY_ID and SQUALL_OBJECTS_SECRET_ACCESS_KEY, or name a \
         file with credentials_file"
    )]
    NoCredentials,
    /// The file with the keys.
    #[error("[objects] credentials_file {path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Something else.
    #[error("[objects]: {0}")]
    Unusable(String),
}

impl Options {
    /// Bucket and prefix.
    ///
    /// # Errors
    /// `NoUrl`, `Url`.
    pub fn location(&self) -> Result<(String, String), OptionsError> {
        let url = self.url.as_deref().ok_or(OptionsError::NoUrl)?;
        let bad = || OptionsError::Url(url.to_owned());
        let rest = url.strip_prefix("s3://").ok_or_else(bad)?.trim_end_matches('/');
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_bucket = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'));
        if !is_bucket || !(prefix.is_empty() || is_valid_name(prefix)) {
            return Err(bad());
        }
        Ok((bucket.to_owned(), prefix.to_owned()))
    }
}

/// An address without a path.
pub(crate) fn endpoint(text: &str) -> Result<String, OptionsError> {
    let text = text.trim_end_matches('/');
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']) => Ok(text.to_owned()),
        _ => Err(OptionsError::Endpoint(text.to_owned())),
    }
}

/// Static keys. `Debug` tells the key id only.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The key id.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// Of temporary keys.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Keys from `SQUALL_OBJECTS_ACCESS_KEY_ID`, `SQUALL_OBJECTS_SECRET_ACCESS_KEY` and `SQUALL_OBJECTS_SESSION_TOKEN`, else
    /// from the options' file. The `AWS_*` variables are left alone: in a shell that uses this cloud they are its own keys.
    ///
    /// # Errors
    /// `NoCredentials`, `File`.
    pub fn find(options: &Options, var: impl Fn(&str) -> Option<String>) -> Result<Self, OptionsError> {
        let var = |name: &str| var(&format!("SQUALL_OBJECTS_{name}")).filter(|value| !value.is_empty());
        match (var("ACCESS_KEY_ID"), var("SECRET_ACCESS_KEY"), &options.credentials_file) {
            (Some(access_key_id), Some(secret_access_key), _) => {
                Ok(Self { access_key_id, secret_access_key, session_token: var("SESSION_TOKEN") })
            }
            (None, None, Some(path)) => Self::read(path),
            _ => Err(OptionsError::NoCredentials),
        }
    }

    fn read(path: &Path) -> Result<Self, OptionsError> {
        let failed = |why: String| OptionsError::File { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        Self::parse(&text)
            .ok_or_else(|| failed("expected lines aws_access_key_id = … and aws_secret_access_key = …".into()))
    }

    fn parse(text: &str) -> Option<Self> {
        let (mut id, mut secret, mut session_token, mut is_ours) = (None, None, None, true);
        for line in text.lines().map(str::trim) {
            if let Some(section) = line.strip_prefix('[') {
                is_ours = section.trim_end_matches(']').trim() == "default";
            }
            let Some((name, value)) = line.split_once('=').filter(|_| is_ours && !line.starts_with('#')) else {
                continue;
            };
            let value = Some(value.trim().trim_matches('"').to_owned()).filter(|value| !value.is_empty());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => session_token = value,
                _ => {}
            }
        }
        Some(Self { access_key_id: id?, secret_access_key: secret?, session_token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_buckets_are_taken() {
        let check = |url: &str, expected: Option<(&str, &str)>| {
            let found = Options { url: Some(url.into()), ..Options::default() }.location().ok();
            assert_eq!(found, expected.map(|(bucket, prefix)| (bucket.into(), prefix.into())), "{url}");
        };
        check("s3://bucket", Some(("bucket", "")));
        check("s3://my.bucket-1/", Some(("my.bucket-1", "")));
        check("s3://bucket/a/b/", Some(("bucket", "a/b")));
        for bad in ["bucket", "s3://", "s3://b", "http://bucket", "s3://Bucket", "s3://bucket/../x", "s3://bucket//x"] {
            check(bad, None);
        }
        assert!(matches!(Options::default().location(), Err(OptionsError::NoUrl)));
    }

    #[test]
    fn only_addresses_are_endpoints() {
        assert_eq!(endpoint("http://127.0.0.1:9000/").unwrap(), "http://127.0.0.1:9000");
        for bad in ["127.0.0.1:9000", "ftp://x", "http://", "http://key:secret@host", "http://host/path"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_come_from_the_environment_or_a_file_and_are_not_shown() {
        let none = |_: &str| None;
        let env = |name: &str| name.starts_with("SQUALL_OBJECTS_").then(|| format!("<{name}>"));
        let found = Credentials::find(&Options::default(), env).unwrap();
        assert_eq!(found.secret_access_key, "<SQUALL_OBJECTS_SECRET_ACCESS_KEY>");
        assert!(!format!("{found:?}").contains("SECRET"), "{found:?}");
        assert!(matches!(Credentials::find(&Options::default(), none), Err(OptionsError::NoCredentials)));
        let half = |name: &str| name.ends_with("KEY_ID").then(|| "x".to_owned());
        assert!(matches!(Credentials::find(&Options::default(), half), Err(OptionsError::NoCredentials)));
        let dir = tempfile::tempdir().unwrap();
        let options = Options { credentials_file: Some(dir.path().join("keys")), ..Options::default() };
        assert!(matches!(Credentials::find(&options, none), Err(OptionsError::File { .. })));
        let text =
            "[other]\naws_access_key_id = no\n[default]\n# x\naws_access_key_id = id\naws_secret_access_key=se/cr=et\n";
        std::fs::write(dir.path().join("keys"), text).unwrap();
        let found = Credentials::find(&options, none).unwrap();
        let expected =
            Credentials { access_key_id: "id".into(), secret_access_key: "se/cr=et".into(), session_token: None };
        assert!(found == expected);
    }
}
