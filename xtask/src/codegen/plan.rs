//! What is generated for a service: the reachable shapes and every name, decided before a line is written.

use super::model::{Model, Operation, Shape, ShapeRef};
use super::naming::{screaming, type_name};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};

/// The plan for one service.
pub struct Plan<'a> {
    pub service: &'a str,
    pub model: &'a Model,
    /// Served operations in order of their names.
    pub operations: Vec<&'a Operation>,
    /// Reachable shapes → name of the static.
    pub statics: BTreeMap<&'a str, String>,
    /// Error shapes of the served operations.
    pub errors: BTreeSet<&'a str>,
    /// Structures that get a Rust type → its name.
    pub types: BTreeMap<&'a str, String>,
    /// Members that need a box: `(structure, member)`.
    pub boxed: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Plan<'a> {
    /// Plans the operations of `served`.
    pub fn new(service: &'a str, model: &'a Model, served: &[String]) -> Result<Self> {
        let names: BTreeSet<&String> = served.iter().collect();
        if names.len() != served.len() {
            bail!("an operation is listed twice");
        }
        let operations = names.into_iter().map(|n| model.operation(n)).collect::<Result<Vec<_>>>()?;
        let mut typed = BTreeSet::new();
        let mut reachable = BTreeSet::new();
        let mut errors = BTreeSet::new();
        for op in &operations {
            for r in op.input.iter().chain(&op.output) {
                reach(model, &r.shape, &mut typed).with_context(|| op.name.clone())?;
            }
            for r in &op.errors {
                errors.insert(r.shape.as_str());
                reach(model, &r.shape, &mut reachable)?;
            }
        }
        // An error's own structure is written by the room as `ServiceError` members; only what it contains gets types.
        typed.extend(reachable.iter().filter(|s| !errors.contains(*s)));
        reachable.extend(&typed);
        let mut plan = Self {
            service,
            model,
            operations,
            statics: name_statics(&reachable)?,
            errors,
            types: BTreeMap::new(),
            boxed: BTreeSet::new(),
        };
        plan.name_types(&typed)?;
        plan.find_boxes();
        Ok(plan)
    }

    /// Whether a shape is a structure with a Rust type.
    pub fn is_struct(&self, name: &str) -> bool {
        self.types.contains_key(name)
    }

    /// The Rust type of a shape.
    pub fn rust_type(&self, name: &str) -> Result<String> {
        let shape = self.model.shape(name)?;
        let inner = |r: &Option<ShapeRef>| self.rust_type(&r.as_ref().context("an element shape")?.shape);
        Ok(match shape.kind.as_str() {
            _ if shape.document => "serde_json::Value".into(),
            "structure" => self.types.get(name).with_context(|| format!("{name} has no type"))?.clone(),
            "list" => format!("Vec<{}>", inner(&shape.member)?),
            "map" => format!("BTreeMap<String, {}>", inner(&shape.value)?),
            "string" | "character" => "String".into(),
            "blob" => "Bytes".into(),
            "timestamp" => "Millis".into(),
            "integer" => "i32".into(),
            "long" => "i64".into(),
            "float" | "double" => "f64".into(),
            "boolean" => "bool".into(),
            other => bail!("{name}: shapes of type {other} are not generated"),
        })
    }

    /// The static's name of a shape, as written inside the `shapes` module.
    pub fn static_name(&self, name: &str) -> Result<&str> {
        self.statics.get(name).map(String::as_str).with_context(|| format!("{name} has no static"))
    }

    /// The Rust name of an operation's input or output type, and whether a structure of the model has it (else it is empty or an alias).
    pub fn side(&self, op: &Operation, side: &str) -> Side<'_> {
        let wanted = format!("{}{side}", op.name);
        let place = if side == "Input" { &op.input } else { &op.output };
        match place.as_ref().and_then(|r| self.types.get(r.shape.as_str())) {
            None => Side::Empty(wanted),
            Some(t) if *t == wanted => Side::Own,
            Some(t) => Side::Alias(wanted, t),
        }
    }

    fn name_types(&mut self, typed: &BTreeSet<&'a str>) -> Result<()> {
        let uses = uses(self.model);
        let mut renamed: BTreeMap<&str, String> = BTreeMap::new();
        // All operations of the model count, so that serving one operation more never renames a type.
        for op in self.model.operations.values() {
            for (side, place) in [("Input", &op.input), ("Output", &op.output)] {
                if let Some(r) = place
                    && uses.get(r.shape.as_str()) == Some(&1)
                {
                    renamed.insert(&r.shape, format!("{}{side}", op.name));
                }
            }
        }
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for &name in typed {
            let shape = self.model.shape(name)?;
            if shape.kind != "structure" || shape.document {
                continue;
            }
            let rust = renamed.get(name).cloned().unwrap_or_else(|| type_name(name));
            if let Some(other) = seen.insert(rust.clone(), name) {
                bail!("{name} and {other} would both be called {rust}");
            }
            self.types.insert(name, rust);
        }
        Ok(())
    }

    /// A structure that contains itself by structure members alone needs a box on the way; lists and maps need none.
    fn find_boxes(&mut self) {
        let names: Vec<&'a str> = self.types.keys().copied().collect();
        for name in names {
            let Some(shape) = self.model.shapes.get(name) else { continue };
            for (member, r) in &shape.members {
                if self.contains(&r.shape, name, &mut BTreeSet::new()) {
                    self.boxed.insert((name, member));
                }
            }
        }
    }

    fn contains<'m>(&'m self, from: &'m str, target: &str, seen: &mut BTreeSet<&'m str>) -> bool {
        if from == target {
            return true;
        }
        if !self.is_struct(from) || !seen.insert(from) {
            return false;
        }
        self.model.shapes[from].members.iter().any(|(_, r)| self.contains(&r.shape, target, seen))
    }
}

