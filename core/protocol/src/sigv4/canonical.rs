//! The canonical request: one spelling of method, path, query, headers and payload that both sides can hash.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use super::RequestHead;

/// Lower-case hex of the SHA-256 of `bytes`.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes).into())
}

pub(super) fn hex(bytes: &[u8; 32]) -> String {
    str::from_utf8(&hex_digits(bytes)).expect("hex digits are ASCII").to_owned()
}

fn hex_digits(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0; 64];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    out
}

/// Reads 64 hex digits; upper case is accepted.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let bytes: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut out = [0; 32];
    for (slot, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            b'A'..=b'F' => Some(b - b'A' + 10),
            _ => None,
        };
        *slot = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

/// Compares without telling by its time how much is equal.
pub(super) fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

/// Percent-encodes all but `A–Z a–z 0–9 - _ . ~` (and `/` where it separates path segments).
pub fn uri_encode(out: &mut String, bytes: &[u8], keep_slash: bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') || (keep_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// The canonical path: S3's is encoded once, however it was sent; the others' has `.`, `..` and empty segments removed and is encoded
/// as it was sent, so that what was encoded is encoded twice.
pub(super) fn write_path(out: &mut String, path: &str, s3: bool) {
    if path.is_empty() {
        out.push('/');
    } else if s3 {
        // An encoded slash stays what it is: signers sign the path as they send it.
        for (index, segment) in split_encoded_slashes(path).enumerate() {
            if index > 0 {
                out.push_str("%2F");
            }
            let decoded: Cow<'_, [u8]> = percent_decode_str(segment).into();
            uri_encode(out, &decoded, true);
        }
    } else {
        uri_encode(out, normalise(path).as_bytes(), true);
    }
}

fn split_encoded_slashes(path: &str) -> impl Iterator<Item = &str> {
    path.split("%2F").flat_map(|part| part.split("%2f"))
}

fn normalise(path: &str) -> Cow<'_, str> {
    let odd = |segment: &str| matches!(segment, "" | "." | "..");
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if path.starts_with('/') && (path == "/" || !inner.split('/').any(odd)) {
        return path.into();
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    let tail = if !kept.is_empty() && path.ends_with('/') { "/" } else { "" };
    format!("/{}{tail}", kept.join("/")).into()
}

/// Name and value pairs of a query, decoded; `+` is a space.
pub(super) fn query_pairs(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
    let decode = |text: &str| -> Vec<u8> {
        let spaces = text.bytes().map(|b| if b == b'+' { b' ' } else { b }).collect::<Vec<u8>>();
        percent_encoding::percent_decode(&spaces).collect()
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// The canonical query: pairs encoded and sorted; a presigned request leaves its signature out.
pub(super) fn write_query(out: &mut String, query: &str, presigned: bool) {
    if query.is_empty() {
        return;
    }
    let mut pairs: Vec<(String, String)> = query_pairs(query)
        .filter(|(name, _)| !presigned || name.as_slice() != b"X-Amz-Signature")
        .map(|(name, value)| {
            let mut encoded = (String::with_capacity(name.len()), String::with_capacity(value.len()));
            uri_encode(&mut encoded.0, &name, false);
            uri_encode(&mut encoded.1, &value, false);
            encoded
        })
        .collect();
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push('&');
        }
        let _ = write!(out, "{name}={value}");
    }
}

/// One line of canonical headers: the values of all headers of that name, trimmed, runs of space made one, joined by commas.
fn write_header(out: &mut String, name: &str, head: &RequestHead<'_>) {
    out.push_str(name);
    out.push(':');
    let values = head.headers.iter().filter(|(header, _)| *header == name);
    for (index, (_, value)) in values.enumerate() {
        if index > 0 {
            out.push(',');
        }
        for (index, word) in value.split_ascii_whitespace().enumerate() {
            if index > 0 {
                out.push(' ');
            }
            out.push_str(word);
        }
    }
    out.push('\n');
}

/// What is canonicalised beside the head.
pub(super) struct Canonical<'a> {
    pub(super) service: &'a str,
    /// Names in order, joined by semicolons.
    pub(super) signed_headers: &'a str,
    pub(super) payload: &'a str,
    pub(super) presigned: bool,
}

impl Canonical<'_> {
    /// The canonical request.
    pub(super) fn request(&self, head: &RequestHead<'_>) -> String {
        let mut out = String::with_capacity(512);
        out.push_str(head.method);
        out.push('\n');
        write_path(&mut out, head.path, super::is_s3(self.service));
        out.push('\n');
        write_query(&mut out, head.query, self.presigned);
        out.push('\n');
        for name in self.signed_headers.split(';') {
            write_header(&mut out, name, head);
        }
        out.push('\n');
        out.push_str(self.signed_headers);
        out.push('\n');
        out.push_str(self.payload);
        out
    }
}

/// The string to sign of a canonical request.
pub(super) fn string_to_sign(amz_date: &str, scope: (&str, &str, &str), canonical_request: &str) -> String {
    let (day, region, service) = scope;
    let hash = hex_digits(&Sha256::digest(canonical_request.as_bytes()).into());
    let hash = str::from_utf8(&hash).expect("hex digits are ASCII");
    let parts =
        [super::ALGORITHM, "\n", amz_date, "\n", day, "/", region, "/", service, "/", super::TERMINATOR, "\n", hash];
    parts.concat()
}
