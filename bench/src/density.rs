//! What idle things cost: a thousand functions that are deployed and do not run, and a warm instance that waits.

use crate::client::Client;
use crate::functions::{Cloud, Language, invoke_path, send};
use crate::report::Report;
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Functions that are deployed.
const FUNCTIONS: usize = 1_000;
/// How long processes that were started ahead of expected calls may take to be gone.
const REST: Duration = Duration::from_secs(60);
/// A process tree that did not change for so long has come to rest.
const QUIET: Duration = Duration::from_secs(3);

/// A process with all below it, at one moment.
#[derive(Debug, Default)]
pub struct Tree {
    processes: usize,
    /// Memory that no other process shares, in KiB.
    unique_kib: u64,
}

impl Cloud {
    /// Deploys functions and measures the server with all its processes before and after, at rest.
    ///
    /// # Errors
    /// A function cannot be made, or the processes do not come to rest.
    pub async fn idle_functions(&self, report: &mut Report, server: u32) -> Result<()> {
        let mut client = Client::connect(&self.target).await?;
        // One of each first: zygotes are there whatever the number of functions.
        for language in self.languages() {
            self.create_active(&mut client, language).await?;
        }
        let before = at_rest(server).await?;
        for n in 0..FUNCTIONS {
            let language = self.languages().get(n % self.languages().len()).context("a language")?;
            self.create_active(&mut client, language).await?;
        }
        let after = at_rest(server).await?;
        let mib = (after.unique_kib as f64 - before.unique_kib as f64) / 1024.0;
        report.add("density.functions_1000_mib", mib);
        report.add("density.functions_1000_processes", after.processes as f64 - before.processes as f64);
        report.add("density.idle_tree_mib", before.unique_kib as f64 / 1024.0);
        Ok(())
    }

    /// Memory that is an idle warm instance's alone: its process and the sandbox's init, frozen as they wait.
    ///
    /// # Errors
    /// The instance is not found.
    pub async fn idle_instance(&self, report: &mut Report, language: &Language, server: u32) -> Result<()> {
        let mut client = Client::connect(&self.target).await?;
        // Until its zygote is there an instance is executed, which costs more for good.
        self.create_active(&mut client, language).await?;
        at_rest(server).await?;
        // Known from outside by a file that it keeps open.
        let mark = format!("squall-bench-{}-{}", std::process::id(), language.name);
        let code = match language.name {
            "python" => format!("kept = open('/tmp/{mark}', 'w')\n"),
            _ => format!("const kept = require('fs').openSync('/tmp/{mark}', 'w');\n"),
        };
        let loading = if self.has_sdk { language.with_client() } else { language.clone() };
        let loading = loading.with([code.as_bytes(), &loading.code].concat());
        let path = invoke_path(&self.create_active(&mut client, &loading).await?);
        for _ in 0..3 {
            send(&mut client, &path, "{}").await?;
        }
        // Past the moment when it is frozen.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let parents = descendants(server);
        let own = parents.keys().copied().find(|pid| holds(*pid, &mark)).context("the instance's process")?;
        let init = parents.get(&own).copied().context("the instance's init")?;
        report.add(&format!("density.{}_instance_mib", language.name), unique_kib(own) as f64 / 1024.0);
        report.add(&format!("density.{}_init_mib", language.name), unique_kib(init) as f64 / 1024.0);
        Ok(())
    }
}

/// The tree once its number of processes has not changed for a while: zygotes are loaded, and what was prepared for expected calls
/// has come and gone.
///
/// # Errors
/// Processes come and go all the time.
pub async fn at_rest(server: u32) -> Result<Tree> {
    let (deadline, mut since, mut count) = (Instant::now() + REST, Instant::now(), 0);
    while Instant::now() < deadline {
        let now = descendants(server).len();
        if now != count {
            (since, count) = (Instant::now(), now);
        } else if since.elapsed() > QUIET.max(STANDBY) {
            return Ok(tree(server));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bail!("the server's processes do not come to rest within {REST:?}")
}

/// Calls of a function are expected, and prepared for, so long after its deployment.
const STANDBY: Duration = Duration::from_secs(12);

fn tree(server: u32) -> Tree {
    let mut all = Tree { processes: 1, unique_kib: unique_kib(server) };
    for pid in descendants(server).into_keys() {
        all.processes += 1;
        all.unique_kib += unique_kib(pid);
    }
    all
}

/// Every process below one, with its parent.
fn descendants(root: u32) -> BTreeMap<u32, u32> {
    let (mut found, mut open) = (BTreeMap::new(), vec![root]);
    while let Some(parent) = open.pop() {
        for child in children(parent) {
            if found.insert(child, parent).is_none() {
                open.push(child);
            }
        }
    }
    found
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split(' ').filter_map(|pid| pid.trim().parse().ok()).collect::<Vec<u32>>()).collect()
}

/// Memory of a process that no other shares; 0 of one that has ended.
fn unique_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    ["Private_Clean", "Private_Dirty"].iter().filter_map(|name| crate::machine::kib_of(&text, name)).sum()
}

fn holds(pid: u32, mark: &str) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|path| path.to_string_lossy().contains(mark))
}
