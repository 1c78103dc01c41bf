//! What functions reach outside. A program of its own that runs itself again in a network namespace without any way to the real
//! world: a second namespace stands for it, with public and private addresses.
//!
//! Where the host cannot give what this needs (root, `ip`, Python 3.11, tproxy), it says so and passes.

mod common;

use common::World;
use serde_json::{Value, json};
use squall_sandbox::{Egress, Level, Reach, Sandbox};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// The far side: echoes on TCP 8080 and UDP 9999 of every address, one name on 203.0.113.53, a slow megabyte on TCP 8081.
const FAR: &str = r#"
import socket, threading, struct
def tcp(port, serve):
    l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); l.bind(("0.0.0.0", port)); l.listen(100)
    def run():
        while True:
            c, _ = l.accept(); threading.Thread(target=serve, args=(c,), daemon=True).start()
    threading.Thread(target=run, daemon=True).start()
def echo(c):
    while True:
        d = c.recv(65536)
        if not d: break
        c.sendall(d)
    c.close()
def much(c): c.sendall(b"x" * (8 << 20)); c.close()
def answer(q):
    end = q.index(b"\0", 12) + 5
    kind = q[end - 4:end - 2]
    head = q[:2] + b"\x81\x80\0\1" + (b"\0\1" if kind == b"\0\1" else b"\0\0") + b"\0\0\0\0"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton("198.51.100.7") if kind == b"\0\1" else b""
    return head + q[12:end] + record
def names(c):
    n = struct.unpack("!H", c.recv(2))[0]; a = answer(c.recv(n)); c.sendall(struct.pack("!H", len(a)) + a); c.close()
tcp(8080, echo); tcp(8081, much); tcp(53, names)
def udp(port, reply):
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("203.0.113.53" if port == 53 else "198.51.100.7", port))
    def run():
        while True:
            d, a = u.recvfrom(65536); u.sendto(reply(d), a)
    threading.Thread(target=run, daemon=True).start()
udp(9999, lambda d: b"echo " + d); udp(53, answer)
print("ready", flush=True)
threading.Event().wait()
"#;

const FUNCTION: &str = r#"
import socket, time, urllib.request
def handler(e, c):
    s = None
    try:
        if e["do"] == "name": return sorted(set(a[4][0] for a in socket.getaddrinfo(e["host"], 80)))
        if e["do"] == "udp":
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(e.get("wait", 5)); s.connect((e["host"], e["port"]))
            out = []
            for n in range(3): s.send(b"%d" % n); out.append(s.recv(100).decode())
            return [out, s.getsockname()[0]]
        s = socket.create_connection((e["host"], e["port"]), timeout=5)
        if e["do"] == "much":
            n = 0
            while True:
                d = s.recv(65536)
                if not d: return n
                n += len(d)
        if e["do"] == "tcpname":
            q = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\7example\0\0\1\0\1"
            s.sendall(len(q).to_bytes(2, "big") + q)
            return s.recv(1000)[-4:].hex()
        s.sendall(b"hello"); s.shutdown(socket.SHUT_WR)
        got = b""
        while True:
            d = s.recv(100)
            if not d: return got.decode() or "closed"
            got += d
    except OSError as x:
        return type(x).__name__ + (" " + str(x.errno) if x.errno else "")
    finally:
        if s: s.close()
"#;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("spawner") => squall_sandbox::spawner_main(),
        Some("inside") => inside(),
        _ => {
            let own = std::env::current_exe().expect("own path");
            let run = Command::new("unshare").arg("-n").arg(own).arg("inside").status();
            match run {
                Ok(status) if status.success() => {}
                Ok(status) if status.code() == Some(1) => eprintln!("skipped: `unshare -n` needs root"),
                Ok(status) => panic!("{status}"),
                Err(e) => eprintln!("skipped: unshare: {e}"),
            }
        }
    }
}

/// A process that holds the far side's namespace, and ends with its input.
struct Far(Child, Child);

