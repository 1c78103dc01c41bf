//! Workers that are stem cells: programs that were executed ahead of their function.

mod common;

use common::{ADOPT, Lab, finish, ready};
use squall_sandbox::{Level, Mount, Spec, Start, Zygote, ZygoteSpec};

/// Says that it waits, takes the payload, and runs the script that is the program's last argument. `HOW` changes that.
const PROGRAM: &str = r#"
import os, socket, sys
how = open("/var/runtime/how").read()
if how == "never":
    sys.exit(1)
peer = socket.socket(fileno=os.dup(0))
peer.sendall(b"r")
if how == "dies":
    sys.exit(1)
def exactly(n):
    data = b""
    while len(data) < n:
        data += peer.recv(n - len(data)) or sys.exit(1)
    return data
payload = exactly(int.from_bytes(exactly(4), "little"))
if how == "cannot":
    peer.sendall(b"n")
    import time; time.sleep(1000)
exec(open("/var/runtime/adopt.py").read())
peer.sendall(b"k")
peer.close()
print("stem", end=" ")
exec(argv[-1].decode())
"#;

fn mounts(lab: &Lab, how: &str) -> Vec<Mount> {
    let host = lab.dir.path().join("client");
    std::fs::create_dir_all(&host).expect("client directory");
    std::fs::write(host.join("stem.py"), PROGRAM).expect("write");
    std::fs::write(host.join("adopt.py"), ADOPT).expect("write");
    std::fs::write(host.join("how"), how).expect("write");
    vec![Mount { host, inside: "/var/runtime".into() }]
}

async fn stem(lab: &Lab, how: &str) -> Zygote {
    let spec = ZygoteSpec {
        id: "test".into(),
        argv: ["/usr/bin/python3", "-I", "-S", "/var/runtime/stem.py"].map(Into::into).to_vec(),
        env: vec![("STEM".into(), "own".into())],
        mounts: mounts(lab, how),
        keeps_descriptors: false,
        is_stem: true,
    };
    lab.sandbox.start_zygote(spec).await.expect("start a zygote")
}

fn grown(lab: &Lab, stem: &Zygote, how: &str, script: &str) -> Spec {
    let mut spec = lab.python(&format!("import os, sys\n{script}"));
    spec.start = Start::Fork(stem.number());
    spec.mounts = mounts(lab, how);
    spec
}

#[tokio::test]
async fn a_stem_cell_is_a_worker_like_any_other() {
    let lab = Lab::start(Level::Full, 1).await;
    let stem = stem(&lab, "grows").await;
    stem.stock(2);
    ready(&lab, 3).await;
    let script = "
print(os.getuid(), os.getgid(), os.getcwd(), dict(os.environ), sorted(os.listdir('/proc/self/fd')), os.getsid(0)==os.getpid())
print(open('own.txt').read(), os.listdir('/opt'), open('/proc/self/status').read().split('CapEff:')[1].split()[0], len(os.listdir('/sys') if os.path.exists('/sys') else []))
for path in ['/x', '/var/task/x', '/var/runtime/x']:
    try:
        open(path, 'w'); print('written')
    except OSError as e:
        pass
open('/tmp/x','w').write('x')
try:
    os.unshare(0x10000000) if hasattr(os, 'unshare') else None
except OSError:
    pass
if os.fork() == 0:
    import time; time.sleep(1000)
while os.getppid() != 1:
    pass
sys.stdout.flush(); os._exit(7)";
    let mut spec = grown(&lab, &stem, "grows", script);
    std::fs::write(spec.code.join("own.txt"), "mine").expect("write");
    spec.env.push(("LONG".into(), "l".repeat(150_000).into()));
    for _ in 0..4 {
        let (text, exit) = lab.run(spec.clone()).await;
        assert!(text.starts_with("stem 993 993 /var/task {'PATH': '/usr/bin:/bin', 'LONG': 'lll"), "{text:.200}");
        assert!(
            text.contains("'} ['0', '1', '2', '3'] True\nmine [] 0000000000000000 0\n"),
            "{:?}",
            text.get(150_000..)
        );
        assert_eq!(exit.code, Some(7));
        ready(&lab, 3).await;
    }
}

