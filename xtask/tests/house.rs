//! The house rules that a program can check: who imports whom, what stays out of where, sizes, and the files of a room.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates of this workspace that each part may import, as folders; `*` ends a family. Tests may import more.
const IMPORTS: &[(&str, &[&str])] = &[
    ("core/types", &[]),
    ("core/store", &["core/types"]),
    ("core/protocol", &["core/types"]),
    ("core/policy", &["core/types"]),
    ("core/pattern", &[]),
    ("core/meter", &["core/types", "core/store"]),
    ("core/service", &["core/types", "core/store", "core/protocol", "core/policy"]),
    ("engines/*", &["core/types", "core/store"]),
    ("sandbox", &["core/types"]),
    ("runtime", &["core/*", "sandbox", "sandbox/wasm/wire"]),
    ("services/lambda", &["core/*", "runtime"]),
    ("services/*", &["core/*"]),
    ("triggers/core", &["core/*"]),
    ("triggers/*", &["core/*", "triggers/core"]),
    ("gateway", &["core/*"]),
    ("deploy", &["core/*"]),
    ("testkit", &["*"]),
    ("tests", &["*"]),
    ("bench", &["core/*", "engines/*", "sandbox", "testkit"]),
    ("examples/*", &[]),
    ("app", &["*"]),
    ("xtask", &[]),
];

/// Crates from outside that rooms and core do not import: engines, HTTP types, the operating system.
const OUTSIDE_ROOMS: &[&str] =
    &["hyper", "hyper-util", "http", "http-body", "http-body-util", "rusqlite", "libc", "nix"];

const FILE_LINES_MAX: usize = 600;

struct Crate {
    folder: String,
    name: String,
    dependencies: Vec<String>,
    dev_dependencies: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_path_buf()
}

/// Files of the repository with their paths from its root; folders that tools make are left out.
fn files(accept: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let shown = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            let is_link = path.is_symlink();
            if path.is_dir()
                && !is_link
                && ![".git", "target", "node_modules", "__pycache__", ".squall"].contains(&name.as_str())
            {
                folders.push(path);
            } else if path.is_file() && !is_link && accept(&shown) {
                out.extend(fs::read_to_string(&path).ok().map(|text| (shown, text)));
            }
        }
    }
    out.sort();
    out
}

fn rust_files() -> Vec<(String, String)> {
    files(|p| p.ends_with(".rs"))
}

fn is_generated(text: &str) -> bool {
    text.starts_with("// @generated")
}

/// Whether a Rust file holds tests only.
fn is_test(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part.starts_with("test") || part.ends_with("tests.rs"))
}

/// Numbered lines of code, without comments and without the tests at the end of the file.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|l| l[0] == "#[cfg(test)]" && l[1].starts_with("mod") && l[1].ends_with('{'));
    let end = tests.unwrap_or(lines.len());
    lines.into_iter().take(end).enumerate().map(|(i, l)| (i + 1, l.split("//").next().unwrap_or_default()))
}

fn crates() -> Vec<Crate> {
    let names = |t: &toml::Table, key: &str| -> Vec<String> {
        t.get(key).and_then(|d| d.as_table()).map(|d| d.keys().cloned().collect()).unwrap_or_default()
    };
    let mut out = Vec::new();
    for (path, text) in files(|p| p.ends_with("/Cargo.toml")) {
        let t: toml::Table = toml::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
        let Some(name) = t.get("package").and_then(|p| p.get("name")).and_then(|n| n.as_str()) else { continue };
        let mut dependencies = names(&t, "dependencies");
        dependencies.extend(names(&t, "build-dependencies"));
        out.push(Crate {
            folder: path.trim_end_matches("/Cargo.toml").to_owned(),
            name: name.to_owned(),
            dependencies,
            dev_dependencies: names(&t, "dev-dependencies"),
        });
    }
    assert!(out.len() > 10, "the workspace's crates are found");
    out
}

fn fits(pattern: &str, folder: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == folder, |family| folder.starts_with(family))
}

