//! Figures by name over the runs, the targets that some of them have, and the two ways to show them.

use crate::stats::Spread;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What a median must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    /// At most this.
    Most(f64),
    /// At least this.
    Least(f64),
    /// At most this many times the named floor's median.
    Multiple(f64, &'static str),
    /// At least this share of the named figure's median.
    Share(f64, &'static str),
}

/// The project's targets, by the figure's name.
const TARGETS: &[(&str, Target)] = &[
    ("ddb.put_1k.c1.p50_us", Target::Multiple(3.0, "floor.fdatasync_4k_us")),
    ("ddb.put_1k.c64.per_s", Target::Least(25_000.0)),
    ("ddb.get_1k.c1.p50_us", Target::Most(120.0)),
    ("ddb.get_1k.c64.per_s", Target::Least(50_000.0)),
    ("ddb.query_16k.c64.per_s", Target::Least(25_000.0)),
    ("ddb.transact_4.c64.per_s", Target::Least(8_000.0)),
    ("ddb.hot_update.c64.per_s", Target::Least(5_000.0)),
    ("memory.put_1k.c64.per_s", Target::Least(60_000.0)),
    ("memory.get_1k.c64.per_s", Target::Least(70_000.0)),
    ("growth.1m.get.c1.p50_us", Target::Multiple(1.3, "growth.10k.get.c1.p50_us")),
    ("growth.1m.put.c1.p50_us", Target::Multiple(1.3, "growth.10k.put.c1.p50_us")),
    ("growth.10m.get.c1.p50_us", Target::Multiple(2.0, "growth.10k.get.c1.p50_us")),
    ("growth.10m.put.c1.p50_us", Target::Multiple(2.0, "growth.10k.put.c1.p50_us")),
    ("sandbox.ready.p50_us", Target::Most(600.0)),
    ("sandbox.ready.p99_us", Target::Most(2_000.0)),
    ("lambda.nodejs.c1.p50_us", Target::Most(250.0)),
    ("lambda.nodejs.c1.p99_us", Target::Most(1_000.0)),
    ("lambda.nodejs.c64.per_s", Target::Least(10_000.0)),
    ("lambda.python.c1.p50_us", Target::Most(250.0)),
    ("lambda.python.c1.p99_us", Target::Most(1_000.0)),
    ("lambda.python.c64.per_s", Target::Least(10_000.0)),
    ("lambda.wasm.c64.per_s", Target::Least(40_000.0)),
    ("cold.wasm.p50_us", Target::Most(300.0)),
    ("cold.wasm.p99_us", Target::Most(2_000.0)),
    ("lambda.native.c64.per_s", Target::Least(20_000.0)),
    ("route.nodejs.c1.p50_us", Target::Most(300.0)),
    ("route.nodejs.c1.p99_us", Target::Most(1_000.0)),
    ("route.python.c1.p50_us", Target::Most(300.0)),
    ("route.python.c1.p99_us", Target::Most(1_000.0)),
    ("cold.nodejs.p50_us", Target::Most(3_000.0)),
    ("cold.nodejs.p99_us", Target::Most(10_000.0)),
    ("cold.python.p50_us", Target::Most(3_000.0)),
    ("cold.python.p99_us", Target::Most(10_000.0)),
    ("cold.java.p50_us", Target::Most(8_000.0)),
    ("cold.java.p99_us", Target::Most(40_000.0)),
    ("cold.native.p50_us", Target::Most(1_500.0)),
    ("cold.native.p99_us", Target::Most(5_000.0)),
    ("burst.nodejs.c100.all_ms", Target::Most(1_150.0)),
    ("burst.nodejs.c1000.all_ms", Target::Most(3_000.0)),
    ("burst.python.c100.all_ms", Target::Most(1_150.0)),
    ("burst.python.c1000.all_ms", Target::Most(3_000.0)),
    ("density.functions_1000_mib", Target::Most(5.0)),
    ("density.functions_1000_processes", Target::Most(0.0)),
    ("density.nodejs_instance_mib", Target::Most(3.0)),
    ("density.python_instance_mib", Target::Most(3.0)),
    ("beside.spin.p99_us", Target::Multiple(2.0, "beside.nothing.p99_us")),
    ("beside.allocate.p99_us", Target::Multiple(2.0, "beside.nothing.p99_us")),
    ("beside.fork.p99_us", Target::Multiple(2.0, "beside.nothing.p99_us")),
    ("beside.print.p99_us", Target::Multiple(2.0, "beside.nothing.p99_us")),
    ("state.server.postgres.put_1k.c64.per_s", Target::Least(5_000.0)),
    ("state.postgres.get.c1.per_s", Target::Share(0.5, "state.pgbench.select.c1.per_s")),
    ("state.postgres.get.c16.per_s", Target::Share(0.5, "state.pgbench.select.c16.per_s")),
    ("state.postgres.get.c64.per_s", Target::Share(0.5, "state.pgbench.select.c64.per_s")),
    ("state.postgres.claim_10.c64.per_s", Target::Least(8_000.0)),
    (
        "state.server.postgres.lambda.nodejs.c1.p50_us",
        Target::Multiple(1.1, "state.server.sqlite.lambda.nodejs.c1.p50_us"),
    ),
    (
        "state.server.postgres.lambda.python.c1.p50_us",
        Target::Multiple(1.1, "state.server.sqlite.lambda.python.c1.p50_us"),
    ),
    ("start.fresh_ms", Target::Most(50.0)),
    ("start.again_ms", Target::Most(50.0)),
    ("start.idle_rss_mib", Target::Most(40.0)),
];

/// One figure with its value of each run.
#[derive(Clone, Debug)]
struct Figure {
    name: String,
    values: Vec<f64>,
}

/// All figures in the order in which they were first measured.
#[derive(Clone, Debug, Default)]
pub struct Report {
    figures: Vec<Figure>,
    notes: Vec<String>,
}

/// A target with what came of it.
struct Verdict {
    text: String,
    is_met: Option<bool>,
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self.is_met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "no floor",
        }
    }
}