#[tokio::test]
async fn limits_are_the_functions() {
    let lab = Lab::start(Level::Full, 1).await;
    let stem = stem(&lab, "grows").await;
    stem.stock(1);
    ready(&lab, 2).await;
    let memory = "x = bytearray(10 ** 9); x[::4096] = b'x' * len(x[::4096])";
    assert!(lab.run(grown(&lab, &stem, "grows", memory)).await.1.oom);
    ready(&lab, 2).await;
    let bomb = "
n = 0
try:
    while True:
        if os.fork() == 0:
            import time; time.sleep(1000)
        n += 1
except OSError:
    print(n); sys.stdout.flush(); os._exit(0)";
    let (text, _) = lab.run(grown(&lab, &stem, "grows", bomb)).await;
    let count: u32 = text.trim_start_matches("stem ").trim().parse().expect("a count");
    assert!((32..64).contains(&count), "{text}");
    ready(&lab, 2).await;
    let worker = lab.sandbox.spawn(grown(&lab, &stem, "grows", "import time; time.sleep(1000)")).await.expect("spawn");
    worker.freeze().expect("freeze");
    worker.kill();
    assert_eq!(finish(worker).await.1.signal, Some(9));
}

#[tokio::test]
async fn without_one_that_waits_the_program_is_executed() {
    let lab = Lab::start(Level::Full, 2).await;
    let stem = stem(&lab, "grows").await;
    let script = "print('here', os.getcwd()); sys.stdout.flush(); os._exit(0)";
    assert_eq!(lab.run(grown(&lab, &stem, "grows", script)).await.0, "here /var/task\n");
}

#[tokio::test]
async fn one_that_cannot_take_its_function_is_replaced_by_the_program() {
    let lab = Lab::start(Level::Full, 1).await;
    let stem = stem(&lab, "cannot").await;
    stem.stock(1);
    ready(&lab, 2).await;
    let script =
        "print('here', os.getcwd(), os.readlink('/proc/self/fd/0'), dict(os.environ)); sys.stdout.flush(); os._exit(5)";
    let (text, exit) = lab.run(grown(&lab, &stem, "cannot", script)).await;
    assert_eq!(text, "here /var/task /dev/null {'PATH': '/usr/bin:/bin', 'LC_CTYPE': 'C.UTF-8'}\n");
    assert_eq!(exit.code, Some(5));
}

#[tokio::test]
async fn programs_that_do_not_wait_are_given_up_and_functions_run() {
    for how in ["dies", "never"] {
        let lab = Lab::start(Level::Full, 1).await;
        let stem = stem(&lab, how).await;
        stem.stock(2);
        // The first failure ends the stock; what waits is plain.
        while lab.sandbox.stats().target != 1 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let (text, exit) = lab.run(grown(&lab, &stem, how, "print('here'); sys.stdout.flush(); os._exit(0)")).await;
        assert_eq!((text.as_str(), exit.code), ("here\n", Some(0)), "{how}");
    }
}

#[tokio::test]
async fn its_end_takes_what_waits_along() {
    let lab = Lab::start(Level::Full, 1).await;
    let stem = stem(&lab, "grows").await;
    stem.stock(2);
    ready(&lab, 3).await;
    let worker = lab.sandbox.spawn(grown(&lab, &stem, "grows", "import time; time.sleep(1000)")).await.expect("spawn");
    ready(&lab, 3).await;
    drop(stem);
    ready(&lab, 1).await;
    assert_eq!(lab.sandbox.stats().live, 1, "what runs goes on");
    worker.kill();
    assert_eq!(finish(worker).await.1.signal, Some(9));
}
