//! `cargo xtask new-room`: the skeleton of a service, wired in, compiling, refusing every operation by name.
//!
//! What a room is and how it grows from here: `docs/adding-a-service.md`.

use crate::codegen;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// Arguments of `cargo xtask new-room`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the room and of its folder: the service's name in API models, such as `sqs` or `secretsmanager`.
    name: String,
    /// Name of the room's type, such as `SecretsManager`; by default the name with its first letter large.
    #[arg(long = "type", value_name = "TYPE")]
    type_name: Option<String>,
    /// Where API models are (PyPI `botocore`, `botocore/data`); not needed when models/NAME/model.json.gz is there.
    #[arg(long, value_name = "DIR")]
    botocore: Option<PathBuf>,
    /// Operations to serve, by their names in the model.
    #[arg(required = true, value_name = "OPERATION")]
    operations: Vec<String>,
}

/// The files of a room, as they lie in `services/NAME`.
const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../templates/room/Cargo.toml.tmpl")),
    ("README.md", include_str!("../templates/room/README.md.tmpl")),
    ("src/lib.rs", include_str!("../templates/room/src/lib.rs.tmpl")),
    ("src/room.rs", include_str!("../templates/room/src/room.rs.tmpl")),
    ("src/error.rs", include_str!("../templates/room/src/error.rs.tmpl")),
    ("src/tables.rs", include_str!("../templates/room/src/tables.rs.tmpl")),
    ("src/ops/mod.rs", include_str!("../templates/room/src/ops/mod.rs.tmpl")),
    ("src/tests.rs", include_str!("../templates/room/src/tests.rs.tmpl")),
];

/// An operation's method in the generated trait.
struct Method {
    wire: String,
    name: String,
    input: String,
    output: String,
}

/// Runs the command.
pub fn run(root: &Path, args: &Args) -> Result<()> {
    let name = args.name.as_str();
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    ensure!(is_name, "a room's name has small letters and digits only, and begins with a letter");
    let folder = root.join("services").join(name);
    ensure!(!folder.exists(), "services/{name} is there already");
    let number = room_number(root, name)?;
    let type_name = args.type_name.clone().unwrap_or_else(|| capital(name));
    model(root, args)?;
    let api = fs::read_to_string(folder.join("src/api.rs")).context("read the generated API")?;
    let methods = methods(&api);
    ensure!(methods.len() == args.operations.len(), "the generated API has {} operations", methods.len());
    for (path, template) in FILES {
        let text = fill(template, name, &type_name, &number, &methods, signing_name(&api));
        let path = folder.join(path);
        fs::create_dir_all(path.parent().context("a file in a folder")?)?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        eprintln!("new-room: wrote {}", path.strip_prefix(root).unwrap_or(&path).display());
    }
    wire(root, name, &type_name)?;
    eprintln!("new-room: {name} is in the workspace and in app/src/rooms.rs; go on with docs/adding-a-service.md");
    Ok(())
}

/// Writes `models/NAME`, then everything generated.
fn model(root: &Path, args: &Args) -> Result<()> {
    let models = root.join("models").join(&args.name);
    ensure!(!models.join("ops.toml").exists(), "models/{}/ops.toml is there already", args.name);
    fs::create_dir_all(&models)?;
    match &args.botocore {
        Some(data) => codegen::refresh(root, data, &args.name)?,
        None => ensure!(
            models.join("model.json.gz").exists(),
            "there is no model of {}: say --botocore DIR (the folder botocore/data of PyPI's botocore)",
            args.name
        ),
    }
    let list: String = args.operations.iter().map(|o| format!("  \"{o}\",\n")).collect();
    let text = format!(
        "# Operations of {0} that are served. After an edit: `cargo xtask codegen`.\n\
         output = \"services/{0}/src/api.rs\"\noperations = [\n{list}]\n",
        args.name
    );
    fs::write(models.join("ops.toml"), text)?;
    let generated = codegen::run(root, &codegen::Args::writing());
    if generated.is_err() {
        // So that a misspelt operation can be corrected by running the command again.
        fs::remove_file(models.join("ops.toml"))?;
    }
    generated
}

