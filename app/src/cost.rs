//! `squall cost` and the page behind it: usage of a span of days, priced by the cloud's table.
//!
//! The page `GET /_squall/cost?from=2026-01-01&to=2026-01-31&by=function` is guarded as the other internal pages are: for root
//! and for principals that may `squall:Read`.

use crate::cli::Cost;
use crate::client::connect;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use squall_deploy::client::Call;
use squall_gateway::InternalReply;
use squall_meter::price::{By, Prices, bill, span};
use squall_meter::{Meter, hour_of};
use squall_types::Clock;
use std::process::ExitCode;
use std::sync::Arc;

/// Answers with bills.
pub struct Page {
    /// Knows what was used.
    pub meter: Meter,
    /// Knows what it costs.
    pub prices: Prices,
    /// Knows which month it is.
    pub clock: Arc<dyn Clock>,
}

impl Page {
    /// The bill that the query asks for.
    pub async fn answer(&self, query: &str) -> InternalReply {
        let refused = |text: String| InternalReply::json(400, &json!({ "message": text }));
        let (mut from, mut to, mut by) = (None, None, By::Function);
        for (name, value) in query.split('&').filter(|p| !p.is_empty()).filter_map(|p| p.split_once('=')) {
            match (name, By::parse(value)) {
                ("from", _) => from = Some(value),
                ("to", _) => to = Some(value),
                ("by", Some(known)) => by = known,
                ("by", None) => return refused(format!("by={value}: expected function or day")),
                _ => return refused(format!("{name}: expected from, to and by")),
            }
        }
        let (from, to) = match span(from, to, hour_of(self.clock.now())) {
            Ok(span) => span,
            Err(text) => return refused(text),
        };
        match self.meter.usage(from, to).await {
            Ok(usage) => InternalReply::json(200, &json!(bill(&usage, &self.prices, by))),
            Err(squall_store::Error::Invalid(text)) => refused(text),
            Err(e) => {
                tracing::error!(error = %e, "read what functions used");
                InternalReply::json(
                    500,
                    &json!({ "message": "the state engine failed: the server's log has the cause" }),
                )
            }
        }
    }
}

/// `squall cost`.
///
/// # Errors
/// The days are none, or the cloud refuses.
pub async fn run(args: Cost) -> Result<ExitCode> {
    let client = connect(&args.connect)?;
    let mut query = vec![("by", args.by.as_str())];
    query.extend(args.from.as_deref().map(|day| ("from", day)));
    query.extend(args.to.as_deref().map(|day| ("to", day)));
    let call = Call { service: "squall", method: "GET", path: "/_squall/cost", query: &query, ..Call::default() };
    let answer = client.send(call).await.context("ask for the bill")?;
    let bill: Value = serde_json::from_slice(&answer.body).context("read the bill")?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&bill)?);
    } else {
        print!("{}", table(&bill));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(bill: &Value) -> String {
    let currency = bill.get("currency").and_then(Value::as_str).unwrap_or_default();
    let mut rows = vec![["", "requests", "errors", "GB-s", "provisioned GB-s", currency].map(str::to_owned)];
    let lines = bill.get("lines").and_then(Value::as_array).into_iter().flatten();
    rows.extend(lines.chain(bill.get("total")).map(row));
    let width = |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(i, (c, w))| if i == 0 { format!("{c:<w$}") } else { format!("{c:>w$}") });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(line: &Value) -> [String; 6] {
    let number = |name: &str| line.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let count = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or(0).to_string();
    let name = line.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let provisioned = number("provisioned_gb_s");
    [
        name,
        count("requests"),
        count("errors"),
        format!("{:.3}", number("gb_s") + number("provisioned_run_gb_s")),
        format!("{provisioned:.3}"),
        format!("{:.8}", number("amount")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_each_and_a_total() {
        let line =
            |name: &str, requests: u64| json!({ "name": name, "requests": requests, "gb_s": 1.5, "amount": 0.25 });
        let bill = json!({ "currency": "USD", "lines": [line("f", 3)], "total": line("total", 3) });
        let text = table(&bill);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].ends_with("USD") && lines[1].starts_with("f") && lines[2].starts_with("total"), "{text}");
        assert!(lines[1].ends_with("0.25000000") && lines[1].contains("1.500"), "{text}");
    }
}
