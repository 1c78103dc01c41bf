//! Callers that each send one request after the other for a while.

use crate::client::{Client, Keys, Request};
use anyhow::{Result, bail};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Requests per second.
    pub rate: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile in milliseconds.
    pub p99_ms: f64,
}

/// Makes the n-th request.
pub type Maker = Arc<dyn Fn(usize) -> Request + Send + Sync>;

/// The value at that share of sorted values.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Loads a server with `callers` connections for `time`. Any answer but a success ends the bench.
pub async fn run(
    address: SocketAddr,
    keys: Option<&Keys>,
    callers: usize,
    time: Duration,
    make: &Maker,
) -> Result<Run> {
    let mut clients = Vec::new();
    for _ in 0..callers {
        clients.push(Client::connect(address, keys.cloned()).await?);
    }
    let start = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(caller, mut client)| {
            let make = make.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut n = caller;
                while start.elapsed() < time {
                    let request = make(n);
                    n += callers;
                    let begin = Instant::now();
                    client.ok(&request).await?;
                    times.push(begin.elapsed().as_secs_f64() * 1000.0);
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let took = start.elapsed().as_secs_f64();
    if times.is_empty() {
        bail!("no request ended in time");
    }
    times.sort_by(f64::total_cmp);
    Ok(Run { rate: times.len() as f64 / took, p50_ms: percentile(&times, 0.5), p99_ms: percentile(&times, 0.99) })
}
