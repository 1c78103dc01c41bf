//! One request on its way through an API, and the call of its function.

use super::auth;
use crate::model::Target;
use crate::room::ApiGateway;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use squall_service::{HttpRequest, Invocation, InvocationKind, Invoker};
use std::collections::BTreeMap;

/// Headers between two neighbours, which no function sees.
const HOP_BY_HOP: [&str; 12] = [
    "connection",
    "expect",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A request and what the gateway made up for it.
pub struct Call<'a> {
    /// The request.
    pub request: &'a HttpRequest,
    /// API id.
    pub api: &'a str,
    /// Region.
    pub region: &'a str,
    /// Stage.
    pub stage: &'a str,
    /// Stage variables.
    pub variables: Option<&'a BTreeMap<String, String>>,
    /// The id that `x-amz-apigw-id` and `apigw-requestid` carry.
    pub gateway_id: String,
    /// `X-Amzn-Trace-Id`.
    pub trace: String,
    /// `https` under the operator's domain, which a proxy in front of this server ends.
    is_tls: bool,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Not in time.
    TimedOut,
    /// Too many at once.
    Throttled,
    /// The event is larger than functions accept.
    TooLarge,
    /// The function failed.
    Function,
    /// There is no such function, or it does not let this API call it.
    Refused,
}

impl<'a> Call<'a> {
    /// A call of a stage.
    pub fn new(
        room: &ApiGateway,
        request: &'a HttpRequest,
        (api, region): (&'a str, &'a str),
        stage: &'a str,
        variables: Option<&'a BTreeMap<String, String>>,
    ) -> Self {
        let is_tls = room.domain.as_ref().is_some_and(|d| host_name(&request.host).ends_with(d.as_str()));
        let gateway_id = gateway_id(room);
        let trace = match header(request, "x-amzn-trace-id") {
            Some(text) if text.contains("Root=") => text.to_owned(),
            _ => {
                let secs = u32::try_from(request.time.secs()).unwrap_or_default();
                format!("Root=1-{secs:08x}-{}", room.deps.random.text(b"0123456789abcdef", 24))
            }
        };
        Self { request, api, region, stage, variables, gateway_id, trace, is_tls }
    }

    /// The host that the caller asked, as events name it.
    pub fn domain(&self) -> &'a str {
        &self.request.host
    }

    /// A request header.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        header(self.request, name)
    }

    /// The media type of the request's body.
    pub fn media_type(&self) -> String {
        super::text::media_type(self.header("content-type").unwrap_or_default())
    }

    /// Headers as functions see them, in lower case: without those between neighbours, with what the gateway adds.
    pub fn headers(&self, keep_length: bool) -> Vec<(&'a str, String)> {
        let own =
            |n: &str| matches!(n, "x-forwarded-for" | "x-forwarded-port" | "x-forwarded-proto" | "x-amzn-trace-id");
        let length = |n: &str| !keep_length && n == "content-length";
        let mut out: Vec<(&'a str, String)> = self
            .request
            .headers
            .iter()
            .filter(|(n, _)| !HOP_BY_HOP.contains(&n.as_str()) && !own(n) && !length(n))
            .map(|(n, v)| (n.as_str(), v.clone()))
            .collect();
        let ip = self.request.source_ip.to_string();
        let forwarded = self.header("x-forwarded-for").map_or_else(|| ip.clone(), |before| format!("{before}, {ip}"));
        let (proto, default) = if self.is_tls { ("https", "443") } else { ("http", "80") };
        let port = self.request.host.rsplit_once(':').map(|(_, p)| p).filter(|p| p.parse::<u16>().is_ok());
        out.push(("x-amzn-trace-id", self.trace.clone()));
        out.push(("x-forwarded-for", forwarded));
        out.push(("x-forwarded-port", port.filter(|_| !self.is_tls).unwrap_or(default).to_owned()));
        out.push(("x-forwarded-proto", proto.to_owned()));
        out
    }

    /// The trace as the caller sees it: with the gateway's own segment where the request named no parent.
    pub fn answered_trace(&self, room: &ApiGateway) -> String {
        if self.trace.contains(";Parent=") {
            return self.trace.clone();
        }
        let parent = room.deps.random.text(b"0123456789abcdef", 16);
        let sampled = if self.trace.contains(";Sampled=") { "" } else { ";Sampled=0" };
        match self.trace.split_once(';') {
            Some((root, rest)) => format!("{root};Parent={parent};{rest}{sampled}"),
            None => format!("{};Parent={parent}{sampled}", self.trace),
        }
    }

    /// The ARN that a function's policy sees: `tail` is `METHOD/path`.
    pub fn source_arn(&self, account: &str, tail: &str) -> String {
        format!("arn:aws:execute-api:{}:{account}:{}/{}/{tail}", self.region, self.api, self.stage)
    }

    /// Calls a function.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn run(
        &self,
        room: &ApiGateway,
        target: &Target,
        event: String,
        source_arn: String,
    ) -> Result<Bytes, Failure> {
        let function = self.with_variables(&target.function);
        let failed = |code: &str, text: &str| {
            let request_id = &self.request.request_id;
            tracing::warn!(api = self.api, request_id, function, code, text, "call a function");
        };
        let invoker = match &target.role {
            None => Invoker::Service { principal: crate::PRINCIPAL.into(), source_arn },
            Some(role) => {
                if let Err(why) = auth::role_may_call(room, self, role, &function).await {
                    failed("AccessDeniedException", &why);
                    return Err(Failure::Refused);
                }
                Invoker::Authorised
            }
        };
        let invocation = Invocation {
            function: function.clone(),
            qualifier: None,
            region: self.region.to_owned(),
            payload: Bytes::from(event),
            kind: InvocationKind::RequestResponse,
            log_tail: false,
            client_context: None,
            trace_header: Some(self.trace.clone()),
            invoker,
            request_id: self.request.request_id.clone(),
        };
        match tokio::time::timeout(target.timeout, room.invoke.invoke(invocation)).await {
            Err(_) => {
                failed("Timeout", "no answer within the integration's timeout");
                Err(Failure::TimedOut)
            }
            Ok(Ok(outcome)) if outcome.function_error.is_none() => Ok(outcome.payload),
            Ok(Ok(_)) => Err(Failure::Function),
            Ok(Err(e)) => {
                failed(e.code, &e.message);
                Err(match e.status {
                    429 => Failure::Throttled,
                    413 => Failure::TooLarge,
                    _ => Failure::Refused,
                })
            }
        }
    }

    /// Text with `${stageVariables.NAME}` replaced.
    fn with_variables(&self, text: &str) -> String {
        const OPEN: &str = "${stageVariables.";
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            let Some((name, tail)) = after.split_once('}') else { break };
            out.push_str(before);
            out.push_str(self.variables.and_then(|v| v.get(name)).map_or("", String::as_str));
            rest = tail;
        }
        out.push_str(rest);
        out
    }
}

/// Sixteen signs of base64, as AWS makes them.
pub fn gateway_id(room: &ApiGateway) -> String {
    let mut bytes = [0; 11];
    room.deps.random.fill(&mut bytes);
    STANDARD.encode(bytes)
}

fn host_name(host: &str) -> &str {
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// A header of a request.
pub fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}
