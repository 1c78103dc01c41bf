//! The search for interpreters on the host.

use super::{Family, Found};
use crate::{Mount, Options, wasm};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// An interpreter that does not tell its version by then is none.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
const CANDIDATES_MAX: usize = 200;

/// What an interpreter says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    size: u64,
    changed: i64,
    /// `None`: it is no interpreter.
    told: Option<Told>,
}

/// What an interpreter is, by the name of its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Node,
    Python,
    Java,
    Ruby,
}

impl Kind {
    fn of(program: &str) -> Self {
        match program {
            _ if program.starts_with("node") => Self::Node,
            _ if program.starts_with("java") => Self::Java,
            _ if program.starts_with("ruby") => Self::Ruby,
            _ => Self::Python,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    kind: Kind,
    version: String,
    exe: PathBuf,
    prefix: PathBuf,
}

/// Every runtime of this host.
pub async fn all(options: &Options) -> Vec<Found> {
    let cache_path = options.data_dir.join("runtimes.json");
    let old: BTreeMap<PathBuf, Answer> =
        std::fs::read(&cache_path).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
    let mut new = BTreeMap::new();
    let mut best: BTreeMap<String, (bool, Told)> = BTreeMap::new();
    let explicit = options.runtimes.iter().map(|(id, path)| (Some(id.as_str()), path.clone()));
    let listed = candidates(options).into_iter().map(|path| (None, path));
    for (wanted, path) in explicit.chain(listed) {
        let Some(answer) = ask(&path, &old).await else {
            if let Some(id) = wanted {
                tracing::warn!("the runtime {id} is configured as {}, which cannot be read", path.display());
            }
            continue;
        };
        let told = answer.told.clone();
        new.insert(path.clone(), answer);
        let Some((told, id)) = told.and_then(|t| family(&t)?.id().map(|id| (t, id))) else { continue };
        if let Some(wanted) = wanted.filter(|w| *w != id) {
            tracing::warn!("the runtime {wanted} is configured as {}, which is {}", path.display(), told.version);
            continue;
        }
        let is_better = best.get(&id).is_none_or(|(is_explicit, have)| {
            !is_explicit && (wanted.is_some() || numbers(&told.version) > numbers(&have.version))
        });
        if is_better {
            best.insert(id, (wanted.is_some(), told));
        }
    }
    if let Ok(text) = serde_json::to_vec(&new) {
        // Only a cache: without it the next start asks again.
        let _ = std::fs::write(&cache_path, text);
    }
    let provided = ["provided.al2", "provided.al2023"].map(custom);
    let wasm = options.wasm.iter().map(|program| Found {
        family: Family::Wasm,
        version: program.version.clone(),
        ..custom(wasm::RUNTIME)
    });
    best.into_iter().filter_map(|(id, (_, told))| found(id, told)).chain(provided).chain(wasm).collect()
}

fn custom(id: &str) -> Found {
    Found {
        id: id.into(),
        family: Family::Provided,
        exe: PathBuf::new(),
        version: "1".into(),
        exe_inside: PathBuf::new(),
        prefix_inside: None,
        mounts: Vec::new(),
    }
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|n| n.parse().unwrap_or(0)).collect()
}

fn family(told: &Told) -> Option<Family> {
    let numbers = numbers(&told.version);
    match (told.kind, numbers.as_slice()) {
        (Kind::Node, [major, ..]) => Some(Family::Node(*major)),
        (Kind::Java, [feature, ..]) => Some(Family::Java(*feature)),
        (Kind::Python, [3, minor, ..]) => Some(Family::Python(*minor)),
        (Kind::Ruby, [3, minor, ..]) => Some(Family::Ruby(*minor)),
        _ => None,
    }
}

fn found(id: String, told: Told) -> Option<Found> {
    let family = family(&told)?;
    let base = Found {
        id,
        family,
        exe_inside: told.exe.clone(),
        version: told.version,
        prefix_inside: None,
        mounts: Vec::new(),
        exe: told.exe.clone(),
    };
    if told.exe.starts_with("/usr") && told.prefix.starts_with("/usr") {
        return Some(base);
    }
    // All find their files relative to the program, so they may stand where AWS has them.
    let lang = PathBuf::from("/var/lang");
    let (exe_inside, mount) = if told.kind == Kind::Node {
        let inside = lang.join("bin/node");
        (inside.clone(), Mount { host: told.exe, inside })
    } else {
        let relative = told.exe.strip_prefix(&told.prefix).ok()?;
        (lang.join(relative), Mount { host: told.prefix, inside: lang.clone() })
    };
    Some(Found { exe_inside, prefix_inside: Some("/var/lang".into()), mounts: vec![mount], ..base })
}

async fn ask(path: &Path, old: &BTreeMap<PathBuf, Answer>) -> Option<Answer> {
    let real = std::fs::canonicalize(path).ok()?;
    let meta = std::fs::metadata(&real).ok().filter(std::fs::Metadata::is_file)?;
    if let Some(known) = old.get(path).filter(|a| a.size == meta.len() && a.changed == meta.mtime()) {
        return Some(known.clone());
    }
    let told = if is_program(&real) { probe(path).await } else { None };
    Some(Answer { size: meta.len(), changed: meta.mtime(), told })
}

/// Shims of version managers are scripts: what they lead to is found below the manager's own folder.
fn is_program(path: &Path) -> bool {
    let mut magic = [0u8; 4];
    let read = std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}

async fn probe(path: &Path) -> Option<Told> {
    let kind = Kind::of(&path.file_name()?.to_string_lossy());
    if kind == Kind::Java {
        return probe_java(path).await;
    }
    let mut command = Command::new(path);
    match kind {
        Kind::Node => {
            command.args(["-e", "console.log(process.versions.node+'\\n'+process.execPath+'\\n'+process.execPath)"])
        }
        Kind::Ruby => command.args([
            "--disable-all",
            "-e",
            "puts RUBY_VERSION, RbConfig.ruby, RbConfig::CONFIG['prefix']",
            "-rrbconfig",
        ]),
        _ => command.args([
            "-I",
            "-S",
            "-c",
            "import sys;print('%d.%d.%d'%sys.version_info[:3]);print(sys.executable);print(sys.base_prefix)",
        ]),
    };
    let text = output(command, PROBE_TIMEOUT).await.ok()?;
    let mut lines = text.lines();
    let (version, exe, prefix) = (lines.next()?, lines.next()?, lines.next()?);
    let exe = std::fs::canonicalize(exe).ok()?;
    let prefix = std::fs::canonicalize(prefix).ok()?;
    Some(Told { kind, version: version.to_owned(), exe, prefix })
}

/// Java tells its version, and its home is two folders above the program that the links lead to.
async fn probe_java(path: &Path) -> Option<Told> {
    let mut command = Command::new(path);
    command.arg("--version");
    let text = output(command, PROBE_TIMEOUT).await.ok()?;
    // openjdk 17.0.15 2025-04-15
    let version = text.split_whitespace().nth(1)?.split(['-', '+']).next()?.to_owned();
    let exe = std::fs::canonicalize(path).ok()?;
    let prefix = exe.parent()?.parent()?.to_owned();
    Some(Told { kind: Kind::Java, version, exe, prefix })
}

/// What a program prints; its error output as the error.
pub async fn output(mut command: Command, limit: Duration) -> Result<String, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let run = command.output();
    let done = match tokio::time::timeout(limit, run).await {
        Ok(done) => done.map_err(|e| e.to_string())?,
        Err(_) => return Err(format!("no end after {} s", limit.as_secs())),
    };
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&done.stderr);
    let last: Vec<&str> = text.lines().rev().take(5).collect();
    Err(format!("{}: {}", done.status, last.into_iter().rev().collect::<Vec<_>>().join(" / ")))
}

