//! Code packages: which files, and the zip that is the same for the same files.
//!
//! Invariants: entries are sorted by name, times are fixed (1980-01-01), the permission bits are 0755 for programs and 0644
//! for the rest, so equal trees give equal SHA-256 and code is uploaded only when it changed.
//!
//! Limits: 50 MB zipped, 250 MB unzipped (as Lambda has them), 50,000 files.

mod glob;
mod select;

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use crate::config::{Function, Layer, Service};
use crate::error::{Error, at};

/// Lambda's limit for code that is uploaded directly.
pub const ZIPPED_BYTES_MAX: u64 = 50 * 1024 * 1024;
/// Lambda's limit for code once unpacked.
pub const UNZIPPED_BYTES_MAX: u64 = 250 * 1024 * 1024;

/// A finished package.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// The zip.
    pub bytes: Vec<u8>,
    /// Base64 of its SHA-256, as Lambda's `CodeSha256`.
    pub sha256: String,
    /// Names of its files, sorted.
    pub files: Vec<String>,
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Code({} bytes, {} files, {})", self.bytes.len(), self.files.len(), self.sha256)
    }
}

/// A file that goes into a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Name in the package, with `/`.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Size in bytes when it was found.
    pub size_bytes: u64,
    /// May be executed.
    pub is_program: bool,
}

/// The package of every function, in the order of the functions; those that share one share its memory.
///
/// # Errors
/// [`Error::Package`] past a limit, [`Error::Io`] when a file cannot be read, [`Error::Config`] for patterns and handlers
/// that cannot be.
pub fn build(dir: &Path, service: &Service) -> Result<Vec<Arc<Code>>, Error> {
    let mut shared: Option<Arc<Code>> = None;
    let mut tree: Option<Vec<Source>> = None;
    let mut out = Vec::new();
    for function in &service.functions {
        let own = function.package.clone().unwrap_or_default();
        let is_individual = service.package.is_individual || own.is_individual;
        if !own.patterns.is_empty() && !is_individual {
            let text = format!("`functions.{}.package.patterns` needs `individually: true`", function.key);
            return Err(at(&function.at, text));
        }
        let artifact = own.artifact.as_ref().or(service.package.artifact.as_ref().filter(|_| !is_individual));
        let code = match (artifact, &shared) {
            (Some(path), _) => Arc::new(ready(&dir.join(path), &function.key)?),
            (None, Some(code)) if !is_individual => code.clone(),
            (None, _) => {
                let root = own.root.as_ref().map_or_else(|| dir.to_owned(), |root| dir.join(root));
                let all = match tree.take().filter(|_| own.root.is_none()) {
                    Some(all) => all,
                    None => select::walk(&root, &service.name)?,
                };
                let mut patterns = service.package.patterns.clone();
                patterns.extend(own.patterns.iter().cloned());
                let label = if is_individual { &function.key } else { &service.name };
                let keeps_dev = service.package.keeps_dev_dependencies;
                let files = select::select(&root, &all, &patterns, keeps_dev).map_err(|text| at(&function.at, text))?;
                tree = Some(all).filter(|_| own.root.is_none());
                let code = Arc::new(zip(label, &files)?);
                if !is_individual {
                    shared = Some(code.clone());
                }
                code
            }
        };
        check_handler(function, service, &code)?;
        out.push(code);
    }
    Ok(out)
}

/// The package of every layer, in the order of the layers.
///
/// # Errors
/// As [`build`].
pub fn build_layers(dir: &Path, service: &Service) -> Result<Vec<Arc<Code>>, Error> {
    let one = |layer: &Layer| {
        let package = &layer.package;
        if let Some(path) = &package.artifact {
            return ready(&dir.join(path), &layer.name).map(Arc::new);
        }
        let root = dir.join(package.root.as_deref().unwrap_or("."));
        let all = select::walk(&root, &layer.name)?;
        let files = select::select(&root, &all, &package.patterns, true).map_err(|text| at(&layer.at, text))?;
        zip(&layer.name, &files).map(Arc::new)
    };
    service.layers.iter().map(one).collect()
}

