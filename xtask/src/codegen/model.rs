//! The API models: reading, cutting down to facts, and the view of one service that the generator walks.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;

/// A service's model.
#[derive(Debug, Deserialize)]
pub struct Model {
    pub metadata: Metadata,
    pub operations: BTreeMap<String, Operation>,
    pub shapes: BTreeMap<String, Shape>,
}

/// What the model says about the service as a whole.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub api_version: String,
    pub endpoint_prefix: String,
    pub protocol: String,
    #[serde(default)]
    pub json_version: String,
    #[serde(default)]
    pub target_prefix: String,
    #[serde(default)]
    pub signing_name: Option<String>,
    #[serde(default, deserialize_with = "namespace")]
    pub xml_namespace: String,
}

/// An operation.
#[derive(Debug, Deserialize)]
pub struct Operation {
    pub name: String,
    pub http: Http,
    #[serde(default)]
    pub input: Option<ShapeRef>,
    #[serde(default)]
    pub output: Option<ShapeRef>,
    #[serde(default)]
    pub errors: Vec<ShapeRef>,
    #[serde(default)]
    pub authtype: Option<String>,
    #[serde(default)]
    pub auth: Vec<String>,
}

/// An operation's HTTP binding.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    pub method: String,
    pub request_uri: String,
    #[serde(default)]
    pub response_code: Option<u16>,
}

/// A reference to a shape, with the traits of its place.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShapeRef {
    pub shape: String,
    pub location: Option<String>,
    pub location_name: Option<String>,
    pub result_wrapper: Option<String>,
    pub flattened: bool,
    pub xml_attribute: bool,
    pub streaming: bool,
    pub eventstream: bool,
    pub timestamp_format: Option<String>,
    #[serde(rename = "enum")]
    pub options: Vec<String>,
}

/// A shape.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Shape {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(deserialize_with = "ordered")]
    pub members: Vec<(String, ShapeRef)>,
    pub member: Option<ShapeRef>,
    pub key: Option<ShapeRef>,
    pub value: Option<ShapeRef>,
    pub required: Vec<String>,
    pub payload: Option<String>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub pattern: Option<String>,
    #[serde(rename = "enum")]
    pub options: Vec<String>,
    pub flattened: bool,
    pub streaming: bool,
    pub eventstream: bool,
    pub document: bool,
    pub timestamp_format: Option<String>,
    pub exception: bool,
    pub fault: bool,
    pub error: Option<ErrorTrait>,
}

/// How an error looks on the wire.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorTrait {
    pub code: Option<String>,
    pub http_status_code: Option<u16>,
}

fn ordered<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(String, ShapeRef)>, D::Error> {
    let map = Map::deserialize(d)?;
    map.into_iter().map(|(k, v)| Ok((k, serde_json::from_value(v).map_err(serde::de::Error::custom)?))).collect()
}

fn namespace<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    Ok(match Json::deserialize(d)? {
        Json::String(s) => s,
        Json::Object(o) => o.get("uri").and_then(Json::as_str).unwrap_or_default().to_owned(),
        _ => String::new(),
    })
}

impl Model {
    /// Reads a model and gives every place its own shape where the place changes the shape (timestamp format, enum, flattened, streaming).
    pub fn parse(text: &str) -> Result<Model> {
        let mut model: Model = serde_json::from_str(text).context("read the model")?;
        model.settle_places();
        Ok(model)
    }

    /// The shape of that name.
    pub fn shape(&self, name: &str) -> Result<&Shape> {
        self.shapes.get(name).with_context(|| format!("the model has no shape {name}"))
    }

    /// The operation of that name.
    pub fn operation(&self, name: &str) -> Result<&Operation> {
        self.operations.get(name).with_context(|| format!("the model has no operation {name}"))
    }

    /// The structure that `owner` names: a structure's name, or an operation's for its input.
    fn owner(&self, owner: &str) -> Result<String> {
        if let Some(input) = self.operations.get(owner).and_then(|o| o.input.as_ref()) {
            return Ok(input.shape.clone());
        }
        if self.shapes.contains_key(owner) {
            return Ok(owner.to_owned());
        }
        bail!("{owner} is neither an operation with an input nor a structure of the model")
    }