#[track_caller]
fn nothing(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn imports_follow_the_floors() {
    let crates = crates();
    let folder_of = |name: &str| crates.iter().find(|c| c.name == name).map(|c| c.folder.as_str());
    let mut found = Vec::new();
    for c in &crates {
        // A crate inside a part (a helper program of the sandbox, say) follows the rules of its part.
        let rule = IMPORTS.iter().find(|(part, _)| fits(part, &c.folder) || c.folder.starts_with(&format!("{part}/")));
        let Some((part, allowed)) = rule else {
            found.push(format!("{} has no line in IMPORTS", c.folder));
            continue;
        };
        for to in c.dependencies.iter().filter_map(|d| folder_of(d)) {
            let own = to.starts_with(&format!("{part}/")) || to == *part;
            if !own && !allowed.iter().any(|a| fits(a, to)) {
                found.push(format!("{} imports {to}", c.folder));
            }
        }
        for to in c.dev_dependencies.iter().filter_map(|d| folder_of(d)) {
            if c.folder.starts_with("services/") && to.starts_with("services/") {
                found.push(format!("{} imports another room, {to}, in its tests", c.folder));
            }
        }
    }
    nothing("imports against the house's floors", &found);
}

#[test]
fn rooms_and_core_know_no_transport_engine_or_system() {
    let mut found = Vec::new();
    for c in crates().iter().filter(|c| ["services/", "triggers/", "core/"].iter().any(|p| c.folder.starts_with(p))) {
        found.extend(
            c.dependencies.iter().filter(|d| OUTSIDE_ROOMS.contains(&d.as_str())).map(|d| format!("{}: {d}", c.folder)),
        );
    }
    nothing("crates that rooms and core do not import", &found);
}

#[test]
fn rooms_read_no_environment_and_no_system_clock() {
    let banned = ["std::env", "env::var", "SystemTime::now", "SystemClock", "Utc::now", "now_utc("];
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        if !(path.starts_with("services/") || path.starts_with("triggers/")) || is_test(&path) {
            continue;
        }
        let hits = code(&text).filter(|(_, l)| banned.iter().any(|b| l.contains(b)));
        found.extend(hits.map(|(n, l)| format!("{path}:{n}: {}", l.trim())));
    }
    nothing("time and environment come in through Deps", &found);
}

#[test]
fn unsafe_stays_in_the_sandbox() {
    let words = ["{", "fn", "impl", "extern", "trait"].map(|w| format!("{} {w}", "unsafe"));
    let allow = format!("allow({}_code", "unsafe");
    let mut found = Vec::new();
    for (path, text) in rust_files().into_iter().filter(|(p, _)| !p.starts_with("sandbox/")) {
        let hits = text.lines().enumerate().filter(|(_, l)| {
            let line = l.split("//").next().unwrap_or_default();
            words.iter().any(|w| line.contains(w.as_str())) || line.contains(&allow)
        });
        found.extend(hits.map(|(n, l)| format!("{path}:{}: {}", n + 1, l.trim())));
    }
    nothing("unsafe code outside sandbox/", &found);
}

#[test]
fn nothing_is_left_to_do_without_an_issue() {
    let to_do = ["TO", "DO"].concat();
    let never = [["FIX", "ME"], ["to", "do!("], ["unimplem", "ented!("], ["db", "g!("]].map(|p| p.concat());
    let mut found = Vec::new();
    for (path, text) in files(|p| [".rs", ".py", ".js", ".mjs", ".cjs", ".c"].iter().any(|e| p.ends_with(e))) {
        for (n, line) in text.lines().enumerate() {
            let numbered =
                line.split(&to_do).nth(1).is_none_or(|rest| rest.trim_start_matches(['(', ' ']).starts_with('#'));
            if !numbered || never.iter().any(|w| line.contains(w.as_str())) {
                found.push(format!("{path}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    nothing("left-overs", &found);
}

#[test]
fn files_keep_their_size() {
    let long = rust_files().into_iter().filter(|(_, t)| !is_generated(t)).map(|(p, t)| (t.lines().count(), p));
    let found: Vec<_> = long.filter(|(n, _)| *n > FILE_LINES_MAX).map(|(n, p)| format!("{n} {p}")).collect();
    nothing(&format!("hand-written files above {FILE_LINES_MAX} lines; split them by resource"), &found);
}

#[test]
fn rooms_have_the_same_files() {
    let mut found = Vec::new();
    for room in crates().iter().filter(|c| c.folder.starts_with("services/")).map(|c| &c.folder) {
        for file in ["README.md", "src/lib.rs", "src/api.rs", "src/error.rs", "src/tables.rs", "src/tests.rs"] {
            let path = root().join(room).join(file);
            if !path.is_file() && !path.with_extension("").join("mod.rs").is_file() {
                found.push(format!("{room} has no {file}"));
            }
        }
    }
    nothing("files that every room has", &found);
}

#[test]
fn no_path_of_one_machine() {
    let banned: BTreeSet<String> =
        [["/wo", "rk/"], ["/ro", "ot/"], [".lib", "rary"], ["/home/", "runner"]].iter().map(|p| p.concat()).collect();
    let text_files =
        files(|p| p != "Cargo.lock" && ![".gz", ".png", ".zip", ".ico", ".woff2"].iter().any(|e| p.ends_with(e)));
    let mut found = Vec::new();
    for (path, text) in text_files {
        let hits = text.lines().enumerate().filter(|(_, l)| banned.iter().any(|b| l.contains(b.as_str())));
        found.extend(hits.map(|(n, l)| format!("{path}:{}: {}", n + 1, l.trim())));
    }
    nothing("paths of one machine", &found);
}

#[test]
fn every_allowance_says_why() {
    let open = ["#[al", "low("].concat();
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        let lines: Vec<&str> = text.lines().collect();
        for (n, line) in lines.iter().enumerate().filter(|(_, l)| l.trim_start().starts_with(&open)) {
            // The reason may stand on a later line of a wrapped attribute.
            let end = lines[n..].iter().position(|l| l.contains(")]")).map_or(lines.len(), |e| n + e + 1);
            if !lines[n..end].iter().any(|l| l.contains("reason =")) {
                found.push(format!("{path}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    nothing("allowances without a reason", &found);
}
