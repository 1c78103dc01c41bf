//! Our runtime clients, carried in the binary and written to the data directory at start.

use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};

/// A client: its folder's name and its files.
struct Client {
    name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

const CLIENTS: &[Client] = &[
    Client {
        name: "python",
        files: &[
            ("bootstrap.py", include_bytes!("../client/python/bootstrap.py")),
            ("_squall_rehearsal.py", include_bytes!("../client/python/_squall_rehearsal.py")),
            ("_squall_runtime.py", include_bytes!("../client/python/_squall_runtime.py")),
            ("_squall_sdk.py", include_bytes!("../client/python/_squall_sdk.py")),
            ("_squall_snapshot.py", include_bytes!("../client/python/_squall_snapshot.py")),
            ("snapshot_restore_py.py", include_bytes!("../client/python/snapshot_restore_py.py")),
            ("zygote.py", include_bytes!("../client/python/zygote.py")),
            ("zygote.so", squall_sandbox::ZYGOTE_LIBRARY),
        ],
    },
    Client {
        name: "node",
        files: &[
            ("bootstrap.cjs", include_bytes!("../client/node/bootstrap.cjs")),
            ("errors.cjs", include_bytes!("../client/node/errors.cjs")),
            ("handler.cjs", include_bytes!("../client/node/handler.cjs")),
            ("log.cjs", include_bytes!("../client/node/log.cjs")),
            ("rehearsal.js", include_bytes!("../client/node/rehearsal.js")),
            ("module.mjs", include_bytes!("../client/node/module.mjs")),
            ("resolve.mjs", include_bytes!("../client/node/resolve.mjs")),
            ("snapshot.cjs", include_bytes!("../client/node/snapshot.cjs")),
            ("zygote.cjs", include_bytes!("../client/node/zygote.cjs")),
            ("zygote.node", squall_sandbox::ZYGOTE_NODE_ADDON),
        ],
    },
    Client { name: "java", files: &[("squall-runtime.jar", include_bytes!("../client/java/squall-runtime.jar"))] },
    Client { name: "ruby", files: &[("bootstrap.rb", include_bytes!("../client/ruby/bootstrap.rb"))] },
];

/// Where the SDK for Node.js is seen: ESM, which ignores NODE_PATH, climbs from `/var/task` to it.
pub const NODE_SDK_INSIDE: &str = "/var/node_modules";
/// Where the SDK for Python is seen.
pub const PYTHON_SDK_INSIDE: &str = "/var/sdk/python";

/// The folders of the clients on the host.
#[derive(Clone, Debug)]
pub struct Clients {
    pub python: PathBuf,
    pub node: PathBuf,
    pub java: PathBuf,
    pub ruby: PathBuf,
}

impl Clients {
    /// Writes the clients below `<data>/runtime/<version>` unless they are there.
    pub fn install(data_dir: &Path) -> io::Result<Self> {
        let mut hash = Sha256::new();
        for client in CLIENTS {
            for (name, text) in client.files {
                hash.update(name.as_bytes());
                hash.update([0]);
                hash.update(text);
            }
        }
        let digest = hash.finalize();
        let version: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
        let parent = data_dir.join("runtime");
        let root = parent.join(&version);
        if !root.is_dir() {
            write(&parent, &root)?;
        }
        let folder = |name| root.join(name);
        Ok(Self { python: folder("python"), node: folder("node"), java: folder("java"), ruby: folder("ruby") })
    }
}

fn write(parent: &Path, root: &Path) -> io::Result<()> {
    let tmp = root.with_extension(format!("tmp-{}", std::process::id()));
    for client in CLIENTS {
        let folder = tmp.join(client.name);
        std::fs::create_dir_all(&folder)?;
        for (name, text) in client.files {
            std::fs::write(folder.join(name), text)?;
        }
    }
    // Code in layers finds the SDK by NODE_PATH, as on AWS: through the runtime's own folder.
    std::os::unix::fs::symlink(NODE_SDK_INSIDE, tmp.join("node/node_modules"))?;
    match std::fs::rename(&tmp, root) {
        Ok(()) => {}
        // Another server with the same data directory was first.
        Err(_) if root.is_dir() => std::fs::remove_dir_all(&tmp)?,
        Err(e) => return Err(e),
    }
    std::fs::File::open(parent)?.sync_all()
}