/// The room's block of key kinds, which `core/store/src/key.rs` gives out.
fn room_number(root: &Path, name: &str) -> Result<String> {
    let path = root.join("core/store/src/key.rs");
    let text = fs::read_to_string(&path).context("read core/store/src/key.rs")?;
    let docs: String = text.lines().map_while(|l| l.strip_prefix("//!")).collect::<Vec<_>>().join(" ");
    let blocks = docs.split("Blocks in use").nth(1).context("key.rs lists the blocks in use")?;
    let taken = blocks.split([',', '.', ':']).map(str::trim).find_map(|entry| {
        let (number, names) = entry.split_once(' ')?;
        let names: Vec<&str> = names.split(" and ").map(str::trim).collect();
        (number.starts_with("0x") && names.contains(&name)).then(|| number.to_owned())
    });
    taken
        .with_context(|| format!("give {name} a number of its own first: the list at the top of core/store/src/key.rs"))
}

/// The methods of the generated trait `Api`.
fn methods(api: &str) -> Vec<Method> {
    let body = api.split("pub trait Api").nth(1).unwrap_or_default();
    let body = body.split("\n}").next().unwrap_or_default();
    body.split("/// Serves `").skip(1).filter_map(method).collect()
}

fn method(text: &str) -> Option<Method> {
    let (wire, rest) = text.split_once('`')?;
    // rustfmt decides whether an argument ends with a comma, a bracket or a line.
    let after = |from: &str| {
        let end = |c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '#';
        Some(rest.split_once(from)?.1.split(end).next()?.to_owned())
    };
    let (name, input, output) = (after("async fn ")?, after("input: ")?, after("Result<")?);
    Some(Method { wire: wire.to_owned(), name, input, output })
}

/// What policies call the service: the name it signs with.
fn signing_name(api: &str) -> String {
    let line = api.lines().find_map(|l| l.trim().strip_prefix("signing_name: \""));
    line.and_then(|l| l.split('"').next()).unwrap_or_default().to_owned()
}

fn fill(template: &str, name: &str, type_name: &str, number: &str, methods: &[Method], action: String) -> String {
    let lines = |line: &dyn Fn(&Method) -> String| methods.iter().map(line).collect::<Vec<_>>().join("\n");
    let forward = lines(&|m| format!("    {0}({1}) -> {2} = ops::{0};", m.name, m.input, m.output));
    let functions = lines(&|m| {
        format!(
            "\n/// Refuses `{1}`.\npub(crate) async fn {0}(_room: &{type_name}, _ctx: &Ctx, _input: {2}) -> Result<{3}, Error> {{\n    \
             Err(Error::NotSupported(\"{1}\"))\n}}",
            m.name, m.wire, m.input, m.output
        )
    });
    let table = lines(&|m| format!("| {} | refused | |", m.wire));
    let marks = [
        ("{{name}}", name),
        ("{{type}}", type_name),
        ("{{number}}", number),
        ("{{action}}", &action),
        ("{{forward}}", &forward),
        ("{{functions}}", &functions),
        ("{{table}}", &table),
    ];
    marks.iter().fold(template.to_owned(), |text, (mark, value)| text.replace(mark, value))
}

/// A line in the workspace, one in the program's manifest, and the room's lines in `rooms.rs`.
fn wire(root: &Path, name: &str, type_name: &str) -> Result<()> {
    insert(root, "Cargo.toml", "  \"testkit\",", &format!("  \"services/{name}\",\n"))?;
    insert(root, "Cargo.toml", "squall-testkit = ", &format!("squall-{name} = {{ path = \"services/{name}\" }}\n"))?;
    insert(root, "app/Cargo.toml", "squall-logs.workspace", &format!("squall-{name}.workspace = true\n"))?;
    let rooms = "app/src/rooms.rs";
    insert(root, rooms, "use squall_logs::", &format!("use squall_{name}::{type_name};\n"))?;
    insert(
        root,
        rooms,
        "    rooms.extend(iam.rooms());",
        &format!("    rooms.push({type_name}::open(deps.clone()).await?);\n"),
    )
}

/// Inserts text before the first line that begins with `anchor`.
fn insert(root: &Path, file: &str, anchor: &str, text: &str) -> Result<()> {
    let path = root.join(file);
    let old = fs::read_to_string(&path).with_context(|| format!("read {file}"))?;
    let mut at = 0;
    for line in old.split_inclusive('\n') {
        if line.starts_with(anchor) {
            let new = format!("{}{text}{}", &old[..at], &old[at..]);
            return fs::write(&path, new).with_context(|| format!("write {file}"));
        }
        at += line.len();
    }
    bail!("{file} has no line that begins with `{anchor}`: add by hand:\n{text}")
}

fn capital(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |c| c.to_ascii_uppercase().to_string() + chars.as_str())
}

#[cfg(test)]
mod tests;
