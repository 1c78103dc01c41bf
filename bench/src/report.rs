//! Results as a table and as JSON.

use serde::Serialize;
use std::process::Command;

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    unit: &'static str,
    median: f64,
    least: f64,
    most: f64,
    runs: usize,
    floor: Option<Floor>,
}

#[derive(Debug, Serialize)]
struct Floor {
    name: String,
    value: f64,
    /// The median by the floor.
    ratio: f64,
}

/// Everything that was measured, with where and on what.
#[derive(Debug, Serialize)]
pub struct Report {
    commit: String,
    machine: String,
    cores: usize,
    lines: Vec<Line>,
}

impl Report {
    /// An empty report of this machine and commit.
    pub fn new() -> Self {
        let output = |program: &str, args: &[&str]| {
            let out = Command::new(program).args(args).output().ok().filter(|o| o.status.success());
            out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_else(|| "unknown".into())
        };
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).and_then(|l| l.split_once(':'));
        Self {
            commit: output("git", &["describe", "--always", "--dirty"]),
            machine: format!("{}, {}", model.map_or("unknown", |(_, m)| m.trim()), output("uname", &["-sr"])),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            lines: Vec::new(),
        }
    }

    /// Adds a measurement: one value per run, and the floor beside it.
    pub fn add(&mut self, name: &str, unit: &'static str, values: &[f64], floor: Option<(&str, f64)>) {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |n: usize| sorted.get(n).copied().unwrap_or(f64::NAN);
        let median = at(sorted.len() / 2);
        let floor = floor.map(|(name, value)| Floor { name: name.to_owned(), value, ratio: median / value });
        let (least, most, runs) = (at(0), at(sorted.len().saturating_sub(1)), sorted.len());
        self.lines.push(Line { name: name.to_owned(), unit, median, least, most, runs, floor });
    }

    /// The table on stdout.
    pub fn print(&self) {
        println!("commit {}, {} cores, {}", self.commit, self.cores, self.machine);
        println!("{:<36} {:>12} {:>25}  floor", "", "median", "spread");
        for l in &self.lines {
            let digits = if l.median < 100.0 { 2 } else { 0 };
            let spread = format!("{:.digits$} – {:.digits$}", l.least, l.most);
            let floor = l.floor.as_ref().map(|f| {
                let digits = if f.value < 100.0 { 2 } else { 0 };
                format!("{} {:.digits$} {} (×{:.2})", f.name, f.value, l.unit, f.ratio)
            });
            println!(
                "{:<36} {:>8.digits$} {:<3} {spread:>25}  {}",
                l.name,
                l.median,
                l.unit,
                floor.unwrap_or_default()
            );
        }
    }

    /// The same as JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}
