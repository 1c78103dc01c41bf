//! Mutated and random requests: nothing panics, nothing changed verifies. Seeds are fixed, so that failures repeat.

use super::*;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    /// A text with a few characters replaced, inserted or removed.
    fn mutate(&mut self, text: &str) -> String {
        const PIECES: [&str; 12] = ["%", "%2", "%zz", "=", "&", ";", ",", "/", "\u{0}", "é", "X-Amz-Date=", " "];
        let mut chars: Vec<char> = text.chars().collect();
        for _ in 0..=self.roll(3) {
            let at = self.roll(chars.len() + 1);
            match self.roll(3) {
                0 if at < chars.len() => drop(chars.remove(at)),
                1 if at < chars.len() => chars[at] = char::from((self.roll(95) + 32) as u8),
                _ => drop(chars.splice(at..at, PIECES[self.roll(PIECES.len())].chars())),
            }
        }
        chars.into_iter().collect()
    }
}

#[test]
fn mutated_requests_never_panic() {
    let vectors = vectors();
    let mut dice = Dice(3);
    let mut verified = 0;
    for round in 0..20_000 {
        let case = &vectors.cases[round % vectors.cases.len()];
        let mut head = case.head();
        let (mut path, mut query, mut value) = (case.path.clone(), case.query.clone(), String::new());
        match dice.roll(3) {
            0 => path = dice.mutate(&path),
            1 => query = dice.mutate(&query),
            _ => {
                let at = dice.roll(head.headers.len());
                value = dice.mutate(head.headers[at].1);
                head.headers[at].1 = &value;
            }
        }
        head.path = &path;
        head.query = &query;
        if let Ok(Some(parsed)) = parse(&head) {
            let hash = case.body_hash();
            let result = verify(&parsed, &head, &vectors.secret, Some(&hash), Millis(vectors.now_ms));
            verified += usize::from(result.is_ok());
            if let Err(error) = result {
                for family in [Family::Json, Family::RestJson, Family::Query, Family::S3] {
                    let _ = error.answer(family);
                }
            }
        }
        let _ = value.len();
    }
    // Some mutations touch what is not signed or spell the same thing in another way.
    assert!(verified < 12_000, "{verified}");
}

#[test]
fn random_heads_never_panic() {
    const WORDS: [&str; 14] = [
        "AWS4-HMAC-SHA256 ",
        "Credential=",
        "a/20150830/r/s3/aws4_request",
        "SignedHeaders=",
        "host",
        "Signature=",
        ", ",
        "X-Amz-Algorithm=",
        "X-Amz-Credential=",
        "X-Amz-Signature=",
        "&",
        "X-Amz-Date=20150830T123600Z",
        "=",
        "é%2F",
    ];
    let mut dice = Dice(9);
    for _ in 0..30_000 {
        let mut text = || (0..dice.roll(9)).map(|_| WORDS[dice.roll(WORDS.len())]).collect::<String>();
        let (authorization, query, date, path) = (text(), text(), text(), text());
        let headers = vec![("authorization", authorization.as_str()), ("x-amz-date", &date), ("host", "h")];
        let head = RequestHead { method: "GET", path: &path, query: &query, headers };
        let without = RequestHead { headers: vec![("host", "h")], ..head.clone() };
        for head in [head, without] {
            if let Ok(Some(parsed)) = parse(&head) {
                assert!(verify(&parsed, &head, SECRET, None, NOW).is_err());
            }
        }
    }
}

#[test]
fn mutated_chunks_never_panic_and_never_pass_changed_data() {
    let head = RequestHead { method: "PUT", path: "/b/k", query: "", headers: vec![("host", "h")] };
    let added = sign(&head, Chunked::SignedTrailer.as_str(), &credentials(), &scope("s3"));
    let head = signed(&head, &added);
    let parsed = read(&head);
    let mut signer = ChunkSigner::new(&credentials(), &scope("s3"), head.header("authorization").expect("signed"));
    let mut body = signer.chunk(b"some data");
    body.extend(signer.chunk(b""));
    body.extend(signer.trailer(&[("x-amz-checksum-crc32".into(), "AAAA==".into())]));
    let mut dice = Dice(4);
    for _ in 0..30_000 {
        let mut changed = body.clone();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(changed.len());
            match dice.roll(3) {
                0 => drop(changed.remove(at)),
                1 => changed[at] = dice.roll(256) as u8,
                _ => changed.insert(at, dice.roll(256) as u8),
            }
        }
        let mut decoder = chunk_decoder(&parsed, SECRET, 9).expect("chunked");
        let mut out = Vec::new();
        let fed =
            changed.chunks(1 + dice.roll(40)).try_for_each(|p| decoder.feed(p, |data| out.extend_from_slice(data)));
        if let Ok(trailers) = fed.and_then(|()| decoder.finish()) {
            assert_eq!((out.as_slice(), trailers.len()), (&b"some data"[..], 1));
            assert_eq!(trailers.first().map(|(_, value)| value.as_str()), Some("AAAA=="));
        }
    }
}
