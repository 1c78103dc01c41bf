//! HTTP/1.1 as far as the Runtime API needs it: requests with a Content-Length or chunked body, one after the other on a kept
//! connection, pipelined or not.
//!
//! hyper would serve as well; it was put aside because of what a warm call costs: here the acknowledgement of a response and
//! the next event leave in one write when the client has sent both requests in one, however long the event takes to come. That
//! saves two system calls and two wake-ups per invocation.

use bytes::{Buf, Bytes, BytesMut};
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;
/// Past this much the body of a refused request is not even skipped: the connection is closed.
const SKIP_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Whose body is not read into memory.
pub const SAVED_PATH: &str = "/2018-06-01/runtime/snapshot";
/// How much of it is taken at a time.
const SAVE_BYTES: usize = 256 * 1024;

/// A request, its body read.
#[derive(Debug)]
pub struct Incoming {
    pub method: String,
    pub path: String,
    /// `Lambda-Runtime-Function-Error-Type`.
    pub error_type: Option<String>,
    /// `Lambda-Runtime-Function-Response-Mode: streaming`.
    pub is_streaming: bool,
    /// What extensions say of themselves.
    pub extension: Extension,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// `None`: the body was larger than the limit and is gone, or it has to be fetched with [`Connection::save`].
    pub body: Option<Bytes>,
    /// Bytes that the body will have, as the client says.
    pub size: usize,
}

/// The headers `Lambda-Extension-…`.
#[derive(Debug, Default)]
pub struct Extension {
    pub name: Option<String>,
    pub id: Option<String>,
    pub error_type: Option<String>,
    /// Features that it wants.
    pub accepts: Option<String>,
}

