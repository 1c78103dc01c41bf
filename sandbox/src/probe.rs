//! What this host offers, and what to do about what is missing.

use std::fs;

use serde::Serialize;

use crate::Level;
use crate::cgroup;
use crate::spawner::images_available;
use crate::sys::process::{self, Side};
use crate::sys::{landlock, mount, seccomp};

/// One feature of the kernel or the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// What it is, as in `pid namespace`.
    pub name: String,
    /// Whether this process can use it.
    pub available: bool,
    /// A level below which nothing needs it; `None` if it only makes the best level better.
    pub needed_for: Option<Level>,
    /// What was found: a version, a path, or the error.
    pub detail: String,
    /// What the user can do if it is missing; empty if it is there.
    pub advice: String,
}

/// The result of [`probe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every feature that the sandbox uses.
    pub features: Vec<Feature>,
    /// The highest level that [`crate::Sandbox::start`] can give here.
    pub best_level: Level,
    /// What is weaker than that level promises; empty if nothing is.
    pub note: String,
}

/// A namespace: its name, its flag, and whether a failure may be mended by a setting.
const NAMESPACES: [(&str, i32); 7] = [
    ("user namespace", libc::CLONE_NEWUSER),
    ("pid namespace", libc::CLONE_NEWPID),
    ("mount namespace", libc::CLONE_NEWNS),
    ("network namespace", libc::CLONE_NEWNET),
    ("ipc namespace", libc::CLONE_NEWIPC),
    ("uts namespace", libc::CLONE_NEWUTS),
    ("cgroup namespace", libc::CLONE_NEWCGROUP),
];

/// Tries each feature that the sandbox uses. Makes a few processes that end at once; changes nothing.
pub fn probe() -> Report {
    let is_root = process::euid() == 0;
    let mut features: Vec<Feature> = NAMESPACES.iter().map(|(name, flag)| namespace(name, *flag, is_root)).collect();
    features.push(feature(
        "descriptor-based mounts",
        Some(Level::Namespaces),
        mount::has_set_attributes().then(|| "mount_setattr".into()).ok_or("mount_setattr is missing".into()),
        "use Linux 5.12 or newer",
    ));
    features.push(feature(
        "seccomp filters",
        Some(Level::Namespaces),
        seccomp::available().map(|()| "answers with error numbers".into()).map_err(|e| e.to_string()),
        "use a kernel with CONFIG_SECCOMP_FILTER",
    ));
    features.push(feature(
        "landlock",
        None,
        landlock::version().map(|v| format!("version {v}")).ok_or("not in this kernel".into()),
        "a second wall, used where the kernel has it: CONFIG_SECURITY_LANDLOCK and `lsm=landlock,…`",
    ));
    let limits = cgroups(&mut features);
    let images = images_available(is_root);
    let note = match &images {
        Ok(()) => String::new(),
        Err(missing) => format!("/tmp is a tmpfs and counts as memory: {missing}"),
    };
    features.push(feature(
        "loop devices and mkfs.ext4",
        None,
        images.map(|()| "/tmp on disk".into()),
        "run as root with the `loop` module and e2fsprogs, so that /tmp does not count as memory",
    ));
    let has_all = features.iter().all(|f| f.available || f.needed_for.is_none());
    let best_level = match (has_all, limits) {
        (true, true) => Level::Full,
        (true, false) => Level::Namespaces,
        (false, _) => Level::None,
    };
    Report { features, best_level, note: if best_level == Level::None { String::new() } else { note } }
}

fn feature(name: &str, needed_for: Option<Level>, found: Result<String, String>, advice: &str) -> Feature {
    let available = found.is_ok();
    Feature {
        name: name.to_owned(),
        available,
        needed_for,
        detail: found.unwrap_or_else(|missing| missing),
        advice: if available { String::new() } else { advice.to_owned() },
    }
}

fn namespace(name: &str, flag: i32, is_root: bool) -> Feature {
    // Without root, every other namespace belongs to a user namespace.
    let flags = if is_root { flag } else { flag | libc::CLONE_NEWUSER };
    let found = match process::clone(flags) {
        // Other threads may hold locks: nothing but leaving is safe here.
        Ok(Side::Child) => process::exit(0),
        Ok(Side::Parent(pid, _)) => process::wait(pid).map(|_| "can be made".to_owned()).map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    let advice = match restricting_setting() {
        Some(setting) => format!("run as root, or set {setting}"),
        None => "run as root, or allow user namespaces (user.max_user_namespaces)".to_owned(),
    };
    feature(name, Some(Level::Namespaces), found, &advice)
}

/// The setting of this distribution that forbids unprivileged user namespaces.
fn restricting_setting() -> Option<&'static str> {
    let is = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|v| v.trim() == value);
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        Some("kernel.unprivileged_userns_clone=1")
    } else if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        Some("kernel.apparmor_restrict_unprivileged_userns=0")
    } else {
        None
    }
}

/// Adds the controllers; true if one generation has all that level full needs.
fn cgroups(features: &mut Vec<Feature>) -> bool {
    let advice = "run as root, or delegate a cgroup to this user (systemd: Delegate=yes)";
    let mut any = false;
    for (generation, controllers) in cgroup::survey() {
        any |= controllers.iter().all(|(_, found)| found.is_ok());
        for (name, found) in controllers {
            // One generation is enough, so neither is needed by itself.
            let found = found.map(|path| path.display().to_string());
            features.push(feature(&format!("cgroup {generation} {name}"), None, found, advice));
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_feature_comes_with_advice() {
        let report = probe();
        for f in &report.features {
            assert_eq!(f.available, f.advice.is_empty(), "{f:?}");
            assert!(!f.detail.is_empty(), "{f:?}");
        }
        let names: Vec<&str> = report.features.iter().map(|f| f.name.as_str()).collect();
        assert!(names.contains(&"seccomp filters") && names.contains(&"cgroup v1 memory"), "{names:?}");
    }
}
