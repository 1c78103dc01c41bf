//! A private PostgreSQL: Debian's package, a temporary folder, a socket in it and no port, gone afterwards.
//!
//! The server refuses to run as root, so root's tests run it as `nobody`. It ends with its value; a small shell beside it
//! ends it and removes its folder when the whole test process is killed.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// User and group `nobody` of Debian.
const NOBODY: u32 = 65_534;
/// Where Debian's packages put their programs, one folder per version.
const PACKAGES: &str = "/usr/lib/postgresql";
/// A server whose database has this URL is used instead of a private one (`cargo xtask test` shares one that way).
pub const SHARED_ENV: &str = "SQUALL_TEST_POSTGRES";
const TIMEOUT: Duration = Duration::from_secs(60);
/// Keeps the server until its standard input ends, as it does with the process that holds the other end.
const KEEPER: &str = r#"dir=$1; shift; exec 3<&0; "$@" & server=$!
(cat <&3 >/dev/null; touch "$dir/orphan"; kill -QUIT $server) & keeper=$!
wait $server; code=$?; kill $keeper 2>/dev/null
if [ -e "$dir/orphan" ]; then sleep 0.2; rm -rf "$dir"; fi
exit $code"#;

/// How a private server is set up.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Syncs to the disk as a real server does; without it tests are faster and a killed machine loses data.
    pub is_durable: bool,
    /// Asks for this password; without it whoever reaches the socket is let in.
    pub password: Option<String>,
    /// Where its files lie; without it in its temporary folder.
    pub data: Option<PathBuf>,
    /// Listens on this loopback port too; without it on nothing but its socket.
    pub port: Option<u16>,
    /// Further settings, `name=value`.
    pub settings: Vec<String>,
}

/// A private server.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    data: PathBuf,
    options: PostgresOptions,
    keeper: Option<Child>,
}

/// The newest version installed that Squall serves; `None` if there is none.
#[must_use]
pub fn postgres_bin() -> Option<PathBuf> {
    let versions =
        fs::read_dir(PACKAGES).ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let newest =
        versions.filter(|v| *v >= 15 && Path::new(PACKAGES).join(v.to_string()).join("bin/postgres").exists()).max()?;
    Some(Path::new(PACKAGES).join(newest.to_string()).join("bin"))
}

impl Postgres {
    /// A fast one that lets everybody in.
    ///
    /// # Panics
    /// If the package is not installed or the server does not start.
    #[must_use]
    pub fn start() -> Postgres {
        Postgres::start_with(PostgresOptions::default())
    }

    /// One set up as asked.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    #[must_use]
    pub fn start_with(options: PostgresOptions) -> Postgres {
        // Not below a caller's TMPDIR: a socket's path has at most 107 bytes.
        let dir = tempfile::Builder::new().prefix("squall-pg-").tempdir_in("/tmp").expect("make a folder");
        let data = options.data.clone().unwrap_or_else(|| dir.path().join("data"));
        fs::create_dir_all(&data).expect("make the data folder");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("close the data folder");
        if is_root() {
            for path in [dir.path(), &data] {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("give the folder away");
            }
        }
        let mut server = Postgres { dir, data, options, keeper: None };
        if !server.data.join("PG_VERSION").exists() {
            server.initialise();
        }
        server.launch();
        server
    }

