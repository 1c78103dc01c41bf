//! Every operation of every room with inputs made at random from its own shape: sensible values, wrong types, edges of every
//! bound. Whatever comes, the answer is the caller's fault or a success, never the server's failure.
//!
//! The numbers are the same in every run; `SQUALL_FUZZ_SEED` and `SQUALL_FUZZ_ROUNDS` set others.

use crate::models::services;
use serde_json::{Map, Value, json};
use squall_protocol::schema::{Kind, Location, Operation, Protocol, Service, Shape};
use squall_testkit::{Response, Server};

/// Names that more than one request uses, so that requests meet what earlier ones made.
const NAMES: [&str; 4] = ["alpha", "beta-1", "arn:aws:iam::000000000000:role/alpha", "$LATEST"];
const ODD: [&str; 12] = [
    "",
    " ",
    "a",
    "\u{0}",
    "ü🦀",
    "../../etc/passwd",
    "%2e%2e%2f",
    "arn:aws:",
    "::::::",
    "-1",
    "{\"a\":1}",
    "\u{202e}\u{feff}\n\r\t",
];

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    fn value(&mut self, shape: &Shape, depth: usize) -> Value {
        if self.once_in(12) {
            return self.anything();
        }
        match &shape.kind {
            Kind::String { min, max, options, .. } => json!(self.text(options, *min, *max)),
            Kind::Integer { min, max } | Kind::Long { min, max } => json!(self.number(*min, *max)),
            Kind::Double { .. } => json!(self.number(None, None)),
            Kind::Boolean => json!(self.once_in(2)),
            Kind::Timestamp(_) => json!(self.number(Some(0), Some(2_000_000_000_000))),
            Kind::Blob { .. } => json!(self.pick(&["", "eA==", "UEsDBA==", "not base64!", "////"])),
            Kind::Document => self.anything(),
            _ if depth == 0 => Value::Null,
            Kind::List { member, .. } => {
                let count = if self.once_in(20) { 120 } else { self.below(3) };
                (0..count).map(|_| self.value(member, depth - 1)).collect()
            }
            Kind::Map { value, .. } => {
                let count = self.below(3);
                (0..count)
                    .map(|_| (self.text(&[], None, None), self.value(value, depth - 1)))
                    .collect::<Map<_, _>>()
                    .into()
            }
            Kind::Structure { members, .. } => {
                let mut map = Map::new();
                for m in *members {
                    // Mostly whole requests, so that they pass the first checks.
                    if if m.required { !self.once_in(15) } else { self.once_in(4) } {
                        map.insert(m.wire.to_owned(), self.value(m.shape, depth - 1));
                    }
                }
                map.into()
            }
        }
    }

    fn text(&mut self, options: &[&str], min: Option<u64>, max: Option<u64>) -> String {
        match self.below(10) {
            0 => self.pick(&ODD).to_owned(),
            1 => "x".repeat(usize::try_from(max.unwrap_or(300)).unwrap_or(0).min(5_000) + self.below(2)),
            2 => "x".repeat(usize::try_from(min.unwrap_or(1)).unwrap_or(0).min(5_000)),
            _ if !options.is_empty() => self.pick(options).to_owned(),
            _ => self.pick(&NAMES).to_owned(),
        }
    }

    fn number(&mut self, min: Option<i64>, max: Option<i64>) -> i64 {
        let (low, high) = (min.unwrap_or(0), max.unwrap_or(100));
        match self.below(8) {
            0 => low.wrapping_sub(1),
            1 => high.wrapping_add(1),
            2 => i64::MAX,
            3 => i64::MIN,
            4 => low,
            5 => high,
            _ => low.saturating_add((self.next() % 10) as i64),
        }
    }

    fn anything(&mut self) -> Value {
        match self.below(9) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(1e308),
            3 => json!(-0.5),
            4 => json!([]),
            5 => json!({}),
            6 => json!([[[[{ "a": [null] }]]]]),
            7 => json!(u64::MAX),
            _ => json!(self.pick(&ODD)),
        }
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Lists and structures as forms write them.
fn form(out: &mut String, name: &str, value: &Value) {
    match value {
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, v)| form(out, &format!("{name}.member.{}", i + 1), v))
        }
        Value::Object(map) => map.iter().for_each(|(k, v)| form(out, &format!("{name}.{k}"), v)),
        other => out.push_str(&format!("&{}={}", encoded(name), encoded(&plain(other)))),
    }
}

