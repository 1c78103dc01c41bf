//! The system calls that a worker may make: a seccomp filter as a BPF program.
//!
//! Allowed is what Node, Python, the JVM and native programs use. What is known and refused answers EPERM; what is not
//! listed answers ENOSYS, as an older kernel would, so that C libraries fall back to what they know. Arguments are
//! looked at for `clone` (no new namespaces), `socket` (no raw, packet or vsock sockets, of netlink only routes),
//! `mknod` (no devices), `ioctl` (no typing into terminals) and `personality`. `clone3` answers ENOSYS since a filter
//! cannot look into its structure.

use std::io;

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS, sock_filter, sock_fprog};

use super::check;
use super::syscalls::{ALLOWED, ALLOWED_OLD, REFUSED, REFUSED_OLD};

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7;

/// x86-64 calls by their 32-bit-pointer numbers begin here; nothing is allowed through that door.
#[cfg(target_arch = "x86_64")]
const X32_FIRST: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;
/// The low half (little endian) of argument n; all arguments looked at are ints or flags below 2^32.
const fn argument_at(n: u32) -> u32 {
    16 + 8 * n
}

/// Flags of clone that make namespaces.
const NAMESPACE_FLAGS: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

const PERMISSION: u32 = SECCOMP_RET_ERRNO | libc::EPERM as u32;
const NO_SUCH_CALL: u32 = SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const NO_SUCH_FAMILY: u32 = SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn load(at: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, at)
}

fn answer(what: u32) -> sock_filter {
    statement(BPF_RET | BPF_K, what)
}

/// Skips `jt` instructions if the comparison holds, else `jf`.
fn jump(comparison: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | comparison | BPF_K) as u16, jt, jf, k }
}

/// A call that is decided by the instructions of `body`, each path of which ends in an answer.
fn decide(program: &mut Vec<sock_filter>, call: libc::c_long, body: Vec<sock_filter>) {
    // Bodies are a dozen instructions: the distance fits.
    program.push(jump(BPF_JEQ, call as u32, 0, body.len() as u8));
    program.extend(body);
}

/// The call is answered `then` if its argument is one of `values`, else `otherwise`.
fn one_of(argument: u32, mask: u32, values: &[u32], then: u32, otherwise: u32) -> Vec<sock_filter> {
    let mut body = vec![load(argument_at(argument)), statement(BPF_ALU | BPF_AND | BPF_K, mask)];
    for value in values {
        body.push(jump(BPF_JEQ, *value, 0, 1));
        body.push(answer(then));
    }
    body.push(answer(otherwise));
    body
}

fn socket_body() -> Vec<sock_filter> {
    // After the family tests come the type tests, at the end.
    let types = [libc::SOCK_STREAM as u32, libc::SOCK_DGRAM as u32, libc::SOCK_SEQPACKET as u32];
    let tail = one_of(1, 0xF, &types, SECCOMP_RET_ALLOW, PERMISSION);
    let mut body = vec![
        load(argument_at(0)),
        jump(BPF_JEQ, libc::AF_UNIX as u32, 7, 0),
        jump(BPF_JEQ, libc::AF_INET as u32, 6, 0),
        jump(BPF_JEQ, libc::AF_INET6 as u32, 5, 0),
        jump(BPF_JEQ, libc::AF_NETLINK as u32, 1, 0),
        answer(NO_SUCH_FAMILY),
        load(argument_at(2)),
        // getifaddrs asks NETLINK_ROUTE, which is 0.
        jump(BPF_JEQ, libc::NETLINK_ROUTE as u32, 0, tail.len() as u8),
        answer(SECCOMP_RET_ALLOW),
    ];
    body.extend(tail);
    // The tail's last instruction is the refusal to which a netlink of another kind jumps.
    body
}