/// Compiles the Python client once for every Python: a sandbox sees it read-only and could not keep the result.
pub async fn compile_client(all: &[Found], client: &Path) {
    let pythons = all.iter().filter_map(|f| match f.family {
        Family::Python(minor) => Some((f, minor)),
        _ => None,
    });
    for (found, minor) in pythons {
        if client.join(format!("__pycache__/_squall_runtime.cpython-3{minor}.pyc")).is_file() {
            continue;
        }
        let mut command = Command::new(&found.exe);
        let script = "import py_compile,sys;py_compile.compile(sys.argv[1],doraise=True,\
                      invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)";
        command.args(["-I", "-c", script]).arg(client.join("_squall_runtime.py"));
        if let Err(e) = output(command, PROBE_TIMEOUT).await {
            // It is compiled at every start then, which costs some milliseconds.
            tracing::warn!("compile the runtime client for {}: {e}", found.id);
        }
    }
}

fn candidates(options: &Options) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let mut list = Vec::new();
    for folder in folders(options) {
        for name in names() {
            let path = folder.join(name);
            let Ok(real) = std::fs::canonicalize(&path) else { continue };
            // One program under several names is asked once; a shim's target depends on the name.
            if seen.insert(real) && list.len() < CANDIDATES_MAX {
                list.push(path);
            }
        }
    }
    list
}