struct Head {
    method: String,
    path: String,
    error_type: Option<String>,
    is_streaming: bool,
    extension: Extension,
    authorization: Option<String>,
    size: Option<usize>,
    is_chunked: bool,
    expects_continue: bool,
    head_bytes: usize,
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    input: BytesMut,
    output: Vec<u8>,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        // Small messages that wait for each other: Nagle's delay would cost 40 ms.
        let _ = stream.set_nodelay(true);
        Self { stream, input: BytesMut::new(), output: Vec::new() }
    }

    /// The next request; `None` when the client has closed.
    pub async fn read(&mut self, body_bytes_max: usize) -> io::Result<Option<Incoming>> {
        let head = loop {
            if let Some(head) = parse_head(&self.input)? {
                break head;
            }
            if self.input.len() > HEAD_BYTES_MAX {
                return Err(invalid("the request's head is too long"));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        };
        self.input.advance(head.head_bytes);
        if head.expects_continue {
            self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let size = head.size.unwrap_or(0);
        let body = if head.path == SAVED_PATH {
            None
        } else if head.is_chunked {
            self.read_chunked(body_bytes_max).await?
        } else {
            self.read_sized(size, body_bytes_max).await?
        };
        let Head { method, path, error_type, is_streaming, extension, authorization, .. } = head;
        Ok(Some(Incoming { method, path, error_type, is_streaming, extension, authorization, body, size }))
    }

    /// Writes the body of a request for [`SAVED_PATH`] to a file, as it comes.
    pub async fn save(&mut self, size: usize, to: &mut tokio::fs::File) -> io::Result<()> {
        let mut left = size;
        loop {
            let part = self.input.split_to(left.min(self.input.len()));
            left -= part.len();
            to.write_all(&part).await?;
            if left == 0 {
                return to.flush().await;
            }
            drop(part);
            self.input.reserve(SAVE_BYTES);
            if !self.fill().await? {
                return Err(invalid("the body ends early"));
            }
        }
    }

    /// Puts an answer into the output; it leaves before the connection waits for anything.
    pub fn answer(&mut self, status: &str, body: &[u8]) {
        self.answer_with(status, &[], body);
    }

    /// The same with further headers.
    pub fn answer_with(&mut self, status: &str, headers: &[(&str, &str)], body: &[u8]) {
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let size = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}Content-Length: {size}\r\n\r\n");
        self.output.extend_from_slice(head.as_bytes());
        self.output.extend_from_slice(body);
    }

    /// Sends a prepared head with its body at once.
    pub async fn send(&mut self, head: &[u8], body: &Bytes) -> io::Result<()> {
        self.output.extend_from_slice(head);
        if body.len() <= 64 * 1024 {
            self.output.extend_from_slice(body);
            return self.flush().await;
        }
        self.flush().await?;
        self.stream.write_all(body).await
    }

    /// Sends what waits.
    pub async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.output.clear();
            if self.output.capacity() > 256 * 1024 {
                self.output = Vec::new();
            }
        }
        Ok(())
    }

    /// Returns when the client closes while it should wait for an answer; what it sends meanwhile is kept. Nothing leaves: a client
    /// that has sent its next request already does not wait for the answers before.
    pub async fn closed(&mut self) {
        while self.input.len() <= HEAD_BYTES_MAX {
            match self.receive().await {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
        }
    }

    /// Sends what waits, then reads more. False at the end. Cancelling it loses nothing.
    async fn fill(&mut self) -> io::Result<bool> {
        self.flush().await?;
        self.receive().await
    }

    async fn receive(&mut self) -> io::Result<bool> {
        if self.input.is_empty() && self.input.capacity() < 4096 {
            // A new block instead of growing one that a large body still refers to.
            self.input = BytesMut::with_capacity(16 * 1024);
        }
        loop {
            self.stream.readable().await?;
            match self.stream.try_read_buf(&mut self.input) {
                Ok(count) => return Ok(count > 0),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
    }

    async fn read_sized(&mut self, size: usize, limit: usize) -> io::Result<Option<Bytes>> {
        if size > limit {
            self.skip(size).await?;
            return Ok(None);
        }
        self.input.reserve(size.saturating_sub(self.input.len()));
        while self.input.len() < size {
            if !self.fill().await? {
                return Err(invalid("the body ends early"));
            }
        }
        Ok(Some(self.input.split_to(size).freeze()))
    }

    async fn skip(&mut self, size: usize) -> io::Result<()> {
        if size > SKIP_BYTES_MAX {
            return Err(invalid("the body is far too large"));
        }
        let mut left = size;
        loop {
            let used = left.min(self.input.len());
            self.input.advance(used);
            left -= used;
            if left == 0 {
                return Ok(());
            }
            if !self.fill().await? {
                return Err(invalid("the body ends early"));
            }
        }
    }

    async fn read_chunked(&mut self, limit: usize) -> io::Result<Option<Bytes>> {
        let mut body = BytesMut::new();
        let mut seen = 0usize;
        loop {
            let line = self.read_line().await?;
            let digits = line.split(|b| *b == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(digits).ok().and_then(|t| usize::from_str_radix(t.trim(), 16).ok());
            let size = size.ok_or_else(|| invalid("a chunk's size is no number"))?;
            if size == 0 {
                // Trailers, up to the empty line.
                while !self.read_line().await?.is_empty() {}
                return Ok((seen <= limit).then(|| body.freeze()));
            }
            seen = seen.saturating_add(size);
            if seen > SKIP_BYTES_MAX {
                return Err(invalid("the body is far too large"));
            }
            if seen > limit {
                body = BytesMut::new();
                self.skip(size).await?;
            } else if let Some(chunk) = self.read_sized(size, limit).await? {
                body.extend_from_slice(&chunk);
            }
            self.read_line().await?;
        }
    }

    async fn read_line(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(at) = self.input.windows(2).position(|w| w == b"\r\n") {
                let line = self.input.split_to(at).freeze();
                self.input.advance(2);
                return Ok(line);
            }
            if self.input.len() > HEAD_BYTES_MAX {
                return Err(invalid("a line is too long"));
            }
            if !self.fill().await? {
                return Err(invalid("the body ends early"));
            }
        }
    }
}

fn parse_head(input: &[u8]) -> io::Result<Option<Head>> {
    if input.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let head_bytes = match request.parse(input) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(invalid("not an HTTP/1.1 request")),
    };
    let mut head = Head {
        method: request.method.unwrap_or_default().to_owned(),
        path: request.path.unwrap_or_default().to_owned(),
        error_type: None,
        is_streaming: false,
        extension: Extension::default(),
        authorization: None,
        size: None,
        is_chunked: false,
        expects_continue: false,
        head_bytes,
    };
    for header in request.headers.iter() {
        let value = || String::from_utf8_lossy(header.value).trim().to_owned();
        if header.name.eq_ignore_ascii_case("content-length") {
            head.size = Some(value().parse().map_err(|_| invalid("Content-Length is no number"))?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            head.is_chunked = value().eq_ignore_ascii_case("chunked");
        } else if header.name.eq_ignore_ascii_case("authorization") {
            head.authorization = Some(value());
        } else if header.name.eq_ignore_ascii_case("expect") {
            head.expects_continue = value().eq_ignore_ascii_case("100-continue");
        } else if header.name.eq_ignore_ascii_case("lambda-runtime-function-error-type") {
            head.error_type = Some(value());
        } else if header.name.eq_ignore_ascii_case("lambda-runtime-function-response-mode") {
            head.is_streaming = value().eq_ignore_ascii_case("streaming");
        } else if let Some(field) = head.extension.field(header.name) {
            *field = Some(value());
        }
    }
    Ok(Some(head))
}

impl Extension {
    /// What a header sets.
    fn field(&mut self, header: &str) -> Option<&mut Option<String>> {
        const PREFIX: usize = "lambda-extension-".len();
        let (prefix, rest) = header.split_at_checked(PREFIX)?;
        if !prefix.eq_ignore_ascii_case("lambda-extension-") {
            return None;
        }
        Some(match rest.to_ascii_lowercase().as_str() {
            "name" => &mut self.name,
            "identifier" => &mut self.id,
            "function-error-type" => &mut self.error_type,
            "accept-feature" => &mut self.accepts,
            _ => return None,
        })
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
