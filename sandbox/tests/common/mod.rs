//! What every test of this crate needs: a sandbox of its own, a shell function's specification, its output.
#![allow(dead_code, reason = "each test program uses a part of this")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use squall_sandbox::{Exit, Level, Mount, Options, Sandbox, Spec, Start, Worker, ZYGOTE_LIBRARY, Zygote, ZygoteSpec};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

pub const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

pub fn spawner() -> PathBuf {
    env!("CARGO_BIN_EXE_squall-spawner").into()
}

/// A sandbox with a folder of its own; the folder goes with it.
pub struct Lab {
    pub sandbox: Sandbox,
    pub dir: TempDir,
}

impl Lab {
    pub async fn start(level: Level, pool: usize) -> Lab {
        let dir = tempfile::tempdir().expect("temporary directory");
        let sandbox = Sandbox::start(Self::options(dir.path().join("run"), level, pool)).await.expect(
            "these tests need root, user namespaces and cgroup write access: run them where `probe` reports level full",
        );
        Lab { sandbox, dir }
    }

    pub fn options(run_dir: PathBuf, level: Level, pool: usize) -> Options {
        Options {
            level,
            run_dir,
            pool,
            egress: squall_sandbox::Reach::Nothing,
            spawner_exe: spawner(),
            spawner_args: Vec::new(),
        }
    }

    pub fn code(&self) -> PathBuf {
        let code = self.dir.path().join("code");
        std::fs::create_dir_all(&code).expect("code directory");
        code
    }

    /// A worker that runs `script` with the shell.
    pub fn shell(&self, script: &str) -> Spec {
        self.program(["/bin/sh", "-c", script])
    }

    /// A worker that runs `script` with the host's Python.
    pub fn python(&self, script: &str) -> Spec {
        self.program(["/usr/bin/python3", "-I", "-S", "-c", script])
    }

    pub fn program<const N: usize>(&self, argv: [&str; N]) -> Spec {
        Spec {
            id: "test".into(),
            argv: argv.iter().map(OsString::from).collect(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            code: self.code(),
            opt: None,
            mounts: Vec::new(),
            memory_bytes: 128 * MIB,
            tmp_bytes: 512 * MIB,
            pids_max: 64,
            cpu_shares: 1024,
            cpu_quota_percent: None,
            start: squall_sandbox::Start::Execute,
        }
    }

    pub async fn run(&self, spec: Spec) -> (String, Exit) {
        let worker = self.sandbox.spawn(spec).await.expect("spawn");
        finish(worker).await
    }
}

/// Waits until that many sandboxes are ready.
pub async fn ready(lab: &Lab, count: usize) {
    while lab.sandbox.stats().ready != count {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// All output, and how it ended.
pub async fn finish(worker: Worker) -> (String, Exit) {
    let Worker { output, control, .. } = worker;
    let mut output = tokio::net::unix::pipe::Receiver::from_owned_fd(output).expect("output pipe");
    let mut text = Vec::new();
    let ended = async {
        output.read_to_end(&mut text).await.expect("read output");
        control.wait().await
    };
    let exit = tokio::time::timeout(PATIENCE, ended).await.expect("the worker ends in time");
    (String::from_utf8_lossy(&text).into_owned(), exit)
}

/// A zygote in Python: what it runs in a worker is the worker's second argument.
const PROGRAM: &str = r#"
import ctypes, os, sys
lib = ctypes.PyDLL("/var/runtime/zygote.so")
lib.squall_zygote_serve.restype = ctypes.c_void_p
length = ctypes.c_uint32()
ctypes.pythonapi.PyOS_BeforeFork()
at = lib.squall_zygote_serve(3, b"hello", None, ctypes.byref(length))
ctypes.pythonapi.PyOS_AfterFork_Child()
payload = ctypes.string_at(at, length.value)
exec(open("/var/runtime/adopt.py").read())
exec(argv[-1].decode())
"#;

/// Makes the payload's environment this process's, and its arguments `argv`.
pub const ADOPT: &str = r#"
argc, envc = int.from_bytes(payload[:4], "little"), int.from_bytes(payload[4:8], "little")
strings = payload[8:].split(b"\0")
argv, env = strings[:argc], strings[argc:argc + envc]
os.environ.clear()
for pair in env:
    name, _, value = pair.partition(b"=")
    os.environb[name] = value
"#;

fn mounts(lab: &Lab) -> Vec<Mount> {
    let host = lab.dir.path().join("client");
    if !host.exists() {
        // Once: a library must not change under a process that has loaded it.
        std::fs::create_dir_all(&host).expect("client directory");
        std::fs::write(host.join("zygote.so"), ZYGOTE_LIBRARY).expect("write");
        std::fs::write(host.join("zygote.py"), PROGRAM).expect("write");
        std::fs::write(host.join("adopt.py"), ADOPT).expect("write");
    }
    vec![Mount { host, inside: "/var/runtime".into() }]
}

/// A Python zygote whose forks run the script of [`forked`].
pub async fn zygote(lab: &Lab) -> Zygote {
    zygote_with(lab, None).await
}

/// The same with one mount more.
pub async fn zygote_with(lab: &Lab, more: Option<Mount>) -> Zygote {
    let spec = ZygoteSpec {
        id: "test".into(),
        argv: ["/usr/bin/python3", "-I", "-S", "/var/runtime/zygote.py"].map(Into::into).to_vec(),
        env: vec![("ZYGOTE".into(), "own".into())],
        mounts: mounts(lab).into_iter().chain(more).collect(),
        keeps_descriptors: false,
        is_stem: false,
    };
    lab.sandbox.start_zygote(spec).await.expect("start a zygote")
}

/// A worker that is a fork and runs `script`.
pub fn forked(lab: &Lab, zygote: &Zygote, script: &str) -> Spec {
    let mut spec = lab.python(script);
    spec.start = Start::Fork(zygote.number());
    spec.mounts = mounts(lab);
    spec
}
