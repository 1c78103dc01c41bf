//! `/tmp` on disk: a sparse file with an ext4 in it, mounted by a loop device.
//!
//! A tmpfs would count as the function's memory; AWS does not count `/tmp`. The image has no name and the loop device
//! clears itself, so that nothing of them outlives the last user, whatever happens. An image that a worker has touched is never
//! used again; most never do, and theirs are what the next sandboxes get.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::sys::{Context, check, cstring, mount as sys_mount};

const LOOP_CTL_GET_FREE: u64 = 0x4C82;
const LOOP_CONFIGURE: u64 = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
/// How often another program may take the free loop device before us.
const LOOP_TRIES: usize = 64;
const MKFS_PLACES: [&str; 4] = ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4", "/usr/bin/mkfs.ext4", "/bin/mkfs.ext4"];
/// What ext4 keeps back from unprivileged writers at mount (at most 4,096 blocks) and its fixed tables.
const OVERHEAD_BYTES: u64 = 18 << 20;
/// Inode tables and bitmaps take a little under 1/60 of an image.
const OVERHEAD_PART: u64 = 60;

/// The root's time of change in a template. With its odd nanoseconds no clock will ever show it.
const UNTOUCHED: Duration = Duration::new(1_000_000_000, 7);

/// `struct loop_config` of linux/loop.h.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

#[repr(C)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

fn mkfs() -> Option<&'static str> {
    MKFS_PLACES.into_iter().find(|p| Path::new(p).exists())
}

/// Whether images can be used here, or what is missing.
pub(crate) fn available(is_root: bool) -> Result<(), String> {
    if !is_root {
        return Err("loop devices need root".into());
    }
    if mkfs().is_none() {
        return Err("mkfs.ext4 is missing; install e2fsprogs".into());
    }
    match fs::File::open("/dev/loop-control") {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("open /dev/loop-control: {e}; load the `loop` module")),
    }
}

/// Removes the templates that versions before this one have made otherwise.
pub(super) fn forget_old(images: &Path) {
    for entry in fs::read_dir(images).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if ["template-", "new-"].iter().any(|old| name.to_string_lossy().starts_with(old)) {
            // What cannot be removed only takes space.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Mounts a fresh file system of `bytes` usable bytes at `target`; the descriptor is another mount of it, attached nowhere, that
/// [`mount_again`] takes.
pub(super) fn mount(images: &Path, bytes: u64, target: &Path) -> io::Result<OwnedFd> {
    let template = template(images, bytes, target).context("make the template of /tmp")?;
    let image = copy(&template, images).context("copy the template of /tmp")?;
    mount_image(&image, target)?;
    sys_mount::clone_tree(target, 0).context("hold /tmp")
}

/// Mounts at `target` what [`mount`] has made for a sandbox that ended without touching it ([`is_untouched`]).
pub(super) fn mount_again(kept: OwnedFd, target: &Path) -> io::Result<OwnedFd> {
    let place = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(target)?;
    sys_mount::attach(kept.as_fd(), place.as_fd()).context("mount /tmp again")?;
    drop(kept);
    sys_mount::clone_tree(target, 0).context("hold /tmp")
}

/// The fallback: memory.
pub(super) fn mount_tmpfs(bytes: u64, target: &Path) -> io::Result<OwnedFd> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    sys_mount::mount("tmp".as_ref(), target, c"tmpfs", flags, &format!("mode=1777,size={bytes}"))
        .context("mount /tmp")?;
    fs::set_permissions(target, fs::Permissions::from_mode(0o1777))?;
    Ok(fs::File::open(target)?.into())
}

/// Whether nobody has made, renamed or removed anything in a file system of [`mount`], and nothing is open there.
///
/// The root's time of change is [`UNTOUCHED`], which only its owner, the host's root, could set again; whoever else writes into the
/// directory sets it to the present. What never had a name there is gone when its space is free again. Then there is nothing in
/// it that was not in the template.
pub(super) fn is_untouched(tmp: BorrowedFd<'_>, free: Free) -> bool {
    let time = sys_mount::changed_at(tmp);
    time.is_ok_and(|time| time == UNTOUCHED) && Free::of(tmp).is_ok_and(|now| now == free)
}

/// What is free in a file system: blocks and inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Free(u64, u64);

impl Free {
    pub(super) fn of(file_system: BorrowedFd<'_>) -> io::Result<Free> {
        sys_mount::free(file_system).map(|(blocks, inodes)| Free(blocks, inodes))
    }
}

fn mount_image(image: &fs::File, target: &Path) -> io::Result<()> {
    let device = attach(image).context("attach a loop device")?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOATIME;
    sys_mount::mount(&device.1, target, c"ext4", flags, "noinit_itable,nobarrier").context("mount /tmp")?;
    // The mount holds the device from here on; with the last user it clears itself.
    drop(device.0);
    Ok(())
}

/// The template for a size, made on first use. Several children may make it at once: the first one's stays, and each is as
/// good as the other.
///
/// `place` is a directory of the caller's own to mount it on while it is finished.
fn template(images: &Path, bytes: u64, place: &Path) -> io::Result<PathBuf> {
    let path = images.join(format!("tmp-{bytes}.ext4"));
    if path.exists() {
        return Ok(path);
    }
    let mkfs = mkfs().ok_or(io::ErrorKind::NotFound)?;
    // Without a name until it is whole: whatever happens meanwhile, nothing is left.
    let own = fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(images)?;
    let size = bytes + bytes / OVERHEAD_PART + OVERHEAD_BYTES;
    own.set_len(size.next_multiple_of(4096))?;
    let made = Command::new(mkfs)
        .args(["-q", "-F", "-b", "4096", "-m", "0", "-O", "^has_journal,^resize_inode"])
        .args(["-E", "lazy_itable_init=1,nodiscard", "/proc/self/fd/0"])
        .stdin(own.try_clone()?)
        .stdout(Stdio::null())
        .output()?;
    if !made.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).trim().to_owned()));
    }
    finish(&own, place)?;
    match name(&own, &path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(path),
    }
}

