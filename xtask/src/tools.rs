//! What the end-to-end tests need from outside: AWS's own clients, installed once into a cache folder.
//!
//! The folder is `$SQUALL_TEST_CACHE`, else `$XDG_CACHE_HOME/squall-tests`, else `~/.cache/squall-tests`. Each set of
//! packages carries a marker with the list it was made from, so that a changed list is installed anew and an interrupted
//! installation is not taken for a whole one.

use anyhow::{Context, Result, bail};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const REQUIREMENTS: &str = include_str!("../tools/requirements.txt");
const PACKAGE_JSON: &str = include_str!("../tools/package.json");

/// Programs of the system that tests use, with the Debian package that has each.
const PROGRAMS: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("mkfs.ext4", "e2fsprogs"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("postgres", "postgresql"),
    ("python3", "python3"),
];
/// Where Debian keeps the programs of PostgreSQL's versions.
const POSTGRES: &str = "/usr/lib/postgresql";

/// Installs what is missing; answers the environment variables by which tests find it.
pub fn prepare() -> Result<Vec<(&'static str, PathBuf)>> {
    programs()?;
    let cache = cache()?;
    let venv = python(&cache)?;
    let modules = node(&cache)?;
    Ok(vec![
        ("SQUALL_TEST_PYTHON", venv.join("bin/python")),
        ("SQUALL_TEST_AWS", venv.join("bin/aws")),
        ("SQUALL_TEST_NODE_MODULES", modules),
    ])
}

fn cache() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let folder = set("SQUALL_TEST_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("squall-tests")))
        .or_else(|| Some(set("HOME")?.join(".cache/squall-tests")))
        .context("no place for test tools: set SQUALL_TEST_CACHE or HOME")?;
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}

fn programs() -> Result<()> {
    let missing: Vec<_> = PROGRAMS.iter().filter(|(program, _)| !is_found(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    let how = format!("apt-get install {}", packages.join(" "));
    if !is_root() || !is_found("apt-get") {
        bail!("tests need programs that are missing here; install them first, on Debian with: {how}");
    }
    eprintln!("xtask: {how}");
    run(Command::new("apt-get").args(["update", "-qq"])).with_context(|| how.clone())?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    run(install.env("DEBIAN_FRONTEND", "noninteractive")).with_context(|| how.clone())
}

fn python(cache: &Path) -> Result<PathBuf> {
    let venv = cache.join("python");
    install(&venv, REQUIREMENTS, |venv| {
        eprintln!("xtask: installing boto3, the AWS CLI and the Lambda runtime client into {}", venv.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(venv))?;
        let list = venv.join("requirements.txt");
        fs::write(&list, REQUIREMENTS)?;
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(list);
        run(&mut pip)
    })
    .context("install test tools from PyPI (xtask/tools/requirements.txt)")?;
    Ok(venv)
}

fn node(cache: &Path) -> Result<PathBuf> {
    let folder = cache.join("node");
    install(&folder, PACKAGE_JSON, |folder| {
        eprintln!("xtask: installing AWS SDK clients for JavaScript into {}", folder.display());
        fs::create_dir_all(folder)?;
        fs::write(folder.join("package.json"), PACKAGE_JSON)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]).current_dir(folder);
        run(&mut npm)
    })
    .context("install test tools from npm (xtask/tools/package.json)")?;
    Ok(folder.join("node_modules"))
}

/// Runs `make` on an empty place unless the folder was made whole from the same list before.
fn install(folder: &Path, list: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let marker = folder.join(".made-from");
    if fs::read_to_string(&marker).is_ok_and(|made| made == list) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("clear {}", folder.display()))?;
    }
    make(folder)?;
    fs::write(marker, list)?;
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("start {shown}"))?;
    if !status.success() {
        bail!("{shown} failed ({status})");
    }
    Ok(())
}

/// Looks in `PATH` and in the system folders that an unprivileged user's `PATH` leaves out.
fn is_found(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let versions = fs::read_dir(POSTGRES).into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    env::split_paths(&path).chain(system).chain(versions).any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout.trim_ascii() == b"0")
}

/// The target directory's folder that holds this very program, where `squall` is built too.
pub fn built(program: impl AsRef<OsStr>) -> Result<PathBuf> {
    let me = env::current_exe().context("find this program")?;
    Ok(me.parent().context("a folder with programs")?.join(program.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_once_per_list_and_not_trusted_half_made() {
        let root = env::temp_dir().join(format!("xtask-tools-{}", std::process::id()));
        let folder = root.join("set");
        let mut made = 0;
        let mut go = |list: &str, fails: bool| {
            let done = install(&folder, list, |f| {
                made += 1;
                fs::create_dir_all(f)?;
                if fails { bail!("no network") } else { Ok(()) }
            });
            (done.is_ok(), made)
        };
        assert_eq!(go("a", true), (false, 1));
        assert_eq!(go("a", false), (true, 2));
        assert_eq!(go("a", false), (true, 2));
        assert_eq!(go("b", false), (true, 3));
        fs::remove_dir_all(root).expect("own folder");
    }
}
