//! An HTTP/1.1 client on one kept-alive connection, with signatures.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use squall_protocol::sigv4::{self, Credentials, RequestHead, Scope, SigningKeys, sha256_hex};
use squall_types::{Clock as _, SystemClock};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;

/// Signs requests as one principal in one region; derived keys are kept.
#[derive(Debug)]
pub struct Signer {
    access_key: String,
    secret: String,
    region: String,
    keys: SigningKeys,
}

impl Signer {
    /// A signer with these credentials.
    #[must_use]
    pub fn new(access_key: &str, secret: &str, region: &str) -> Self {
        let keys = SigningKeys::new(16);
        Self { access_key: access_key.into(), secret: secret.into(), region: region.into(), keys }
    }

    fn sign(&self, head: &RequestHead<'_>, service: &str, body: &[u8]) -> Vec<(&'static str, String)> {
        let credentials = Credentials { access_key: &self.access_key, secret: &self.secret, session_token: None };
        let scope = Scope { region: &self.region, service, now: SystemClock.now() };
        sigv4::sign_with(head, &sha256_hex(body), &credentials, &scope, &self.keys)
    }
}

/// Where a client connects, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// Address.
    pub address: SocketAddr,
    /// Who signs; none where only public pages are asked for.
    pub signer: Option<Rc<Signer>>,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    signer: Option<Rc<Signer>>,
}

impl Client {
    /// Connects. Must be called inside a `LocalSet`, on which the connection then runs.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(target: &Target) -> Result<Self> {
        let address = target.address;
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(async move {
            // Its error reaches whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Self { sender, host: address.to_string(), signer: target.signer.clone() })
    }

    /// An unsigned GET: status and body.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn get(&mut self, path: &str) -> Result<(u16, Bytes)> {
        self.send("GET", path, &[], &[], Bytes::new()).await
    }

    /// A signed request to a service: the body of its answer.
    ///
    /// Header names are in lower case; `host` and the signature are added.
    ///
    /// # Errors
    /// The connection broke, or the answer is not 2xx; the text shows it.
    pub async fn call(
        &mut self,
        service: &str,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Bytes> {
        let body = body.into();
        let signer = self.signer.clone().context("this client has no credentials")?;
        let mut signed = Vec::with_capacity(headers.len() + 4);
        signed.push(("host", self.host.as_str()));
        signed.extend_from_slice(headers);
        let added = signer.sign(&RequestHead { method, path, query: "", headers: signed }, service, &body);
        let (status, answer) = self.send(method, path, headers, &added, body).await?;
        if !(200..300).contains(&status) {
            let text: String = String::from_utf8_lossy(&answer).chars().take(400).collect();
            bail!("{service} {method} {path}: {status} {text}");
        }
        Ok(answer)
    }

    /// An operation of DynamoDB, which speaks JSON 1.0.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn dynamodb(&mut self, operation: &str, body: String) -> Result<Bytes> {
        let target = format!("DynamoDB_20120810.{operation}");
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
        self.call("dynamodb", ("POST", "/"), &headers, body).await
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        added: &[(&str, String)],
        body: Bytes,
    ) -> Result<(u16, Bytes)> {
        let mut request = hyper::Request::builder().method(method).uri(path).header("host", &self.host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        for (name, value) in added {
            request = request.header(*name, value);
        }
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.body(Full::new(body))?).await?;
        let status = answer.status().as_u16();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}
