//! The measurements.

use crate::client::Request;
use crate::floors;
use crate::load::{self, Maker, percentile};
use crate::report::Report;
use crate::server::Server;
use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Items of the table that is read.
const ITEMS: usize = 10_000;
/// New functions per cold measurement.
const COLD: usize = 15;

const ECHO: [(&str, &str, &str, &str); 2] = [
    ("node", "nodejs20.x", "index.js", "exports.handler = async (event) => event;\n"),
    ("python", "python3.11", "index.py", "def handler(event, context):\n    return event\n"),
];

/// What is measured, and how long.
pub struct Bench {
    pub squall: PathBuf,
    pub runs: usize,
    pub time: Duration,
}

impl Bench {
    /// Start to `ready`, and memory when idle.
    pub async fn start(&self, report: &mut Report) -> Result<()> {
        eprintln!("start");
        let (mut times, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..self.runs.max(5) {
            let server = Server::start(&self.squall)?;
            times.push(server.started_in.as_secs_f64() * 1000.0);
            // Pools fill in the background.
            tokio::time::sleep(Duration::from_secs(2)).await;
            memory.push(server.memory_mib()?);
        }
        report.add("start to ready", "ms", &times, None);
        report.add("memory when idle", "MiB", &memory, None);
        Ok(())
    }

    /// One load, `runs` times: rate and latency.
    async fn load(
        &self,
        report: &mut Report,
        name: &str,
        server: &Server,
        callers: usize,
        make: Maker,
        floor: Option<(&str, f64)>,
    ) -> Result<()> {
        eprintln!("{name}, {callers} callers");
        let (mut rates, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.runs {
            let run = load::run(server.address, Some(&server.keys), callers, self.time, &make).await?;
            rates.push(run.rate);
            p50.push(run.p50_ms);
            p99.push(run.p99_ms);
        }
        let name = format!("{name}, {callers} callers");
        if callers > 1 {
            report.add(&name, "/s", &rates, floor);
            report.add(&format!("{name}: p50"), "ms", &p50, None);
        } else {
            report.add(&format!("{name}: p50"), "ms", &p50, floor);
        }
        report.add(&format!("{name}: p99"), "ms", &p99, None);
        Ok(())
    }

    /// DynamoDB.
    pub async fn ddb(&self, report: &mut Report) -> Result<()> {
        let server = Server::start(&self.squall)?;
        let mut client = server.client().await?;
        let table = json!({
            "TableName": "bench", "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
            "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
        });
        client.ok(&Request::dynamodb("CreateTable", &table)).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let value = "v".repeat(1000);
        let put: Maker = Arc::new(move |n| {
            let item = json!({ "id": { "S": format!("item-{}", n % ITEMS) }, "v": { "S": value } });
            Request::dynamodb("PutItem", &json!({ "TableName": "bench", "Item": item }))
        });
        let get: Maker = Arc::new(|n| {
            let key = json!({ "id": { "S": format!("item-{}", n.wrapping_mul(7919) % ITEMS) } });
            Request::dynamodb("GetItem", &json!({ "TableName": "bench", "Key": key }))
        });
        for n in 0..ITEMS {
            if n % 64 == 0 {
                // Filling goes by batches elsewhere; here it also warms the caches.
                tokio::task::yield_now().await;
            }
            client.ok(&put(n)).await?;
        }
        let sync = floors::fdatasync(server.folder.path())?;
        let hello = floors::hello(64, self.time).await?.rate;
        self.load(report, "PutItem 1 KiB", &server, 1, put.clone(), Some(("fdatasync 4 KiB", sync))).await?;
        self.load(report, "PutItem 1 KiB", &server, 64, put, Some(("bare HTTP", hello))).await?;
        self.load(report, "GetItem 1 KiB", &server, 64, get, Some(("bare HTTP", hello))).await
    }

    /// Warm invocations.
    pub async fn lambda(&self, report: &mut Report) -> Result<()> {
        let server = Server::start(&self.squall)?;
        let mut client = server.client().await?;
        server.role(&mut client).await?;
        let (one, many) = (floors::hello(1, self.time).await?.p50_ms, floors::hello(16, self.time).await?.rate);
        for (language, runtime, file, source) in ECHO {
            server.function(&mut client, language, runtime, (file, source)).await?;
            let path = format!("/2015-03-31/functions/{language}/invocations");
            let call: Maker =
                Arc::new(move |n| Request::lambda("POST", path.clone(), format!("{{\"n\":{n}}}").into_bytes()));
            // Sixteen instances, so that no cold start is in the numbers.
            load::run(server.address, Some(&server.keys), 16, Duration::from_secs(2), &call).await?;
            self.load(report, &format!("warm {language}"), &server, 1, call.clone(), Some(("bare HTTP", one))).await?;
            self.load(report, &format!("warm {language}"), &server, 16, call, Some(("bare HTTP", many))).await?;
        }
        Ok(())
    }

    /// First invocations of new functions.
    pub async fn cold(&self, report: &mut Report) -> Result<()> {
        let server = Server::start(&self.squall)?;
        let mut client = server.client().await?;
        server.role(&mut client).await?;
        let floors = [
            floors::interpreter("node", &["-p", "process.execPath"], &["-e", "0"])?,
            floors::interpreter("python3", &["-c", "import sys; print(sys.executable)"], &["-c", "pass"])?,
        ];
        for ((language, runtime, file, source), floor) in ECHO.into_iter().zip(floors) {
            eprintln!("cold {language}");
            let mut medians = Vec::new();
            for run in 0..self.runs {
                let mut times = Vec::new();
                for n in 0..COLD {
                    let name = format!("{language}-{run}-{n}");
                    server.function(&mut client, &name, runtime, (file, source)).await?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    let call =
                        Request::lambda("POST", format!("/2015-03-31/functions/{name}/invocations"), b"{}".to_vec());
                    let begin = Instant::now();
                    client.ok(&call).await?;
                    times.push(begin.elapsed().as_secs_f64() * 1000.0);
                }
                times.sort_by(f64::total_cmp);
                medians.push(percentile(&times, 0.5));
            }
            report.add(&format!("cold {language}: p50"), "ms", &medians, Some(("bare interpreter", floor)));
        }
        Ok(())
    }
}
