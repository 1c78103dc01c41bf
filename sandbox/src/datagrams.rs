//! Datagrams between a worker and addresses outside, at the sockets of [`crate::EgressSockets`].

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::net;

const IP_BYTES: usize = 20;
const UDP_BYTES: usize = 8;
/// What an IPv4 packet can hold.
pub const DATAGRAM_BYTES_MAX: usize = 65_535 - IP_BYTES - UDP_BYTES;

/// Takes the next datagram of the worker: its length in `buffer`, where it is from, where it was meant to go.
///
/// # Errors
/// `WouldBlock` when there is none.
pub fn receive(udp: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddrV4, SocketAddrV4)> {
    net::receive_meant(udp, buffer)
}

/// Gives a datagram to the worker's socket at `to`, as if it came from `from`.
///
/// # Errors
/// It is too large, or the worker's namespace takes no more.
pub fn send(raw: &OwnedFd, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> io::Result<()> {
    net::send_raw(raw.as_fd(), &packet(from, to, payload)?, to)
}

/// IPv4 and UDP headers and the payload. No UDP checksum (0, which says so): it never leaves this machine's memory. The kernel
/// fills in the IP checksum and identification.
fn packet(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> io::Result<Vec<u8>> {
    if payload.len() > DATAGRAM_BYTES_MAX {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let udp_bytes = (UDP_BYTES + payload.len()) as u16;
    let total = udp_bytes + IP_BYTES as u16;
    let mut packet = Vec::with_capacity(usize::from(total));
    // Version 4, five words of header; type of service.
    packet.extend([0x45, 0]);
    packet.extend(total.to_be_bytes());
    // Identification, fragmentation; time to live; protocol; checksum.
    packet.extend([0, 0, 0, 0, 64, libc::IPPROTO_UDP as u8, 0, 0]);
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(udp_bytes.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_has_its_headers() {
        let (from, to) = ("198.51.100.7:53".parse().expect("from"), "169.254.76.1:4000".parse().expect("to"));
        let packet = packet(from, to, b"hello").expect("a packet");
        assert_eq!((packet.len(), packet[3], packet[9]), (33, 33, 17));
        assert_eq!(packet[12..20], [198, 51, 100, 7, 169, 254, 76, 1]);
        assert_eq!(packet[20..26], [0, 53, 0x0f, 0xa0, 0, 13]);
        assert!(super::packet(from, to, &vec![0; DATAGRAM_BYTES_MAX + 1]).is_err());
    }
}
