//! What a zygote's fork does before it is a worker: the steps of [`super::stage`] as a list of system calls.
//!
//! The zygote's core carries them out without knowing what they mean (`zygote/README.md`): it lives in a process whose
//! memory the spawner cannot share, and should hold as little as possible that could be wrong.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use libc::c_long;

use super::Setting;
use super::prepare::{Hand, INSIDE_ID};
use super::stage::{rlimits, strings};
use crate::wire::Order;
use crate::{Spec, ZygoteSpec};

const MAGIC: u32 = 0x315a_5153;
const FLAG_CLOSE_ALL: u32 = 1;
/// Not a system call: stores a pointer in the blob.
const STORE: i32 = -1;
/// Not a system call: says that the fork waits, and reads its payload.
const RECEIVE: i32 = -2;
const LANDLOCK_RESTRICT_SELF: c_long = 446;

/// Descriptors of a request, in this order.
const SANDBOX: usize = 1;
const OUTPUT: usize = 3;
const USER: usize = 4;
const MOUNTED: usize = 5;
const DOORS: usize = 6;

/// Steps that the core names by numbers of its own.
const STEP_NAMESPACE: u32 = 0xffff_fffe;
const STEP_FORK: u32 = 0xffff_fffd;

#[derive(Clone, Copy)]
enum Argument {
    Value(i64),
    Descriptor(usize),
    Blob(usize),
}
use Argument::{Blob, Descriptor, Value};

#[derive(Clone, Copy)]
enum Check {
    NotNegative,
    Wanted(i64),
    Nothing,
}

/// A list of system calls under construction.
#[derive(Default)]
struct Program {
    calls: Vec<u8>,
    names: Vec<&'static str>,
    blob: Vec<u8>,
}

impl Program {
    fn call(&mut self, name: &'static str, number: c_long, arguments: &[Argument], check: Check) {
        let mut kinds = 0u32;
        let mut values = [0i64; 6];
        for (at, (value, argument)) in values.iter_mut().zip(arguments).enumerate() {
            let (kind, number) = match *argument {
                Value(v) => (0, v),
                Descriptor(index) => (1, index as i64),
                Blob(offset) => (2, offset as i64),
            };
            kinds |= kind << (4 * at);
            *value = number;
        }
        let (wanted, check) = match check {
            Check::NotNegative => (0, 0i32),
            Check::Wanted(result) => (result, 1),
            Check::Nothing => (0, 2),
        };
        self.calls.extend((number as i32).to_le_bytes());
        self.calls.extend(kinds.to_le_bytes());
        values.iter().chain([&wanted]).for_each(|v| self.calls.extend(v.to_le_bytes()));
        self.calls.extend(check.to_le_bytes());
        self.calls.extend(0i32.to_le_bytes());
        self.names.push(name);
    }

    /// Puts bytes into the blob, aligned for any structure, and tells where.
    fn bytes(&mut self, bytes: &[u8]) -> usize {
        self.blob.resize(self.blob.len().next_multiple_of(8), 0);
        let at = self.blob.len();
        self.blob.extend(bytes);
        at
    }

    fn numbers(&mut self, numbers: &[u64]) -> usize {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
        self.bytes(&bytes)
    }
}

/// A request, ready to be sent.
pub(super) struct Request {
    pub packet: Vec<u8>,
    /// What each call is for.
    pub names: Vec<&'static str>,
}

