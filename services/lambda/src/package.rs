//! Code packages: checks of uploaded zips, and their unpacking into folders that sandboxes mount.
//!
//! A package is trusted in nothing: names must stay below the root, links must not lead out of it, nothing is written
//! through a link, and the sum of unpacked bytes is counted while it is inflated, not read from headers that may lie.

use crate::error::Error;
use bytes::Bytes;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How the names of half-unpacked folders end.
const STAGING: &str = ".tmp";
/// Most bytes of a zip in a request.
pub const ZIPPED_BYTES_MAX: usize = 50 * 1024 * 1024;
/// Most bytes of all files.
pub const UNZIPPED_BYTES_MAX: u64 = 262_144_000;
/// Most entries. AWS names no limit; this one bounds what a zip of empty files costs.
const ENTRIES_MAX: usize = 100_000;

/// Longest target of a link.
const LINK_BYTES_MAX: u64 = 4096;

fn broken() -> Error {
    Error::invalid("Could not unzip uploaded file. Please check your file, then try to upload again.")
}

/// Checks a package without writing anything.
///
/// # Errors
/// `InvalidParameterValueException` with AWS's text for broken archives and for those that unpack to more than 250 MB.
pub fn check(zip: &Bytes) -> Result<(), Error> {
    walk(zip, &mut |entry| match entry {
        Entry::File { bytes, .. } => io::copy(bytes, &mut io::sink()).map(|_| ()).map_err(|_| broken()),
        Entry::Folder(_) | Entry::Link { .. } => Ok(()),
    })
}

/// A file of a package, of at most so many bytes; the last one of that name, as unpacking has it. `None`: there is none.
///
/// # Errors
/// As [`check`], and `InvalidParameterValueException` where it is larger.
pub fn file(zip: &Bytes, name: &str, bytes_max: u64) -> Result<Option<Bytes>, Error> {
    let mut found = None;
    walk(zip, &mut |entry| {
        if let Entry::File { name: own, bytes, .. } = entry
            && own == Path::new(name)
        {
            let mut content = Vec::new();
            bytes.take(bytes_max + 1).read_to_end(&mut content).map_err(|_| broken())?;
            if content.len() as u64 > bytes_max {
                return Err(Error::invalid(format!("{name} must be smaller than {bytes_max} bytes")));
            }
            found = Some(Bytes::from(content));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Numbers the folders that packages are unpacked in before they get their name.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// Unpacks a package, whole or not at all, into a folder. Whoever comes second finds the first one's, which is the same.
///
/// # Errors
/// As [`check`], and the file system's.
pub fn unpack(zip: &Bytes, target: &Path) -> Result<(), Error> {
    unpack_all(std::slice::from_ref(zip), target)
}

/// Unpacks packages over each other into one folder, as [`unpack`] does.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_all(zips: &[Bytes], target: &Path) -> Result<(), Error> {
    let mut staging = target.as_os_str().to_owned();
    staging.push(format!(".{}{STAGING}", STAGED.fetch_add(1, Ordering::Relaxed)));
    let staging = PathBuf::from(staging);
    let io = |e: io::Error| Error::internal("unpack a package", Box::new(e));
    fs::create_dir_all(&staging).map_err(io)?;
    fs::set_permissions(&staging, fs::Permissions::from_mode(0o755)).map_err(io)?;
    let done = zips.iter().try_for_each(|zip| walk(zip, &mut |entry| write(&staging, entry).map_err(io)));
    let done = done.and_then(|()| match fs::rename(&staging, target) {
        Err(_) if target.is_dir() => Ok(()),
        renamed => renamed.map_err(io),
    });
    // Nothing is left of it after a rename; a leftover is swept at the next start.
    let _ = fs::remove_dir_all(&staging);
    done
}

/// Removes what a crash left half-unpacked, and the folders whose names begin so.
pub fn sweep(root: &Path, prefix: &str) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if (name.ends_with(STAGING) || name.starts_with(prefix))
            && let Err(e) = fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), error = %e, "remove a half-unpacked package");
        }
    }
}

enum Entry<'a> {
    Folder(PathBuf),
    File { name: PathBuf, executable: bool, bytes: &'a mut dyn Read },
    Link { name: PathBuf, target: PathBuf },
}

/// Counts what is inflated, so that no file is ever held in memory; a small zip may hold all that is allowed.
struct Counted<R> {
    inner: R,
    count: u64,
    is_broken: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out).inspect_err(|_| self.is_broken = true)?;
        self.count += read as u64;
        Ok(read)
    }
}

fn walk(zip: &Bytes, each: &mut dyn FnMut(Entry<'_>) -> Result<(), Error>) -> Result<(), Error> {
    let mut archive = zip::ZipArchive::new(io::Cursor::new(zip)).map_err(|_| broken())?;
    if archive.is_empty() {
        return Err(Error::invalid("Uploaded file must be a non-empty zip"));
    }
    if archive.len() > ENTRIES_MAX {
        return Err(broken());
    }
    let mut left = UNZIPPED_BYTES_MAX;
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).map_err(|_| broken())?;
        let name = clean(file.name()).ok_or_else(broken)?;
        if file.is_dir() {
            each(Entry::Folder(name))?;
            continue;
        }
        let mode = file.unix_mode().unwrap_or(0o644);
        // One byte more than allowed tells "too large" from "just fits".
        let mut bytes = Counted { inner: file.by_ref().take(left + 1), count: 0, is_broken: false };
        if mode & 0o170_000 == 0o120_000 {
            let mut target = String::new();
            let limited = (&mut bytes).take(LINK_BYTES_MAX + 1).read_to_string(&mut target);
            limited.map_err(|_| broken())?;
            let target = inner_link(&name, &target).ok_or_else(broken)?;
            each(Entry::Link { name, target })?;
        } else {
            let done = each(Entry::File { name, executable: mode & 0o111 != 0, bytes: &mut bytes });
            if bytes.is_broken {
                return Err(broken());
            }
            done?;
        }
        left = left.checked_sub(bytes.count).ok_or_else(too_large)?;
    }
    Ok(())
}

