//! A worker starts, speaks, listens, stops, ends.

mod common;

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::time::Duration;

use common::{Lab, MIB, finish};
use squall_sandbox::{Error, Level, Mount, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ROLE: &str = "SQUALL_TEST_WITHOUT_ROOT";

#[tokio::test]
async fn program_runs_as_the_aws_user_in_its_own_world() {
    let lab = Lab::start(Level::Full, 1).await;
    std::fs::write(lab.code().join("hello.txt"), "from the code").expect("write");
    let script = "id -u; id -g; pwd; cat hello.txt; echo; env; hostname; exit 7";
    let (text, exit) = lab.run(lab.shell(script)).await;
    assert_eq!((exit.code, exit.signal, exit.oom), (Some(7), None, false));
    let expected = "993\n993\n/var/task\nfrom the code\nPATH=/usr/bin:/bin\nPWD=/var/task\nlocalhost\n";
    assert_eq!(text, expected);
    lab.sandbox.shutdown().await;
}

#[tokio::test]
async fn output_is_one_stream_and_dev_stdout_opens() {
    let lab = Lab::start(Level::Full, 1).await;
    let script = "echo one; echo two >&2; echo three > /dev/stdout; echo four > /dev/stderr; cat";
    let (text, exit) = lab.run(lab.shell(script)).await;
    assert_eq!((text.as_str(), exit.code), ("one\ntwo\nthree\nfour\n", Some(0)));
}

#[tokio::test]
async fn layers_and_mounts_are_where_they_were_asked_for() {
    let lab = Lab::start(Level::Full, 1).await;
    let layer = lab.dir.path().join("layer");
    // As for an interpreter below a home directory that only its owner may enter.
    let home = lab.dir.path().join("home");
    std::fs::create_dir_all(home.join("python/bin")).expect("directories");
    std::fs::create_dir_all(&layer).expect("directory");
    std::fs::write(layer.join("l"), "layer\n").expect("write");
    std::fs::write(home.join("python/bin/p"), "python\n").expect("write");
    std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("chmod");
    let mut spec = lab.shell("cat /opt/l /srv/a/b/bin/p /var/one; touch /opt/x /srv/a/x /var/one /var/y");
    spec.opt = Some(layer.clone());
    spec.mounts = vec![
        Mount { host: home.join("python"), inside: "/srv/a/b".into() },
        Mount { host: layer.join("l"), inside: "/var/one".into() },
    ];
    let (text, exit) = lab.run(spec).await;
    assert!(text.starts_with("layer\npython\nlayer\n"), "{text}");
    assert_eq!(text.matches("cannot touch").count(), 4, "{text}");
    assert_eq!(exit.code, Some(1));
}

#[tokio::test]
async fn both_listeners_answer_inside_and_only_there() {
    let lab = Lab::start(Level::Full, 1).await;
    let script = "import socket\nfor p in (9001, 4566):\n s=socket.create_connection(('127.0.0.1',p)); s.send(b'hi'); print(s.recv(9).decode())";
    let worker = lab.sandbox.spawn(lab.python(script)).await.expect("spawn");
    assert_eq!(worker.runtime_api_addr.to_string(), "127.0.0.1:9001");
    assert_eq!(worker.endpoint_addr.to_string(), "127.0.0.1:4566");
    for (listener, reply) in [(&worker.runtime_api, "runtime"), (&worker.endpoint, "endpoint")] {
        let listener = tokio::net::TcpListener::from_std(listener.try_clone().expect("clone")).expect("listener");
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut hi = [0; 2];
        stream.read_exact(&mut hi).await.expect("read");
        stream.write_all(reply.as_bytes()).await.expect("write");
    }
    let (text, _) = finish(worker).await;
    assert_eq!(text, "runtime\nendpoint\n");
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let lab = Lab::start(Level::Full, 1).await;
    let mut nowhere = lab.shell("true");
    nowhere.code = "/does/not/exist".into();
    let mut read_only = lab.shell("true");
    read_only.mounts = vec![Mount { host: lab.code(), inside: "/usr/not-there/x".into() }];
    let mut dots = lab.shell("true");
    dots.mounts = vec![Mount { host: lab.code(), inside: "/a/../b".into() }];
    let mut over_proc = lab.shell("true");
    over_proc.mounts = vec![Mount { host: lab.code(), inside: "/proc/x".into() }];
    let mut small = lab.shell("true");
    small.memory_bytes = 1;
    let cases = [
        (lab.program(["/bin/not-there"]), "execute /bin/not-there: No such file"),
        (lab.program(["/etc/passwd"]), "execute /etc/passwd: Permission denied"),
        (nowhere, "bind /does/not/exist: No such file"),
        (read_only, "make the mount point /usr/not-there/x: Read-only file system"),
        (dots, "without `..`"),
        (over_proc, "/proc/x is not allowed"),
        (small, "memory_bytes must be at least"),
    ];
    for (spec, expected) in cases {
        let error = lab.sandbox.spawn(spec).await.err().expect("an error").to_string();
        assert!(error.contains(expected), "{error}");
    }
    let (text, _) = lab.run(lab.shell("echo still here")).await;
    assert_eq!(text, "still here\n");
}

#[tokio::test]
async fn orphans_die_with_the_program() {
    let lab = Lab::start(Level::Full, 1).await;
    // The orphan would keep the pipe open: the end of the output shows that it is gone.
    let (text, exit) = lab.run(lab.shell("(setsid sleep 1000 &) ; sleep 0.1; echo bye")).await;
    assert_eq!((text.as_str(), exit.code), ("bye\n", Some(0)));
}

#[tokio::test]
async fn signals_and_kills_are_told() {
    let lab = Lab::start(Level::Full, 1).await;
    let (_, exit) = lab.run(lab.shell("kill -SEGV $$")).await;
    assert_eq!((exit.code, exit.signal), (None, Some(libc::SIGSEGV)));
    let worker = lab.sandbox.spawn(lab.shell("sleep 1000")).await.expect("spawn");
    worker.kill();
    assert_eq!(worker.wait().await.signal, Some(libc::SIGKILL));
    assert!(!worker.oom_killed());
}

#[tokio::test]
async fn frozen_worker_stands_still_and_can_be_killed() {
    let lab = Lab::start(Level::Full, 1).await;
    let spec = || lab.python("import time\nwhile True: print('tick', flush=True); time.sleep(0.002)");
    let worker = lab.sandbox.spawn(spec()).await.expect("spawn");
    let mut output = std::fs::File::from(worker.output.try_clone().expect("clone"));
    let mut read_all = move || {
        let mut total = 0;
        let mut buffer = [0; 4096];
        while let Ok(n) = output.read(&mut buffer) {
            total += n;
        }
        total
    };
    tokio::time::timeout(Duration::from_secs(20), async {
        while read_all() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("ticks");
    worker.freeze().expect("freeze");
    read_all();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(read_all(), 0, "a frozen worker wrote");
    worker.thaw().expect("thaw");
    std::thread::sleep(Duration::from_millis(50));
    assert!(read_all() > 0, "a thawed worker did not write");
    worker.freeze().expect("freeze");
    worker.kill();
    let exit = tokio::time::timeout(Duration::from_secs(20), worker.wait()).await.expect("dies frozen");
    assert_eq!(exit.signal, Some(libc::SIGKILL));
}

#[tokio::test]
async fn memory_bomb_is_ended_whole_and_told_as_such() {
    let lab = Lab::start(Level::Full, 1).await;
    // The bomb is a child: on cgroup v1 the kernel kills only that, we everything.
    let bomb = "import os,time\nif os.fork()==0:\n x=[]\n while True: x.append(bytearray(1<<20))\ntime.sleep(1000)";
    let worker = lab.sandbox.spawn(lab.python(bomb)).await.expect("spawn");
    let exit = tokio::time::timeout(Duration::from_secs(60), worker.wait()).await.expect("dies");
    assert_eq!((exit.code, exit.signal, exit.oom), (None, Some(libc::SIGKILL), true));
    assert!(worker.oom_killed());
    let peak = worker.memory_peak_bytes();
    assert!((100 * MIB..=128 * MIB).contains(&peak), "peak {peak}");
}

#[tokio::test]
async fn tmp_holds_its_size_is_not_memory_and_ends_with_enospc() {
    let lab = Lab::start(Level::Full, 1).await;
    let fill = "import os\nn=0\nf=open('/tmp/x','wb',0)\ntry:\n while True: n+=f.write(bytes(1<<20))\nexcept OSError as e: print(e.errno, n>>20)";
    for size_mib in [512, 600] {
        let mut spec = lab.python(fill);
        spec.tmp_bytes = size_mib * MIB;
        let (text, exit) = lab.run(spec).await;
        let mut words = text.split_whitespace().map(|w| w.parse::<u64>().expect("number"));
        assert_eq!((words.next(), exit.code, exit.oom), (Some(libc::ENOSPC as u64), Some(0), false), "{text}");
        let written = words.next().expect("amount");
        assert!((size_mib..size_mib + size_mib / 20).contains(&written), "{written} of {size_mib}");
    }
}

#[tokio::test]
async fn plain_level_runs_with_ports_of_the_host() {
    let lab = Lab::start(Level::None, 1).await;
    assert!(lab.sandbox.note().contains("no isolation"));
    let worker = lab.sandbox.spawn(lab.shell("pwd; echo $A; exit 3")).await.expect("spawn");
    let (api, endpoint) = (worker.runtime_api_addr, worker.endpoint_addr);
    assert_ne!(api, endpoint);
    let mut stream = std::net::TcpStream::connect(api).expect("connect");
    stream.write_all(b"x").expect("write");
    let (text, exit) = finish(worker).await;
    assert_eq!((text, exit.code), (format!("{}\n\n", lab.code().display()), Some(3)));
    let (text, _) = lab.run(lab.shell("sleep 1000 & echo left a child")).await;
    assert_eq!(text, "left a child\n");
    let worker = lab.sandbox.spawn(lab.shell("sleep 1000 & wait")).await.expect("spawn");
    drop(worker.control.clone());
    worker.freeze().expect("freeze");
    worker.thaw().expect("thaw");
    worker.kill();
    assert_eq!(worker.wait().await.signal, Some(libc::SIGKILL));
}

#[tokio::test]
async fn level_without_cgroups_still_isolates() {
    let lab = Lab::start(Level::Namespaces, 1).await;
    let (text, exit) = lab.run(lab.shell("id -u; cat /etc/shadow; exit 0")).await;
    assert!(text.starts_with("993\n") && text.contains("No such file"), "{text}");
    assert_eq!(exit.code, Some(0));
    let worker = lab.sandbox.spawn(lab.shell("sleep 1000")).await.expect("spawn");
    worker.freeze().expect("freeze");
    worker.kill();
    assert_eq!(worker.wait().await.signal, Some(libc::SIGKILL));
}

/// Not a test of its own: what the next test runs as another user.
#[tokio::test]
async fn role_without_root() {
    let Some(dir) = std::env::var_os(ROLE) else { return };
    let dir = std::path::PathBuf::from(dir);
    let mut o = Lab::options(dir.join("run"), Level::Full, 1);
    o.spawner_exe = dir.join("spawner");
    let error = Sandbox::start(o.clone()).await.err().expect("no cgroups without root").to_string();
    assert!(error.contains("no write access to cgroups") && error.contains("run as root"), "{error}");
    o.level = Level::Namespaces;
    let sandbox = Sandbox::start(o).await.expect("needs unprivileged user namespaces: see `probe`");
    assert!(sandbox.note().contains("loop devices need root"));
    let lab = Lab { sandbox, dir: tempfile::tempdir_in(dir).expect("directory") };
    let script = "id -u; cat /etc/shadow; touch /x /tmp/x; ls /tmp; grep -c : /proc/net/dev; exit 5";
    let (text, exit) = lab.run(lab.shell(script)).await;
    assert!(text.starts_with("993\n") && text.ends_with("\nx\n1\n"), "{text}");
    assert_eq!((text.matches("cannot touch").count(), exit.code), (1, Some(5)), "{text}");
    lab.sandbox.shutdown().await;
    println!("WITHOUT ROOT: DONE");
}

#[test]
fn level_namespaces_needs_no_root() {
    let dir = tempfile::tempdir().expect("directory");
    // Copies, since another user may not be able to reach where this program was built.
    let test = dir.path().join("test");
    std::fs::copy(std::env::current_exe().expect("this program"), &test).expect("copy");
    std::fs::copy(common::spawner(), dir.path().join("spawner")).expect("copy");
    std::os::unix::fs::chown(dir.path(), Some(12_345), Some(12_345)).expect("chown: these tests need root");
    let output = std::process::Command::new(test)
        .args(["--exact", "role_without_root", "--nocapture"])
        .env(ROLE, dir.path())
        .current_dir("/")
        .uid(12_345)
        .gid(12_345)
        .output()
        .expect("run");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("WITHOUT ROOT: DONE"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn two_servers_cannot_share_a_directory_and_a_missing_spawner_is_told() {
    let lab = Lab::start(Level::None, 0).await;
    let error = Sandbox::start(Lab::options(lab.dir.path().join("run"), Level::None, 0)).await.err().expect("refused");
    assert!(matches!(&error, Error::Unavailable { missing, .. } if missing.contains("in use by another server")));
    let mut o = Lab::options(lab.dir.path().join("run"), Level::None, 0);
    o.spawner_exe = "/does/not/exist".into();
    assert!(matches!(Sandbox::start(o).await.err(), Some(Error::Start { .. })));
}

#[tokio::test]
async fn burst_beyond_the_pool_loses_nothing() {
    let lab = Lab::start(Level::Full, 2).await;
    let spawns = (0..40).map(|n| {
        let (sandbox, spec) = (lab.sandbox.clone(), lab.shell(&format!("echo {n}")));
        tokio::spawn(async move { finish(sandbox.spawn(spec).await.expect("spawn")).await.0 })
    });
    for (n, task) in spawns.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(task.await.expect("task"), format!("{n}\n"));
    }
}

#[tokio::test]
async fn common_runtimes_work_under_the_filter() {
    let lab = Lab::start(Level::Full, 1).await;
    let node = "const{Worker}=require('worker_threads');const fs=require('fs');const net=require('net');\
        fs.writeFileSync('/tmp/a','x');const s=net.createServer(c=>c.end('ok')).listen(0,()=>{\
        net.connect(s.address().port).on('data',d=>{new Worker('require(\"worker_threads\").parentPort.postMessage(1)',{eval:true})\
        .on('message',()=>{console.log('node '+d+require('os').networkInterfaces().lo.length);process.exit(0)})})})";
    let python = "import threading,subprocess,tempfile,socket,multiprocessing.pool,ssl,ctypes,mmap\n\
        t=threading.Thread(target=lambda:print('python',flush=True));t.start();t.join()\n\
        print(multiprocessing.pool.ThreadPool(2).map(abs,[-1,-2]),subprocess.check_output(['echo','x']),socket.getaddrinfo('localhost',1)[0][4][0])";
    let mut cases = Vec::new();
    for (path, argv, expected) in [
        ("/usr/bin/node", ["/usr/bin/node", "-e", node], "node ok"),
        ("/usr/bin/python3", ["/usr/bin/python3", "-c", python], "python\n[1, 2] b'x\\n'"),
        ("/usr/bin/java", ["/usr/bin/java", "-Xmx96m", "-version"], "Server VM"),
    ] {
        if std::path::Path::new(path).exists() {
            cases.push((lab.program(argv), expected));
        } else {
            eprintln!("NOT RUN: {path} is not installed");
        }
    }
    for (mut spec, expected) in cases {
        spec.memory_bytes = 256 * MIB;
        let (text, exit) = lab.run(spec).await;
        assert!(text.contains(expected) && exit.code == Some(0), "{exit:?} {text}");
    }
}