fn call(server: &Server, service: &Service, operation: &Operation, input: &Value) -> Response {
    let mut body = input.as_object().cloned().unwrap_or_default();
    let signing = service.signing_name;
    match service.protocol {
        Protocol::Json => {
            let kind = format!("application/x-amz-json-{}", service.json_version);
            let target = format!("{}.{}", service.target_prefix, operation.name);
            let headers = [("content-type", kind.as_str()), ("x-amz-target", &target)];
            server.signed(signing, ("POST", "/"), &headers, input.to_string().as_bytes())
        }
        Protocol::Query => {
            let mut text = format!("Action={}&Version={}", operation.name, service.api_version);
            body.iter().for_each(|(name, value)| form(&mut text, name, value));
            let headers = [("content-type", "application/x-www-form-urlencoded")];
            server.signed(signing, ("POST", "/"), &headers, text.as_bytes())
        }
        Protocol::RestJson | Protocol::RestXml => {
            let (mut target, mut query) = (operation.uri.to_owned(), String::new());
            for m in operation.input.map(Shape::members).unwrap_or_default() {
                let taken = if m.location == Location::Body { None } else { body.remove(m.wire) };
                let text = taken.as_ref().map(plain);
                match m.location {
                    Location::Uri => {
                        let text = text.filter(|t| !t.is_empty()).unwrap_or_else(|| "alpha".into());
                        target = target
                            .replace(&format!("{{{}}}", m.wire), &encoded(&text))
                            .replace(&format!("{{{}+}}", m.wire), &encoded(&text));
                    }
                    Location::Query => {
                        if let Some(text) = text {
                            query.push_str(&format!("&{}={}", encoded(m.wire), encoded(&text)));
                        }
                    }
                    _ => {}
                }
            }
            if !query.is_empty() {
                target.push(if target.contains('?') { '&' } else { '?' });
                target.push_str(&query[1..]);
            }
            let body = Value::Object(body).to_string();
            server.signed(
                signing,
                (operation.method, &target),
                &[("content-type", "application/json")],
                body.as_bytes(),
            )
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Requests of one service's operations in turns, so that they build on each other.
fn fuzz(service: &'static Service) {
    let server = Server::start();
    let seed = setting("SQUALL_FUZZ_SEED", 7);
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut good, mut all) = (0, 0);
    for round in 0..setting("SQUALL_FUZZ_ROUNDS", 12) {
        for operation in service.operations {
            let input = operation.input.map_or(json!({}), |shape| random.value(shape, 6));
            let answer = call(&server, service, operation, &input);
            all += 1;
            good += u32::from(answer.status < 300);
            assert!(
                answer.status < 500,
                "{} {} (seed {seed}, round {round}): {} {}\n{input}",
                service.name,
                operation.name,
                answer.status,
                answer.text()
            );
        }
        assert_eq!(server.health()["status"], "ok");
    }
    println!("{}: {all} requests, {good} of them succeeded", service.name);
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn apigateway() {
    fuzz(services()[0]);
}

#[test]
fn apigatewayv2() {
    fuzz(services()[1]);
}

#[test]
fn dynamodb() {
    fuzz(services()[2]);
}

#[test]
fn iam() {
    fuzz(services()[3]);
}

#[test]
fn sts() {
    fuzz(services()[4]);
}

#[test]
fn lambda() {
    fuzz(services()[5]);
}

#[test]
fn logs() {
    fuzz(services()[6]);
}
