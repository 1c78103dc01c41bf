//! Hostile requests and answers: nothing panics, and the API goes on.

use super::*;
use crate::data::fuzzed;

/// A splitmix64 sequence, so that a failing case is found again.
struct Seed(u64);

impl Seed {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        usize::try_from((z ^ (z >> 27)) % bound as u64).unwrap_or_default()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.get(self.below(from.len())).copied().unwrap_or_default()
    }

    fn text(&mut self, pieces: &[&str], most: usize) -> String {
        (0..self.below(most)).map(|_| self.pick(pieces)).collect()
    }
}

#[test]
fn random_answers_are_read_or_refused() {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"statusCode\"",
        "\"headers\"",
        "\"multiValueHeaders\"",
        "\"body\"",
        "\"cookies\"",
        "\"isBase64Encoded\"",
        "200",
        "-1",
        "1e99",
        "true",
        "null",
        "\"x\"",
        "\"a\\u0000\"",
        "\"\\ud800\"",
        "\u{e9}",
    ];
    let mut seed = Seed(1);
    for _ in 0..20_000 {
        let inner = seed.text(&pieces, 12);
        fuzzed(&Bytes::from(inner.clone()));
        fuzzed(&Bytes::from(format!("{{\"statusCode\":200,{inner}}}")));
    }
    for name in ["statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded", "cookies"] {
        for value in [
            "null",
            "1",
            "-1",
            "1.5",
            "true",
            "\"\"",
            "\"x\"",
            "[]",
            "[1]",
            "[[]]",
            "{}",
            "{\"a\":[]}",
            "{\"\":\"\"}",
            "{\"a\":{}}",
        ] {
            fuzzed(&Bytes::from(format!("{{\"statusCode\":200,\"{name}\":{value}}}")));
        }
    }
}

#[tokio::test]
async fn random_requests_are_answered() {
    let w = World::new().await;
    let rest = w.rest_api(&["GET /a/{id}", "ANY /{proxy+}"]).await;
    let http = w.http_api(&["GET /a/{id}", "ANY /b/{proxy+}", "$default"], "2.0").await;
    let old = w.http_api(&["ANY /{proxy+}"], "1.0").await;
    let pieces =
        ["/", "a", "dev", "%", "%2F", "%zz", "%ff", "..", "é", "{id}", "$default", "?", "&", "=", "+", ";", "\u{0}"];
    let mut seed = Seed(2);
    for _ in 0..2_000 {
        let mut asked = request(seed.pick(&["GET", "POST", "OPTIONS", "BREW"]), "/");
        asked.path = format!("/{}", seed.text(&pieces, 10));
        asked.query = seed.text(&pieces, 10);
        asked.host = seed.text(&["x", ":", ".", "99999", "4566"], 5);
        asked.body = Bytes::from(seed.text(&pieces, 5));
        let names = ["cookie", "content-type", "origin", "accept", "x-amzn-trace-id", "access-control-request-method"];
        for name in names {
            asked.headers.push((name.into(), seed.text(&pieces, 4)));
        }
        for api in [&rest, &http, &old] {
            let status = w.ask(api, asked.clone()).await.status;
            assert!((200..600).contains(&status), "{asked:?}");
        }
    }
}