/// The whole filter.
pub(crate) fn program() -> Vec<sock_filter> {
    let mut p = vec![load(ARCH_AT), jump(BPF_JEQ, ARCH, 1, 0), answer(SECCOMP_RET_KILL_PROCESS), load(NUMBER_AT)];
    #[cfg(target_arch = "x86_64")]
    p.extend([jump(BPF_JGE, X32_FIRST, 0, 1), answer(NO_SUCH_CALL)]);

    let clone = vec![
        load(argument_at(0)),
        jump(BPF_JSET, NAMESPACE_FLAGS, 0, 1),
        answer(PERMISSION),
        answer(SECCOMP_RET_ALLOW),
    ];
    decide(&mut p, libc::SYS_clone, clone);
    decide(&mut p, libc::SYS_socket, socket_body());
    let devices = [libc::S_IFCHR, libc::S_IFBLK];
    let no_device = |argument| one_of(argument, libc::S_IFMT, &devices, PERMISSION, SECCOMP_RET_ALLOW);
    decide(&mut p, libc::SYS_mknodat, no_device(2));
    #[cfg(target_arch = "x86_64")]
    decide(&mut p, libc::SYS_mknod, no_device(1));
    // TIOCSTI, TIOCSETD and TIOCLINUX act on whoever else uses the terminal.
    let typing = [0x5412, 0x5423, 0x541C];
    decide(&mut p, libc::SYS_ioctl, one_of(1, u32::MAX, &typing, PERMISSION, SECCOMP_RET_ALLOW));
    // Linux with 64 or 32 bits, with or without the short uname, or the question which it is.
    let personalities = [0, 8, 0x2_0000, 0x2_0008, u32::MAX];
    decide(&mut p, libc::SYS_personality, one_of(0, u32::MAX, &personalities, SECCOMP_RET_ALLOW, PERMISSION));

    search(&mut p, &runs());
    p
}

/// First numbers of runs of calls with the same answer, sorted; a run ends where the next begins.
fn runs() -> Vec<(u32, u32)> {
    let mut runs = vec![(0, NO_SUCH_CALL)];
    let allowed = ranges(&[ALLOWED, ALLOWED_OLD].concat()).into_iter().map(|r| (r, SECCOMP_RET_ALLOW));
    let refused = ranges(&[REFUSED, REFUSED_OLD].concat()).into_iter().map(|r| (r, PERMISSION));
    let mut all: Vec<_> = allowed.chain(refused).collect();
    all.sort_unstable();
    for ((first, last), what) in all {
        runs.retain(|(start, _)| *start != first);
        runs.extend([(first, what), (last + 1, NO_SUCH_CALL)]);
    }
    runs
}

/// A binary search over the runs. The kernel tries a new filter with every call to learn what it always allows, so a
/// list of tests would cost at each start (0.15 ms) and not only at each call.
fn search(program: &mut Vec<sock_filter>, runs: &[(u32, u32)]) {
    match runs {
        [] => program.push(answer(NO_SUCH_CALL)),
        [(_, what)] => program.push(answer(*what)),
        _ => {
            let (low, high) = runs.split_at(runs.len() / 2);
            let mut below = Vec::new();
            search(&mut below, low);
            // Far jumps have 32 bits: over the lower half if the number is in the upper.
            program.push(jump(BPF_JGE, high[0].0, 0, 1));
            program.push(statement(BPF_JMP | BPF_JA, below.len() as u32));
            program.extend(below);
            search(program, high);
        }
    }
}

/// Sorted numbers as inclusive ranges.
fn ranges(list: &[libc::c_long]) -> Vec<(u32, u32)> {
    let mut numbers: Vec<u32> = list.iter().map(|n| *n as u32).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for n in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => ranges.push((n, n)),
        }
    }
    ranges
}

/// Whether the kernel knows filters that answer error numbers.
pub(crate) fn available() -> io::Result<()> {
    let action = SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads one u32.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &action) })?;
    Ok(())
}

