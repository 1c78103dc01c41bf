//! Hand-made tables for this crate's tests: every kind of shape, one service per protocol.

use crate::Value;
use crate::schema::{Kind, Location, Member, Operation, Protocol, Service, Shape, TimestampFormat};

/// A text value.
pub(crate) fn text(s: &str) -> Value {
    Value::Str(s.to_owned())
}

const fn shape(name: &'static str, kind: Kind) -> Shape {
    Shape { name, kind }
}

const fn member(name: &'static str, shape: &'static Shape) -> Member {
    located(name, name, Location::Body, shape)
}

const fn located(name: &'static str, wire: &'static str, location: Location, shape: &'static Shape) -> Member {
    Member { name, wire, location, required: false, xml_attribute: false, shape }
}

const fn required(name: &'static str, shape: &'static Shape) -> Member {
    Member { required: true, ..member(name, shape) }
}

const fn list(name: &'static str, member: &'static Shape, member_name: &'static str, flattened: bool) -> Shape {
    shape(name, Kind::List { member, member_name, flattened, min: None, max: None })
}

const fn map(name: &'static str, value: &'static Shape, flattened: bool) -> Shape {
    let (key_name, value_name) = ("key", "value");
    shape(name, Kind::Map { key: &TEXT, value, key_name, value_name, flattened, min: None, max: None })
}

const fn structure(name: &'static str, members: &'static [Member], payload: Option<u16>) -> Shape {
    shape(name, Kind::Structure { members, payload })
}

static TEXT: Shape = shape("Text", Kind::String { min: None, max: None, pattern: None, options: &[] });
static INT: Shape = shape("Int", Kind::Integer { min: None, max: None });
static LONG: Shape = shape("Long", Kind::Long { min: None, max: None });
static DOUBLE: Shape = shape("Double", Kind::Double { min: None, max: None });
static BOOL: Shape = shape("Bool", Kind::Boolean);
static TIME: Shape = shape("Time", Kind::Timestamp(TimestampFormat::Default));
static ISO: Shape = shape("Iso", Kind::Timestamp(TimestampFormat::Iso8601));
static BLOB: Shape = shape("Blob", Kind::Blob { min: None, max: None, streaming: false });
static DOCUMENT: Shape = shape("Document", Kind::Document);
static TEXTS: Shape = list("Texts", &TEXT, "member", false);
static FLAT: Shape = list("Flat", &TEXT, "FlatText", true);
static TEXT_MAP: Shape = map("TextMap", &TEXT, false);
static FLAT_MAP: Shape = map("FlatMap", &INT, true);
static NODES: Shape = list("Nodes", &NODE, "Item", false);
static NODE_MAP: Shape = map("NodeMap", &NODE, false);

/// A recursive structure with members of every kind but documents.
pub(crate) static NODE: Shape = structure(
    "Node",
    &[
        member("Text", &TEXT),
        member("Int", &INT),
        member("Long", &LONG),
        member("Double", &DOUBLE),
        member("Bool", &BOOL),
        member("Time", &TIME),
        member("Iso", &ISO),
        member("Blob", &BLOB),
        member("Texts", &TEXTS),
        member("Flat", &FLAT),
        member("Node", &NODE),
        member("TextMap", &TEXT_MAP),
        member("FlatMap", &FLAT_MAP),
        member("Nodes", &NODES),
        member("NodeMap", &NODE_MAP),
    ],
    None,
);

static WITH_DOCUMENT: Shape = structure("WithDocument", &[member("Any", &DOCUMENT), member("Maps", &MAPS)], None);
static MAPS: Shape = list("Maps", &TEXT_MAP, "member", false);

static NAME: Shape =
    shape("Name", Kind::String { min: Some(3), max: Some(10), pattern: Some("[a-z.]+"), options: &[] });
static COLOR: Shape = shape("Color", Kind::String { min: None, max: None, pattern: None, options: &["RED", "GREEN"] });
static COUNT: Shape = shape("Count", Kind::Integer { min: Some(1), max: Some(100) });
static RATIO: Shape = shape("Ratio", Kind::Double { min: Some(0.0), max: Some(1.0) });
static COLORS: Shape =
    shape("Colors", Kind::List { member: &COLOR, member_name: "member", flattened: false, min: Some(0), max: Some(2) });
static TAG: Shape = structure("Tag", &[required("Key", &NAME), member("Value", &TEXT)], None);
static TAGS: Shape = list("Tags", &TAG, "member", false);
static TAG_MAP: Shape = map("TagMap", &TAG, false);
static BYTES: Shape = shape("Bytes", Kind::Blob { min: None, max: Some(2), streaming: false });
static NAMES: Shape = shape(
    "Names",
    Kind::Map {
        key: &NAME,
        value: &NAME,
        key_name: "key",
        value_name: "value",
        flattened: false,
        min: None,
        max: None,
    },
);

