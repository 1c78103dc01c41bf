//! Patch operations: `op`, `path` with `~1` and `~0`, `value`.

use crate::api::apigateway::PatchOperation;
use crate::error::Error;
use std::collections::BTreeMap;

/// Most operations of one request.
const PATCHES_MAX: usize = 100;

/// One operation, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// What to do.
    pub op: Op,
    /// The path as given.
    pub path: String,
    /// The path's words, unescaped.
    pub words: Vec<String>,
    /// The value, empty where there is none.
    pub value: String,
}

/// What a patch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Adds a member.
    Add,
    /// Replaces a value.
    Replace,
    /// Removes a member.
    Remove,
}

impl Op {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Replace => "replace",
            Self::Remove => "remove",
        }
    }
}

impl Patch {
    /// `Invalid patch path PATH`.
    pub fn bad_path(&self) -> Error {
        Error::bad(format!("Invalid patch path {}", self.path))
    }

    /// Refuses everything but `replace`.
    ///
    /// # Errors
    /// `BadRequestException`.
    pub fn replaces(&self) -> Result<(), Error> {
        match self.op {
            Op::Replace => Ok(()),
            Op::Add | Op::Remove => Err(Error::bad("Invalid patch operation specified. Must be one of: [replace]")),
        }
    }

    /// The value as a boolean; what is not `true` is false, as on AWS.
    pub fn is_true(&self) -> bool {
        self.value.eq_ignore_ascii_case("true")
    }

    /// The value, `None` when it is empty or removed.
    pub fn text(&self) -> Option<String> {
        Some(self.value.clone()).filter(|v| !v.is_empty() && self.op != Op::Remove)
    }

    /// Adds, replaces or removes an entry of a map; what is replaced or removed must be there.
    ///
    /// # Errors
    /// `missing`.
    pub fn put<T>(
        &self,
        map: &mut Option<BTreeMap<String, T>>,
        name: &str,
        value: T,
        missing: impl Fn() -> Error,
    ) -> Result<(), Error> {
        let entries = map.get_or_insert_default();
        if self.op != Op::Add && !entries.contains_key(name) {
            return Err(missing());
        }
        match self.op {
            Op::Add | Op::Replace => entries.insert(name.to_owned(), value),
            Op::Remove => entries.remove(name),
        };
        Ok(())
    }

    /// The words of the path for a `match`.
    pub fn keys(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }
}

/// Reads the operations of a request.
///
/// # Errors
/// `BadRequestException` for operations that are not served.
pub fn read(given: Option<Vec<PatchOperation>>) -> Result<Vec<Patch>, Error> {
    let given = given.unwrap_or_default();
    if given.len() > PATCHES_MAX {
        return Err(Error::bad(format!("At most {PATCHES_MAX} patch operations are allowed")));
    }
    given.into_iter().map(one).collect()
}

fn one(given: PatchOperation) -> Result<Patch, Error> {
    let op = match given.op.as_deref() {
        Some("add") => Op::Add,
        Some("replace") => Op::Replace,
        Some("remove") => Op::Remove,
        Some(other) => return Err(Error::unserved(&format!("The patch operation {other}"))),
        None => return Err(Error::bad("Invalid patch operation specified. Must be one of: [add, remove, replace]")),
    };
    let path = given.path.unwrap_or_default();
    let Some(rest) = path.strip_prefix('/') else {
        return Err(Error::bad(format!("Invalid patch path {path}")));
    };
    let words = rest.split('/').map(|w| w.replace("~1", "/").replace("~0", "~")).collect();
    Ok(Patch { op, words, path, value: given.value.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_unescaped() {
        let given = |op: &str, path: &str| {
            let (op, path) = (Some(op.into()), Some(path.into()));
            read(Some(vec![PatchOperation { op, path, value: Some("v".into()), from: None }]))
        };
        let patch = given("add", "/binaryMediaTypes/image~1png").unwrap().remove(0);
        assert_eq!(patch.words, ["binaryMediaTypes", "image/png"]);
        assert_eq!((patch.op, patch.value.as_str()), (Op::Add, "v"));
        for (op, path) in [("copy", "/a"), ("move", "/a"), ("add", "a"), ("add", "")] {
            assert!(given(op, path).is_err(), "{op} {path}");
        }
    }
}