/// Puts the filter in force for this thread and all it becomes; needs no_new_privs.
pub(crate) fn install(program: &[sock_filter]) -> io::Result<()> {
    let program = sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions from a slice of that length.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer: a machine for the instructions used here.
    fn run(program: &[sock_filter], arch: u32, call: libc::c_long, arguments: [u32; 3]) -> u32 {
        let (mut at, mut a) = (0, 0u32);
        loop {
            let i = program[at];
            at += 1;
            let test = |holds: bool| usize::from(if holds { i.jt } else { i.jf });
            match u32::from(i.code) {
                c if c == BPF_LD | BPF_W | BPF_ABS => {
                    a = match i.k {
                        NUMBER_AT => call as u32,
                        ARCH_AT => arch,
                        k => arguments[(k as usize - 16) / 8],
                    }
                }
                c if c == BPF_ALU | BPF_AND | BPF_K => a &= i.k,
                c if c == BPF_JMP | BPF_JEQ | BPF_K => at += test(a == i.k),
                c if c == BPF_JMP | BPF_JGE | BPF_K => at += test(a >= i.k),
                c if c == BPF_JMP | BPF_JSET | BPF_K => at += test(a & i.k != 0),
                c if c == BPF_JMP | BPF_JA => at += i.k as usize,
                c if c == BPF_RET | BPF_K => return i.k,
                c => panic!("unknown instruction {c:#x}"),
            }
        }
    }

    #[test]
    fn filter_answers_as_its_description_says() {
        const OK: u32 = SECCOMP_RET_ALLOW;
        let raw_inet = [libc::AF_INET as u32, libc::SOCK_RAW as u32, 0];
        let stream = |family: i32| [family as u32, (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u32, 0];
        let netlink = |protocol: i32| [libc::AF_NETLINK as u32, libc::SOCK_RAW as u32, protocol as u32];
        let cases = [
            (libc::SYS_read, [0; 3], OK),
            (libc::SYS_execve, [0; 3], OK),
            (libc::SYS_clone, [libc::CLONE_VM as u32 | libc::CLONE_THREAD as u32, 0, 0], OK),
            (libc::SYS_clone, [libc::CLONE_NEWUSER as u32, 0, 0], PERMISSION),
            (libc::SYS_clone3, [0; 3], NO_SUCH_CALL),
            (libc::SYS_unshare, [0; 3], PERMISSION),
            (libc::SYS_setns, [0; 3], PERMISSION),
            (libc::SYS_mount, [0; 3], PERMISSION),
            (libc::SYS_ptrace, [0; 3], PERMISSION),
            (libc::SYS_bpf, [0; 3], PERMISSION),
            (libc::SYS_keyctl, [0; 3], PERMISSION),
            (libc::SYS_io_uring_setup, [0; 3], NO_SUCH_CALL),
            (libc::SYS_socket, stream(libc::AF_INET), OK),
            (libc::SYS_socket, stream(libc::AF_INET6), OK),
            (libc::SYS_socket, stream(libc::AF_UNIX), OK),
            (libc::SYS_socket, stream(libc::AF_VSOCK), NO_SUCH_FAMILY),
            (libc::SYS_socket, stream(libc::AF_PACKET), NO_SUCH_FAMILY),
            (libc::SYS_socket, raw_inet, PERMISSION),
            (libc::SYS_socket, netlink(libc::NETLINK_ROUTE), OK),
            (libc::SYS_socket, netlink(libc::NETLINK_NETFILTER), PERMISSION),
            (libc::SYS_mknodat, [0, 0, libc::S_IFIFO | 0o600], OK),
            (libc::SYS_mknodat, [0, 0, libc::S_IFBLK | 0o600], PERMISSION),
            (libc::SYS_ioctl, [0, 0x5412, 0], PERMISSION),
            (libc::SYS_ioctl, [0, 0x5401, 0], OK),
            (libc::SYS_personality, [0x40_0000, 0, 0], PERMISSION),
            (100_000, [0; 3], NO_SUCH_CALL),
        ];
        let program = program();
        for (call, arguments, expected) in cases {
            assert_eq!(run(&program, ARCH, call, arguments), expected, "call {call} {arguments:?}");
        }
        assert_eq!(run(&program, 0x4000_0003, libc::SYS_read, [0; 3]), SECCOMP_RET_KILL_PROCESS);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(run(&program, ARCH, i64::from(X32_FIRST) + libc::SYS_read, [0; 3]), NO_SUCH_CALL);
    }

    #[test]
    fn no_call_is_both_allowed_and_refused() {
        assert!([ALLOWED, ALLOWED_OLD].concat().iter().all(|n| !REFUSED.contains(n) && !REFUSED_OLD.contains(n)));
        assert!(program().len() < 4096, "the kernel's limit");
    }

    #[test]
    fn search_answers_every_number_as_the_lists_do() {
        let program = program();
        let special = [libc::SYS_clone, libc::SYS_socket, libc::SYS_mknodat, libc::SYS_ioctl, libc::SYS_personality];
        let [allowed, refused] = [[ALLOWED, ALLOWED_OLD].concat(), [REFUSED, REFUSED_OLD].concat()];
        for call in (0..1000).filter(|n| !special.contains(n)) {
            let expected = match call {
                _ if allowed.contains(&call) => SECCOMP_RET_ALLOW,
                _ if refused.contains(&call) => PERMISSION,
                // mknod, whose argument decides.
                133 if cfg!(target_arch = "x86_64") => SECCOMP_RET_ALLOW,
                _ => NO_SUCH_CALL,
            };
            assert_eq!(run(&program, ARCH, call, [0; 3]), expected, "call {call}");
        }
    }
}
