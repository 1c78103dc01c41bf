//! Stem cells: programs that are executed in prepared sandboxes and wait there for their function.
//!
//! For interpreters that cannot be forked once they run (a Java machine has threads from its first moment on). The stage leaves a
//! *keeper* in the sandbox, which drops all privilege as every program does, starts the program and waits with it. When the function
//! is known the stage attaches its mounts, as for a zygote's fork, and hands its payload to the keeper. The keeper moves both into
//! `/var/task`: a mount there is not seen from the folder below it, and a Java machine cannot change its folder, so the two share
//! it. Then it passes the payload on and leaves. If the program is dead or cannot take the payload, the keeper becomes the program.
//!
//! `zygote/README.md` has what a program sees of it.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::Setting;
use super::prepare::{SAYS_STARTED, SAYS_WAITING, Stage, fail};
use super::stage::{attach_mounts, enter_filter, lower, pair, strings};
use crate::sys::mount::{self, NO_DEV, NO_SUID, READ_ONLY};
use crate::sys::poll::Poll;
use crate::sys::process::{self, Side};
use crate::sys::{Context, socket};
use crate::{Level, Mount, Spec, ZygoteSpec};

/// What the program says: it waits; it has taken the payload.
const WAITS: u8 = b'r';
const TAKEN: u8 = b'k';
/// Largest payload: of a packet, which carries it to the stage.
const PAYLOAD_BYTES_MAX: u32 = crate::wire::PACKET_BYTES_MAX as u32;

/// Detached read-only copies of a stem cell's mounts; made by the spawner, which still sees the host.
pub(super) fn detach(mounts: &[Mount]) -> io::Result<Vec<OwnedFd>> {
    let tree = |m: &Mount| {
        mount::clone_tree(&m.host, READ_ONLY | NO_SUID | NO_DEV).context(format_args!("bind {}", m.host.display()))
    };
    mounts.iter().map(tree).collect()
}

/// The stage's side: leaves a keeper with the program in the sandbox. `fds`: where the keeper tells init who the program is, where
/// it finds the payload, then the mounts.
pub(super) fn plant(setting: &Setting, stage: &Stage, spec: &ZygoteSpec, fds: Vec<OwnedFd>) -> io::Result<()> {
    let mut fds = fds.into_iter();
    let (Some(adoption), Some(payload), Some(root)) = (fds.next(), fds.next(), &stage.root) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a stem cell needs a sandbox"));
    };
    attach_mounts(root.as_fd(), &spec.mounts, &fds.collect::<Vec<_>>())?;
    if let Side::Child = process::clone(0)? {
        let error = match keep(setting, stage, spec, &adoption, &payload) {
            Ok(never) => match never {},
            Err(e) => e,
        };
        fail(&stage.ctl, &format!("wait for the function: {error}"))
    }
    Ok(())
}

/// Arguments and environment of a program.
struct Program {
    argv: Vec<CString>,
    env: Vec<CString>,
}

fn keep(
    setting: &Setting,
    stage: &Stage,
    spec: &ZygoteSpec,
    adoption: &OwnedFd,
    payload: &OwnedFd,
) -> io::Result<Infallible> {
    process::setsid();
    let program = Program { argv: strings(spec.argv.iter().cloned())?, env: strings(spec.env.iter().map(pair))? };
    let (own, theirs) = UnixStream::pair()?;
    let mut kept = vec![stage.ctl.as_fd(), adoption.as_fd(), payload.as_fd(), stage.output.as_fd()];
    kept.extend([own.as_fd(), theirs.as_fd()]);
    kept.extend(stage.user.iter().chain(&stage.rules).map(AsFd::as_fd));
    process::close_all_but(&kept);
    std::env::set_current_dir("/var/task")?;
    // Both are in one landlock domain: one may end the other. Stem cells wait at level full only, where no limit depends on the function.
    lower(stage, &super::stage::rlimits(Level::Full, 0, 0))?;
    let child = match process::clone(libc::CLONE_FS)? {
        Side::Child => return begin(setting, stage, &theirs, &program),
        Side::Parent(pid, _) => pid,
    };
    drop(theirs);
    enter_filter(setting, stage)?;
    wait(stage, &own, payload)?;
    let mut payload = File::from(payload.try_clone()?);
    let told = read_payload(&mut payload)?;
    std::env::set_current_dir("/var/task")?;
    let has_taken = hand_over(own, &told).is_ok();
    if has_taken {
        become_known(stage, adoption, child)?;
        process::exit(0)
    }
    // It has ended, or is one that cannot: as without it.
    let _ = process::kill(child, libc::SIGKILL);
    process::wait(child)?;
    let program = parse(&told)?;
    become_known(stage, adoption, std::process::id() as i32)?;
    process::dup_to(process::open_null()?.as_fd(), 0)?;
    process::allow_huge_pages(true);
    Err(process::exec(&program.argv, &program.env))
}