impl Drop for Far {
    fn drop(&mut self) {
        for child in [&mut self.0, &mut self.1] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn ip(args: &str) {
    let status = Command::new("ip").args(args.split(' ')).status().expect("ip (Debian: iproute2)");
    assert!(status.success(), "ip {args}");
}

/// Builds the world outside: the default route leads there and nowhere else.
fn outside() -> Far {
    ip("link set lo up");
    let holder = Command::new("unshare").args(["-n", "cat"]).stdin(Stdio::piped()).spawn().expect("unshare");
    let pid = holder.id();
    // It is its own namespace's only once `unshare` has executed `cat`.
    while std::fs::read_link(format!("/proc/{pid}/ns/net")).ok() == std::fs::read_link("/proc/self/ns/net").ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    ip(&format!("link add near type veth peer name far netns {pid}"));
    let there = |args: &str| {
        let mut all = vec!["-t".to_owned(), pid.to_string(), "-n".into(), "ip".into()];
        all.extend(args.split(' ').map(str::to_owned));
        assert!(Command::new("nsenter").args(all).status().expect("nsenter").success(), "{args}");
    };
    ip("addr add 203.0.113.1/24 dev near");
    ip("addr add 10.9.0.1/24 dev near");
    ip("link set near up");
    there("link set lo up");
    there("link set far up");
    for address in ["203.0.113.7/24", "203.0.113.53/24", "10.9.0.2/24"] {
        there(&format!("addr add {address} dev far"));
    }
    for address in ["198.51.100.7", "10.1.2.3", "169.254.169.254", "192.168.1.1", "100.64.0.1"] {
        there(&format!("addr add {address}/32 dev lo"));
    }
    ip("route add default via 203.0.113.7");
    let mut python = Command::new("nsenter")
        .args(["-t", &pid.to_string(), "-n", "python3", "-c", FAR])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut line = String::new();
    BufReader::new(python.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    Far(python, holder)
}

fn inside() {
    let _far = outside();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let conf = dir.path().join("resolv.conf");
        std::fs::write(&conf, "nameserver 203.0.113.53\n").expect("write");
        own_resolver_is_not_the_hosts(dir.path(), &conf).await;
        open_is_reached_and_closed_is_not(dir.path(), &conf).await;
        lists_open_what_they_name(dir.path(), &conf).await;
    });
    println!("egress: all passed");
}

async fn start(dir: &Path, name: &str, egress: squall_runtime::Egress, conf: &Path) -> Option<(Sandbox, World)> {
    let options = squall_sandbox::Options {
        level: Level::Full,
        run_dir: dir.join(name),
        pool: 2,
        egress: egress.reach(),
        spawner_exe: std::env::current_exe().expect("own path"),
        spawner_args: vec!["spawner".into()],
    };
    let sandbox = match Sandbox::start(options).await {
        Ok(sandbox) => sandbox,
        Err(e) => {
            eprintln!("skipped: {e}");
            return None;
        }
    };
    let world = World::with(Arc::new(sandbox.clone()), |o| {
        o.egress = egress;
        o.host.resolv_conf = conf.to_owned();
        o.sdk_install = false;
    });
    world.has("python3.11").await.then_some((sandbox, world))
}

async fn end(sandbox: Sandbox, world: World) {
    world.runtime.shutdown(Duration::from_secs(1)).await;
    drop(world);
    sandbox.shutdown().await;
}

async fn check(world: &World, f: &Arc<squall_runtime::Function>, event: Value, expected: Value) {
    let answer = world.invoke(f, &event.to_string()).await;
    assert_eq!(answer.json(), expected, "{event}");
}

fn function(world: &World) -> Arc<squall_runtime::Function> {
    let mut f = world.function("python3.11", "app.handler", &[("app.py", FUNCTION)]);
    f.timeout = Duration::from_secs(30);
    Arc::new(f)
}

fn tcp(host: &str, port: u16) -> Value {
    json!({"do": "tcp", "host": host, "port": port})
}

/// What the host itself reaches, so that a refusal below is ours and not the network's.
fn host_reaches(address: &str) -> bool {
    std::net::TcpStream::connect_timeout(&address.parse().expect("an address"), Duration::from_secs(5)).is_ok()
}

async fn open_is_reached_and_closed_is_not(dir: &Path, conf: &Path) {
    let own = std::net::TcpListener::bind("0.0.0.0:7000").expect("the host's own port");
    let setting = squall_runtime::Egress::Open(Egress::internet());
    let Some((sandbox, world)) = start(dir, "internet", setting, conf).await else { return };
    let f = function(&world);
    check(&world, &f, tcp("198.51.100.7", 8080), json!("hello")).await;
    check(&world, &f, tcp("203.0.113.7", 8080), json!("hello")).await;
    check(&world, &f, json!({"do": "much", "host": "198.51.100.7", "port": 8081}), json!(8 << 20)).await;
    check(&world, &f, json!({"do": "name", "host": "a.example"}), json!(["198.51.100.7"])).await;
    check(&world, &f, json!({"do": "tcpname", "host": "169.254.78.1", "port": 53}), json!("c6336407")).await;
    check(&world, &f, tcp("a.example", 8080), json!("hello")).await;
    let echoes = json!([["echo 0", "echo 1", "echo 2"], "169.254.76.1"]);
    check(&world, &f, json!({"do": "udp", "host": "198.51.100.7", "port": 9999}), echoes).await;
    // Nobody listens there: accepted, then reset.
    check(&world, &f, tcp("198.51.100.7", 1), json!("ConnectionResetError 104")).await;
    // Private: no way there, whatever the host reaches.
    for closed in ["10.1.2.3", "169.254.169.254", "192.168.1.1", "100.64.0.1"] {
        assert!(host_reaches(&format!("{closed}:8080")), "{closed}");
        check(&world, &f, tcp(closed, 8080), json!("OSError 113")).await;
        check(&world, &f, json!({"do": "udp", "host": closed, "port": 9999}), json!("OSError 113")).await;
    }
    // The host itself, by its public address and its others; and the relay's own sockets.
    assert!(host_reaches("203.0.113.1:7000"));
    check(&world, &f, tcp("203.0.113.1", 7000), json!("ConnectionResetError 104")).await;
    check(&world, &f, tcp("10.9.0.1", 7000), json!("OSError 113")).await;
    check(&world, &f, tcp("127.0.0.1", 7000), json!("ConnectionRefusedError 111")).await;
    check(&world, &f, tcp("127.0.0.1", 65001), json!("ConnectionResetError 104")).await;
    check(&world, &f, tcp("169.254.78.1", 80), json!("ConnectionResetError 104")).await;
    own.set_nonblocking(true).expect("non-blocking");
    drop(own.accept().expect("the test's own connection"));
    assert!(own.accept().is_err(), "a function has reached the host");
    end(sandbox, world).await;
}

async fn lists_open_what_they_name(dir: &Path, conf: &Path) {
    let networks = ["10.1.2.0/24", "10.9.0.0/24"].map(|n| n.parse().expect("a network"));
    let setting = squall_runtime::Egress::Open(Egress::new(false, &networks).expect("a list"));
    let Some((sandbox, world)) = start(dir, "list", setting, conf).await else { return };
    let f = function(&world);
    check(&world, &f, tcp("10.1.2.3", 8080), json!("hello")).await;
    check(&world, &f, tcp("10.9.0.2", 8080), json!("hello")).await;
    // The host's own address in an open network, and what no entry names.
    check(&world, &f, tcp("10.9.0.1", 7000), json!("ConnectionResetError 104")).await;
    check(&world, &f, tcp("198.51.100.7", 8080), json!("OSError 101")).await;
    check(&world, &f, tcp("192.168.1.1", 8080), json!("OSError 101")).await;
    end(sandbox, world).await;
}

/// Switched off there is no way out, and names fail at once.
async fn own_resolver_is_not_the_hosts(dir: &Path, conf: &Path) {
    assert_eq!(squall_runtime::Egress::Off.reach(), Reach::Nothing);
    let Some((sandbox, world)) = start(dir, "off", squall_runtime::Egress::Off, conf).await else { return };
    let f = function(&world);
    check(&world, &f, tcp("198.51.100.7", 8080), json!("OSError 101")).await;
    let answer = world.invoke(&f, &json!({"do": "name", "host": "a.example"}).to_string()).await;
    assert!(answer.text().starts_with("\"gaierror"), "{}", answer.text());
    end(sandbox, world).await;
}
