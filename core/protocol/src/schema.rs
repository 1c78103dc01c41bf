//! The static description of a service: operations, shapes, bindings and constraints, as generated from the API models.
//!
//! Every table is a `static`, made by `cargo xtask codegen` into each room's `api.rs`; nothing is parsed at start.

/// One service of the API models, cut down to what a server needs.
#[derive(Debug)]
pub struct Service {
    /// botocore's name, such as `dynamodb`; also the room's name.
    pub name: &'static str,
    /// The service name in credential scopes and IAM actions' prefix, such as `dynamodb` or `execute-api`.
    pub signing_name: &'static str,
    /// The wire protocol.
    pub protocol: Protocol,
    /// `X-Amz-Target` prefix of the JSON protocols (`DynamoDB_20120810`), else empty.
    pub target_prefix: &'static str,
    /// `1.0` or `1.1` for the JSON protocols, else empty.
    pub json_version: &'static str,
    /// API version such as `2012-08-10`; the `Version` parameter of the query protocol.
    pub api_version: &'static str,
    /// XML namespace of answers, else empty.
    pub xml_namespace: &'static str,
    /// Operations that are served, sorted by name.
    pub operations: &'static [Operation],
    /// `(name, HTTP method, URI template)` of operations that the model has and this server does not serve, sorted by name:
    /// they are answered with a clear error instead of "unknown".
    pub unserved: &'static [(&'static str, &'static str, &'static str)],
}

/// Wire protocols of the API models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `json`: awsJson 1.0 and 1.1.
    Json,
    /// `query`: form-encoded requests, XML answers.
    Query,
    /// `rest-json`.
    RestJson,
    /// `rest-xml`.
    RestXml,
}

/// One operation that is served.
#[derive(Debug)]
pub struct Operation {
    /// Wire name, such as `PutItem`.
    pub name: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// URI template, such as `/2015-03-31/functions/{FunctionName}`; may carry a constant query (`?list-type=2`); `{Key+}` is greedy.
    pub uri: &'static str,
    /// Status of a success.
    pub status: u16,
    /// Input structure; `None` when the operation takes nothing.
    pub input: Option<&'static Shape>,
    /// Output structure; `None` when it answers nothing.
    pub output: Option<&'static Shape>,
    /// Query protocol: the element that wraps the result (`GetRoleResult`), else empty.
    pub result_wrapper: &'static str,
    /// Errors that the model names: `(shape name, wire code, status, is the sender at fault)`.
    pub errors: &'static [ErrorShape],
    /// The model says that no signature is needed.
    pub unauthenticated: bool,
}

/// An error that an operation may answer.
#[derive(Debug)]
pub struct ErrorShape {
    /// Shape name, such as `ResourceNotFoundException`.
    pub name: &'static str,
    /// Code on the wire: the shape's name unless the model says otherwise (`NoSuchEntity`).
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Structure of the error's own members.
    pub shape: &'static Shape,
}

/// A shape: its model name and what it is.
#[derive(Debug)]
pub struct Shape {
    /// Name in the model.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// Kinds of shapes with their constraints. `None` bounds mean unbounded.
#[derive(Debug)]
pub enum Kind {
    /// UTF-8 text. Length is counted in characters.
    String {
        /// Fewest characters.
        min: Option<u64>,
        /// Most characters.
        max: Option<u64>,
        /// Regular expression that the whole value matches, as the model writes it.
        pattern: Option<&'static str>,
        /// Allowed values; empty when any.
        options: &'static [&'static str],
    },
    /// 32-bit integer.
    Integer {
        /// Least value.
        min: Option<i64>,
        /// Greatest value.
        max: Option<i64>,
    },
    /// 64-bit integer.
    Long {
        /// Least value.
        min: Option<i64>,
        /// Greatest value.
        max: Option<i64>,
    },
    /// 32- or 64-bit float.
    Double {
        /// Least value.
        min: Option<f64>,
        /// Greatest value.
        max: Option<f64>,
    },
    /// Boolean.
    Boolean,
    /// Moment in time.
    Timestamp(TimestampFormat),
    /// Bytes; base64 in JSON, XML and forms, raw as an HTTP payload. Length is counted in bytes.
    Blob {
        /// Fewest bytes.
        min: Option<u64>,
        /// Most bytes.
        max: Option<u64>,
        /// The model's `streaming` trait.
        streaming: bool,
    },
    /// List.
    List {
        /// Shape of an element.
        member: &'static Shape,
        /// Element name in XML and forms; `member` when the model names none.
        member_name: &'static str,
        /// No wrapping element in XML, no `.member` in forms.
        flattened: bool,
        /// Fewest elements.
        min: Option<u64>,
        /// Most elements.
        max: Option<u64>,
    },
    /// Map from text.
    Map {
        /// Shape of keys.
        key: &'static Shape,
        /// Shape of values.
        value: &'static Shape,
        /// Key element's name, `key` by default.
        key_name: &'static str,
        /// Value element's name, `value` by default.
        value_name: &'static str,
        /// No wrapping `entry` element.
        flattened: bool,
        /// Fewest entries.
        min: Option<u64>,
        /// Most entries.
        max: Option<u64>,
    },
    /// Structure; members keep the model's order, which is their index in [`crate::Value::Struct`].
    Structure {
        /// Members.
        members: &'static [Member],
        /// Index of the member that is the whole HTTP body, if any.
        payload: Option<u16>,
    },
    /// Free-form JSON.
    Document,
}

/// Formats of timestamps on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampFormat {
    /// What the protocol and location say (JSON bodies: epoch seconds; query and XML: ISO 8601; headers: RFC 7231).
    Default,
    /// `2026-01-31T12:00:00Z`.
    Iso8601,
    /// `Sat, 31 Jan 2026 12:00:00 GMT`.
    Rfc822,
    /// Seconds since the epoch, with a fraction.
    Unix,
}

/// A member of a structure.
#[derive(Debug)]
pub struct Member {
    /// Name in the model, which is its name in JSON unless `wire` differs.
    pub name: &'static str,
    /// Name on the wire: the model's `locationName` where given.
    pub wire: &'static str,
    /// Where it travels.
    pub location: Location,
    /// Must be present in requests.
    pub required: bool,
    /// An XML attribute of its parent element.
    pub xml_attribute: bool,
    /// Its shape.
    pub shape: &'static Shape,
}

/// Where a member travels in the REST protocols. Everything is `Body` in the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the body.
    Body,
    /// A label of the URI.
    Uri,
    /// A query parameter; a map shape takes all parameters.
    Query,
    /// A header.
    Header,
    /// All headers with the prefix `wire`.
    Headers,
    /// The HTTP status.
    Status,
}

impl Service {
    /// The served operation of that name.
    #[must_use]
    pub fn operation(&self, name: &str) -> Option<&'static Operation> {
        self.operations.binary_search_by(|o| o.name.cmp(name)).ok().map(|i| &self.operations[i])
    }

    /// Whether the model has the operation although it is not served.
    #[must_use]
    pub fn is_unserved(&self, name: &str) -> bool {
        self.unserved.binary_search_by(|o| o.0.cmp(name)).is_ok()
    }
}

impl Shape {
    /// Members of a structure; empty for other kinds.
    #[must_use]
    pub fn members(&self) -> &'static [Member] {
        match &self.kind {
            Kind::Structure { members, .. } => members,
            _ => &[],
        }
    }
}