/// The same zip for the same files.
pub(crate) fn zip(label: &str, files: &[Source]) -> Result<Code, Error> {
    let fault = |text: String| Error::Package { function: label.to_owned(), text };
    let unzipped: u64 = files.iter().map(|f| f.size_bytes).sum();
    if unzipped > UNZIPPED_BYTES_MAX {
        let largest = files.iter().max_by_key(|f| f.size_bytes).map_or("", |f| f.name.as_str());
        let mib = unzipped.div_ceil(1024 * 1024);
        return Err(fault(format!("{mib} MiB unzipped, the limit is 250 MiB; the largest file is {largest}")));
    }
    if files.is_empty() {
        return Err(fault("no files are left to package; check `package.patterns`".into()));
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let base = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default());
    for file in files {
        let read = fs::read(&file.path);
        let bytes = read.map_err(|source| Error::Io { verb: "read", path: file.path.clone(), source })?;
        let options = base.unix_permissions(if file.is_program { 0o755 } else { 0o644 });
        writer.start_file(file.name.as_str(), options).map_err(|e| fault(format!("{}: {e}", file.name)))?;
        writer.write_all(&bytes).map_err(|e| fault(format!("{}: {e}", file.name)))?;
    }
    let bytes = writer.finish().map_err(|e| fault(e.to_string()))?.into_inner();
    code(label, bytes, files.iter().map(|f| f.name.clone()).collect())
}

/// A zip that somebody else made.
fn ready(path: &Path, label: &str) -> Result<Code, Error> {
    let read = fs::read(path);
    let bytes = read.map_err(|source| Error::Io { verb: "read", path: path.to_owned(), source })?;
    let archive = ZipArchive::new(Cursor::new(&bytes)).map_err(|e| Error::Package {
        function: label.to_owned(),
        text: format!("`{}` is no zip file: {e}", path.display()),
    })?;
    let mut files: Vec<String> = archive.file_names().map(str::to_owned).collect();
    files.sort();
    code(label, bytes, files)
}

fn code(label: &str, bytes: Vec<u8>, files: Vec<String>) -> Result<Code, Error> {
    if bytes.len() as u64 > ZIPPED_BYTES_MAX {
        let mib = bytes.len().div_ceil(1024 * 1024);
        let text = format!("{mib} MiB zipped, the limit is 50 MiB; exclude what is not needed with `package.patterns`");
        return Err(Error::Package { function: label.to_owned(), text });
    }
    let sha256 = STANDARD.encode(Sha256::digest(&bytes));
    Ok(Code { bytes, sha256, files })
}

/// A handler whose file is not in the package would fail at its first invocation; say so before anything is changed.
fn check_handler(function: &Function, service: &Service, code: &Code) -> Result<(), Error> {
    let runtime = function.runtime.as_ref().or(service.provider.runtime.as_ref());
    let runtime = runtime.map_or(crate::model::RUNTIME_DEFAULT, String::as_str);
    let extensions: &[&str] = match runtime {
        r if r.starts_with("nodejs") => &["js", "mjs", "cjs"],
        r if r.starts_with("python") => &["py", "pyc"],
        r if r.starts_with("ruby") => &["rb"],
        _ => return Ok(()),
    };
    let handler = function.handler.trim_start_matches("./");
    let split = handler.rfind('/').map_or(0, |i| i + 1);
    let Some(dot) = handler[split..].find('.').map(|i| i + split) else {
        let text = format!("`functions.{}.handler: {handler}` must be file.method", function.key);
        return Err(at(&function.handler_at, text));
    };
    // Python modules may be dotted (`src.app.handler`), and file names may have dots (`app.min.handler`).
    let last = handler.rfind('.').unwrap_or(dot);
    let stems = [handler[..dot].to_owned(), handler[..last].to_owned(), handler[..last].replace('.', "/")];
    let is_there = |name: &str| code.files.binary_search_by(|f| f.as_str().cmp(name)).is_ok();
    for stem in &stems {
        if extensions.iter().any(|e| is_there(&format!("{stem}.{e}"))) || is_there(&format!("{stem}/__init__.py")) {
            return Ok(());
        }
    }
    let stem = &stems[0];
    let hint = match ["ts", "mts", "tsx"].iter().find(|e| is_there(&format!("{stem}.{e}"))) {
        Some(e) => format!("{stem}.{e} has to be compiled to JavaScript before the deploy"),
        None => format!("there is no {stem}.{} in the package", extensions[0]),
    };
    let text = format!("`functions.{}.handler: {}`: {hint}", function.key, function.handler);
    Err(at(&function.handler_at, text))
}

#[cfg(test)]
mod tests;
