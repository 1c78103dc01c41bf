//! Writes the Rust types, their conversions, the `Api` trait and `dispatch`.

use super::naming::ident;
use super::plan::{Plan, Side};
use anyhow::Result;
use std::fmt::Write as _;

/// Types and the trait of one service.
pub fn write(plan: &Plan, out: &mut String) -> Result<()> {
    api(plan, out)?;
    for op in &plan.operations {
        for side in ["Input", "Output"] {
            match plan.side(op, side) {
                Side::Own => {}
                Side::Alias(name, of) => {
                    writeln!(out, "/// {side} of `{}`.\npub type {name} = {of};\n", op.name)?;
                }
                Side::Empty(name) => {
                    writeln!(out, "/// {side} of `{}`, which the model leaves empty.", op.name)?;
                    structure(out, &name, &[])?;
                }
            }
        }
    }
    for (shape, name) in &plan.types {
        writeln!(out, "/// Structure `{shape}` of the model.")?;
        structure(out, name, &fields(plan, shape)?)?;
    }
    Ok(())
}

struct Field {
    name: String,
    kind: String,
    required: bool,
}

fn fields(plan: &Plan, shape: &str) -> Result<Vec<Field>> {
    let s = plan.model.shape(shape)?;
    s.members
        .iter()
        .map(|(member, r)| {
            let mut kind = plan.rust_type(&r.shape)?;
            if plan.boxed.contains(&(shape, member.as_str())) {
                kind = format!("Box<{kind}>");
            }
            Ok(Field { name: ident(member), kind, required: s.required.contains(member) })
        })
        .collect()
}

fn structure(out: &mut String, name: &str, fields: &[Field]) -> Result<()> {
    writeln!(out, "#[derive(Clone, Debug, Default, PartialEq)]\npub struct {name} {{")?;
    for f in fields {
        if f.required {
            writeln!(out, "pub {}: {},", f.name, f.kind)?;
        } else {
            writeln!(out, "pub {}: Option<{}>,", f.name, f.kind)?;
        }
    }
    writeln!(out, "}}\n\nimpl FromValue for {name} {{\nfn from_value(v: Value) -> Option<Self> {{")?;
    if fields.is_empty() {
        writeln!(out, "match v {{ Value::Struct(_) => Some(Self {{}}), _ => None }}\n}}\n}}\n")?;
    } else {
        out.push_str("let Value::Struct(members) = v else { return None };\n");
        for at in 0..fields.len() {
            writeln!(out, "let mut m{at} = None;")?;
        }
        out.push_str("for (index, v) in members {\nmatch index {\n");
        for at in 0..fields.len() {
            writeln!(out, "{at} => m{at} = FromValue::from_value(v),")?;
        }
        out.push_str("_ => {}\n}\n}\nSome(Self {\n");
        for (at, f) in fields.iter().enumerate() {
            writeln!(out, "{}: m{at}{},", f.name, if f.required { "?" } else { "" })?;
        }
        out.push_str("})\n}\n}\n\n");
    }
    writeln!(out, "impl IntoValue for {name} {{\nfn into_value(self) -> Value {{")?;
    if fields.is_empty() {
        out.push_str("Value::Struct(Vec::new())\n}\n}\n\n");
        return Ok(());
    }
    writeln!(out, "let mut out = Vec::with_capacity({});", fields.len())?;
    for (at, f) in fields.iter().enumerate() {
        if f.required {
            writeln!(out, "out.push(({at}, self.{}.into_value()));", f.name)?;
        } else {
            writeln!(out, "push(&mut out, {at}, self.{});", f.name)?;
        }
    }
    out.push_str("Value::Struct(out)\n}\n}\n\n");
    Ok(())
}

fn api(plan: &Plan, out: &mut String) -> Result<()> {
    out.push_str("/// The operations that are served.\n#[async_trait::async_trait]\npub trait Api: Send + Sync {\n");
    for op in &plan.operations {
        let n = &op.name;
        writeln!(out, "/// Serves `{n}`.")?;
        writeln!(out, "async fn {}(&self, ctx: &Ctx, input: {n}Input) -> Result<{n}Output, ServiceError>;", ident(n))?;
    }
    out.push_str("}\n\n/// Calls the operation's function with the typed input and gives back its output's value.\n");
    out.push_str("pub async fn dispatch<A: Api + ?Sized>(api: &A, ctx: &Ctx, op: &'static Operation, input: Value) -> Result<Value, ServiceError> {\nmatch op.name {\n");
    for op in &plan.operations {
        let input = if op.input.is_some() { "typed(op, input)?".to_owned() } else { format!("{}Input {{}}", op.name) };
        writeln!(out, "{:?} => Ok(api.{}(ctx, {input}).await?.into_value()),", op.name, ident(&op.name))?;
    }
    out.push_str(concat!(
        "_ => Err(mismatch(op)),\n}\n}\n\n",
        "fn typed<T: FromValue>(op: &Operation, input: Value) -> Result<T, ServiceError> {\n",
        "T::from_value(input).ok_or_else(|| mismatch(op))\n}\n\n",
        "fn mismatch(op: &Operation) -> ServiceError {\n",
        "ServiceError::server(\"InternalFailure\", 500, format!(\"The input of {} did not fit its shape.\", op.name))\n}\n\n",
    ));
    Ok(())
}
