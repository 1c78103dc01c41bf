//! Compiles the core of zygotes to a shared library that the crate carries (see `zygote/README.md`).

use std::env;
use std::path::{Path, PathBuf};

/// Library and its sources below `zygote/`.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("zygote.so", &["zygote.c", "snapshot.c"]),
    ("zygote.node", &["zygote.c", "snapshot.c", "node.c", "node_snapshot.c"]),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for file in std::fs::read_dir("zygote").expect("the sources of zygotes") {
        println!("cargo::rerun-if-changed={}", file.expect("a file").path().display());
    }
    let target = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for (name, sources) in LIBRARIES {
        link(&target.join(name), sources);
    }
}

/// A shared library needs no more than the C library of whatever process loads it.
fn link(library: &Path, sources: &[&str]) {
    let compiler = cc::Build::new().opt_level(2).debug(false).pic(true).warnings(true).get_compiler();
    let mut command = compiler.to_command();
    command.args(["-shared", "-fvisibility=hidden", "-Wl,-z,relro,-z,now", "-s", "-o"]).arg(library);
    command.args(sources.iter().map(|s| Path::new("zygote").join(s)));
    let status = command.status().expect("run the C compiler");
    assert!(status.success(), "compile {}", library.display());
}