impl Report {
    /// Adds a run's value of a figure. The unit ends the name: `_us`, `_ms`, `_mib`, `per_s`.
    pub fn add(&mut self, name: &str, value: f64) {
        match self.figures.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.values.push(value),
            None => self.figures.push(Figure { name: name.to_owned(), values: vec![value] }),
        }
    }

    /// Adds a line that belongs to the result, such as the version of an interpreter; the same line is kept once.
    pub fn note(&mut self, line: String) {
        if !self.notes.contains(&line) {
            self.notes.push(line);
        }
    }

    fn median(&self, name: &str) -> Option<f64> {
        let figure = self.figures.iter().find(|figure| figure.name == name)?;
        Spread::of(&figure.values).map(|spread| spread.median)
    }

    fn verdict(&self, name: &str) -> Option<Verdict> {
        let (_, target) = TARGETS.iter().find(|(of, _)| *of == name)?;
        let median = self.median(name)?;
        Some(match target {
            Target::Most(limit) => Verdict { text: format!("<= {}", figure(*limit)), is_met: Some(median <= *limit) },
            Target::Least(limit) => Verdict { text: format!(">= {}", figure(*limit)), is_met: Some(median >= *limit) },
            Target::Multiple(times, floor) => self.compared("<=", times, floor, |limit| median <= limit),
            Target::Share(share, other) => self.compared(">=", share, other, |limit| median >= limit),
        })
    }

    fn compared(&self, sign: &str, times: &f64, other: &str, holds: impl Fn(f64) -> bool) -> Verdict {
        let limit = self.median(other).map(|value| value * times);
        let short = other.trim_start_matches("floor.").trim_end_matches("_us").trim_end_matches(".per_s");
        let shown = limit.map(|limit| format!(" = {}", figure(limit))).unwrap_or_default();
        Verdict { text: format!("{sign} {times} x {short}{shown}"), is_met: limit.map(holds) }
    }

    /// Takes over another report's figures and notes.
    pub fn append(&mut self, other: Report) {
        for line in other.figures {
            line.values.iter().for_each(|value| self.add(&line.name, *value));
        }
        other.notes.into_iter().for_each(|line| self.note(line));
    }

    /// The figures as a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let width = self.figures.iter().map(|line| line.name.len()).max().unwrap_or(0).max(28);
        let mut out = format!("{:<width$} {:>10} {:>10} {:>10}  target\n", "figure", "min", "median", "max");
        for line in &self.figures {
            let Some(Spread { min, median, max }) = Spread::of(&line.values) else { continue };
            let (min, median, max) = (figure(min), figure(median), figure(max));
            let verdict = self.verdict(&line.name);
            let verdict = verdict.map(|v| format!("  {}  {}", v.text, v.word())).unwrap_or_default();
            // A String takes any text.
            let _ = writeln!(out, "{:<width$} {min:>10} {median:>10} {max:>10}{verdict}", line.name);
        }
        for line in &self.notes {
            let _ = writeln!(out, "note: {line}");
        }
        out
    }

    /// The figures for programs, with what they were measured on and how.
    #[must_use]
    pub fn json(&self, machine: &Value, secs: f64, runs: usize) -> Value {
        let figures = self.figures.iter().filter_map(|line| {
            let spread = Spread::of(&line.values)?;
            let mut one = json!({
                "name": line.name, "min": spread.min, "median": spread.median, "max": spread.max, "runs": line.values,
            });
            if let (Some(verdict), Some(one)) = (self.verdict(&line.name), one.as_object_mut()) {
                one.insert("target".into(), json!(verdict.text));
                one.insert("met".into(), json!(verdict.is_met));
            }
            Some(one)
        });
        json!({
            "machine": machine, "secs": secs, "runs": runs, "notes": self.notes, "figures": figures.collect::<Vec<_>>(),
        })
    }
}

/// A number with three digits at least where it is small.
fn figure(value: f64) -> String {
    let digits = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(values: &[(&str, f64)]) -> Report {
        let mut report = Report::default();
        for (name, value) in values {
            report.add(name, *value);
        }
        report
    }

    #[test]
    fn a_target_is_a_multiple_of_the_median_floor() {
        let floor = ("floor.fdatasync_4k_us", 100.0);
        let check = |values: &[(&str, f64)], expected| {
            let verdict = report(values).verdict("ddb.put_1k.c1.p50_us").expect("a target");
            assert_eq!(verdict.is_met, expected, "{values:?}");
        };
        check(&[floor, ("ddb.put_1k.c1.p50_us", 300.0)], Some(true));
        check(&[floor, ("ddb.put_1k.c1.p50_us", 301.0)], Some(false));
        check(&[("ddb.put_1k.c1.p50_us", 301.0)], None);
    }

    #[test]
    fn the_table_shows_spread_target_and_verdict() {
        let name = "lambda.python.c64.per_s";
        let table = report(&[(name, 9_900.0), (name, 10_100.0), (name, 11_000.0)]).table();
        let line = table.lines().find(|line| line.starts_with(name)).expect("a line");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, [name, "9900", "10100", "11000", ">=", "10000", "met"]);
    }
}
