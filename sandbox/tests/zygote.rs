//! Workers that are forks of a zygote.

mod common;

use common::{Lab, finish, forked, ready, zygote, zygote_with};
use squall_sandbox::{Level, Mount, ZygoteSpec};

#[tokio::test]
async fn a_fork_is_a_worker_like_any_other() {
    let lab = Lab::start(Level::Full, 2).await;
    let zygote = zygote(&lab).await;
    assert_eq!(zygote.text(), "hello");
    let script = "
print(os.getppid(), os.getuid(), os.getgid(), os.getcwd(), dict(os.environ), sorted(os.listdir('/proc/self/fd')), os.getsid(0)==os.getpid())
print(os.readlink('/proc/self/fd/0'), os.path.exists('/var/runtime/zygote.py'), os.listdir('/opt'))
open('/tmp/x','w').write('x'); sys.stdout.flush(); os._exit(7)";
    for _ in 0..3 {
        let (text, exit) = lab.run(forked(&lab, &zygote, script)).await;
        let own = "1 993 993 /var/task {'PATH': '/usr/bin:/bin'} ['0', '1', '2', '3'] True\n/dev/null True []\n";
        assert_eq!((text.as_str(), exit.code), (own, Some(7)), "{exit:?}");
    }
    assert!(zygote.is_alive());
}

#[tokio::test]
async fn a_fork_ends_by_signal_memory_and_kill() {
    let lab = Lab::start(Level::Full, 2).await;
    let zygote = zygote(&lab).await;
    let (_, exit) = lab.run(forked(&lab, &zygote, "os.kill(os.getpid(), 9)")).await;
    assert_eq!((exit.code, exit.signal, exit.oom), (None, Some(9), false));
    let (_, exit) = lab.run(forked(&lab, &zygote, "x = bytearray(10 ** 9); x[::4096] = b'x' * len(x[::4096])")).await;
    assert!(exit.oom, "{exit:?}");
    let worker = lab.sandbox.spawn(forked(&lab, &zygote, "import time; time.sleep(1000)")).await.expect("spawn");
    worker.freeze().expect("freeze");
    worker.kill();
    assert_eq!(finish(worker).await.1.signal, Some(9));
    // Its children end with it.
    let script = "
if os.fork() == 0:
    import time; time.sleep(1000)
os._exit(3)";
    assert_eq!(lab.run(forked(&lab, &zygote, script)).await.1.code, Some(3));
    let peak = "x = bytearray(50 << 20); x[::4096] = b'x' * len(x[::4096]); import time; time.sleep(1000)";
    let worker = lab.sandbox.spawn(forked(&lab, &zygote, peak)).await.expect("spawn");
    while worker.memory_peak_bytes() < 50 << 20 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(zygote.is_alive());
}

#[tokio::test]
async fn many_forks_at_once_all_come() {
    let lab = Lab::start(Level::Full, 4).await;
    let zygote = zygote(&lab).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40 {
        let mut spec = forked(&lab, &zygote, "print(os.environ['N'], end=''); sys.stdout.flush(); os._exit(0)");
        spec.env.push(("N".into(), n.to_string().into()));
        let sandbox = lab.sandbox.clone();
        tasks.spawn(async move { (n, finish(sandbox.spawn(spec).await.expect("spawn")).await) });
    }
    while let Some(done) = tasks.join_next().await {
        let (n, (text, exit)) = done.expect("task");
        assert_eq!((text, exit.code), (n.to_string(), Some(0)));
    }
}

#[tokio::test]
async fn nothing_of_another_fork_is_left_in_memory() {
    let lab = Lab::start(Level::Full, 2).await;
    let zygote = zygote(&lab).await;
    let mut first = forked(&lab, &zygote, "os._exit(0)");
    let secret = format!("{}{}", "hunter-", "2".repeat(3000));
    first.env.push(("SECRET".into(), secret.into()));
    assert_eq!(lab.run(first).await.1.code, Some(0));
    let script = "
found = 0
needle = b'hunt' + b'er-2'
for line in open('/proc/self/maps'):
    span, mode = line.split()[:2]
    if mode[0] != 'r' or '[v' in line: continue
    a, b = (int(x, 16) for x in span.split('-'))
    try:
        with open('/proc/self/mem', 'rb', 0) as m:
            m.seek(a); found += m.read(b - a).count(needle + b'2222')
    except (OSError, OverflowError, ValueError): pass
print(found); sys.stdout.flush(); os._exit(0)";
    let (text, _) = lab.run(forked(&lab, &zygote, script)).await;
    assert_eq!(text, "0\n");
}

