//! Closed-loop load: a number of workers, each with one connection, each with one request under way at any time.

use crate::client::{Client, Target};
use crate::report::Report;
use crate::stats::percentile;
use anyhow::{Context as _, Result, bail};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A load that is this much over its length has stalled.
const GRACE: Duration = Duration::from_secs(30);

/// How much load, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Workers.
    pub workers: usize,
    /// Time under load before anything counts.
    pub warmup: Duration,
    /// Time that counts.
    pub length: Duration,
}

/// What a load saw.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Middle latency in microseconds.
    pub p50_us: f64,
    /// 99th percentile in microseconds.
    pub p99_us: f64,
    /// Answers per second.
    pub per_s: f64,
}

impl Outcome {
    /// Adds all three to the report.
    pub fn report(&self, report: &mut Report, name: &str) {
        report.add(&format!("{name}.p50_us"), self.p50_us);
        report.add(&format!("{name}.p99_us"), self.p99_us);
        report.add(&format!("{name}.per_s"), self.per_s);
    }
}

/// Runs `operation` in a closed loop; it gets a connection and a number that no other call of this load gets.
///
/// # Errors
/// An operation failed (the first error; a load with errors measures nothing), or the load stalled.
pub async fn run<O>(load: Load, target: &Target, operation: O) -> Result<Outcome>
where
    O: AsyncFn(&mut Client, u64) -> Result<()> + 'static,
{
    let operation = Rc::new(operation);
    let (next, latencies) = (Rc::new(Cell::new(0_u64)), Rc::new(RefCell::new(Vec::<u64>::new())));
    let mut clients = Vec::with_capacity(load.workers);
    for _ in 0..load.workers {
        clients.push(Client::connect(target).await?);
    }
    let begin = Instant::now() + load.warmup;
    let end = begin + load.length;
    let mut workers = tokio::task::JoinSet::new();
    for mut client in clients {
        let (operation, next, latencies) = (operation.clone(), next.clone(), latencies.clone());
        workers.spawn_local(async move {
            let mut sent = Instant::now();
            while sent < end {
                operation(&mut client, next.replace(next.get() + 1)).await?;
                let answered = Instant::now();
                if sent >= begin {
                    latencies.borrow_mut().push(u64::try_from((answered - sent).as_nanos()).unwrap_or(u64::MAX));
                }
                sent = answered;
            }
            anyhow::Ok(())
        });
    }
    let all = async {
        while let Some(done) = workers.join_next().await {
            done.context("a worker of the load")??;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(load.warmup + load.length + GRACE, all).await {
        Ok(done) => done?,
        Err(_) => bail!("the load stalled: no end {GRACE:?} after its length"),
    }
    let took = begin.elapsed().as_secs_f64();
    let mut sorted = latencies.take();
    sorted.sort_unstable();
    let us = |share| percentile(&sorted, share) as f64 / 1000.0;
    Ok(Outcome { p50_us: us(0.5), p99_us: us(0.99), per_s: sorted.len() as f64 / took })
}
