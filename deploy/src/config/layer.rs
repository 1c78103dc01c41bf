//! Layers: `layers` of serverless.yml, and `AWS::Serverless::LayerVersion` of SAM.

use super::Package;
use crate::error::{Error, at};
use crate::table::{Table, list, text};
use crate::yaml::{Entry, Node, Pos, Value};

/// A layer as the file describes it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What `Ref` calls it.
    pub logical: String,
    /// Where it stands.
    pub at: Pos,
    /// Name.
    pub name: String,
    /// Description.
    pub description: String,
    /// Licence.
    pub license: Option<String>,
    /// Runtimes that it is for.
    pub runtimes: Vec<String>,
    /// Architectures that it is for.
    pub architectures: Vec<String>,
    /// What is in it.
    pub package: Package,
    /// Older versions, and all of them when the stack goes, stay.
    pub is_retained: bool,
}

/// The framework's logical id of a layer's key.
pub(crate) fn logical(key: &str) -> String {
    format!("{}LambdaLayer", crate::model::logical(key))
}

fn check_name(name: &str, pos: &Pos) -> Result<(), Error> {
    let is_name = (1..=140).contains(&name.len());
    if is_name && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
        return Ok(());
    }
    Err(at(pos, format!("the layer's name `{name}` may have letters, digits, - and _, at most 140")))
}

/// The versions that a function or the provider names.
pub(crate) fn arns(table: &mut Table<'_>, key: &'static str) -> Result<Option<Vec<String>>, Error> {
    let name = table.name(key);
    let Some(node) = table.get(key) else { return Ok(None) };
    let mut out = Vec::new();
    for item in list(node, &name)? {
        let arn = text(item, &name)?;
        // A token stands for a layer of this file.
        if !arn.starts_with('\u{1}') && !arn.contains(":layer:") {
            let why = "must be the ARN of a layer's version, or `!Ref` a layer of this file";
            return Err(at(&item.at, format!("`{name}: {arn}` {why}")));
        }
        out.push(arn);
    }
    Ok(Some(out))
}

/// Reads the top-level `layers`.
pub(super) fn read(node: Option<&Node>) -> Result<Vec<Layer>, Error> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let Value::Map(entries) = &node.value else {
        return Err(at(&node.at, format!("`layers` must be a mapping, not {}", node.kind())));
    };
    entries.iter().map(one).collect()
}

fn one(entry: &Entry) -> Result<Layer, Error> {
    let path = format!("layers.{}", entry.key);
    let mut table = Table::new(&entry.node, &path)?;
    let mut package = match table.get("package") {
        Some(node) => Package::read(node, &format!("{path}.package"), true)?,
        None => Package::default(),
    };
    package.root = table.text("path")?;
    if package.root.is_some() == package.artifact.is_some() {
        return Err(at(&entry.at, format!("`{path}` needs `path`, the folder of its files, or `package.artifact`")));
    }
    let name = table.text("name")?.unwrap_or_else(|| entry.key.clone());
    check_name(&name, &entry.at)?;
    let layer = Layer {
        logical: logical(&entry.key),
        at: entry.at.clone(),
        name,
        description: table.text("description")?.unwrap_or_default(),
        license: table.text("licenseInfo")?,
        runtimes: table.texts("compatibleRuntimes")?,
        architectures: table.texts("compatibleArchitectures")?,
        package,
        is_retained: table.flag("retain")?.unwrap_or(false),
    };
    table.finish(&[("allowedAccounts", "there is one account")])?;
    Ok(layer)
}

/// Reads an `AWS::Serverless::LayerVersion`.
pub(crate) fn sam(entry: &Entry) -> Result<Layer, Error> {
    let path = format!("Resources.{}", entry.key);
    let mut outer = Table::new(&entry.node, &path)?;
    outer.get("Type");
    outer.texts_or_text("DependsOn")?;
    let properties = outer.need("Properties")?;
    outer.finish(&[
        ("Metadata", "build the layer before the deploy, with `sam build` or by hand"),
        ("Condition", "conditions are not served yet"),
    ])?;
    let mut table = Table::new(properties, format!("{path}.Properties"))?;
    table.need("ContentUri")?;
    let uri = table.text("ContentUri")?.unwrap_or_default();
    if uri.starts_with("s3://") {
        let text = format!("`{path}.Properties.ContentUri`: buckets are not served yet; give a folder or a zip file");
        return Err(at(&properties.at, text));
    }
    let (artifact, root) = if uri.ends_with(".zip") { (Some(uri), None) } else { (None, Some(uri)) };
    let name = table.text("LayerName")?.unwrap_or_else(|| entry.key.clone());
    check_name(&name, &entry.at)?;
    let layer = Layer {
        logical: entry.key.clone(),
        at: entry.at.clone(),
        name,
        description: table.text("Description")?.unwrap_or_default(),
        license: table.text("LicenseInfo")?,
        runtimes: table.texts("CompatibleRuntimes")?,
        architectures: table.texts("CompatibleArchitectures")?,
        package: Package { artifact, root, ..Package::default() },
        is_retained: table.choice("RetentionPolicy", &["Retain", "Delete"])?.as_deref() != Some("Delete"),
    };
    table.finish(&[])?;
    Ok(layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        let node = crate::yaml::parse("s.yml", text).expect("YAML");
        read(Some(&node)).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn layers_have_a_folder_or_an_artifact() {
        let node = crate::yaml::parse("s.yml", "my-words: { path: words, retain: true }").expect("YAML");
        let layers = read(Some(&node)).expect("valid");
        assert_eq!((layers[0].logical.as_str(), layers[0].name.as_str()), ("MyDashwordsLambdaLayer", "my-words"));
        for (text, expected) in [
            ("a: {}", "s.yml:1: `layers.a` needs `path`, the folder of its files, or `package.artifact`"),
            (
                "a: { path: x, name: 'b c' }",
                "s.yml:1: the layer's name `b c` may have letters, digits, - and _, at most 140",
            ),
            (
                "a: { path: x, allowedAccounts: ['*'] }",
                "s.yml:1: `layers.a.allowedAccounts` is not supported: there is one account",
            ),
        ] {
            assert_eq!(fault(text), expected);
        }
    }
}
