//! One kept connection that sends signed requests and reads whole answers; as little work per request as can be, because it
//! shares the machine with what it measures.

use anyhow::{Result, bail};
use squall_protocol::sigv4::{self, RequestHead, Scope, sha256_hex};
use squall_types::{Clock as _, SystemClock};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Root's keys.
#[derive(Clone, Debug)]
pub struct Keys {
    pub access_key: String,
    pub secret: String,
    pub region: String,
}

/// A request before it is signed.
#[derive(Clone, Debug)]
pub struct Request {
    pub service: &'static str,
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A call of DynamoDB.
    pub fn dynamodb(operation: &str, body: &serde_json::Value) -> Self {
        Self {
            service: "dynamodb",
            method: "POST",
            path: "/".into(),
            headers: vec![
                ("content-type", "application/x-amz-json-1.0".into()),
                ("x-amz-target", format!("DynamoDB_20120810.{operation}")),
            ],
            body: body.to_string().into_bytes(),
        }
    }

    /// A call of Lambda.
    pub fn lambda(method: &'static str, path: String, body: Vec<u8>) -> Self {
        Self { service: "lambda", method, path, headers: vec![("content-type", "application/json".into())], body }
    }

    /// A call of IAM.
    pub fn iam(form: String) -> Self {
        let kind = ("content-type", "application/x-www-form-urlencoded".into());
        Self { service: "iam", method: "POST", path: "/".into(), headers: vec![kind], body: form.into_bytes() }
    }
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    host: String,
    keys: Option<Keys>,
    out: Vec<u8>,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects; without keys requests are not signed.
    pub async fn connect(address: SocketAddr, keys: Option<Keys>) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host: address.to_string(), keys, out: Vec::new(), buffer: Vec::new() })
    }

    /// Sends and answers status and body.
    pub async fn send(&mut self, request: &Request) -> Result<(u16, Vec<u8>)> {
        self.write_head(request);
        self.out.extend_from_slice(&request.body);
        self.stream.write_all(&self.out).await?;
        self.receive().await
    }

    /// Sends and expects a success.
    pub async fn ok(&mut self, request: &Request) -> Result<Vec<u8>> {
        match self.send(request).await? {
            (200..=299, body) => Ok(body),
            (status, body) => bail!("{} {}: {status} {}", request.method, request.path, String::from_utf8_lossy(&body)),
        }
    }

    fn write_head(&mut self, request: &Request) {
        self.out.clear();
        let mut text = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", request.method, request.path, self.host);
        for (name, value) in &request.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(keys) = &self.keys {
            let mut headers: Vec<(&str, &str)> = vec![("host", &self.host)];
            headers.extend(request.headers.iter().map(|(n, v)| (*n, v.as_str())));
            let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
            let head = RequestHead { method: request.method, path, query, headers };
            let credentials =
                sigv4::Credentials { access_key: &keys.access_key, secret: &keys.secret, session_token: None };
            let scope = Scope { region: &keys.region, service: request.service, now: SystemClock.now() };
            for (name, value) in sigv4::sign(&head, &sha256_hex(&request.body), &credentials, &scope) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        text.push_str(&format!("content-length: {}\r\n\r\n", request.body.len()));
        self.out.extend_from_slice(text.as_bytes());
    }

    async fn receive(&mut self) -> Result<(u16, Vec<u8>)> {
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed");
            }
            let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            let status = head.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0);
            let length = head.lines().find_map(|l| {
                let (name, value) = l.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let Some(length) = length else { bail!("an answer without a length: {head}") };
            let total = end + 4 + length;
            while self.buffer.len() < total {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    bail!("the connection was closed");
                }
            }
            return Ok((status, self.buffer[end + 4..total].to_vec()));
        }
    }
}
