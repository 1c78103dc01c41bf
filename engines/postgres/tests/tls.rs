//! Encrypted connections: the server is verified by the certificate that the URL trusts, and by its name.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use squall_engine_postgres::{OpenError, Options, Postgres};
use squall_store::{Key, Kind, State, StateExt, Txn};
use squall_testkit::{Postgres as Server, PostgresOptions};

fn openssl(dir: &Path, args: &str) {
    let done = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().expect("start openssl");
    assert!(done.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Makes an authority (`NAME.pem`) and a certificate of it for 127.0.0.1 (`NAME-server.pem`, `NAME-server.key`).
fn certificates(dir: &Path, name: &str) {
    let new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(dir, &format!("{new} -x509 -subj /CN={name} -keyout {name}.key -out {name}.pem"));
    openssl(dir, &format!("{new} -subj /CN=server -keyout {name}-server.key -out {name}.csr"));
    std::fs::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").expect("extensions");
    let sign =
        format!("x509 -req -in {name}.csr -CA {name}.pem -CAkey {name}.key -CAcreateserial -days 2 -extfile ext");
    openssl(dir, &format!("{sign} -out {name}-server.pem"));
}

/// A server that lets nobody in over TCP without encryption, and the folder of the certificates.
fn start() -> (Server, tempfile::TempDir, u16) {
    let dir = tempfile::Builder::new().prefix("squall-tls-").tempdir_in("/tmp").expect("folder");
    certificates(dir.path(), "ca");
    certificates(dir.path(), "other");
    let path = |name: &str| -> PathBuf { dir.path().join(name) };
    std::fs::write(path("hba"), "local all all trust\nhostssl all all 127.0.0.1/32 trust\n").expect("access rules");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("open the folder");
    let key = path("ca-server.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("close the key");
    // The test's server runs as `nobody` where the test runs as root; otherwise the key is the server's own already.
    drop(chown(&key, Some(65_534), Some(65_534)));
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let settings = vec![
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", path("ca-server.pem").display()),
        format!("ssl_key_file={}", key.display()),
        format!("hba_file={}", path("hba").display()),
    ];
    let server = Server::start_with(PostgresOptions { port: Some(port), settings, ..PostgresOptions::default() });
    (server, dir, port)
}

async fn open(url: &str) -> Result<Postgres, OpenError> {
    Postgres::open(Options::parse(url).expect("url")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_verified_by_certificate_and_name() {
    let (_server, dir, port) = start();
    let url = |host: &str, rest: &str| format!("postgres://squall@{host}:{port}/postgres?{rest}");
    let roots = |name: &str| format!("sslrootcert={}", dir.path().join(name).display());
    for mode in ["require", "verify-ca", "verify-full"] {
        let state = open(&url("127.0.0.1", &format!("sslmode={mode}&{}", roots("ca.pem")))).await.expect("open");
        let key = Key::new(Kind::kv(0x7f, 1), 1, 0);
        state.commit(Txn::new().put(key.clone(), "v")).await.expect("put");
        assert!(state.get(key).await.expect("get").is_some());
        state.close().await;
    }
    let plain = open(&url("127.0.0.1", "sslmode=disable")).await.err();
    assert!(matches!(plain, Some(OpenError::Login { .. })), "{plain:?}");
    for (host, rest) in [
        // Another authority, the system's, and a name that the certificate does not have.
        ("127.0.0.1", format!("sslmode=require&{}", roots("other.pem"))),
        ("127.0.0.1", "sslmode=verify-full".to_owned()),
        ("localhost", format!("sslmode=verify-full&{}", roots("ca.pem"))),
    ] {
        let refused = open(&url(host, &rest)).await.err();
        let Some(OpenError::Tls(text)) = refused else { panic!("{host} {rest}: {refused:?}") };
        assert!(text.contains("certificate"), "{text}");
    }
}