fn too_large() -> Error {
    Error::invalid(format!("Unzipped size must be smaller than {UNZIPPED_BYTES_MAX} bytes"))
}

/// The entry's path, if it stays below the root.
fn clean(name: &str) -> Option<PathBuf> {
    if name.is_empty() || name.len() > 4096 || name.contains(['\0', '\\']) {
        return None;
    }
    let mut out = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(p) => out.push(p),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(out)
}

/// A link's target as written, if it is relative and stays below the root.
fn inner_link(name: &Path, target: &str) -> Option<PathBuf> {
    let mut depth = name.components().count().checked_sub(1)?;
    for part in Path::new(target).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth = depth.checked_sub(1)?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!target.is_empty() && target.len() as u64 <= LINK_BYTES_MAX).then(|| PathBuf::from(target))
}

fn write(root: &Path, entry: Entry<'_>) -> io::Result<()> {
    match entry {
        Entry::Folder(name) => folder(root, &name),
        Entry::Link { name, target } => {
            folder(root, name.parent().unwrap_or(Path::new("")))?;
            replace(&root.join(&name))?;
            symlink(target, root.join(name))
        }
        Entry::File { name, executable, bytes } => {
            folder(root, name.parent().unwrap_or(Path::new("")))?;
            let path = root.join(name);
            replace(&path)?;
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            io::copy(bytes, &mut file)?;
            // Sandboxes run as another user: everything is readable, as in AWS's own environment.
            file.set_permissions(fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
        }
    }
}

/// Makes a folder and its parents, refusing to go through anything that is no real folder.
fn folder(root: &Path, name: &Path) -> io::Result<()> {
    let mut path = root.to_owned();
    for part in name.components() {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "a file or link is used as a folder")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&path)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// A later entry of the same name replaces the earlier one, as unzip does.
fn replace(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use zip::write::SimpleFileOptions;

    fn zip(entries: &[(&str, &[u8], u32)]) -> Bytes {
        let mut out = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, bytes, mode) in entries {
            if mode & 0o170_000 == 0o120_000 {
                out.add_symlink(*name, std::str::from_utf8(bytes).unwrap(), SimpleFileOptions::default()).unwrap();
            } else {
                out.start_file(*name, SimpleFileOptions::default().unix_permissions(*mode)).unwrap();
                out.write_all(bytes).unwrap();
            }
        }
        out.finish().unwrap().into_inner().into()
    }

    const LINK: u32 = 0o120_777;

    #[test]
    fn hostile_archives_are_refused_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cases = [
            ("parent", zip(&[("../x", b"", 0o644)])),
            ("inner parent", zip(&[("a/../../x", b"", 0o644)])),
            ("absolute", zip(&[("/etc/x", b"", 0o644)])),
            ("link out", zip(&[("l", b"../..", LINK)])),
            ("absolute link", zip(&[("l", b"/etc", LINK)])),
            ("no zip", Bytes::from_static(b"PK\x03\x04 nonsense")),
            ("empty", Bytes::new()),
        ];
        for (what, bytes) in cases {
            assert!(matches!(check(&bytes), Err(Error::Invalid(_))), "{what}");
            let target = dir.path().join("t");
            assert!(unpack(&bytes, &target).is_err(), "{what}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{what}");
        }
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = zip(&[("real/f", b"1", 0o644), ("l", b"real", LINK), ("l/g", b"2", 0o644)]);
        assert!(unpack(&bytes, &dir.path().join("t")).is_err());
    }

    #[test]
    fn a_bomb_is_counted_while_it_unpacks() {
        let mega = vec![0; 4 << 20];
        let names: Vec<String> = (0..64).map(|i| format!("f{i}")).collect();
        let entries: Vec<(&str, &[u8], u32)> = names.iter().map(|n| (n.as_str(), mega.as_slice(), 0o644)).collect();
        let bytes = zip(&entries);
        assert!(bytes.len() < 2 << 20);
        let Err(Error::Invalid(text)) = check(&bytes) else { panic!("the bomb passed") };
        assert_eq!(text, "Unzipped size must be smaller than 262144000 bytes");
    }

    #[test]
    fn modes_and_inner_links_survive() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("t");
        let bytes = zip(&[("bin/run", b"#!", 0o700), ("a.js", b"x", 0o600), ("run", b"bin/run", LINK)]);
        unpack(&bytes, &target).unwrap();
        let mode = |p: &str| fs::metadata(target.join(p)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("bin/run"), mode("a.js"), mode("bin")), (0o755, 0o644, 0o755));
        assert_eq!(fs::read(target.join("run")).unwrap(), b"#!");
    }
}