    /// Drops the value constraints of the member `Owner.Member`.
    pub fn unconstrain(&mut self, path: &str) -> Result<()> {
        let (owner, at) = self.place(path)?;
        let reference = self.shapes[&owner].members[at].1.clone();
        let bare =
            Shape { min: None, max: None, pattern: None, options: Vec::new(), ..self.shape(&reference.shape)?.clone() };
        let name = self.variant(&reference.shape, "Unchecked", bare);
        if let Some(s) = self.shapes.get_mut(&owner) {
            s.members[at].1.shape = name;
        }
        Ok(())
    }

    /// Changes a shape's constraints.
    pub fn constrain(&mut self, name: &str, to: &super::Constraints) -> Result<()> {
        let shape = self.shapes.get_mut(name).with_context(|| format!("the model has no shape {name}"))?;
        shape.min = to.min.or(shape.min);
        shape.max = to.max.or(shape.max);
        shape.pattern = to.pattern.clone().or_else(|| shape.pattern.take());
        shape.options = to.options.clone().unwrap_or_else(|| std::mem::take(&mut shape.options));
        Ok(())
    }

    /// Makes the member `Owner.Member` optional.
    pub fn make_optional(&mut self, path: &str) -> Result<()> {
        let (owner, at) = self.place(path)?;
        if let Some(s) = self.shapes.get_mut(&owner) {
            let name = s.members[at].0.clone();
            s.required.retain(|r| *r != name);
        }
        Ok(())
    }

    fn place(&self, path: &str) -> Result<(String, usize)> {
        let (owner, member) = path.split_once('.').with_context(|| format!("{path}: expected Owner.Member"))?;
        let owner = self.owner(owner)?;
        let at = self.shape(&owner)?.members.iter().position(|(n, _)| n == member);
        Ok((owner, at.with_context(|| format!("{path}: no such member"))?))
    }

    fn variant(&mut self, base: &str, suffix: &str, shape: Shape) -> String {
        let name = format!("{base}{suffix}");
        self.shapes.entry(name.clone()).or_insert(shape);
        name
    }

    fn settle_places(&mut self) {
        let structures: Vec<String> = self.shapes.keys().cloned().collect();
        for structure in structures {
            for at in 0..self.shapes[&structure].members.len() {
                let (member, place) = self.shapes[&structure].members[at].clone();
                let Some(mut shape) = self.shapes.get(&place.shape).cloned() else { continue };
                let mut suffix = String::new();
                if let Some(f) = &place.timestamp_format
                    && shape.kind == "timestamp"
                    && shape.timestamp_format.as_ref() != Some(f)
                {
                    shape.timestamp_format = Some(f.clone());
                    suffix = f[..1].to_uppercase() + &f[1..];
                }
                if !place.options.is_empty() && shape.options.is_empty() {
                    shape.options = place.options;
                    suffix = format!("Of{structure}{member}");
                }
                if place.flattened && !shape.flattened {
                    shape.flattened = true;
                    suffix.push_str("Flattened");
                }
                if place.streaming && !shape.streaming {
                    shape.streaming = true;
                    suffix.push_str("Streaming");
                }
                if suffix.is_empty() {
                    continue;
                }
                let name = self.variant(&place.shape, &suffix, shape);
                if let Some(s) = self.shapes.get_mut(&structure) {
                    s.members[at].1.shape = name;
                }
            }
        }
    }
}

const METADATA: &[&str] = &[
    "apiVersion",
    "awsQueryCompatible",
    "endpointPrefix",
    "globalEndpoint",
    "jsonVersion",
    "protocol",
    "protocols",
    "serviceId",
    "signatureVersion",
    "signingName",
    "targetPrefix",
    "uid",
    "xmlNamespace",
];
const OPERATION: &[&str] = &["auth", "authtype", "errors", "http", "idempotent", "input", "name", "output", "readonly"];
const REFERENCE: &[&str] = &[
    "box",
    "enum",
    "eventpayload",
    "eventheader",
    "eventstream",
    "flattened",
    "hostLabel",
    "idempotencyToken",
    "jsonvalue",
    "location",
    "locationName",
    "resultWrapper",
    "shape",
    "streaming",
    "timestampFormat",
    "xmlAttribute",
    "xmlNamespace",
];
const SHAPE: &[&str] = &[
    "box",
    "document",
    "enum",
    "error",
    "event",
    "eventstream",
    "exception",
    "fault",
    "flattened",
    "key",
    "locationName",
    "max",
    "member",
    "members",
    "min",
    "pattern",
    "payload",
    "required",
    "sensitive",
    "streaming",
    "timestampFormat",
    "type",
    "union",
    "value",
    "xmlNamespace",
    "xmlOrder",
];

