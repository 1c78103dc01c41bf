//! What a function notices of a hostile one beside it on the same machine: the latency of a warm echo, alone and while another
//! function spins, allocates, forks or prints without end.

use crate::client::{Client, Target};
use crate::functions::{Cloud, Language, invoke, invoke_path};
use crate::load::{self, Load};
use crate::report::Report;
use anyhow::{Context as _, Result};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Hostile handlers in Python: what each does until its platform ends it.
const HOSTILE: [(&str, &str); 4] = [
    ("spin", "def handler(event, context):\n    while True:\n        pass\n"),
    (
        "allocate",
        "def handler(event, context):\n    kept = []\n    while True:\n        kept.append(bytearray(b'x') * (8 << 20))\n",
    ),
    (
        "fork",
        "import os, time\ndef handler(event, context):\n    while True:\n        try:\n            if os.fork() == 0:\n                while True:\n                    pass\n        except OSError:\n            time.sleep(0.01)\n",
    ),
    ("print", "def handler(event, context):\n    while True:\n        print('x' * 8000)\n"),
];

impl Cloud {
    /// The p99 of an echo by one caller alone and beside each hostile function, which is called again whenever it has ended.
    ///
    /// # Errors
    /// The echo fails: a hostile function must not do that.
    pub async fn neighbours(&self, report: &mut Report, python: &Language, length: Duration) -> Result<()> {
        let mut client = Client::connect(&self.target).await?;
        let echo = invoke_path(&self.create_active(&mut client, python).await?);
        let load = Load { workers: 1, warmup: Duration::from_millis(500), length };
        let quiet = beside(load, &self.target, &echo).await?;
        quiet.report(report, "beside.nothing");
        for (kind, code) in HOSTILE {
            let hostile = self.create_active(&mut client, &python.with(code)).await?;
            let mut caller = Client::connect(&self.target).await?;
            let (path, is_over) = (invoke_path(&hostile), Rc::new(Cell::new(false)));
            let over = is_over.clone();
            let hostility = tokio::task::spawn_local(async move {
                while !over.get() {
                    // However it ends: that is its own affair. A lost connection ends it.
                    if caller.call("lambda", ("POST", &path), &[], "{}").await.is_err() {
                        break;
                    }
                }
            });
            let seen = beside(load, &self.target, &echo).await;
            is_over.set(true);
            let path = format!("/2015-03-31/functions/{hostile}");
            client.call("lambda", ("DELETE", &path), &[], "").await.context("delete the hostile function")?;
            hostility.abort();
            seen?.report(report, &format!("beside.{kind}"));
        }
        Ok(())
    }
}

async fn beside(load: Load, target: &Target, path: &str) -> Result<load::Outcome> {
    let path = path.to_owned();
    load::run(load, target, async move |client: &mut Client, _| invoke(client, &path).await).await
}