#[tokio::test]
async fn a_zygote_that_hangs_is_ended() {
    let lab = Lab::start(Level::Full, 2).await;
    let zygote = zygote(&lab).await;
    let own = lab.dir.path().display().to_string();
    // The mounts of its root tell whose it is.
    let is_ours = |pid: &i32| {
        let read = |name| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        read("cmdline").contains("zygote.py") && read("mountinfo").contains(&own)
    };
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pid = all.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok()).find(is_ours).expect("the zygote");
    // SAFETY: integers; the process is a zygote of this very test.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGSTOP) }, 0);
    let error = lab.sandbox.spawn(forked(&lab, &zygote, "os._exit(0)")).await.err().expect("refused").to_string();
    assert!(error.contains("it does not answer"), "{error}");
    assert_eq!(zygote.gone().await, "it does not answer");
    assert_eq!(lab.run(lab.shell("echo fine")).await.0, "fine\n");
}

#[tokio::test]
async fn sandboxes_given_up_while_a_zygote_forks_into_them_do_not_stop_it() {
    let lab = Lab::start(Level::Full, 0).await;
    let zygote = zygote(&lab).await;
    for _ in 0..20 {
        zygote.stock(16);
        while lab.sandbox.stats().ready < 4 {
            tokio::task::yield_now().await;
        }
        zygote.stock(0);
        let (text, exit) = lab.run(forked(&lab, &zygote, "print('here'); sys.stdout.flush(); os._exit(0)")).await;
        assert_eq!((text.as_str(), exit.code), ("here\n", Some(0)));
    }
    assert!(zygote.is_alive());
}

#[tokio::test]
async fn a_mount_that_fails_while_a_zygote_forks_does_not_stop_it() {
    let lab = Lab::start(Level::Full, 2).await;
    let zygote = zygote(&lab).await;
    for _ in 0..20 {
        let mut broken = forked(&lab, &zygote, "os._exit(0)");
        broken.mounts.push(Mount { host: lab.dir.path().join("gone"), inside: "/opt/x".into() });
        lab.sandbox.spawn(broken).await.err().expect("refused");
        let (text, _) = lab.run(forked(&lab, &zygote, "print('here'); sys.stdout.flush(); os._exit(0)")).await;
        assert_eq!(text, "here\n");
    }
    assert!(zygote.is_alive());
}

#[tokio::test]
async fn a_zygote_that_ends_takes_no_worker_with_it() {
    let lab = Lab::start(Level::Full, 2).await;
    let zygote = zygote(&lab).await;
    let spec = forked(&lab, &zygote, "import time; time.sleep(1000)");
    let worker = lab.sandbox.spawn(spec.clone()).await.expect("spawn");
    drop(zygote);
    // Orders are carried out one after the other: this one comes after the end.
    let error = lab.sandbox.spawn(spec).await.err().expect("refused").to_string();
    assert!(error.contains("the zygote is not there"), "{error}");
    assert_eq!(worker.control.exit(), None);
    let (text, _) = lab.run(lab.shell("echo still here")).await;
    assert_eq!(text, "still here\n");
}