    fn initialise(&self) {
        let mut init = self.command("initdb");
        init.args(["--username=squall", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions", "-D"]);
        init.arg(&self.data);
        match &self.options.password {
            Some(password) => {
                let file = self.dir.path().join("password");
                let mut open = fs::File::create(&file).expect("password file");
                open.write_all(password.as_bytes()).expect("password file");
                fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("password file");
                init.arg("--auth=scram-sha-256").arg("--pwfile").arg(file);
            }
            None => {
                init.arg("--auth=trust");
            }
        }
        let done = init.output().expect("start initdb");
        assert!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// A program of the package, run by a user who may.
    fn command(&self, program: &str) -> Command {
        let bin = postgres_bin().expect("PostgreSQL 15 or newer is installed: apt-get install postgresql");
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(bin.join(program));
            command
        } else {
            Command::new(bin.join(program))
        };
        command.current_dir("/").env_remove("PGHOST").env_remove("PGPORT").env_remove("PGUSER").env("LC_ALL", "C");
        command.envs(self.options.port.map(|port| ("PGPORT", port.to_string())));
        command
    }

    /// Starts the server on its files, and waits until it answers. For tests that stopped it.
    ///
    /// # Panics
    /// If it does not start.
    pub fn launch(&mut self) {
        assert!(self.keeper.is_none(), "the server runs");
        let server = self.command("postgres");
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("log")).expect("log");
        let mut keeper = Command::new("sh");
        keeper.envs(self.options.port.map(|port| ("PGPORT", port.to_string())));
        keeper.args(["-c", KEEPER, "sh"]).arg(self.dir.path()).arg(server.get_program()).args(server.get_args());
        keeper.arg("-D").arg(&self.data).arg("-k").arg(self.dir.path());

        let listen = if self.options.port.is_some() { "listen_addresses=127.0.0.1" } else { "listen_addresses=" };
        let mut settings = vec![listen, "max_connections=600", "shared_buffers=128MB", "log_checkpoints=off"];
        if !self.options.is_durable {
            settings.extend(["fsync=off", "full_page_writes=off"]);
        }
        for setting in settings.into_iter().chain(self.options.settings.iter().map(String::as_str)) {
            keeper.args(["-c", setting]);
        }
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).current_dir("/").env("LC_ALL", "C");
        self.keeper = Some(keeper.spawn().expect("start the server"));
        let begin = Instant::now();
        while !self.answers() {
            assert!(begin.elapsed() < TIMEOUT, "PostgreSQL does not answer: {}", self.log());
            let ended = self.keeper.as_mut().is_none_or(|keeper| keeper.try_wait().is_ok_and(|ended| ended.is_some()));
            assert!(!ended, "PostgreSQL ended: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts it again if it ended by itself; answers whether it had.
    ///
    /// # Panics
    /// As [`Postgres::launch`].
    pub fn revive(&mut self) -> bool {
        let has_ended = self.keeper.as_mut().is_some_and(|keeper| keeper.try_wait().is_ok_and(|code| code.is_some()));
        if has_ended {
            self.keeper = None;
            drop(fs::remove_file(self.data.join("postmaster.pid")));
            self.launch();
        }
        has_ended
    }

    fn answers(&self) -> bool {
        let mut ask = self.command("pg_isready");
        ask.args(["-q", "-h"]).arg(self.dir.path()).output().is_ok_and(|done| done.status.success())
    }

    /// What the server logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The folder of its socket, and the socket in it.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(".s.PGSQL.5432")
    }

    /// Its URL, for a schema of its own in the one database.
    #[must_use]
    pub fn url(&self, schema: &str) -> String {
        url(self.dir.path(), self.options.password.as_deref(), schema)
    }

    /// Runs statements as its superuser, and answers the rows without decoration.
    ///
    /// # Panics
    /// If they fail.
    pub fn sql(&self, statements: &str) -> String {
        let mut psql = self.command("psql");
        psql.args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-U", "squall", "-d", "postgres", "-c", statements, "-h"]);
        psql.arg(self.dir.path()).envs(self.options.password.iter().map(|password| ("PGPASSWORD", password)));
        let done = psql.output().expect("start psql");
        assert!(done.status.success(), "{statements}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// Stops the server and all its backends where they are, as a machine does that hangs: connections stay open, nothing
    /// is answered until [`Postgres::resume`].
    ///
    /// # Panics
    /// If it does not run.
    pub fn pause(&self) {
        self.signal_all("STOP");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// If it does not run.
    pub fn resume(&self) {
        self.signal_all("CONT");
    }

    fn signal_all(&self, signal: &str) {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let main = file.lines().next().expect("the server runs").trim().to_owned();
        let parent = |pid: &str| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some(stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.to_owned())
        };
        let processes = fs::read_dir("/proc").expect("list processes").flatten();
        let children = processes
            .filter_map(|p| p.file_name().into_string().ok())
            .filter(|pid| parent(pid).as_ref() == Some(&main));
        let mut pids: Vec<String> = children.collect();
        // The main process first when they stop, so that it starts nothing more; last when they go on.
        if signal == "STOP" {
            pids.insert(0, main.clone())
        } else {
            pids.push(main.clone())
        }
        for pid in pids {
            // One that has just ended is as well.
            drop(Command::new("kill").args(["-s", signal, &pid]).stderr(Stdio::null()).status());
        }
    }

    /// Ends the server: `INT` in good order, `QUIT` at once as a crash would, `KILL` without a word.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(&mut self, signal: &str) {
        let Some(mut keeper) = self.keeper.take() else { return };
        let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        if let Some(pid) = file.lines().next() {
            let sent = Command::new("kill").args(["-s", signal, pid.trim()]).status();
            assert!(sent.is_ok_and(|status| status.success()), "signal the server");
        }
        // Waiting would close the pipe, which says that this process is gone.
        let pipe = keeper.stdin.take();
        keeper.wait().expect("the server ends");
        drop(pipe);
        if signal == "KILL" {
            self.outlive_children();
            drop(fs::remove_file(self.data.join("postmaster.pid")));
        }
    }
}

impl Postgres {
    /// Waits until what a killed server has left is gone: its children notice by themselves, and the next server does not start
    /// before. They stand in its folder.
    fn outlive_children(&self) {
        let data = self.data.canonicalize().unwrap_or_else(|_| self.data.clone());
        let stands_there =
            |process: fs::DirEntry| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == data);
        let begin = Instant::now();
        while fs::read_dir("/proc").into_iter().flatten().flatten().any(stands_there) {
            assert!(begin.elapsed() < TIMEOUT, "PostgreSQL's children do not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("PostgreSQL's log, newest first:\n{}", tail.join("\n"));
        }
        self.stop("QUIT");
    }
}

fn url(host: &Path, password: Option<&str>, schema: &str) -> String {
    let password = password.map(|password| format!("&password={password}")).unwrap_or_default();
    format!("postgres:///postgres?host={}&user=squall{password}&schema={schema}", host.display())
}

/// The URL of an empty schema on a server that all tests of this process share: the one that the environment names, else
/// a private one that ends with the process.
///
/// # Panics
/// As [`Postgres::start`].
#[must_use]
pub fn postgres_schema() -> String {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let schema = format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    match std::env::var(SHARED_ENV) {
        Ok(url) if !url.is_empty() => format!("{url}&schema={schema}"),
        _ => SHARED.get_or_init(Postgres::start).url(&schema),
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}
