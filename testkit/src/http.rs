//! HTTP/1.1 by hand, so that tests can send what no client would.

use crate::Credentials;
use squall_protocol::sigv4::{self, RequestHead, Scope, sha256_hex};
use squall_types::{Clock as _, SystemClock};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server that does not answer in this time has stalled.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Sends a request on a connection of its own. `host` and `content-length` are added where they are absent.
///
/// # Errors
/// No connection, or no whole answer.
pub fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Response> {
    let has = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !has("host") {
        head.push_str(&format!("host: {address}\r\n"));
    }
    if !has("content-length") && !has("transfer-encoding") {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("connection: close\r\n\r\n");
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // A server may answer and close before it has read all (too large a body): then the answer counts, not the write.
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    match receive(&mut BufReader::new(stream)) {
        Ok(response) => Ok(response),
        Err(e) => Err(sent.err().unwrap_or(e)),
    }
}

fn receive(input: &mut impl BufRead) -> std::io::Result<Response> {
    let broken = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    let (status, headers) = loop {
        let line = line(input)?;
        let status: u16 =
            line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| broken("no status line"))?;
        let headers = headers(input)?;
        if status >= 200 {
            break (status, headers);
        }
    };
    let find = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let mut body = Vec::new();
    if find("transfer-encoding").is_some_and(|t| t.eq_ignore_ascii_case("chunked")) {
        loop {
            let size = usize::from_str_radix(line(input)?.trim(), 16).map_err(|_| broken("no chunk size"))?;
            let start = body.len();
            body.resize(start + size, 0);
            input.read_exact(&mut body[start..])?;
            line(input)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = find("content-length") {
        body.resize(length.parse().map_err(|_| broken("no content length"))?, 0);
        input.read_exact(&mut body)?;
    } else if status != 204 && status != 304 {
        input.read_to_end(&mut body)?;
    }
    Ok(Response { status, headers, body })
}

fn line(input: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn headers(input: &mut impl BufRead) -> std::io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = line(input)?;
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Ok(headers),
        }
    }
}

/// Sends a request signed for a service, now.
///
/// # Errors
/// As [`send`].
pub fn signed(
    address: SocketAddr,
    credentials: &Credentials,
    service: &str,
    (method, target): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Response> {
    let host = address.to_string();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut all: Vec<(&str, &str)> = vec![("host", &host)];
    all.extend_from_slice(headers);
    let head = RequestHead { method, path, query, headers: all.clone() };
    let keys = sigv4::Credentials {
        access_key: &credentials.access_key_id,
        secret: &credentials.secret_access_key,
        session_token: None,
    };
    let scope = Scope { region: &credentials.region, service, now: SystemClock.now() };
    let added = sigv4::sign(&head, &sha256_hex(body), &keys, &scope);
    all.extend(added.iter().map(|(n, v)| (*n, v.as_str())));
    send(address, method, target, &all, body)
}
