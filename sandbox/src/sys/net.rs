//! The network namespace's loopback interface, and sockets that stand in for what is outside.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// Sets `lo` of the current network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: socket takes integers only.
    let fd = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: ifreq is plain data for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) })?;
    Ok(())
}

/// A socket of the current network namespace, without blocking.
fn socket(kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: integers only.
    let fd = check(unsafe { libc::socket(libc::AF_INET, kind, protocol) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set(socket: &OwnedFd, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the kernel reads one int.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_IP, option, (&raw const on).cast(), size) })?;
    Ok(())
}

fn bind(socket: &OwnedFd, address: SocketAddrV4) -> io::Result<()> {
    // SAFETY: sockaddr_in is plain data for which zeroes are valid.
    let mut name: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    name.sin_family = libc::AF_INET as libc::sa_family_t;
    name.sin_port = address.port().to_be();
    name.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
    let size = size_of_val(&name) as libc::socklen_t;
    // SAFETY: the kernel reads one sockaddr_in.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const name).cast(), size) })?;
    Ok(())
}

/// Listens for connections that are meant for others; an accepted one's local address is the one that was meant.
pub(crate) fn transparent_listener(address: SocketAddrV4) -> io::Result<OwnedFd> {
    let listener = socket(libc::SOCK_STREAM, 0)?;
    set(&listener, libc::IP_TRANSPARENT)?;
    bind(&listener, address)?;
    // SAFETY: integers only.
    check(unsafe { libc::listen(listener.as_raw_fd(), 256) })?;
    Ok(listener)
}

/// Receives packets that are meant for others, with the address that was meant.
pub(crate) fn transparent_datagrams(address: SocketAddrV4) -> io::Result<OwnedFd> {
    let socket = socket(libc::SOCK_DGRAM, 0)?;
    set(&socket, libc::IP_TRANSPARENT)?;
    set(&socket, libc::IP_RECVORIGDSTADDR)?;
    bind(&socket, address)?;
    Ok(socket)
}

/// Sends packets with headers of their own.
pub(crate) fn raw_sender() -> io::Result<OwnedFd> {
    socket(libc::SOCK_RAW, libc::IPPROTO_RAW)
}

/// Receives a packet from a socket of [`transparent_datagrams`]: its length, where it is from, where it was meant to go.
pub(crate) fn receive_meant(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddrV4, SocketAddrV4)> {
    // SAFETY: sockaddr_in is plain data for which zeroes are valid.
    let mut from: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // Room for one address with its header; u64 for alignment.
    let mut control = [0u64; 8];
    // SAFETY: msghdr is plain data for which zeroes are valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = size_of_val(&from) as libc::socklen_t;
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: `message` points to writable buffers of the lengths given, which outlive the call.
    let n = check(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_DONTWAIT) })?;
    let mut meant = None;
    // SAFETY: the kernel has filled `control` and set its length; the macros stay within it. An IP_ORIGDSTADDR message holds a
    // sockaddr_in, read without regard to alignment.
    unsafe {
        let mut head = libc::CMSG_FIRSTHDR(&message);
        while !head.is_null() {
            if (*head).cmsg_level == libc::SOL_IP && (*head).cmsg_type == libc::IP_ORIGDSTADDR {
                meant = Some(libc::CMSG_DATA(head).cast::<libc::sockaddr_in>().read_unaligned());
            }
            head = libc::CMSG_NXTHDR(&message, head);
        }
    }
    let meant = meant.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok((n as usize, address(&from), address(&meant)))
}

fn address(name: &libc::sockaddr_in) -> SocketAddrV4 {
    SocketAddrV4::new(name.sin_addr.s_addr.to_ne_bytes().into(), u16::from_be(name.sin_port))
}

/// Sends one packet, header included, through a socket of [`raw_sender`].
pub(crate) fn send_raw(socket: BorrowedFd<'_>, packet: &[u8], to: SocketAddrV4) -> io::Result<()> {
    // SAFETY: sockaddr_in is plain data for which zeroes are valid.
    let mut name: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    name.sin_family = libc::AF_INET as libc::sa_family_t;
    name.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
    let size = size_of_val(&name) as libc::socklen_t;
    let (data, length) = (packet.as_ptr().cast(), packet.len());
    // SAFETY: the kernel reads as many bytes as the slice has, and one sockaddr_in.
    check(unsafe {
        libc::sendto(socket.as_raw_fd(), data, length, libc::MSG_DONTWAIT, (&raw const name).cast(), size)
    })?;
    Ok(())
}
