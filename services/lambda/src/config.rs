//! What the app tells this room.

use std::path::PathBuf;

/// Options of the room; the app fills them.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder for unpacked packages; a cache, made again when it is gone.
    pub code_dir: PathBuf,
    /// Domain of function URLs besides `localhost`; where it is set, URLs are shown under it.
    pub domain: Option<String>,
    /// Port of the gateway, for the URLs that this room shows.
    pub port: u16,
    /// Concurrent executions of the account, as `GetAccountSettings` shows them.
    pub concurrency: u32,
}