fn names() -> Vec<OsString> {
    let mut names: Vec<OsString> = vec!["node".into(), "nodejs".into(), "python3".into(), "java".into(), "ruby".into()];
    names.extend((9..=14).map(|minor| format!("python3.{minor}").into()));
    names.extend((2..=4).map(|minor| format!("ruby3.{minor}").into()));
    names
}

/// Folders that may hold interpreters.
fn folders(options: &Options) -> Vec<PathBuf> {
    let host = &options.host;
    let mut list: Vec<PathBuf> = std::env::split_paths(&host.path).filter(|p| p.is_absolute()).collect();
    list.extend(["/usr/bin", "/usr/local/bin", "/opt/bin"].map(PathBuf::from));
    list.extend(below(Path::new("/opt"), "bin"));
    list.extend(below(Path::new("/usr/local/n/versions/node"), "bin"));
    let home = host.home.clone().unwrap_or_default();
    let manager = |name: &str, usual: &str| host.managers.get(name).cloned().unwrap_or_else(|| home.join(usual));
    list.extend(below(&manager("PYENV_ROOT", ".pyenv").join("versions"), "bin"));
    list.extend(below(&manager("NVM_DIR", ".nvm").join("versions/node"), "bin"));
    for fnm in [manager("FNM_DIR", ".local/share/fnm"), home.join(".fnm")] {
        list.extend(below(&fnm.join("node-versions"), "installation/bin"));
    }
    list.extend(below(&manager("VOLTA_HOME", ".volta").join("tools/image/node"), "bin"));
    list.extend(below(&home.join(".nodenv/versions"), "bin"));
    let asdf = manager("ASDF_DATA_DIR", ".asdf").join("installs");
    list.extend(["nodejs", "python"].iter().flat_map(|kind| below(&asdf.join(kind), "bin")));
    let mise = manager("MISE_DATA_DIR", ".local/share/mise").join("installs");
    list.extend(["node", "python"].iter().flat_map(|kind| below(&mise.join(kind), "bin")));
    list.extend(below(Path::new("/usr/lib/jvm"), "bin"));
    list.extend(host.managers.get("JAVA_HOME").map(|java| java.join("bin")));
    list.extend(below(&home.join(".sdkman/candidates/java"), "bin"));
    list.extend(below(&manager("RBENV_ROOT", ".rbenv").join("versions"), "bin"));
    list.extend(["ruby", "java"].iter().flat_map(|kind| below(&asdf.join(kind), "bin")));
    list.extend(["ruby", "java"].iter().flat_map(|kind| below(&mise.join(kind), "bin")));
    list.extend(below(&manager("UV_PYTHON_INSTALL_DIR", ".local/share/uv/python"), "bin"));
    list
}

fn below(parent: &Path, rest: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut list: Vec<PathBuf> = entries.flatten().map(|e| e.path().join(rest)).filter(|p| p.is_dir()).collect();
    list.sort();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: Kind, version: &str, exe: &str, prefix: &str) -> Told {
        Told { kind, version: version.into(), exe: exe.into(), prefix: prefix.into() }
    }

    #[test]
    fn interpreters_outside_usr_stand_where_aws_has_them() {
        let node = found("nodejs20.x".into(), told(Kind::Node, "20.1.0", "/home/u/n/bin/node", "/home/u/n/bin/node"))
            .expect("node");
        assert_eq!(node.exe_inside, Path::new("/var/lang/bin/node"));
        assert_eq!(node.mounts[0].host, Path::new("/home/u/n/bin/node"));
        let python = found("python3.12".into(), told(Kind::Python, "3.12.1", "/p/3.12/bin/python3.12", "/p/3.12"))
            .expect("python");
        assert_eq!(python.exe_inside, Path::new("/var/lang/bin/python3.12"));
        assert_eq!(python.mounts[0], Mount { host: "/p/3.12".into(), inside: "/var/lang".into() });
        let system =
            found("python3.11".into(), told(Kind::Python, "3.11.2", "/usr/bin/python3.11", "/usr")).expect("python");
        assert!(system.mounts.is_empty() && system.exe_inside == Path::new("/usr/bin/python3.11"));
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("20.10.0") > numbers("20.9.1"));
    }
}
