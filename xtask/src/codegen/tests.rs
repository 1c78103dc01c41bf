//! The generator on a small model that has every trait it must not lose.

use super::*;

const MODEL: &str = r#"{
  "metadata": {"apiVersion": "2020-01-01", "endpointPrefix": "demo", "protocol": "PROTOCOL", "jsonVersion": "1.1",
               "targetPrefix": "Demo", "xmlNamespace": {"uri": "https://demo/"}},
  "operations": {
    "PutThing": {"name": "PutThing", "http": {"method": "PUT", "requestUri": "/things/{name}?x=1", "responseCode": 201},
      "input": {"shape": "PutThingRequest"}, "output": {"shape": "Thing", "resultWrapper": "PutThingResult"},
      "errors": [{"shape": "Gone"}, {"shape": "Broken"}], "authtype": "none"},
    "GetThing": {"name": "GetThing", "http": {"method": "GET", "requestUri": "/things/{name}"}, "output": {"shape": "Thing"}},
    "Ping": {"name": "Ping", "http": {"method": "GET", "requestUri": "/ping"}},
    "Watch": {"name": "Watch", "http": {"method": "GET", "requestUri": "/watch"}, "output": {"shape": "Stream"}}
  },
  "shapes": {
    "PutThingRequest": {"type": "structure", "required": ["Name"], "payload": "Body", "members": {
      "Name": {"shape": "Name", "location": "uri", "locationName": "name"},
      "Type": {"shape": "Kind", "location": "header", "locationName": "x-type"},
      "Body": {"shape": "Blob", "streaming": true}}},
    "Thing": {"type": "structure", "members": {"Parent": {"shape": "Thing"}, "Parts": {"shape": "Parts"},
      "At": {"shape": "Time", "timestampFormat": "iso8601"}, "Any": {"shape": "Any"}, "Count": {"shape": "Count"}}},
    "Gone": {"type": "structure", "exception": true, "error": {"code": "GoneAway", "httpStatusCode": 410}, "members": {"Where": {"shape": "Place"}}},
    "Broken": {"type": "structure", "exception": true, "fault": true, "members": {}},
    "Place": {"type": "structure", "members": {}},
    "Parts": {"type": "list", "member": {"shape": "Thing", "locationName": "item"}, "flattened": true, "max": 5},
    "Name": {"type": "string", "min": 1, "max": 8, "pattern": "[a-z\"]+"},
    "Kind": {"type": "string", "enum": ["A", "B"]},
    "Count": {"type": "integer", "min": -1},
    "Time": {"type": "timestamp"}, "Any": {"type": "structure", "document": true, "members": {}},
    "Blob": {"type": "blob"}, "Stream": {"type": "structure", "eventstream": true, "members": {}}
  }
}"#;

/// Generates the demo model for a protocol and operations; white space is made one blank.
fn generated(protocol: &str, operations: &[&str]) -> Result<String> {
    let ops = Ops {
        output: "api.rs".into(),
        operations: operations.iter().map(|o| (*o).to_owned()).collect(),
        no_constraints: Vec::new(),
        optional: Vec::new(),
        shapes: BTreeMap::new(),
    };
    let text = service_file("demo", &MODEL.replace("PROTOCOL", protocol), &ops)?;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    for e in expected {
        assert!(text.contains(e), "missing: {e}\n{text}");
    }
}

#[test]
fn tables_keep_the_traits() {
    let text = generated("rest-json", &["PutThing"]).expect("generates");
    let facts = [
        r#"name: "PutThing", method: "PUT", uri: "/things/{name}?x=1", status: 201, input: Some(&shapes::PUT_THING_REQUEST), output: Some(&shapes::THING), result_wrapper: "PutThingResult", errors: &[errors::GONE, errors::BROKEN, ], unauthenticated: true"#,
        r#"member("Name", "name", Location::Uri, true, false, &NAME)"#,
        r#"member("Type", "x-type", Location::Header, false, false, &KIND)"#,
        r#"shape("Name", text(Some(1), Some(8), Some("[a-z\"]+"), &[]))"#,
        r#"shape("Kind", text(None, None, None, &["A", "B"]))"#,
        r#"member("Body", "Body", Location::Body, false, false, &BLOB_STREAMING), ], payload: Some(2) }"#,
        r#"Kind::Blob { min: None, max: None, streaming: true }"#,
        r#"Kind::List { member: &THING, member_name: "item", flattened: true, min: None, max: Some(5) }"#,
        r#"Kind::Timestamp(TimestampFormat::Iso8601)"#,
        r#"shape("Count", Kind::Integer { min: Some(-1), max: None })"#,
        r#"shape("Any", Kind::Document)"#,
        r#"name: "Gone", code: "GoneAway", status: 410"#,
        r#"name: "Broken", code: "Broken", status: 500"#,
        r#"unserved: &[ ("GetThing", "GET", "/things/{name}"), ("Ping", "GET", "/ping"), ("Watch", "GET", "/watch"), ]"#,
        r#"json_version: "", api_version: "2020-01-01", xml_namespace: "https://demo/""#,
    ];
    check(&text, &facts);
    assert!(!text.contains("STREAM:"), "shapes of unserved operations are left out");
}

#[test]
fn places_count_only_in_rest_protocols() {
    let text = generated("json", &["PutThing"]).expect("generates");
    check(&text, &[r#"member("Name", "name", Location::Body, true, false, &NAME)"#, r#"json_version: "1.1""#]);
}

#[test]
fn types_follow_the_operations() {
    let text = generated("rest-json", &["PutThing", "Ping"]).expect("generates");
    let facts = [
        "pub struct PutThingInput { pub name: String, pub r#type: Option<String>, pub body: Option<Bytes>, }",
        "pub type PutThingOutput = Thing;",
        "pub struct Thing { pub parent: Option<Box<Thing>>, pub parts: Option<Vec<Thing>>, pub at: Option<Millis>, pub any: Option<serde_json::Value>, pub count: Option<i32>, }",
        "pub struct PingInput { }",
        "pub struct PingOutput { }",
        "pub struct Place {",
        r#""Ping" => Ok(api.ping(ctx, PingInput {}).await?.into_value())"#,
    ];
    check(&text, &facts);
    assert!(!text.contains("pub struct Gone"), "errors are answered as ServiceError");
}

#[test]
fn what_cannot_be_generated_is_refused() {
    for (operation, reason) in [("Watch", "event stream"), ("Nope", "no operation Nope")] {
        let error = generated("rest-json", &[operation]).expect_err("refused");
        assert!(format!("{error:#}").contains(reason), "{error:#}");
    }
    assert!(format!("{:#}", generated("smoke", &["Ping"]).expect_err("refused")).contains("protocol smoke"));
}

#[test]
fn committed_files_are_what_the_models_say() {
    let root = crate::root().expect("the repository");
    run(&root, &Args::checking()).expect("`cargo xtask codegen` was run");
}
