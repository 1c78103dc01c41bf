//! Where tests find the program under test and the clients. `cargo xtask test` prepares them and sets the variables.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

fn required(name: &str) -> PathBuf {
    match env::var_os(name).filter(|v| !v.is_empty()) {
        Some(value) => PathBuf::from(value),
        None => panic!("{name} is not set: end-to-end tests run by `cargo xtask test`, which installs what they need"),
    }
}

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testkit lies in the repository").to_path_buf()
}

/// The program under test.
#[must_use]
pub fn squall() -> PathBuf {
    let path = required("SQUALL_TEST_BIN");
    assert!(path.is_file(), "{} is not there: build it with `cargo build`, or run `cargo xtask test`", path.display());
    path
}

/// A Python with boto3, awscli and awslambdaric.
#[must_use]
pub fn python() -> PathBuf {
    required("SQUALL_TEST_PYTHON")
}

/// The AWS CLI.
#[must_use]
pub(crate) fn aws() -> PathBuf {
    required("SQUALL_TEST_AWS")
}

/// `node_modules` with the AWS SDK for JavaScript.
#[must_use]
pub fn node_modules() -> PathBuf {
    required("SQUALL_TEST_NODE_MODULES")
}

/// The folder of client scripts.
#[must_use]
pub fn clients() -> PathBuf {
    repository().join("tests/clients")
}

/// SDKs for functions in the layout of `--sdk-dir`: links to what the clients use anyway, so that no test waits for a
/// registry.
#[must_use]
pub fn sdk_dir() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let root = node_modules().parent().expect("node_modules is in a folder").with_file_name("function-sdks");
        let lib = python().parent().and_then(Path::parent).expect("a virtual environment").join("lib");
        let versions = fs::read_dir(&lib).unwrap_or_else(|e| panic!("read {}: {e}", lib.display()));
        for version in versions.map(|v| v.expect("an entry").file_name()) {
            link(&lib.join(&version).join("site-packages"), &root.join(&version));
        }
        for family in ["nodejs", "nodejs18"] {
            link(&node_modules(), &root.join(family).join("node_modules"));
        }
        root
    })
    .clone()
}

/// Links, whatever stood there before. Other test programs do the same at the same time.
fn link(target: &Path, at: &Path) {
    if fs::read_link(at).is_ok_and(|to| to == target) {
        return;
    }
    fs::create_dir_all(at.parent().expect("below a folder")).expect("make the folder of function SDKs");
    let tmp = at.with_extension(format!("tmp-{}", std::process::id()));
    let _ = fs::remove_file(&tmp);
    std::os::unix::fs::symlink(target, &tmp).expect("link a function SDK");
    fs::rename(&tmp, at).expect("link a function SDK");
}