/// Cuts a service model down to the facts by which a server works: no texts, no examples, no endpoint rules.
pub fn facts(full: &Json) -> Json {
    let mut out = Map::new();
    out.insert("metadata".into(), keep(&full["metadata"], METADATA));
    out.insert("operations".into(), each(&full["operations"], operation_facts));
    out.insert("shapes".into(), each(&full["shapes"], shape_facts));
    Json::Object(out)
}

fn operation_facts(o: &Json) -> Json {
    let mut o = keep(o, OPERATION);
    for place in ["input", "output"] {
        if !o[place].is_null() {
            o[place] = keep(&o[place], REFERENCE);
        }
    }
    if let Some(errors) = o.get_mut("errors").and_then(Json::as_array_mut) {
        for e in errors {
            *e = keep(e, REFERENCE);
        }
    }
    o
}

fn shape_facts(s: &Json) -> Json {
    let mut s = keep(s, SHAPE);
    for place in ["member", "key", "value"] {
        if !s[place].is_null() {
            s[place] = keep(&s[place], REFERENCE);
        }
    }
    if !s["members"].is_null() {
        s["members"] = each(&s["members"], |m| keep(m, REFERENCE));
    }
    s
}

fn each(map: &Json, facts: impl Fn(&Json) -> Json) -> Json {
    Json::Object(map.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), facts(v))).collect())
}

fn keep(map: &Json, keys: &[&str]) -> Json {
    let kept = map.as_object().into_iter().flatten().filter(|(k, _)| keys.contains(&k.as_str()));
    Json::Object(kept.map(|(k, v)| (k.clone(), v.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Constraints;
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_drop_texts_but_not_members_named_like_texts() {
        let full = json!({"metadata": {"protocol": "json", "serviceFullName": "x"}, "documentation": "long",
            "operations": {"A": {"name": "A", "http": {}, "documentation": "d", "input": {"shape": "I", "documentation": "d"}}},
            "shapes": {"I": {"type": "structure", "documentation": "d",
                "members": {"documentation": {"shape": "S", "documentation": "d"}}}, "S": {"type": "string"}}});
        let cut = facts(&full);
        assert_eq!(
            cut,
            json!({"metadata": {"protocol": "json"},
            "operations": {"A": {"name": "A", "http": {}, "input": {"shape": "I"}}},
            "shapes": {"I": {"type": "structure", "members": {"documentation": {"shape": "S"}}}, "S": {"type": "string"}}})
        );
    }

    #[test]
    fn places_that_change_a_shape_get_their_own() {
        let text = json!({"metadata": {"apiVersion": "1", "endpointPrefix": "x", "protocol": "json"}, "operations": {},
            "shapes": {"I": {"type": "structure", "required": ["At", "Name"], "members": {
                "At": {"shape": "T", "timestampFormat": "iso8601"}, "Plain": {"shape": "T"}, "Name": {"shape": "S"}}},
                "T": {"type": "timestamp"}, "S": {"type": "string", "min": 1, "pattern": "a"}}});
        let mut m = Model::parse(&text.to_string()).expect("a valid model");
        assert_eq!(m.shapes["I"].members[0].1.shape, "TIso8601");
        assert_eq!(m.shapes["I"].members[1].1.shape, "T");
        assert_eq!(m.shapes["TIso8601"].timestamp_format.as_deref(), Some("iso8601"));
        m.unconstrain("I.Name").expect("a member");
        m.make_optional("I.Name").expect("a member");
        assert_eq!(m.shapes["I"].members[2].1.shape, "SUnchecked");
        assert_eq!((m.shapes["SUnchecked"].min, m.shapes["S"].min), (None, Some(1.0)));
        assert_eq!(m.shapes["I"].required, ["At"]);
        assert!(m.unconstrain("I.Nope").is_err());
        let to = Constraints { min: None, max: Some(9.0), pattern: Some("b".into()), options: None };
        m.constrain("S", &to).expect("a shape");
        let s = &m.shapes["S"];
        assert_eq!((s.min, s.max, s.pattern.as_deref()), (Some(1.0), Some(9.0), Some("b")));
        assert!(m.constrain("Nope", &to).is_err());
    }
}
