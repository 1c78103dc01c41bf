//! How long reading and verifying one signature takes: `cargo run --release -p squall-protocol --example sigv4_timing`.

use std::hint::black_box;
use std::time::Instant;

use squall_protocol::sigv4::{Credentials, RequestHead, Scope, parse, presign, sha256_hex, sign, verify};
use squall_types::Millis;

fn main() {
    const ROUNDS: u32 = 100_000;
    let now = Millis(1_767_225_600_000);
    let credentials = Credentials { access_key: "AKIDEXAMPLE", secret: "secret", session_token: Some("token") };
    let scope = Scope { region: "us-east-1", service: "dynamodb", now };
    let body = vec![b'x'; 1024];
    let hash = sha256_hex(&body);
    let headers = vec![
        ("host", "127.0.0.1:4566"),
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", "DynamoDB_20120810.PutItem"),
        ("user-agent", "example/1.0"),
        ("amz-sdk-invocation-id", "7c1f2a52-9f0c-4b5e-a4c8-000000000000"),
        ("amz-sdk-request", "attempt=1"),
    ];
    let head = RequestHead { method: "POST", path: "/", query: "", headers };
    let added = sign(&head, &hash, &credentials, &scope);
    let mut signed = head.clone();
    signed.headers.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
    let query = presign(&head, &credentials, &scope, 60);
    let presigned = RequestHead { query: &query, ..head };
    for (name, head, hash) in [("header", &signed, Some(hash.as_str())), ("presigned", &presigned, None)] {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            let parsed = parse(black_box(head)).expect("readable").expect("signed");
            verify(&parsed, head, "secret", hash, now).expect("valid");
        }
        println!("{name}: {} ns", start.elapsed().as_nanos() / u128::from(ROUNDS));
    }
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(sha256_hex(black_box(&body)));
    }
    println!("hash of a body of 1 KiB: {} ns", start.elapsed().as_nanos() / u128::from(ROUNDS));
}