/// Gives a file without a name one.
fn name(file: &fs::File, path: &Path) -> io::Result<()> {
    let own = cstring(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let path = cstring(path)?;
    let follow = libc::AT_SYMLINK_FOLLOW;
    // SAFETY: terminated paths.
    check(unsafe { libc::linkat(libc::AT_FDCWD, own.as_ptr(), libc::AT_FDCWD, path.as_ptr(), follow) })?;
    Ok(())
}

/// Makes the root as every worker's is: open to all, empty, and with the time that tells that nobody has touched it.
fn finish(image: &fs::File, place: &Path) -> io::Result<()> {
    mount_image(image, place)?;
    let finish = || {
        fs::set_permissions(place, fs::Permissions::from_mode(0o1777))?;
        match fs::remove_dir(place.join("lost+found")) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let time = std::time::UNIX_EPOCH + UNTOUCHED;
        fs::File::open(place)?.set_times(fs::FileTimes::new().set_modified(time))
    };
    let finished = finish();
    sys_mount::unmount(place)?;
    finished?;
    image.sync_all()
}

/// Copies data extents only; the file has no name.
fn copy(template: &Path, images: &Path) -> io::Result<fs::File> {
    let from = fs::File::open(template)?;
    let to = fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(images)?;
    let length = from.metadata()?.len();
    to.set_len(length)?;
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    while let Some(start) = seek(&from, at, libc::SEEK_DATA)? {
        let end = seek(&from, start, libc::SEEK_HOLE)?.unwrap_or(length);
        at = start;
        while at < end {
            let want = buffer.len().min((end - at) as usize);
            let part = buffer.get_mut(..want).unwrap_or_default();
            from.read_exact_at(part, at)?;
            to.write_all_at(part, at)?;
            at += want as u64;
        }
    }
    Ok(to)
}

fn seek(file: &fs::File, from: u64, what: libc::c_int) -> io::Result<Option<u64>> {
    // SAFETY: integers only.
    match check(unsafe { libc::lseek64(file.as_raw_fd(), from as i64, what) }) {
        Ok(at) => Ok(Some(at as u64)),
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        Err(e) => Err(e),
    }
}

/// A loop device on the file, which is closed by the kernel with its last user.
fn attach(image: &fs::File) -> io::Result<(fs::File, PathBuf)> {
    let control = fs::OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    let mut direct = LO_FLAGS_DIRECT_IO;
    for _ in 0..LOOP_TRIES {
        // SAFETY: the request takes no argument.
        let number = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) })?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = fs::OpenOptions::new().read(true).write(true).open(&path).context(path.display())?;
        // SAFETY: LoopConfig is plain data for which zeroes are valid.
        let mut config: LoopConfig = unsafe { std::mem::zeroed() };
        config.fd = image.as_raw_fd() as u32;
        config.block_size = 4096;
        // Direct I/O keeps the pages from being cached twice.
        config.info.flags = LO_FLAGS_AUTOCLEAR | direct;
        // SAFETY: the request reads one loop_config.
        match check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &config) }) {
            Ok(_) => return Ok((device, path)),
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {}
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) && direct != 0 => direct = 0,
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}
