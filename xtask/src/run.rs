//! `cargo xtask test`, `cargo xtask check` and `cargo xtask soak`.

use crate::{codegen, tools};
use anyhow::{Context, Result, bail};
use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// Installs nothing and leaves out the end-to-end tests (the package in tests/).
    #[arg(long)]
    quick: bool,
    /// The state engine under rooms' tests and under the servers of the end-to-end tests. Without it: rooms on all three
    /// engines, end-to-end tests on sqlite, and a part of them on postgres and memory too.
    #[arg(long, value_parser = ["sqlite", "memory", "postgres"])]
    state: Option<String>,
    /// Further arguments of `cargo test`, such as `-p squall-dynamodb` in place of the whole workspace, or `-- NAME`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo: Vec<OsString>,
}

/// Crates whose tests open a state that they are given.
const ROOMS: [&str; 6] =
    ["squall-meter", "squall-iam", "squall-logs", "squall-lambda", "squall-dynamodb", "squall-apigateway"];
/// End-to-end tests that run on every engine each time: what reads and writes most kinds of state, streams and queues
/// included, and what restarts servers. All of them on one engine: `cargo xtask test --state ENGINE`.
const EVERYWHERE: [&str; 8] = [
    "boto3_dynamodb",
    "boto3_lambda_api",
    "boto3_iam_sts",
    "boto3_logs",
    "boto3_http_apis",
    "crash",
    "everything_outlives_a_restart",
    "deploy::",
];