/// How an operation's input or output type comes to its name.
pub enum Side<'p> {
    /// A structure of the model carries the name.
    Own,
    /// `type <name> = <structure>`.
    Alias(String, &'p str),
    /// The model has none: an empty structure.
    Empty(String),
}

fn reach<'a>(model: &'a Model, name: &'a str, seen: &mut BTreeSet<&'a str>) -> Result<()> {
    if !seen.insert(name) {
        return Ok(());
    }
    let shape = model.shape(name)?;
    if shape.document {
        return Ok(());
    }
    if shape.eventstream {
        bail!("{name} is an event stream, which the generator does not support");
    }
    for r in references(shape) {
        if r.eventstream {
            bail!("{name} holds an event stream, which the generator does not support");
        }
        reach(model, &r.shape, seen)?;
    }
    Ok(())
}

fn references(shape: &Shape) -> impl Iterator<Item = &ShapeRef> {
    shape.members.iter().map(|(_, r)| r).chain(&shape.member).chain(&shape.key).chain(&shape.value)
}

/// How often each shape is named in the whole model.
fn uses(model: &Model) -> BTreeMap<&str, u32> {
    let mut out = BTreeMap::new();
    let in_operations = model.operations.values().flat_map(|o| o.input.iter().chain(&o.output));
    for r in model.shapes.values().flat_map(references).chain(in_operations) {
        *out.entry(r.shape.as_str()).or_insert(0) += 1;
    }
    out
}

fn name_statics<'a>(shapes: &BTreeSet<&'a str>) -> Result<BTreeMap<&'a str, String>> {
    let mut taken = BTreeSet::new();
    let mut out = BTreeMap::new();
    for &shape in shapes {
        let base = screaming(shape);
        let free =
            (1..100).map(|n| if n == 1 { base.clone() } else { format!("{base}_{n}") }).find(|n| !taken.contains(n));
        let name = free.with_context(|| format!("too many shapes called {base}"))?;
        taken.insert(name.clone());
        out.insert(shape, name);
    }
    Ok(out)
}
