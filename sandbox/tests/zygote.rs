//! Workers that are forks of a zygote.

mod common;

use common::{Lab, finish, forked, zygote};
use squall_sandbox::{Level, ZygoteSpec};

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
