//! Which files of a folder go into a package.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::Source;
use super::glob::Glob;
use crate::error::Error;

const FILES_MAX: usize = 50_000;

/// What stays out unless a pattern brings it back.
const DEFAULTS: &[&str] = &[
    "!.git/**",
    "!.gitignore",
    "!.DS_Store",
    "!npm-debug.log",
    "!yarn-*.log",
    "!.serverless/**",
    "!.serverless_plugins/**",
    "!serverless.{yml,yaml,json,js,ts}",
    "!template.{yml,yaml}",
    "!.env*",
    "!node_modules/.bin/**",
    "!node_modules/.package-lock.json",
    "!**/__pycache__/**",
];

/// Every file below `dir`, sorted by name; links are followed, circles of them are not.
pub(super) fn walk(dir: &Path, label: &str) -> Result<Vec<Source>, Error> {
    let mut out = Vec::new();
    let mut open = HashSet::new();
    folder(dir, "", label, &mut open, &mut out)?;
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

fn folder(
    dir: &Path,
    prefix: &str,
    label: &str,
    open: &mut HashSet<PathBuf>,
    out: &mut Vec<Source>,
) -> Result<(), Error> {
    let fault = |verb, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { verb, path, source }
    };
    let real = fs::canonicalize(dir).map_err(fault("open", dir))?;
    if !open.insert(real.clone()) {
        return Ok(());
    }
    for entry in fs::read_dir(dir).map_err(fault("open", dir))? {
        let path = entry.map_err(fault("open", dir))?.path();
        let Some(base) = path.file_name().and_then(|n| n.to_str()) else {
            let text = format!("`{}`: file names must be UTF-8", path.display());
            return Err(Error::Package { function: label.to_owned(), text });
        };
        let name = format!("{prefix}{base}");
        // These two can be huge, and no pattern brings them back.
        if matches!(name.as_str(), ".git" | ".serverless") {
            continue;
        }
        // A link to nowhere (an editor's lock file, say) is no file.
        let Ok(meta) = fs::metadata(&path) else { continue };
        if meta.is_dir() {
            folder(&path, &format!("{name}/"), label, open, out)?;
        } else if meta.is_file() {
            out.push(Source { name, size_bytes: meta.len(), is_program: is_program(&meta), path });
        }
        if out.len() > FILES_MAX {
            let text = "more than 50,000 files in the folder".to_owned();
            return Err(Error::Package { function: label.to_owned(), text });
        }
    }
    open.remove(&real);
    Ok(())
}

fn is_program(meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o111 != 0
}

/// The files that the defaults and then the patterns leave; the last pattern that covers a file decides.
pub(super) fn select(dir: &Path, all: &[Source], patterns: &[String], keeps_dev: bool) -> Result<Vec<Source>, String> {
    let dev = if keeps_dev { Vec::new() } else { dev_dependencies(dir) };
    let globs = DEFAULTS.iter().copied().chain(patterns.iter().map(String::as_str));
    let globs = globs.map(Glob::new).collect::<Result<Vec<_>, _>>()?;
    let (defaults, own) = globs.split_at(DEFAULTS.len());
    let is_kept = |file: &&Source| {
        let by = |globs: &[Glob]| globs.iter().rev().find(|g| g.is_match(&file.name)).map(|g| !g.is_exclude);
        by(own).unwrap_or_else(|| {
            let is_dev = dev.iter().any(|d| file.name.strip_prefix(d.as_str()).is_some_and(|r| r.starts_with('/')));
            by(defaults).unwrap_or(true) && !is_dev
        })
    };
    Ok(all.iter().filter(is_kept).cloned().collect())
}

/// Folders of packages that npm installed for development only, from the lock file that npm 7 and later keep among them.
fn dev_dependencies(dir: &Path) -> Vec<String> {
    let Ok(text) = fs::read_to_string(dir.join("node_modules/.package-lock.json")) else { return Vec::new() };
    let Ok(lock) = serde_json::from_str::<Json>(&text) else { return Vec::new() };
    let Some(packages) = lock.get("packages").and_then(Json::as_object) else { return Vec::new() };
    let is_dev = |p: &Json| p.get("dev").and_then(Json::as_bool).unwrap_or(false);
    packages.iter().filter(|(_, p)| is_dev(p)).map(|(name, _)| name.clone()).collect()
}
