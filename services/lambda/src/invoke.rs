//! How the rest of the cloud calls functions: resolve, check, run now or keep for later.

use crate::error::Error;
use crate::events::AsyncEvent;
use crate::functions::Target;
use crate::names::Name;
use crate::registry::Entry;
use crate::room::Lambda;
use crate::rules::policy_document;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use squall_policy::{Context, DocumentKind, Policy, PolicySets, Principal, Request, ResourcePolicy, evaluate};
use squall_protocol::ServiceError;
use squall_runtime::InvokeError;
use squall_service::{Invocation, InvocationKind, Invoke, Invoker, Outcome};
use squall_types::Arn;
use std::time::Duration;

/// How long a call waits for a function that is still being created: the first function of a runtime waits for its SDK.
const PENDING_PATIENCE: Duration = Duration::from_secs(50);
/// Most bytes of a payload of an asynchronous call.
const ASYNC_PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Most bytes of a payload.
const PAYLOAD_BYTES_MAX: usize = 6_291_456;

#[async_trait]
impl Invoke for Lambda {
    async fn invoke(&self, invocation: Invocation) -> Result<Outcome, ServiceError> {
        let (entry, name) = self.callee(&invocation).await?;
        let target = self.resolve(&entry, &name, self.roll()).ok_or_else(|| not_found(self, &entry, &name))?;
        check_invoker(self, &entry, &name, &invocation.invoker)?;
        check_payload(&invocation)?;
        match invocation.kind {
            InvocationKind::DryRun => Ok(answered(204, String::new())),
            InvocationKind::Event => {
                self.enqueue(AsyncEvent::new(&entry.record, name.qualifier, &invocation)).await?;
                Ok(answered(202, String::new()))
            }
            InvocationKind::RequestResponse => self.run(&entry, &target, invocation).await,
        }
    }
}

impl Lambda {
    async fn callee(&self, i: &Invocation) -> Result<(Entry, Name), Error> {
        // Inside the cloud functions are named by ARN, whose region counts; a plain name means the caller's region.
        let region = match i.function.parse::<Arn>() {
            Ok(arn) if !matches!(i.invoker, Invoker::Authorised) => arn.region,
            _ => i.region.clone(),
        };
        let name = Name::parse(&i.function, i.qualifier.as_deref(), &region, self.deps.account.as_str())?;
        let entry = self.registry.settled(&region, &name.name, PENDING_PATIENCE).await;
        let entry = entry.ok_or_else(|| {
            // Other operations name what was asked for; this one names the version that would have run.
            Error::no_function(&region, self.deps.account.as_str(), &name.name, Some(name.version()))
        })?;
        Ok((entry, name))
    }

