//! Packets with descriptors over a Unix socket pair.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::check;
use crate::wire::PACKET_BYTES_MAX;

/// Most descriptors in one packet.
const FDS_MAX: usize = 40;
/// Space for their control message; u64 for alignment of `cmsghdr`.
type Control = [u64; 24];

/// A connected pair that keeps packet bounds and notices the end of the peer.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    // SAFETY: the kernel writes two descriptors into an array of two.
    check(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr()) })?;
    // SAFETY: both descriptors were just made and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Sends one packet. Would-block is an error like any other.
pub(crate) fn send(to: BorrowedFd<'_>, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if packet.len() > PACKET_BYTES_MAX || packet.is_empty() || fds.len() > FDS_MAX {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let iov = [IoSlice::new(packet)];
    let mut control: Control = [0; 24];
    // SAFETY: msghdr is plain data for which zeroes are valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = iov.as_ptr().cast_mut().cast();
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        let bytes = size_of_val(fds) as u32;
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: `control` (192 bytes, aligned) holds a header (16) and at most FDS_MAX (40) ints, so the header and
        // data pointers stay inside it; BorrowedFd is a transparent wrapper of a C int.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(bytes) as _;
            let head = libc::CMSG_FIRSTHDR(&message);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = libc::CMSG_LEN(bytes) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), libc::CMSG_DATA(head), bytes as usize);
        }
    }
    loop {
        // SAFETY: `message` points to buffers that outlive the call.
        match check(unsafe { libc::sendmsg(to.as_raw_fd(), &message, libc::MSG_NOSIGNAL) }) {
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Receives one packet into `buffer` (grown to the largest packet); `None` when the peer is gone.
pub(crate) fn receive(from: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<OwnedFd>>> {
    buffer.clear();
    buffer.reserve(PACKET_BYTES_MAX);
    // Not zeroed first: that would cost more than all the rest.
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: PACKET_BYTES_MAX };
    let mut control: Control = [0; 24];
    // SAFETY: msghdr is plain data for which zeroes are valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let received = loop {
        // SAFETY: `message` points to writable buffers of the lengths given, which outlive the call.
        match check(unsafe { libc::recvmsg(from.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) }) {
            Ok(n) => break n as usize,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.raw_os_error() == Some(libc::ECONNRESET) => return Ok(None),
            Err(e) => return Err(e),
        }
    };
    let mut fds = Vec::new();
    // SAFETY: the kernel filled `control` and set its length; the CMSG walk stays inside it. Each int of an SCM_RIGHTS
    // message is a descriptor that the kernel has just installed for this process and that nobody else owns.
    unsafe {
        let mut head = libc::CMSG_FIRSTHDR(&message);
        while !head.is_null() {
            if (*head).cmsg_level == libc::SOL_SOCKET && (*head).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*head).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(head).cast::<RawFd>();
                for i in 0..bytes / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(i).read_unaligned()));
                }
            }
            head = libc::CMSG_NXTHDR(&message, head);
        }
    }
    if received == 0 {
        return Ok(None);
    }
    // SAFETY: the kernel wrote `received` bytes, at most PACKET_BYTES_MAX, for which there is room.
    unsafe { buffer.set_len(received.min(PACKET_BYTES_MAX)) };
    Ok(Some(fds))
}

/// Lets more wait in the socket than the host's usual bound; needs privilege, else nothing changes.
pub(crate) fn widen(fd: BorrowedFd<'_>, bytes: i32) {
    let length = size_of_val(&bytes) as u32;
    let value = (&raw const bytes).cast();
    // SAFETY: the kernel reads one int.
    unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, value, length) };
}

/// Makes operations on the open file description return instead of wait.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: fcntl with an integer argument on an open descriptor touches no memory.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

/// A pipe: (read end, write end).
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    // SAFETY: the kernel writes two descriptors into an array of two.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: both descriptors were just made and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}