#[tokio::test]
async fn a_zygote_that_cannot_be_says_why() {
    let lab = Lab::start(Level::Full, 0).await;
    let spec = |program: &str, script: &str| ZygoteSpec {
        id: "test".into(),
        argv: [program, "-c", script].map(Into::into).to_vec(),
        env: Vec::new(),
        mounts: Vec::new(),
        keeps_descriptors: false,
        is_stem: false,
    };
    for (program, script, expected) in [
        ("/usr/bin/missing", "", "execute /usr/bin/missing"),
        ("/bin/sh", "exit 3", "it ended"),
        ("/usr/bin/python3", "import os; os.write(3, b'Eno ctypes')", "no ctypes"),
    ] {
        let error = lab.sandbox.start_zygote(spec(program, script)).await.err().expect("refused").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_fork_shares_nothing_with_zygote_and_siblings() {
    let lab = Lab::start(Level::Full, 3).await;
    let zygote = zygote(&lab).await;
    // Each tells its namespaces and drawn numbers, and what it could share: writable shared memory, open files, semaphores.
    let script = "
import random, uuid, ssl, ctypes
shared = [l for l in open('/proc/self/maps') if {'s', 'w'} <= set(l.split()[1])]
spaces = {n: os.readlink('/proc/self/ns/' + n) for n in os.listdir('/proc/self/ns') if not n.endswith('for_children')}
fds = sorted(os.readlink('/proc/self/fd/' + n) for n in os.listdir('/proc/self/fd') if n not in '012' and os.path.exists('/proc/self/fd/' + n))
environ = open('/proc/self/environ').read().split(chr(0))
print(repr((shared, fds, sorted(environ), spaces, os.uname().nodename, os.urandom(8).hex(), uuid.uuid4().hex, ssl.RAND_bytes(8).hex(), random.SystemRandom().random())))
sys.stdout.flush(); os._exit(0)";
    let mut drawn = std::collections::HashSet::new();
    let own: Vec<String> = ["pid", "net", "ipc", "uts", "user", "mnt", "cgroup"]
        .iter()
        .map(|n| std::fs::read_link(format!("/proc/self/ns/{n}")).expect("a namespace").display().to_string())
        .collect();
    let mut spec = forked(&lab, &zygote, script);
    spec.env.push(("SECRET".into(), "of-this-fork".into()));
    for _ in 0..3 {
        let (text, _) = lab.run(spec.clone()).await;
        // What the kernel shows of the environment is what the zygote was started with: nothing of anybody.
        assert!(text.starts_with("([], [], ['', 'ZYGOTE=own'], {"), "{text}");
        assert!(!own.iter().any(|space| text.contains(space.as_str())), "a namespace of the host's: {text}");
        assert!(text.contains("'localhost'"), "{text}");
        for word in text.split('\'').filter(|w| w.len() >= 16 && !w.contains([':', '('])) {
            assert!(drawn.insert(word.to_owned()), "{word} twice: {text}");
        }
    }
}

#[tokio::test]
async fn a_hostile_fork_harms_neither_zygote_nor_siblings() {
    let lab = Lab::start(Level::Full, 3).await;
    let zygote = zygote(&lab).await;
    let sibling = lab.sandbox.spawn(forked(&lab, &zygote, "import time; time.sleep(1000)")).await.expect("spawn");
    for script in [
        // A fork bomb, everything signalled, itself stopped.
        "
import time
for _ in range(200):
    try:
        if os.fork() == 0: time.sleep(1000)
    except OSError: break
print('done', flush=True); time.sleep(1000)",
        "
import signal, time
for pid in list(range(1, 400)) + [-1]:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        if pid != os.getpid() and pid != -1:
            try: os.kill(pid, number)
            except OSError: pass
print('done', flush=True)
os.kill(os.getpid(), signal.SIGSTOP)",
        // A full pipe that nobody reads, every descriptor taken.
        "
print('done', flush=True)
try:
    while True: os.dup(1)
except OSError: pass
while True: os.write(1, b'x' * 65536)",
        // Memory that it may have, all touched: the zygote's pages are copied, not changed.
        "
print('done', flush=True)
libc = ctypes.CDLL(None)
for line in open('/proc/self/maps'):
    span, mode, *_ = line.split()
    if mode.startswith('rw') and '[stack]' not in line and '[heap]' in line:
        a, b = (int(x, 16) for x in span.split('-'))
        ctypes.memset(a, 0x41, b - a)",
    ] {
        let worker = lab.sandbox.spawn(forked(&lab, &zygote, script)).await.expect("spawn");
        let output = worker.output.try_clone().expect("clone");
        let mut pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(output).expect("pipe");
        let mut buffer = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut pipe, &mut buffer).await.expect("it has begun");
        assert_eq!(&buffer, b"done");
        // While it goes on, others are forked as ever.
        for _ in 0..3 {
            let (text, _) = lab.run(forked(&lab, &zygote, "print('fine', flush=True); os._exit(0)")).await;
            assert_eq!(text, "fine\n", "beside {script}");
        }
        assert!(zygote.is_alive() && sibling.control.exit().is_none(), "after {script}");
    }
}

#[tokio::test]
async fn forks_that_wait_become_workers_with_limits_of_their_own() {
    let lab = Lab::start(Level::Full, 1).await;
    let zygote = zygote(&lab).await;
    zygote.stock(3);
    ready(&lab, 4).await;
    let script = "
print(os.getppid(), os.getuid(), os.getcwd(), dict(os.environ), os.listdir('/var/task'), os.getsid(0)==os.getpid())
sys.stdout.flush(); os._exit(7)";
    let mut spec = forked(&lab, &zygote, script);
    std::fs::write(spec.code.join("own.txt"), "").expect("write");
    let listed = std::fs::read_dir(&spec.code).expect("list").count();
    spec.env.push(("LONG".into(), "l".repeat(150_000).into()));
    for _ in 0..5 {
        let (text, exit) = lab.run(spec.clone()).await;
        assert!(text.starts_with("1 993 /var/task {'PATH': '/usr/bin:/bin', 'LONG': 'lll"), "{text:.200}");
        assert!(text.contains("own.txt") && text.trim_end().ends_with("True"), "{listed} {exit:?}");
        assert_eq!(exit.code, Some(7));
    }
    ready(&lab, 4).await;
    let memory = "x = bytearray(10 ** 9); x[::4096] = b'x' * len(x[::4096])";
    assert!(lab.run(forked(&lab, &zygote, memory)).await.1.oom, "the limit is the function's");
    let bomb = "
n = 0
try:
    while True:
        if os.fork() == 0:
            import time; time.sleep(100)
        n += 1
except BlockingIOError:
    pass
print(n); sys.stdout.flush(); os._exit(0)";
    let mut few = forked(&lab, &zygote, bomb);
    few.pids_max = 20;
    let count: u32 = lab.run(few).await.0.trim().parse().expect("a number");
    assert!(count < 20, "{count}");
}

#[tokio::test]
async fn a_fork_that_waits_has_its_mounts_and_gives_them_to_no_other() {
    let lab = Lab::start(Level::Full, 1).await;
    let host = lab.dir.path().join("extra");
    std::fs::create_dir(&host).expect("folder");
    std::fs::write(host.join("x"), "").expect("write");
    let extra = Mount { host, inside: "/var/extra".into() };
    let zygote = zygote_with(&lab, Some(extra.clone())).await;
    zygote.stock(2);
    ready(&lab, 3).await;
    let script = "
found = os.path.exists('/var/extra/x')
try:
    os.mkdir('/var/extra/y')
except OSError as error:
    found = (found, error.errno)
print(found, len([line for line in open('/proc/self/mounts') if ' /var/runtime ' in line])); sys.stdout.flush(); os._exit(0)";
    let mut spec = forked(&lab, &zygote, script);
    assert_eq!(lab.run(spec.clone()).await.0.trim(), "(False, 2) 1", "a function without the mount");
    spec.mounts.push(extra);
    assert_eq!(lab.run(spec).await.0.trim(), "(True, 30) 1", "a function with it");
}

#[tokio::test]
async fn what_waits_is_let_go_with_the_stock_and_with_the_zygote() {
    let lab = Lab::start(Level::Full, 1).await;
    let first = zygote(&lab).await;
    first.stock(4);
    ready(&lab, 5).await;
    first.stock(2);
    ready(&lab, 3).await;
    drop(first);
    ready(&lab, 1).await;
    assert_eq!(lab.sandbox.stats().live, 0);
    // Programs that are executed do not take what a fork waits in.
    let second = zygote(&lab).await;
    second.stock(2);
    ready(&lab, 3).await;
    let (text, _) = lab.run(lab.shell("echo executed")).await;
    assert_eq!(text, "executed\n");
    lab.sandbox.aim(0);
    ready(&lab, 2).await;
    second.stock(0);
    ready(&lab, 0).await;
}
