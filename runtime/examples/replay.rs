//! Replays a day of invocations against keep-alive policies and prints cold-start share and wasted memory of each.
//!
//! `cargo run --release -p squall-runtime --example replay -- [FUNCTIONS] [SEED] [EXTRA_SECONDS]`
//!
//! The trace has the shape of the Azure Functions trace of 2019 (a count per function and minute, a trigger, average duration,
//! allocated memory) and is made here, from a seed, with the marginals that its authors published ("Serverless in the Wild",
//! 2020): 45 % of functions are invoked at most once an hour and 81 % at most once a minute; triggers are HTTP 55 %, queue 15 %,
//! timer 16 %, others; timers are periodic, other arrivals come as a Poisson process or in bursts (coefficient of variation
//! above 1); average durations are log-normal (-0.38, 2.36) in seconds, memory is Burr (11.652, 0.221, 107.083) in MB.
//!
//! The policies are the pool's own code ([`squall_runtime::keepalive`]). An instance serves one request at a time; the one that
//! was used last is taken first. Waste is memory × time of instances that rest.

use squall_runtime::Options;
use squall_runtime::keepalive::{Habit, KeepAlive, Policy};
use std::time::Duration;

const DAYS: u64 = 3;
const DAY_S: f64 = 86_400.0;
/// Functions with more requests a day never start cold; a sample of their requests says the same.
const PER_DAY_MAX: f64 = 5_000.0;

struct Random(u64);

