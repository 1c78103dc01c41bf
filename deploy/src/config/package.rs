//! `package`: which files go into the code of functions.

use crate::error::{Error, at};
use crate::table::Table;
use crate::yaml::Node;

/// What to package.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Package {
    /// Globs in order, the last match decides; `!` excludes.
    pub patterns: Vec<String>,
    /// Each function has a package of its own.
    pub is_individual: bool,
    /// A zip that is ready, relative to the file.
    pub artifact: Option<String>,
    /// Folder of the code, relative to the file; the file's own unless given (`CodeUri` of SAM).
    pub root: Option<String>,
    /// Development dependencies of npm stay in the package.
    pub keeps_dev_dependencies: bool,
}

impl Package {
    pub(super) fn read(node: &Node, name: &str, of_function: bool) -> Result<Self, Error> {
        let mut table = Table::new(node, name)?;
        // Version 2's lists come first, as version 3 reads them.
        let mut patterns: Vec<String> = table.texts("exclude")?.into_iter().map(|p| format!("!{p}")).collect();
        patterns.extend(table.texts("include")?);
        patterns.extend(table.texts("patterns")?);
        let package = Self {
            patterns,
            is_individual: table.flag("individually")?.unwrap_or(false),
            artifact: table.text("artifact")?,
            root: None,
            keeps_dev_dependencies: !of_function && table.flag("excludeDevDependencies")? == Some(false),
        };
        if package.artifact.is_some() && !package.patterns.is_empty() {
            return Err(at(table.pos(), format!("`{name}`: a ready artifact takes no patterns")));
        }
        table.finish(&[
            ("artifactDirectoryName", "code is uploaded to the cloud directly; remove it"),
            ("path", "packages are made in memory; a ready one is named by `artifact`"),
            ("excludeDevDependencies", "it stands in the top level's package"),
        ])?;
        Ok(package)
    }
}
