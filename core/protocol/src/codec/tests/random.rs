//! Random values round trip through every protocol, and no decoder panics on random or damaged bytes.
//!
//! The generator is seeded, so a failure comes back on every run.

use super::head;
use crate::Value;
use crate::codec::{decode, encode};
use crate::fixture::{DYNAMODB, IAM, LAMBDA, LOGS, NODE, S3, text};
use crate::http::Head;
use crate::route::{Route, route};
use crate::schema::{Kind, Service, Shape};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use squall_types::Millis;

/// xorshift64*.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }

    fn text(&mut self) -> String {
        const CHARS: [&str; 14] = ["a", "Z", "0", " ", "&", "<", ">", "\"", "'", "\n", "\r", "ä", "😀", "=+%.\\"];
        (0..self.below(6)).map(|_| CHARS[self.below(CHARS.len())]).collect()
    }

    /// A value that every protocol can carry: no nulls, no empty collections, keys sorted.
    fn value(&mut self, shape: &'static Shape, depth: usize) -> Value {
        match &shape.kind {
            Kind::String { .. } => Value::Str(self.text()),
            Kind::Integer { .. } => Value::Int((self.next() as i32).into()),
            Kind::Long { .. } => Value::Int(self.next() as i64),
            Kind::Double { .. } => Value::Double((self.next() as i32) as f64 / 64.0),
            Kind::Boolean => Value::Bool(self.below(2) == 0),
            Kind::Timestamp(_) => Value::Time(Millis((self.next() >> 22) as i64)),
            Kind::Blob { .. } => Value::Blob(self.text().into_bytes().into()),
            Kind::List { member, .. } => {
                Value::List((0..=self.below(3)).map(|_| self.value(member, depth + 1)).collect())
            }
            Kind::Map { value, .. } => {
                let entries =
                    (0..=self.below(3)).map(|i| (format!("{i}{}", self.text()), self.value(value, depth + 1)));
                Value::Map(entries.collect())
            }
            Kind::Structure { members, .. } => {
                let mut out = vec![(0, text("x"))];
                for (index, member) in (0_u16..).zip(*members).skip(1) {
                    let simple =
                        !matches!(member.shape.kind, Kind::Structure { .. } | Kind::List { .. } | Kind::Map { .. });
                    if self.below(3) == 0 && (simple || depth < 4) {
                        out.push((index, self.value(member.shape, depth + 1)));
                    }
                }
                Value::Struct(out)
            }
            Kind::Document => Value::Document(Box::new(serde_json::json!({ "a": self.below(10) }))),
        }
    }
}

/// A form of the query protocol, as clients write it.
fn form(out: &mut Vec<String>, name: &str, shape: &Shape, value: &Value) {
    match (&shape.kind, value) {
        (Kind::Structure { members, .. }, Value::Struct(fields)) => {
            let dot = if name.is_empty() { "" } else { "." };
            fields.iter().for_each(|(i, v)| {
                let member = &members[usize::from(*i)];
                form(out, &format!("{name}{dot}{}", member.wire), member.shape, v);
            });
        }
        (Kind::List { member, member_name, flattened, .. }, Value::List(list)) => {
            let name = if *flattened { name.to_owned() } else { format!("{name}.{member_name}") };
            list.iter().enumerate().for_each(|(i, v)| form(out, &format!("{name}.{}", i + 1), member, v));
        }
        (Kind::Map { key, value: shape, key_name, value_name, flattened, .. }, Value::Map(map)) => {
            let name = if *flattened { name.to_owned() } else { format!("{name}.entry") };
            for (i, (k, v)) in map.iter().enumerate() {
                form(out, &format!("{name}.{}.{key_name}", i + 1), key, &text(k));
                form(out, &format!("{name}.{}.{value_name}", i + 1), shape, v);
            }
        }
        _ => {
            let text = crate::codec::scalar::to_text(shape, value, crate::schema::TimestampFormat::Iso8601);
            let text = text.expect("a scalar");
            out.push(format!("{name}={}", utf8_percent_encode(&text, NON_ALPHANUMERIC)));
        }
    }
}

fn node_route(service: &'static Service) -> Route {
    Route { op: service.operation("GetNode").expect("an operation"), labels: Vec::new() }
}