impl Random {
    /// In `(0, 1]`.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// A function of the trace: its requests by second, how long one takes, its memory.
struct Traced {
    arrivals: Vec<f64>,
    duration_s: f64,
    memory_mb: u32,
}

/// Requests a day, by the published distribution: straight lines between its points, in logarithms.
fn per_day(random: &mut Random) -> f64 {
    const POINTS: [(f64, f64); 5] = [(0.0, 0.0), (0.45, 24f64), (0.81, 1440.0), (0.95, 30_000.0), (1.0, 1e6)];
    let at = random.unit();
    let next = POINTS.iter().position(|(share, _)| *share >= at).unwrap_or(4).max(1);
    let ((s0, v0), (s1, v1)) = (POINTS[next - 1], POINTS[next]);
    let (low, high) = (v0.max(0.5).ln(), v1.ln());
    (low + (high - low) * (at - s0) / (s1 - s0)).exp().min(PER_DAY_MAX)
}

fn traced(random: &mut Random) -> Traced {
    let rate = per_day(random);
    let mean = DAY_S / rate;
    let end = DAY_S * DAYS as f64;
    let mut arrivals = Vec::new();
    let mut now = random.unit() * mean.min(DAY_S);
    let trigger = random.unit();
    let bursty = random.unit() < 0.5;
    // A timer's period is one that people set.
    let period = [60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 21_600.0, 86_400.0];
    let period = period.iter().copied().min_by(|a, b| (a - mean).abs().total_cmp(&(b - mean).abs())).unwrap_or(mean);
    while now < end {
        arrivals.push(now);
        now += match trigger {
            t if t < 0.16 => period + random.normal() * 0.5,
            _ if !bursty => random.exponential(mean),
            // Hyper-exponential with a coefficient of variation of about 2.
            _ if random.unit() < 0.8 => random.exponential(mean * 0.25),
            _ => random.exponential(mean * 4.0),
        }
        .max(0.001);
    }
    let duration_s = (-0.38 + 2.36 * random.normal()).exp().clamp(0.001, 60.0);
    let u = random.unit().min(1.0 - 1e-9);
    let burr = 107.083 * ((1.0 - u).powf(-1.0 / 0.221) - 1.0).powf(1.0 / 11.652);
    Traced { arrivals, duration_s, memory_mb: burr.clamp(128.0, 1536.0) as u32 }
}

#[derive(Clone, Copy, Default)]
struct Sum {
    requests: u64,
    cold: u64,
    wasted_gb_s: f64,
}

/// One function under a policy; `cold_s` is what a start takes.
fn run(t: &Traced, k: &KeepAlive, cold_s: f64, sum: &mut Sum) {
    let gb = f64::from(t.memory_mb) / 1024.0;
    let at = Duration::from_secs_f64;
    let mut habit = Habit::default();
    // Instances: since when each rests (or will), the one used last at the end; and the plan for the current rest.
    let mut idle: Vec<f64> = Vec::new();
    let mut busy: Vec<f64> = Vec::new();
    let mut silent: Option<f64> = None;
    for &now in &t.arrivals {
        sum.requests += 1;
        busy.sort_by(f64::total_cmp);
        while busy.first().is_some_and(|end| *end <= now) {
            idle.push(busy.remove(0));
        }
        if busy.is_empty()
            && let Some(since) = idle.last().copied()
        {
            silent = Some(since);
        }
        let resting = silent.take().filter(|_| busy.is_empty());
        if let Some(since) = resting {
            let plan = habit.plan(k, t.memory_mb);
            // What was used last follows the plan.
            if let Some(last) = idle.pop() {
                let until = last + plan.keep.as_secs_f64();
                match plan.prewarm {
                    _ if now < until => idle.push(last),
                    None => sum.wasted_gb_s += (until - last) * gb,
                    Some((from, to)) => {
                        sum.wasted_gb_s += (until - last) * gb;
                        let (from, to) = (since + from.as_secs_f64(), since + to.as_secs_f64());
                        if now >= from && now < to {
                            idle.push(from);
                        } else if now >= to {
                            sum.wasted_gb_s += (to - from) * gb;
                        }
                    }
                }
            }
            habit.rested(at(now - since));
        }
        let extra = k.extra.as_secs_f64();
        let last = idle.len().saturating_sub(1);
        let mut index = 0;
        idle.retain(|since| {
            let keeps = (resting.is_some() && index == last) || now - since < extra;
            index += 1;
            if !keeps {
                sum.wasted_gb_s += extra * gb;
            }
            keeps
        });
        habit.requested(at(now));
        let start = match idle.pop() {
            Some(since) => {
                sum.wasted_gb_s += (now - since).max(0.0) * gb;
                0.0
            }
            None => {
                sum.cold += 1;
                habit.started(at(cold_s));
                cold_s
            }
        };
        busy.push(now + start + t.duration_s);
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let functions: usize = args.next().and_then(|a| a.parse().ok()).unwrap_or(2000);
    let seed: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(1);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let trace: Vec<Traced> = (0..functions).map(|_| traced(&mut random)).collect();
    let mut own = Options::default().keep_alive();
    if let Some(extra) = args.next().and_then(|a| a.parse().ok()) {
        own.extra = Duration::from_secs(extra);
    }
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let mut policies = vec![
        ("fixed 10 min".to_owned(), KeepAlive::fixed(minutes(10))),
        ("hybrid (percentiles)".to_owned(), KeepAlive { policy: Policy::Hybrid, ..own }),
    ];
    for price in [50.0, 100.0, 200.0, 300.0] {
        policies.push((format!("cost {price}"), KeepAlive { policy: Policy::Cost, cold_gb_s: price, ..own }));
    }
    policies.push((format!("in force: {:?} {}", own.policy, own.cold_gb_s), own));
    println!("{functions} functions, {DAYS} days, seed {seed}");
    println!("{:<24} {:>10} {:>10} {:>14} {:>14}", "policy", "requests", "cold", "cold per 1000", "wasted GB-s");
    for (name, policy) in policies {
        let mut sum = Sum::default();
        trace.iter().for_each(|t| run(t, &policy, 0.1, &mut sum));
        let share = sum.cold as f64 * 1000.0 / sum.requests as f64;
        println!("{name:<24} {:>10} {:>10} {share:>14.3} {:>14.0}", sum.requests, sum.cold, sum.wasted_gb_s);
    }
}