    /// A number in `0.0..1.0` that chooses between the versions of an alias.
    pub(crate) fn roll(&self) -> f64 {
        let mut bytes = [0; 4];
        self.deps.random.fill(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    }

    pub(crate) async fn run(&self, entry: &Entry, target: &Target, i: Invocation) -> Result<Outcome, ServiceError> {
        let function = self.runnable(entry, &target.version).await?;
        let client_context = i.client_context.as_deref().map(decode_context).transpose()?;
        let invoked_arn = target.asked_as.as_ref().map(|a| format!("{}:{a}", function.function_arn));
        let request = squall_runtime::Request {
            request_id: i.request_id,
            payload: if i.payload.is_empty() { Bytes::from_static(b"{}") } else { i.payload },
            invoked_arn,
            client_context,
            trace_header: i.trace_header,
            log_tail: i.log_tail,
        };
        self.runtime.invoke(function, request).await.map_err(refused)
    }
}

fn answered(status: u16, executed_version: String) -> Outcome {
    Outcome { status, payload: Bytes::new(), function_error: None, executed_version, log_tail: None }
}

fn not_found(room: &Lambda, entry: &Entry, name: &Name) -> Error {
    Error::no_function(&entry.record.region, room.deps.account.as_str(), &name.name, name.qualifier.as_deref())
}

fn check_payload(i: &Invocation) -> Result<(), Error> {
    let limit = if i.kind == InvocationKind::Event { ASYNC_PAYLOAD_BYTES_MAX } else { PAYLOAD_BYTES_MAX };
    if i.payload.len() > limit {
        return Err(Error::TooLarge(format!(
            "{} byte payload is too large for the {} invocation type (limit {limit} bytes)",
            i.payload.len(),
            if i.kind == InvocationKind::Event { "Event" } else { "RequestResponse" }
        )));
    }
    if i.payload.is_empty() {
        return Ok(());
    }
    let text = std::str::from_utf8(&i.payload).map_err(|e| bad_bytes(&i.payload, e.valid_up_to()))?;
    // Read without building a tree: the function gets the bytes as they are.
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(|_| ()).map_err(|e| bad_json(text, &e))
}

const PARSE: &str = "Could not parse request body into json: Could not parse payload into json:";
/// How AWS's parser ends its messages, before line and column.
const SOURCE: &str = " at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled);";

fn bad_bytes(payload: &[u8], at: usize) -> Error {
    let head = payload.get(..at).unwrap_or_default();
    let line = head.iter().filter(|b| **b == b'\n').count() + 1;
    let column = head.iter().rev().take_while(|b| **b != b'\n').count() + 2;
    let byte = payload.get(at).copied().unwrap_or_default();
    Error::BadContent(format!(
        "{PARSE} Invalid UTF-8 start byte 0x{byte:02x}\n{SOURCE} line: {line}, column: {column}]"
    ))
}

/// A bare word is worded as by AWS; what else can be wrong is told in this parser's words.
fn bad_json(text: &str, e: &serde_json::Error) -> Error {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let word = text.get(..end).filter(|w| w.starts_with(|c: char| c.is_ascii_alphabetic()) && w.len() <= 256);
    Error::BadContent(match word {
        Some(word) => format!(
            "{PARSE} Unrecognized token '{word}': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or \
             'false')\n{SOURCE} line: 1, column: {}]",
            end + 1
        ),
        None => format!("{PARSE} {e}"),
    })
}

fn decode_context(text: &str) -> Result<String, Error> {
    let bad = || Error::BadContent("Client context must be a valid Base64-encoded JSON object.".into());
    let bytes = STANDARD.decode(text).map_err(|_| bad())?;
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    serde_json::from_str::<serde_json::Value>(&text).map_err(|_| bad())?;
    Ok(text)
}

/// A service may call where the function's resource policy lets it.
fn check_invoker(room: &Lambda, entry: &Entry, name: &Name, invoker: &Invoker) -> Result<(), Error> {
    let Invoker::Service { principal, source_arn } = invoker else { return Ok(()) };
    let account = room.deps.account.as_str();
    let resource = crate::view::arn(account, &entry.record, name.qualifier.as_deref());
    let denied = || {
        Error::Denied(format!(
            "{principal} is not authorized to perform: lambda:InvokeFunction on resource: {resource}"
        ))
    };
    let policy = entry.record.policies.get(name.version()).ok_or_else(denied)?;
    let policy = Policy::parse(&policy_document(&policy.statements), DocumentKind::Resource).map_err(|_| denied())?;
    let caller = Principal::service(principal);
    let context = Context::new().with("aws:SourceArn", source_arn.as_str()).with("aws:SourceAccount", account);
    let request =
        Request { principal: &caller, action: "lambda:InvokeFunction", resource: &resource, context: &context };
    let sets = PolicySets { resource: ResourcePolicy::Additive(&policy), ..PolicySets::default() };
    if evaluate(&request, &sets).is_allowed() { Ok(()) } else { Err(denied()) }
}

fn refused(e: InvokeError) -> ServiceError {
    let user = |code, status, text: String| ServiceError::client(code, status, text).with("Type", "User");
    match e {
        InvokeError::Throttled(reason) => Error::Throttled(reason.as_str()).into(),
        InvokeError::NoCapacity => Error::Throttled("ConcurrentInvocationLimitExceeded").into(),
        InvokeError::Runtime(text) => user("InvalidRuntimeException", 502, text).upper(),
        InvokeError::Stopping => {
            ServiceError::server("ServiceUnavailableException", 503, "The server is shutting down").upper()
        }
        InvokeError::Start(text) => Error::internal("start an instance", text).into(),
    }
}
