//! Accepts connections and hands each request to its destination.

use crate::detect::{Destination, FrontKind, destination};
use crate::request::{self, Body};
use crate::socket::Socket;
use crate::timer::ConnectionTimer;
use crate::{Internal, auth, aws, data};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use squall_protocol::{Head, Reply};
use squall_service::{Access, Front, Identity, Principal, Room};
use squall_types::{AccountId, Clock, Random, Region};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long open requests may take to end after shutdown was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// What the operator set.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cloud's account.
    pub account: AccountId,
    /// Regions that answer; the first is the default.
    pub regions: Vec<Region>,
    /// Domain of deployed APIs besides `localhost`.
    pub domain: Option<String>,
    /// Accept any credentials as root. The app allows it on loopback only.
    pub dev: bool,
}

/// What the gateway calls.
pub struct Parts {
    /// The rooms.
    pub rooms: Vec<Arc<dyn Room>>,
    /// Deployed HTTP APIs.
    pub execute_api: Arc<dyn Front>,
    /// Function URLs.
    pub lambda_url: Arc<dyn Front>,
    /// Keys and policies.
    pub identity: Arc<dyn Identity>,
    /// `/_squall/`.
    pub internal: Arc<dyn Internal>,
    /// Clock.
    pub clock: Arc<dyn Clock>,
    /// Random source of request ids.
    pub random: Arc<dyn Random>,
}

/// The gateway; cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) options: Arc<Options>,
    pub(crate) parts: Arc<Parts>,
    pub(crate) intake: Arc<request::Intake>,
    stop: watch::Sender<bool>,
}

impl Gateway {
    /// A gateway that serves nothing yet.
    #[must_use]
    pub fn new(options: Options, parts: Parts) -> Self {
        Self {
            options: Arc::new(options),
            parts: Arc::new(parts),
            intake: Arc::default(),
            stop: watch::Sender::new(false),
        }
    }

    /// Serves a listener until [`Gateway::stop`], then lets open requests end (at most 30 s).
    pub async fn serve(&self, listener: TcpListener) {
        let mut stop = self.stop.subscribe();
        let graceful = GracefulShutdown::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.connection(stream, peer, graceful.watcher()),
                    Err(e) => {
                        // Out of descriptors, mostly: the next accept would fail at once again.
                        tracing::warn!(error = %e, "accept a connection");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                },
                () = async { drop(stop.wait_for(|s| *s).await) } => break,
            }
        }
        drop(listener);
        if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests still open after the drain time were cut");
        }
    }

    /// Ends every [`Gateway::serve`].
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    fn connection(&self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        if let Err(e) = stream.set_nodelay(true) {
            tracing::debug!(error = %e, "set TCP_NODELAY");
        }
        // One per connection: a count that all cores write to for each request would go to and fro between them.
        let here = Arc::new(self.clone());
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(ConnectionTimer::default()).header_read_timeout(HEAD_TIMEOUT).max_headers(128);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(256).max_header_list_size(64 * 1024);
        let service = hyper::service::service_fn(move |request| {
            let here = Arc::clone(&here);
            async move { Ok::<_, Infallible>(here.request(request, peer.ip()).await) }
        });
        let connection =
            builder.serve_connection_with_upgrades(TokioIo::new(Socket::new(stream)), service).into_owned();
        let connection = watcher.watch(connection);
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "connection ended");
            }
        });
    }

    async fn request(&self, request: Request<Incoming>, source_ip: IpAddr) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let Ok(head) = request::head(&parts) else {
            return request::response(plain(400, "a header is not valid UTF-8"));
        };
        let host = head.header("host").unwrap_or_default();
        match destination(host, &head.path, self.options.domain.as_deref()) {
            Destination::Aws => request::response(aws::call(self, head, body, source_ip).await),
            Destination::Internal { path } => self.internal(&path, &head, body, source_ip).await,
            Destination::Data { kind, id, region, path } => {
                let front = match kind {
                    FrontKind::ExecuteApi => &self.parts.execute_api,
                    FrontKind::LambdaUrl => &self.parts.lambda_url,
                };
                let target = data::Target { front: front.as_ref(), id, region, path };
                let version = format!("{:?}", parts.version);
                request::response(data::call(self, target, head, version, body, source_ip).await)
            }
        }
    }

    async fn internal(&self, path: &str, head: &Head, body: Incoming, source_ip: IpAddr) -> Response<Body> {
        const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
        let internal = &self.parts.internal;
        let Ok(body) = self.intake.read(body, head, BODY_BYTES_MAX).await else {
            return request::response(plain(413, "the body is too large or broken"));
        };
        if !internal.is_public(&head.method, path)
            && let Err(refusal) = self.admit(path, head, &body, source_ip).await
        {
            return request::response(plain(403, &refusal));
        }
        request::internal(internal.page(&head.method, path, &head.query, body).await)
    }
}

impl Gateway {
    /// Internal pages are for root and for principals whose policies grant `squall:Read` or `squall:Write` on
    /// `arn:aws:squall:REGION:ACCOUNT:PATH`.
    async fn admit(&self, path: &str, head: &Head, body: &Bytes, source_ip: IpAddr) -> Result<(), String> {
        let found = auth::authenticate(self, head, body).await.map_err(|e| e.error.to_string())?;
        if !found.signed {
            return Err("Missing Authentication Token".into());
        }
        let ctx = aws::context(self, head, found, source_ip, &self.parts.random.uuid());
        if matches!(ctx.principal, Principal::Root { .. }) {
            return Ok(());
        }
        if self.parts.internal.is_for_root(path) {
            return Err(format!("only root may use /_squall/{path}"));
        }
        let action = if head.method == "GET" { "squall:Read" } else { "squall:Write" };
        let access = Access::new(action, ctx.arn("squall", path));
        self.parts.identity.authorise(&ctx, &[access], &[None]).await.map_err(|denied| denied.message)
    }
}

/// A plain JSON answer outside any API.
pub fn plain(status: u16, message: &str) -> Reply {
    Reply {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: serde_json::json!({ "message": message }).to_string().into(),
    }
}
