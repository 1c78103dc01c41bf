//! Many callers at once, from zero: each call sleeps a second, and none may be lost.

use crate::client::Client;
use crate::density::at_rest;
use crate::functions::{Cloud, Language, invoke_path, is_same, send};
use crate::report::Report;
use anyhow::{Context as _, Result, ensure};
use std::time::Instant;

/// Widths that are measured.
pub const WIDTHS: [usize; 2] = [100, 1_000];

impl Cloud {
    /// Time until all of so many simultaneous calls of a function that never ran are answered, by a server that has served another
    /// function of the runtime before.
    ///
    /// The connections are there before; they are opened a few at a time, as a listener's queue is short.
    ///
    /// # Errors
    /// A call was lost or answered wrongly.
    pub async fn burst(&self, report: &mut Report, language: &Language, width: usize, server: u32) -> Result<()> {
        let mut clients = Vec::with_capacity(width);
        for _ in 0..width {
            clients.push(Client::connect(&self.target).await?);
        }
        let first = clients.first_mut().context("a caller")?;
        self.create_active(first, language).await?;
        at_rest(server).await?;
        let path = invoke_path(&self.create_active(first, language).await?);
        let begin = Instant::now();
        let mut calls = tokio::task::JoinSet::new();
        for (n, mut client) in clients.into_iter().enumerate() {
            let path = path.clone();
            calls.spawn_local(async move {
                let event = format!(r#"{{"n":{n},"s":1}}"#);
                let answer = send(&mut client, &path, &event).await?;
                ensure!(is_same(&event, &answer), "{event} is answered by {}", String::from_utf8_lossy(&answer));
                anyhow::Ok(())
            });
        }
        while let Some(done) = calls.join_next().await {
            done.context("a caller")??;
        }
        report.add(&format!("burst.{}.c{width}.all_ms", language.name), begin.elapsed().as_secs_f64() * 1000.0);
        Ok(())
    }
}