/// Why a fork failed, for whoever waits for it.
pub(super) fn describe(names: &[&'static str], told: &[u8]) -> String {
    let number = |at: usize| Some(u32::from_le_bytes(told.get(at..at + 4)?.try_into().ok()?));
    let (Some(step), Some(error)) = (number(0), number(4)) else { return "the zygote sent nonsense".into() };
    let name = match step {
        STEP_NAMESPACE => "enter the process namespace",
        STEP_FORK => "fork the zygote",
        _ => names.get(step as usize).copied().unwrap_or("unknown step"),
    };
    format!("{name}: {}", io::Error::from_raw_os_error(error as i32))
}

impl Request {
    /// The request for a fork in the sandbox that `hand` belongs to. `spec` may come later where no step depends on it: at level
    /// full.
    pub(super) fn new(setting: &Setting, hand: &Hand, spec: Option<&Spec>, closes_all: bool) -> Request {
        let mut p = Program::default();
        join(&mut p, setting, hand.doors.len());
        streams(&mut p);
        let (memory_bytes, pids_max) = spec.map_or((0, 0), |s| (s.memory_bytes, s.pids_max));
        for (resource, value) in rlimits(setting.level, memory_bytes, pids_max) {
            let at = p.numbers(&[value, value]);
            let arguments = [Value(0), Value(resource as i64), Blob(at), Value(0)];
            p.call("set limits", libc::SYS_prlimit64, &arguments, Check::NotNegative);
        }
        p.call("set the file mode mask", libc::SYS_umask, &[Value(0o022)], Check::NotNegative);
        lower(&mut p, setting, hand.rules.is_some().then_some(DOORS + hand.doors.len()));
        // Here it may wait for its function. The stage has made the mounts when it sends the payload.
        p.call("wait for the function", RECEIVE.into(), &[Descriptor(MOUNTED)], Check::NotNegative);
        let task = p.bytes(b"/var/task\0");
        p.call("enter /var/task", libc::SYS_chdir, &[Blob(task)], Check::NotNegative);

        let mut packet = Vec::with_capacity(20 + p.calls.len() + p.blob.len());
        let flags = if closes_all { FLAG_CLOSE_ALL } else { 0 };
        for n in [MAGIC, p.names.len() as u32, p.blob.len() as u32, 0, flags] {
            packet.extend(n.to_le_bytes());
        }
        packet.extend(p.calls);
        packet.extend(p.blob);
        Request { packet, names: p.names }
    }

    /// For the stage: that it start a stem cell.
    pub(super) fn plant(zygote: u64, stem: &ZygoteSpec) -> Request {
        Request { packet: Order::Zygote { zygote, spec: Box::new(stem.clone()) }.encode(), names: Vec::new() }
    }
}

/// The descriptors that go with a request.
pub(super) fn descriptors<'a>(hand: &'a Hand, sandbox: BorrowedFd<'a>) -> Vec<BorrowedFd<'a>> {
    let mut fds = vec![hand.report.as_fd(), sandbox];
    fds.extend([&hand.adoption, &hand.output, &hand.user, &hand.mounted].map(AsFd::as_fd));
    fds.extend(hand.doors.iter().chain(&hand.rules).map(AsFd::as_fd));
    fds
}

/// Cgroups first, so that what the fork touches from here on is the worker's; then the namespaces.
fn join(p: &mut Program, setting: &Setting, doors: usize) {
    let zero = p.bytes(b"0");
    for door in 0..doors {
        let arguments = [Descriptor(DOORS + door), Blob(zero), Value(1)];
        p.call("join the cgroup", libc::SYS_write, &arguments, Check::NotNegative);
    }
    p.call("start a session", libc::SYS_setsid, &[], Check::NotNegative);
    let mut namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if setting.hierarchy.is_some() {
        namespaces |= libc::CLONE_NEWCGROUP;
    }
    let arguments = [Descriptor(SANDBOX), Value(i64::from(namespaces))];
    p.call("enter the namespaces", libc::SYS_setns, &arguments, Check::NotNegative);
}

/// Standard input from the sandbox's own /dev/null, output to the pipe.
fn streams(p: &mut Program) {
    let null = p.bytes(b"/dev/null\0");
    p.call("close the input", libc::SYS_close, &[Value(0)], Check::Nothing);
    let arguments = [Value(i64::from(libc::AT_FDCWD)), Blob(null), Value(i64::from(libc::O_RDWR)), Value(0)];
    p.call("open /dev/null", libc::SYS_openat, &arguments, Check::Wanted(0));
    for number in [1, 2] {
        let arguments = [Descriptor(OUTPUT), Value(number), Value(0)];
        p.call("connect the output", libc::SYS_dup3, &arguments, Check::Wanted(number));
    }
}

/// The last steps: drop everything, in the order of [`super::stage`].
fn lower(p: &mut Program, setting: &Setting, rules: Option<usize>) {
    use Check::NotNegative;
    let id = Value(i64::from(INSIDE_ID));
    let arguments = [Descriptor(USER), Value(i64::from(libc::CLONE_NEWUSER))];
    p.call("enter the user namespace", libc::SYS_setns, &arguments, NotNegative);
    p.call("become the unprivileged group", libc::SYS_setresgid, &[id, id, id], NotNegative);
    p.call("become the unprivileged user", libc::SYS_setresuid, &[id, id, id], NotNegative);
    let prctl = |p: &mut Program, name, option: i32, argument: i64| {
        let arguments = [Value(i64::from(option)), Value(argument), Value(0), Value(0), Value(0)];
        p.call(name, libc::SYS_prctl, &arguments, NotNegative);
    };
    for capability in 0..=setting.last_capability {
        prctl(p, "drop capabilities", libc::PR_CAPBSET_DROP, capability as i64);
    }
    prctl(p, "drop ambient capabilities", libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL.into());
    // _LINUX_CAPABILITY_VERSION_3 and "this process"; then three sets in two halves.
    let header = p.bytes(&0x2008_0522u64.to_le_bytes());
    let none = p.bytes(&[0; 24]);
    p.call("drop capabilities", libc::SYS_capset, &[Blob(header), Blob(none)], NotNegative);
    prctl(p, "set no_new_privs", libc::PR_SET_NO_NEW_PRIVS, 1);
    // The change of user took it away, and with it the files of /proc/self; an execution would have given it back.
    prctl(p, "own the process", libc::PR_SET_DUMPABLE, 1);
    if let Some(rules) = rules {
        p.call("set landlock rules", LANDLOCK_RESTRICT_SELF, &[Descriptor(rules), Value(0)], NotNegative);
    }
    let filter: Vec<u8> = setting
        .filter
        .iter()
        .flat_map(|f| {
            let [c0, c1] = f.code.to_ne_bytes();
            let [k0, k1, k2, k3] = f.k.to_ne_bytes();
            [c0, c1, f.jt, f.jf, k0, k1, k2, k3]
        })
        .collect();
    let filter_at = p.bytes(&filter);
    // struct sock_fprog: a count, and after padding the pointer.
    let program = p.numbers(&[setting.filter.len() as u64, 0]);
    p.call("install the seccomp filter", STORE.into(), &[Blob(program + 8), Blob(filter_at)], NotNegative);
    let arguments = [Value(libc::SECCOMP_SET_MODE_FILTER.into()), Value(0), Blob(program)];
    p.call("install the seccomp filter", libc::SYS_seccomp, &arguments, NotNegative);
}

/// Arguments and environment, as the interpreter's side reads them, behind their length.
pub(super) fn payload(spec: &Spec) -> io::Result<Vec<u8>> {
    let argv = strings(spec.argv.iter().cloned())?;
    let env = strings(spec.env.iter().map(super::stage::pair))?;
    let mut payload = vec![0; 4];
    payload.extend((argv.len() as u32).to_le_bytes());
    payload.extend((env.len() as u32).to_le_bytes());
    argv.iter().chain(&env).map(CString::as_bytes_with_nul).for_each(|s| payload.extend(s));
    let length = (payload.len() - 4) as u32;
    payload.splice(..4, length.to_le_bytes());
    Ok(payload)
}