/// In the program's process: its end of the socket is its standard input.
fn begin(setting: &Setting, stage: &Stage, theirs: &UnixStream, program: &Program) -> io::Result<Infallible> {
    process::setsid();
    process::dup_to(theirs.as_fd(), 0)?;
    enter_filter(setting, stage)?;
    process::allow_huge_pages(true);
    // Its end tells the keeper.
    let error = process::exec(&program.argv, &program.env);
    drop(error);
    process::exit(127)
}

/// Until there is a payload; tells the spawner when the program waits for it.
fn wait(stage: &Stage, own: &UnixStream, payload: &OwnedFd) -> io::Result<()> {
    const PROGRAM: u64 = 0;
    const PAYLOAD: u64 = 1;
    let poll = Poll::new()?;
    poll.add(own.as_fd(), PROGRAM)?;
    poll.add(payload.as_fd(), PAYLOAD)?;
    loop {
        for token in poll.wait(-1)? {
            if token == PAYLOAD {
                return Ok(());
            }
            let mut word = [0];
            if (&*own).read(&mut word)? == 0 {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the program has ended"));
            }
            if word == [WAITS] {
                socket::send(stage.ctl.as_fd(), &[SAYS_WAITING], &[])?;
            }
        }
    }
}

/// The payload behind its length, as [`super::fork::payload`] made it.
fn read_payload(from: &mut File) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > PAYLOAD_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the payload is too large"));
    }
    let mut told = vec![0; length as usize];
    from.read_exact(&mut told)?;
    Ok(told)
}

fn hand_over(mut own: UnixStream, told: &[u8]) -> io::Result<()> {
    own.write_all(&(told.len() as u32).to_le_bytes())?;
    own.write_all(told)?;
    let mut word = [WAITS];
    // It may have been given its function before it said that it waits.
    while word == [WAITS] {
        own.read_exact(&mut word)?;
    }
    if word == [TAKEN] { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Tells init and spawner who the program is. Init believes it when the stage has ended.
fn become_known(stage: &Stage, adoption: &OwnedFd, program: i32) -> io::Result<()> {
    File::from(adoption.try_clone()?).write_all(&program.to_le_bytes())?;
    socket::send(stage.ctl.as_fd(), &[SAYS_STARTED], &[])
}

fn parse(told: &[u8]) -> io::Result<Program> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the payload is malformed");
    let number = |at: usize| -> io::Result<usize> {
        let bytes = told.get(at..at + 4).and_then(|b| b.try_into().ok()).ok_or_else(malformed)?;
        Ok(u32::from_le_bytes(bytes) as usize)
    };
    let (argc, envc) = (number(0)?, number(4)?);
    let texts = told.get(8..).unwrap_or_default().split_inclusive(|b| *b == 0);
    let texts = texts.map(|t| CString::from_vec_with_nul(t.to_vec()).map_err(|_| malformed()));
    let mut argv = texts.collect::<io::Result<Vec<_>>>()?;
    if argv.len() != argc + envc {
        return Err(malformed());
    }
    let env = argv.split_off(argc);
    Ok(Program { argv, env })
}

/// The specification without the mounts that the stem cell has already.
pub(super) fn remaining(spec: &Spec, stem: &ZygoteSpec) -> Spec {
    let mut spec = spec.clone();
    spec.mounts.retain(|m| !stem.mounts.contains(m));
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_taken_apart_as_it_was_put_together() {
        let spec = Spec {
            id: String::new(),
            argv: vec!["/bin/java".into(), "Main".into()],
            env: vec![("A".into(), "".into()), ("B".into(), "x=y".into())],
            code: "/code".into(),
            opt: None,
            mounts: Vec::new(),
            memory_bytes: 1,
            tmp_bytes: 1,
            pids_max: 1,
            cpu_shares: 1,
            cpu_quota_percent: None,
            start: crate::Start::Execute,
        };
        let told = super::super::fork::payload(&spec).expect("payload");
        let program = parse(&told[4..]).expect("parsed");
        let texts = |list: &[CString]| list.iter().map(|s| s.to_string_lossy().into_owned()).collect::<Vec<_>>();
        assert_eq!(texts(&program.argv), ["/bin/java", "Main"]);
        assert_eq!(texts(&program.env), ["A=", "B=x=y"]);
        for cut in 4..told.len() - 1 {
            assert!(parse(&told[4..cut]).is_err(), "cut at {cut}");
        }
    }
}
