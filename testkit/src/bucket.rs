//! A small S3 in the test's own process, one bucket in memory: for tests of what keeps objects in a store.
//!
//! It serves what our client uses (whole and partial reads, writes, writes in parts, listing, deletion of many), verifies
//! every signature, and can be away, overloaded or silent. It is no model of S3 beyond that.

use squall_protocol::sigv4::{self, RequestHead, sha256_hex};
use squall_types::{Clock as _, SystemClock};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

/// The one bucket's name.
const BUCKET: &str = "squall-test";
/// The one key that may use it.
const KEY_ID: &str = "AKIABUCKETOFTHETESTS";
const SECRET: &str = "secret/of+the/bucket";

#[derive(Debug, Default)]
struct Held {
    objects: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<String, BTreeMap<usize, Vec<u8>>>,
}

#[derive(Debug, Default)]
struct Inner {
    held: Mutex<Held>,
    is_away: AtomicBool,
    refusals: AtomicUsize,
    uploads: AtomicUsize,
    requests: AtomicUsize,
}

/// The store, on a free port of this machine; it goes on until the process ends.
#[derive(Clone, Debug)]
pub struct Bucket {
    inner: Arc<Inner>,
    address: SocketAddr,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn of(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, headers: Vec::new(), body: body.into() }
    }

    fn error(status: u16, code: &str) -> Answer {
        Answer::of(status, format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"))
    }
}