/// A structure with constraints of every kind.
pub(crate) static ORDER: Shape = structure(
    "CreateOrderRequest",
    &[
        required("OrderName", &NAME),
        member("Color", &COLOR),
        member("Count", &COUNT),
        member("Ratio", &RATIO),
        member("Colors", &COLORS),
        member("Tags", &TAGS),
        member("Names", &NAMES),
        member("TagMap", &TAG_MAP),
        member("SSEBytes", &BYTES),
    ],
    None,
);

/// Members at every place of an HTTP message.
pub(crate) static PLACES: Shape = structure(
    "Places",
    &[
        located("Id", "id", Location::Uri, &TEXT),
        located("Limit", "limit", Location::Query, &INT),
        located("Keys", "keys", Location::Query, &TEXTS),
        located("Rest", "rest", Location::Query, &TEXT_MAP),
        located("Since", "If-Since", Location::Header, &TIME),
        located("Flag", "x-flag", Location::Header, &BOOL),
        located("Words", "x-words", Location::Header, &TEXTS),
        located("Meta", "x-meta-", Location::Headers, &TEXT_MAP),
        located("Status", "Status", Location::Status, &INT),
        member("Note", &TEXT),
    ],
    None,
);

static BODY: Shape =
    structure("Body", &[located("Kind", "x-kind", Location::Header, &TEXT), member("Data", &BLOB)], Some(1));
static NODE_BODY: Shape =
    structure("NodeBody", &[located("Kind", "x-kind", Location::Header, &TEXT), member("Node", &NODE)], Some(1));

static GRANTEE: Shape = structure(
    "Grantee",
    &[Member { xml_attribute: true, ..located("Type", "xsi:type", Location::Body, &TEXT) }, member("ID", &TEXT)],
    None,
);
static GRANT: Shape = structure("Grant", &[member("Grantee", &GRANTEE)], None);

const fn operation(
    name: &'static str,
    method: &'static str,
    uri: &'static str,
    input: &'static Shape,
    result_wrapper: &'static str,
) -> Operation {
    let (input, output) = (Some(input), Some(input));
    Operation { name, method, uri, status: 200, input, output, result_wrapper, errors: &[], unauthenticated: false }
}

const fn service(
    name: &'static str,
    protocol: Protocol,
    xml_namespace: &'static str,
    operations: &'static [Operation],
) -> Service {
    let (json, unserved) = (matches!(protocol, Protocol::Json), UNSERVED);
    Service {
        name,
        signing_name: name,
        protocol,
        target_prefix: if json { "Test_20260101" } else { "" },
        json_version: if json { "1.0" } else { "" },
        api_version: "2026-01-01",
        xml_namespace,
        operations,
        unserved,
    }
}

const UNSERVED: &[(&str, &str, &str)] = &[("PutMoon", "PUT", "/moon/{id}")];

static NAMED_OPS: &[Operation] = &[
    operation("GetNode", "POST", "/", &NODE, "GetNodeResult"),
    Operation { output: None, input: None, ..operation("Nothing", "POST", "/", &NODE, "") },
    operation("PutDocument", "POST", "/", &WITH_DOCUMENT, "PutDocumentResult"),
];

static REST_OPS: &[Operation] = &[
    operation("DeleteKey", "DELETE", "/b/{id}/{Key+}", &PLACES, ""),
    operation("GetKey", "GET", "/b/{id}/{Key+}?version", &PLACES, ""),
    operation("GetNode", "POST", "/nodes/", &NODE, ""),
    operation("GetPlaces", "GET", "/places/{id}", &PLACES, ""),
    operation("GetSelf", "GET", "/places/self", &PLACES, ""),
    operation("ImportPlaces", "POST", "/places?mode=import", &PLACES, ""),
    operation("Invoke", "POST", "/places/{id}/invocations", &BODY, ""),
    operation("PutGrant", "PUT", "/grant", &GRANT, "Granted"),
    operation("PutNode", "PUT", "/nodes", &NODE_BODY, ""),
    operation("PutPlaces", "POST", "/places", &PLACES, ""),
];

pub(crate) static DYNAMODB: Service = service("dynamodb", Protocol::Json, "", NAMED_OPS);
pub(crate) static LOGS: Service = service("logs", Protocol::Json, "", NAMED_OPS);
pub(crate) static IAM: Service = service("iam", Protocol::Query, "https://iam.amazonaws.com/doc/", NAMED_OPS);
pub(crate) static LAMBDA: Service = service("lambda", Protocol::RestJson, "", REST_OPS);
pub(crate) static GATEWAY: Service = service("apigateway", Protocol::RestJson, "", REST_OPS);
pub(crate) static S3: Service = service("s3", Protocol::RestXml, "http://s3.amazonaws.com/doc/2006-03-01/", REST_OPS);
