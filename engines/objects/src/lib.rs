//! Objects in any S3-compatible store, through the `object_store` crate.
//!
//! Shape: [`S3Objects`] keeps every object under `prefix/name` of one bucket. Bodies of up to 8 MiB are written by one request,
//! longer ones in parts of 8 MiB of which four at most are under way; a write that ends early gives its parts back.
//!
//! Invariants: a name has its former bytes until a write is complete; a body is never held whole when it comes in chunks;
//! credentials are never printed. What it does not do: roles of machines (static keys only), buckets it would have to make.

mod http;
mod options;
mod parts;

pub use options::{Credentials, Options, OptionsError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, RetryConfig};
use squall_store::objects::{Chunks, ObjectError, Objects, check_name, io_error};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Longest body of one request, and length of a part of a longer one.
const PART_BYTES: usize = 8 << 20;
/// How often and how long a request is tried again.
const RETRIES: usize = 5;
const RETRY_TIME: Duration = Duration::from_secs(30);
/// How long the store may take to answer at start.
const CHECK_TIME: Duration = Duration::from_secs(15);
/// The object that [`S3Objects::check`] writes, reads and deletes.
const PROBE: &str = ".squall-probe";

/// Why the store cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The bucket is not there.
    #[error("there is no bucket `{bucket}` at {endpoint}: create it, or correct `url` of [objects]")]
    NoBucket {
        /// The bucket.
        bucket: String,
        /// Where it was looked for.
        endpoint: String,
    },
    /// The credentials are wrong, or may not read, write and delete there.
    #[error(
        "the object store at {endpoint} refuses these credentials in bucket `{bucket}` (they need to read, write, delete \
         and list): {why}"
    )]
    Refused {
        /// The bucket.
        bucket: String,
        /// Where.
        endpoint: String,
        /// What the store said.
        why: String,
    },
    /// No answer, or none that makes sense.
    #[error("the object store at {endpoint} cannot be used: {why}; check `endpoint`, `region` and `url` of [objects]")]
    Unusable {
        /// Where.
        endpoint: String,
        /// What happened.
        why: String,
    },
}

/// Objects in a bucket. Cheap to clone.
#[derive(Clone, Debug)]
pub struct S3Objects {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    bucket: String,
    endpoint: String,
}

impl S3Objects {
    /// Objects in the bucket that the options name. Nothing is sent yet: see [`S3Objects::check`].
    ///
    /// # Errors
    /// Options that cannot be used; the text names them.
    pub fn new(options: &Options, credentials: &Credentials) -> Result<Self, OptionsError> {
        let (bucket, prefix) = options.location()?;
        let region = options.region.clone().unwrap_or_else(|| "us-east-1".into());
        let endpoint = match &options.endpoint {
            Some(endpoint) => options::endpoint(endpoint)?,
            None => format!("https://s3.{region}.amazonaws.com"),
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&bucket)
            .with_region(region)
            .with_endpoint(&endpoint)
            .with_allow_http(endpoint.starts_with("http://"))
            .with_access_key_id(&credentials.access_key_id)
            .with_secret_access_key(&credentials.secret_access_key)
            .with_retry(RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_TIME, ..RetryConfig::default() })
            .with_http_connector(http::Connector);
        if let Some(token) = &credentials.session_token {
            builder = builder.with_token(token);
        }
        let store = builder.build().map_err(|e| OptionsError::Unusable(e.to_string()))?;
        Ok(Self { store: Arc::new(store), prefix, bucket, endpoint })
    }

    /// Objects in any store of that crate, under a prefix (may be empty).
    pub fn over(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { endpoint: store.to_string(), store, prefix: prefix.to_owned(), bucket: String::new() }
    }

    /// Writes, reads, lists and deletes a small object.
    ///
    /// # Errors
    /// What is wrong and what to do about it.
    pub async fn check(&self) -> Result<(), CheckError> {
        let path = self.path(PROBE);
        let probe = async {
            self.store.put(&path, Bytes::from_static(b"squall").into()).await?;
            self.store.get(&path).await?.bytes().await?;
            let mut list = self.store.list(Some(&path));
            drop(list.try_next().await?);
            self.store.delete(&path).await
        };
        match tokio::time::timeout(CHECK_TIME, probe).await {
            Ok(done) => done.map_err(|error| self.unusable(&error)),
            Err(_) => Err(CheckError::Unusable {
                endpoint: self.endpoint.clone(),
                why: format!("no answer within {} s", CHECK_TIME.as_secs()),
            }),
        }
    }

    fn unusable(&self, error: &object_store::Error) -> CheckError {
        let (bucket, endpoint) = (self.bucket.clone(), self.endpoint.clone());
        let why = causes(error);
        match error {
            object_store::Error::NotFound { .. } => CheckError::NoBucket { bucket, endpoint },
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                CheckError::Refused { bucket, endpoint, why }
            }
            _ => CheckError::Unusable { endpoint, why },
        }
    }

    fn path(&self, name: &str) -> Path {
        if self.prefix.is_empty() { Path::from(name) } else { Path::from(format!("{}/{name}", self.prefix)) }
    }

    /// Reads a body up to one part: the whole when it is not longer.
    async fn first_part(body: &mut Chunks) -> io::Result<(Bytes, bool)> {
        let mut first = BytesMut::new();
        while let Some(chunk) = body.next().await {
            first.extend_from_slice(&chunk?);
            if first.len() >= PART_BYTES {
                return Ok((first.freeze(), false));
            }
        }
        Ok((first.freeze(), true))
    }

    async fn write(&self, path: &Path, mut body: Chunks) -> io::Result<u64> {
        let (first, is_whole) = Self::first_part(&mut body).await?;
        let mut length = first.len() as u64;
        if is_whole {
            self.store.put(path, first.into()).await?;
            return Ok(length);
        }
        // A task of its own: a caller that goes away before the store has answered leaves no upload that nobody can name.
        let (store, target) = (Arc::clone(&self.store), path.clone());
        let begin =
            async move { store.put_multipart(&target).await.map(|upload| parts::Upload::new(upload, PART_BYTES)) };
        let mut upload = tokio::spawn(begin).await.map_err(io::Error::other)??;
        upload.write(first).await?;
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            length += chunk.len() as u64;
            upload.write(chunk).await?;
        }
        upload.finish().await?;
        Ok(length)
    }

    async fn read_range(&self, path: &Path, range: Range<u64>) -> object_store::Result<Bytes> {
        // Stores refuse ranges that begin behind the end, each in its own way: so the length decides.
        let length = self.store.head(path).await?.size;
        let (from, to) = (range.start.min(length), range.end.min(length));
        if from >= to {
            return Ok(Bytes::new());
        }
        self.store.get_range(path, from..to).await
    }
}