impl Bucket {
    /// Starts an empty one.
    ///
    /// # Panics
    /// There is no free port.
    #[must_use]
    pub fn start() -> Bucket {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let inner = Arc::new(Inner::default());
        let serving = Arc::clone(&inner);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inner = Arc::clone(&serving);
                thread::spawn(move || inner.serve(&stream));
            }
        });
        Bucket { inner, address }
    }

    /// Its address, such as `http://127.0.0.1:4000`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bucket's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}")
    }

    /// Key id and secret.
    #[must_use]
    pub fn key(&self) -> (&'static str, &'static str) {
        (KEY_ID, SECRET)
    }

    /// The names of all objects, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.inner.held().objects.keys().cloned().collect()
    }

    /// Writes in parts that were neither finished nor given back.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.inner.held().uploads.len()
    }

    /// Requests that arrived so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.inner.requests.load(Ordering::SeqCst)
    }

    /// Cuts every connection without an answer, until told otherwise.
    pub fn set_away(&self, is_away: bool) {
        self.inner.is_away.store(is_away, Ordering::SeqCst);
    }

    /// Answers the next requests with 503, as an overloaded store does.
    pub fn refuse(&self, count: usize) {
        self.inner.refusals.store(count, Ordering::SeqCst);
    }
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn serve(&self, stream: &TcpStream) {
        let mut input = BufReader::new(stream);
        while let Some(request) = receive(&mut input) {
            self.requests.fetch_add(1, Ordering::SeqCst);
            if self.is_away.load(Ordering::SeqCst) {
                return;
            }
            let count = |left: usize| left.checked_sub(1);
            let answer = match self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) {
                Ok(_) => Answer::error(503, "SlowDown"),
                Err(_) => self.answer(&request),
            };
            let mut head = format!("HTTP/1.1 {} X\r\nlast-modified: Sat, 21 Nov 2026 12:00:00 GMT\r\n", answer.status);
            if !answer.headers.iter().any(|(name, _)| *name == "content-length") {
                head.push_str(&format!("content-length: {}\r\n", answer.body.len()));
            }
            for (name, value) in &answer.headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            let mut output = stream;
            let is_sent = output.write_all(head.as_bytes()).and_then(|()| output.write_all(b"\r\n"));
            if is_sent.and_then(|()| output.write_all(&answer.body)).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        if let Err(code) = verify(request) {
            return Answer::error(403, code);
        }
        let path = decoded(&request.path);
        let Some(name) = path.strip_prefix(&format!("/{BUCKET}")) else { return Answer::error(404, "NoSuchBucket") };
        let name = name.trim_start_matches('/');
        let query: BTreeMap<&str, String> =
            request.query.split('&').filter(|pair| !pair.is_empty()).fold(BTreeMap::new(), |mut all, pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                all.insert(name, decoded(value));
                all
            });
        match (request.method.as_str(), query.get("uploadId")) {
            ("GET", _) if name.is_empty() => self.list(query.get("prefix").map_or("", String::as_str)),
            ("GET" | "HEAD", _) => self.read(name, request),
            ("PUT", None) => {
                self.held().objects.insert(name.to_owned(), request.body.clone());
                tagged(Answer::of(200, ""))
            }
            ("POST", None) if query.contains_key("delete") => self.delete(&request.body),
            ("POST", None) if query.contains_key("uploads") => {
                let id = format!("upload-{}", self.uploads.fetch_add(1, Ordering::SeqCst));
                self.held().uploads.insert(id.clone(), BTreeMap::new());
                let text = format!("<UploadId>{id}</UploadId>");
                Answer::of(200, format!("<InitiateMultipartUploadResult>{text}</InitiateMultipartUploadResult>"))
            }
            (method, Some(id)) => self.upload(method, id, name, query.get("partNumber"), &request.body),
            _ => Answer::error(405, "MethodNotAllowed"),
        }
    }

    fn upload(&self, method: &str, id: &str, name: &str, number: Option<&String>, body: &[u8]) -> Answer {
        let mut held = self.held();
        match (method, number.and_then(|n| n.parse().ok())) {
            ("PUT", Some(number)) => match held.uploads.get_mut(id) {
                Some(parts) => {
                    parts.insert(number, body.to_vec());
                    tagged(Answer::of(200, ""))
                }
                None => Answer::error(404, "NoSuchUpload"),
            },
            ("POST", _) => match held.uploads.remove(id) {
                Some(parts) => {
                    held.objects.insert(name.to_owned(), parts.into_values().flatten().collect());
                    let text = "<ETag>\"e\"</ETag>";
                    Answer::of(200, format!("<CompleteMultipartUploadResult>{text}</CompleteMultipartUploadResult>"))
                }
                None => Answer::error(404, "NoSuchUpload"),
            },
            ("DELETE", _) => match held.uploads.remove(id) {
                Some(_) => Answer::of(204, ""),
                None => Answer::error(404, "NoSuchUpload"),
            },
            _ => Answer::error(405, "MethodNotAllowed"),
        }
    }

    fn read(&self, name: &str, request: &Request) -> Answer {
        let held = self.held();
        let Some(whole) = held.objects.get(name) else { return Answer::error(404, "NoSuchKey") };
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")).and_then(|range| {
            let (from, to) = range.split_once('-')?;
            Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?.saturating_add(1).min(whole.len())))
        });
        let mut answer = match range.and_then(|(from, to)| Some((from, whole.get(from..to)?))) {
            Some((from, part)) => {
                let shown = format!("bytes {from}-{}/{}", from + part.len() - 1, whole.len());
                Answer { status: 206, headers: vec![("content-range", shown)], body: part.to_vec() }
            }
            None if range.is_some() => Answer::error(416, "InvalidRange"),
            None => Answer::of(200, whole.clone()),
        };
        if request.method == "HEAD" {
            answer.headers.push(("content-length", answer.body.len().to_string()));
            answer.body.clear();
        }
        tagged(answer)
    }

    fn list(&self, prefix: &str) -> Answer {
        let held = self.held();
        let found = held.objects.iter().filter(|(name, _)| name.starts_with(prefix));
        let contents: String = found
            .map(|(name, body)| {
                let at = "2026-11-21T12:00:00.000Z";
                let size = body.len();
                format!(
                    "<Contents><Key>{name}</Key><LastModified>{at}</LastModified><ETag>\"e\"</ETag><Size>{size}</Size></Contents>"
                )
            })
            .collect();
        Answer::of(200, format!("<ListBucketResult>{contents}</ListBucketResult>"))
    }

    fn delete(&self, body: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(body);
        let mut held = self.held();
        let names = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        let deleted: String = names
            .map(|name| {
                held.objects.remove(name);
                format!("<Deleted><Key>{name}</Key></Deleted>")
            })
            .collect();
        Answer::of(200, format!("<DeleteResult>{deleted}</DeleteResult>"))
    }
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

fn tagged(mut answer: Answer) -> Answer {
    answer.headers.push(("etag", "\"e\"".into()));
    answer
}

fn verify(request: &Request) -> Result<(), &'static str> {
    let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let head = RequestHead { method: &request.method, path: &request.path, query: &request.query, headers };
    let parsed = sigv4::parse(&head).ok().flatten().ok_or("AccessDenied")?;
    if parsed.access_key != KEY_ID {
        return Err("InvalidAccessKeyId");
    }
    let hash = sha256_hex(&request.body);
    sigv4::verify(&parsed, &head, SECRET, Some(&hash), SystemClock.now()).map_err(|_| "SignatureDoesNotMatch")
}

fn receive(input: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    input.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    input.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Request { method, path: path.to_owned(), query: query.to_owned(), headers, body })
}

fn decoded(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, hex) {
            (b'%', Some(hex)) => {
                out.push(hex);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