/// Runs the tests; the last line counts them. Answers whether all passed.
pub fn test(root: &Path, args: &TestArgs) -> Result<bool> {
    let mut vars = Vec::new();
    if !args.quick {
        vars = tools::prepare()?;
        vars.push(("SQUALL_TEST_BIN", tools::built("squall")?));
    }
    let picks = args.cargo.iter().any(|a| a == "-p" || a.to_string_lossy().starts_with("--package"));
    if !args.quick && (!picks || args.cargo.iter().any(|a| a == "squall-tests")) {
        // End-to-end tests start the program itself, which `cargo test` alone does not build for them.
        eprintln!("xtask: building squall");
        succeed(cargo(root).args(["build", "--bins", "--workspace"]))?;
    }
    let mut command = cargo(root);
    command.args(["test", "--no-fail-fast"]).envs(vars.clone());
    command.envs(args.state.iter().map(|state| ("SQUALL_TEST_STATE", state)));
    if !picks {
        command.arg("--workspace");
        if args.quick {
            command.args(["--exclude", "squall-tests"]);
        }
    }
    let (mut tally, mut is_success) = counted(command.args(&args.cargo))?;
    if !args.quick && args.state.is_none() && args.cargo.is_empty() {
        for mut further in further(root)? {
            let (more, is_good) = counted(further.envs(vars.clone()))?;
            tally.passed += more.passed;
            tally.failed += more.failed;
            is_success &= is_good;
        }
    }
    if !is_success && tally.failed == 0 {
        eprintln!("xtask: a test program did not build or did not finish; see above");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(is_success && tally.failed == 0)
}

/// Arguments of `cargo xtask soak`.
#[derive(Debug, clap::Args)]
pub struct SoakArgs {
    /// About how long all of it takes; goals that are reached earlier end it earlier.
    #[arg(long, default_value_t = 120.0)]
    minutes: f64,
    /// Only tests whose names contain this.
    #[arg(default_value = "soak::")]
    only: String,
}

/// Runs the soaks one after the other on an optimised build; each tells how far it came. Answers whether all passed.
pub fn soak(root: &Path, args: &SoakArgs) -> Result<bool> {
    let mut vars = tools::prepare()?;
    eprintln!("xtask: building squall");
    succeed(cargo(root).args(["build", "--release", "-p", "squall"]))?;
    let debug = tools::built("squall")?;
    let folder = debug.parent().and_then(Path::parent).context("the target folder")?;
    vars.push(("SQUALL_TEST_BIN", folder.join("release/squall")));
    let mut command = cargo(root);
    command.args(["test", "-p", "squall-tests", "--test", "e2e", "--", "--nocapture", "--test-threads", "1"]);
    command.arg(&args.only).envs(vars).env("SQUALL_SOAK_MINUTES", args.minutes.to_string());
    let (tally, is_success) = counted(&mut command)?;
    println!("soak: {} passed, {} failed", tally.passed, tally.failed);
    Ok(is_success && tally.failed == 0)
}

/// The runs on other engines than the default ones: rooms' own tests come with memory, end-to-end tests with sqlite. The programs
/// are those of the run before: cargo, asked for a part of the workspace, would build its dependencies with other features.
fn further(root: &Path) -> Result<Vec<Command>> {
    let programs = programs(root)?;
    let program = |package: &str, target: &str| {
        let found = programs.iter().find(|p| p.package == package && p.target == target);
        let found = found.with_context(|| format!("no test program {target} of {package} was built"))?;
        let mut command = Command::new(&found.path);
        command.current_dir(&found.folder);
        anyhow::Ok(command)
    };
    let mut runs = Vec::new();
    for state in ["sqlite", "postgres"] {
        for room in ROOMS {
            let mut tests = program(room, &room.replace('-', "_"))?;
            tests.env("SQUALL_TEST_STATE", state);
            runs.push(tests);
        }
    }
    for state in ["postgres", "memory"] {
        let mut clients = program("squall-tests", "e2e")?;
        clients.args(EVERYWHERE).env("SQUALL_TEST_STATE", state);
        runs.push(clients);
    }
    Ok(runs)
}

/// A program of tests.
struct Program {
    package: String,
    target: String,
    path: PathBuf,
    /// Where cargo would run it.
    folder: PathBuf,
}

/// The test programs of the workspace, built if need be.
fn programs(root: &Path) -> Result<Vec<Program>> {
    let mut command = cargo(root);
    command.args(["test", "--workspace", "--no-run", "--message-format", "json"]).stderr(Stdio::null());
    let out = command.output().context("start cargo test --no-run")?;
    if !out.status.success() {
        bail!("cargo test --no-run failed ({})", out.status);
    }
    Ok(out.stdout.split(|b| *b == b'\n').filter_map(read_program).collect())
}

/// Reads a line of cargo's about a program that it built.
fn read_program(line: &[u8]) -> Option<Program> {
    let told: serde_json::Value = serde_json::from_slice(line).ok()?;
    let path = told["executable"].as_str().filter(|_| told["profile"]["test"] == true)?;
    let folder = Path::new(told["manifest_path"].as_str()?).parent()?.to_owned();
    // `path+file:///a/b#name@1.0.0`, or `…/name#1.0.0` where the folder is called as the package.
    let (place, rest) = told["package_id"].as_str()?.rsplit_once('#')?;
    let package = rest.split_once('@').map_or(place.rsplit('/').next()?, |(name, _)| name);
    Some(Program {
        package: package.to_owned(),
        target: told["target"]["name"].as_str()?.to_owned(),
        path: path.into(),
        folder,
    })
}

/// Everything that must hold before a change lands.
pub fn check(root: &Path) -> Result<bool> {
    eprintln!("xtask: formatting");
    succeed(cargo(root).args(["fmt", "--all", "--check"]))?;
    eprintln!("xtask: generated code");
    codegen::run(root, &codegen::Args::checking())?;
    eprintln!("xtask: clippy");
    succeed(cargo(root).args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    test(root, &TestArgs { quick: false, state: None, cargo: Vec::new() })
}

/// Passed and failed tests of all test programs.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Takes in a line such as `test result: ok. 12 passed; 0 failed; 1 ignored; ...`.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        for part in counts.split(['.', ';']) {
            match part.trim().split_once(' ') {
                Some((n, "passed")) => self.passed += n.parse().unwrap_or(0),
                Some((n, "failed")) => self.failed += n.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

/// Runs a test command, passing its output on line by line.
fn counted(command: &mut Command) -> Result<(Tally, bool)> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("start cargo test")?;
    let mut tally = Tally::default();
    let mut lines = BufReader::new(child.stdout.take().context("cargo's output")?);
    let mut line = Vec::new();
    // Bytes, not text: what a test prints need not be UTF-8.
    while lines.read_until(b'\n', &mut line)? > 0 {
        std::io::stdout().write_all(&line)?;
        tally.add(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok((tally, child.wait()?.success()))
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().context("start cargo")?;
    if !status.success() {
        let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        bail!("cargo {} failed ({status})", args.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_crate_whose_tests_are_given_a_state_runs_on_all_engines() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
        let mut found = Vec::new();
        for family in ["core", "services", "triggers"] {
            for entry in fs::read_dir(root.join(family)).expect("a family of crates") {
                let folder = entry.expect("a folder").path();
                let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml")) else { continue };
                if manifest.contains("squall-testkit-state") {
                    let name = manifest.lines().find_map(|line| line.strip_prefix("name = "));
                    found.push(name.expect("a name").trim_matches('"').to_owned());
                    // Only the tests inside the crate are run again.
                    assert!(!folder.join("tests").exists(), "{}", folder.display());
                }
            }
        }
        found.sort();
        let mut known = ROOMS.to_vec();
        known.sort_unstable();
        assert_eq!(found, known);
    }

    #[test]
    fn cargo_tells_where_test_programs_are() {
        let line = r#"{"reason":"compiler-artifact","package_id":"path+file:///w/services/iam#squall-iam@0.1.0","manifest_path":"/w/services/iam/Cargo.toml","target":{"kind":["lib"],"name":"squall_iam"},"profile":{"test":true},"executable":"/t/squall_iam-1"}"#;
        let told = read_program(line.as_bytes()).expect("a program");
        assert_eq!((told.package.as_str(), told.target.as_str()), ("squall-iam", "squall_iam"));
        assert_eq!((told.path, told.folder), ("/t/squall_iam-1".into(), "/w/services/iam".into()));
        let unnamed = line.replace("services/iam#squall-iam@", "squall-iam#");
        assert_eq!(read_program(unnamed.as_bytes()).expect("a program").package, "squall-iam");
        assert!(read_program(line.replace("\"test\":true", "\"test\":false").as_bytes()).is_none());
    }

    #[test]
    fn results_of_several_programs_add_up() {
        let mut t = Tally::default();
        t.add("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        t.add("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s");
        t.add("test some::test ... ok");
        assert_eq!(t, Tally { passed: 15, failed: 2 });
    }
}