/// An error with its causes, as one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn or_absent<T>(done: object_store::Result<T>) -> io::Result<Option<T>> {
    match done {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[async_trait]
impl Objects for S3Objects {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ObjectError> {
        check_name(name)?;
        let path = self.path(name);
        let body = futures_util::stream::once(async { Ok(bytes) }).boxed();
        self.write(&path, body).await.map(drop).map_err(io_error("write", name))
    }

    async fn put_stream(&self, name: &str, body: Chunks) -> Result<u64, ObjectError> {
        check_name(name)?;
        self.write(&self.path(name), body).await.map_err(io_error("write", name))
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>, ObjectError> {
        check_name(name)?;
        let read = async {
            match or_absent(self.store.get(&self.path(name)).await)? {
                Some(found) => Ok(Some(found.bytes().await?)),
                None => Ok(None),
            }
        };
        read.await.map_err(io_error("read", name))
    }

    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Option<Bytes>, ObjectError> {
        check_name(name)?;
        or_absent(self.read_range(&self.path(name), range).await).map_err(io_error("read", name))
    }

    async fn get_stream(&self, name: &str) -> Result<Option<Chunks>, ObjectError> {
        check_name(name)?;
        let found = or_absent(self.store.get(&self.path(name)).await).map_err(io_error("read", name))?;
        Ok(found.map(|found| found.into_stream().map_err(io::Error::from).boxed()))
    }

    async fn length(&self, name: &str) -> Result<Option<u64>, ObjectError> {
        check_name(name)?;
        let found = or_absent(self.store.head(&self.path(name)).await).map_err(io_error("read", name))?;
        Ok(found.map(|meta| meta.size))
    }

    async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        check_name(name)?;
        or_absent(self.store.delete(&self.path(name)).await).map(drop).map_err(io_error("delete", name))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError> {
        // The crate lists whole folders: the rest of the prefix is looked at here.
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = match (self.prefix.is_empty(), folder.is_empty()) {
            (true, true) => None,
            (false, true) => Some(Path::from(self.prefix.as_str())),
            (_, false) => Some(self.path(folder)),
        };
        let own = if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) };
        let name = |path: &Path| path.as_ref().strip_prefix(own.as_str()).map(str::to_owned);
        let names = self.store.list(folder.as_ref()).try_filter_map(|meta| {
            let name = name(&meta.location).filter(|name| name.starts_with(prefix) && name != PROBE);
            async { Ok(name) }
        });
        let names: Result<Vec<String>, _> = names.try_collect().await;
        let mut names = names.map_err(|e| io_error("list", prefix)(e.into()))?;
        names.sort_unstable();
        Ok(names)
    }
}
