//! The native function that is measured: a custom runtime that answers each event with itself, after a sleep where the event
//! says `"s":SECONDS`.
//!
//! One connection and the standard library alone: what a call costs here is the cloud's, not the function's. It ends with its
//! connection, as the platform's end is its own.

use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

fn main() -> std::io::Result<()> {
    let Ok(api) = std::env::var("AWS_LAMBDA_RUNTIME_API") else {
        return Err(Error::new(ErrorKind::NotFound, "AWS_LAMBDA_RUNTIME_API: this program is a function's bootstrap"));
    };
    let mut stream = TcpStream::connect(&api)?;
    stream.set_nodelay(true)?;
    let next = format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {api}\r\n\r\n");
    let mut input = Vec::with_capacity(16 * 1024);
    stream.write_all(next.as_bytes())?;
    loop {
        let (head, event) = answer(&mut stream, &mut input)?;
        let Some(id) = header(&head, "lambda-runtime-aws-request-id") else { continue };
        if let Some(seconds) = sleep_seconds(&event) {
            std::thread::sleep(Duration::from_secs(seconds));
        }
        // Answer and next request in one write, as the other clients do.
        let mut both = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: {api}\r\nContent-Length: {}\r\n\r\n",
            event.len()
        )
        .into_bytes();
        both.extend_from_slice(&event);
        both.extend_from_slice(next.as_bytes());
        stream.write_all(&both)?;
    }
}

/// The next answer of the Runtime API: head and body.
fn answer(stream: &mut TcpStream, input: &mut Vec<u8>) -> std::io::Result<(String, Vec<u8>)> {
    let ended = || Error::from(ErrorKind::UnexpectedEof);
    loop {
        if let Some(end) = input.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(input.get(..end).unwrap_or_default()).into_owned();
            let size: usize = header(&head, "content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
            if let Some(body) = input.get(end + 4..end + 4 + size) {
                let body = body.to_vec();
                input.drain(..end + 4 + size);
                return Ok((head, body));
            }
        }
        let mut buffer = [0; 16 * 1024];
        let count = stream.read(&mut buffer)?;
        input.extend_from_slice(buffer.get(..count).filter(|b| !b.is_empty()).ok_or_else(ended)?);
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn sleep_seconds(event: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(event).ok()?;
    let digits: String = text.split_once("\"s\":")?.1.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