/// A request body that holds the value.
fn written(service: &'static Service, value: &Value) -> Bytes {
    if service.name == "iam" {
        let mut pairs = Vec::new();
        form(&mut pairs, "", &NODE, value);
        return pairs.join("&").into();
    }
    encode(service, node_route(service).op, value.clone(), "id").body
}

#[test]
fn random_values_round_trip() {
    let mut dice = Dice(0x5eed_0001);
    for round in 0..400 {
        let value = dice.value(&NODE, 0);
        for service in [&DYNAMODB, &LOGS, &IAM, &LAMBDA, &S3] {
            let bytes = written(service, &value);
            let read = decode(service, &node_route(service), &Head::default(), &bytes);
            let shown = String::from_utf8_lossy(&bytes);
            let read = read.unwrap_or_else(|e| panic!("round {round}, {}: {e}: {shown}", service.name));
            assert_eq!(read, value, "round {round}, {}: {shown}", service.name);
        }
    }
}

#[test]
fn damaged_requests_never_panic() {
    const PIECES: [&[u8]; 18] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b"<",
        b">",
        b"</",
        b"&",
        b"=",
        b".",
        b"%",
        b"null",
        b"\xff",
        b"<![CDATA[",
        b"&#x0;",
        b"1e999",
        b"\\u",
    ];
    let mut dice = Dice(0x5eed_0002);
    for _ in 0..300 {
        let value = dice.value(&NODE, 1);
        for service in [&DYNAMODB, &IAM, &LAMBDA, &S3] {
            let good = written(service, &value);
            for _ in 0..8 {
                let mut bytes = good.to_vec();
                for _ in 0..=dice.below(4) {
                    let at = dice.below(bytes.len() + 1);
                    match dice.below(4) {
                        0 => bytes.truncate(at),
                        1 if at < bytes.len() => bytes[at] = dice.next() as u8,
                        2 if at < bytes.len() => drop(bytes.remove(at)),
                        _ => {
                            let piece = PIECES[dice.below(PIECES.len())];
                            bytes.splice(at..at, piece.iter().copied());
                        }
                    }
                }
                if let Ok(value) = decode(service, &node_route(service), &Head::default(), &bytes.into()) {
                    let _ = encode(service, node_route(service).op, value.clone(), "id");
                    let _ = crate::constraint::check(service, &NODE, &value);
                }
            }
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut dice = Dice(0x5eed_0003);
    for _ in 0..3000 {
        let bytes: Vec<u8> = (0..dice.below(64)).map(|_| dice.next() as u8).collect();
        let noise = String::from_utf8_lossy(&bytes).into_owned();
        let uris = ["/places/", "/places/x?", "/b/x/", "/?Action=GetNode&", "/nodes?", "/moon/"];
        let uri = format!("{}{noise}", uris[dice.below(uris.len())]);
        let methods = ["GET", "POST", "PUT", "DELETE"];
        let head = head(
            methods[dice.below(methods.len())],
            &uri,
            &[("x-amz-target", &noise), ("x-words", &noise), ("if-since", &noise), ("x-meta-", &noise)],
        );
        let body = Bytes::from(bytes);
        for service in [&DYNAMODB, &IAM, &LAMBDA, &S3] {
            if let Ok(found) = route(service, &head, &body) {
                let _ = decode(service, &found, &head, &body);
            }
            let _ = decode(service, &node_route(service), &head, &body);
        }
    }
}

#[test]
fn huge_lists_are_read_in_linear_time() {
    let long = |open: &str, one: &str, close: &str| format!("{open}{}{close}", one.repeat(100_000)).into_bytes();
    let json = long("{\"Texts\":[", "\"\",", "\"\"]}");
    let xml = long("<N><Texts>", "<member/>", "</Texts></N>");
    let flat = long("<N>", "<FlatText/>", "</N>");
    let keys: String = (0..100_000).map(|i| format!("\"{i}\":\"\",")).collect();
    let map = format!("{{\"TextMap\":{{{}\"x\":\"\"}}}}", keys).into_bytes();
    for (service, body) in [(&DYNAMODB, json), (&S3, xml), (&S3, flat), (&DYNAMODB, map)] {
        assert!(decode(service, &node_route(service), &Head::default(), &body.into()).is_ok());
    }
}
