//! Netlink: requests to the kernel's network configuration, each answered before the next is made.
//!
//! Only what a fresh network namespace needs is here: addresses, routes, and a batch of nftables' own messages. Numbers are
//! those of `linux/rtnetlink.h`, `linux/netfilter/nfnetlink.h` and `linux/netfilter/nf_tables.h`.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::check;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;
const TYPE_ERROR: u16 = 2;
const HEAD_BYTES: usize = 16;
const NESTED: u16 = 0x8000;

/// Attributes of a message, and nested ones.
#[derive(Default)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    /// Adds one, padded to four bytes.
    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(((value.len() + 4) as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// A number in network order, as nftables has them.
    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A terminated string.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub(crate) fn nest(self, kind: u16, inner: Attributes) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }
}

/// Messages to be sent in one packet.
#[derive(Default)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    /// How many of them are acknowledged.
    acks: usize,
}

impl Messages {
    /// Adds a message: a request that makes something, acknowledged.
    pub(crate) fn make(&mut self, kind: u16, head: &[u8], attributes: Attributes) {
        self.push(kind, REQUEST | ACK | CREATE | EXCLUSIVE, head, attributes);
        self.acks += 1;
    }

    /// Adds one that is not acknowledged: the bounds of a batch.
    pub(crate) fn mark(&mut self, kind: u16, head: &[u8]) {
        self.push(kind, REQUEST, head, Attributes::default());
    }

    fn push(&mut self, kind: u16, flags: u16, head: &[u8], attributes: Attributes) {
        let length = HEAD_BYTES + head.len().next_multiple_of(4) + attributes.0.len();
        self.bytes.extend((length as u32).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        // Sequence number and port: nothing else is under way on the socket.
        self.bytes.extend([0; 8]);
        self.bytes.extend(head);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend(attributes.0);
    }
}

/// Sends the messages to one of the kernel's parts and waits for every answer.
pub(crate) fn talk(protocol: libc::c_int, messages: Messages) -> io::Result<()> {
    let socket = open(protocol)?;
    // SAFETY: the kernel reads as many bytes as the vector has.
    check(unsafe { libc::send(socket.as_raw_fd(), messages.bytes.as_ptr().cast(), messages.bytes.len(), 0) })?;
    let mut buffer = vec![0u8; 16 << 10];
    let mut left = messages.acks;
    while left > 0 {
        // SAFETY: the kernel writes at most as many bytes as the vector has.
        let n = check(unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) })?;
        let mut rest = buffer.get(..n as usize).unwrap_or_default();
        while let Some((error, behind)) = answer(rest) {
            rest = behind;
            match error {
                Some(0) => left = left.saturating_sub(1),
                Some(error) => return Err(io::Error::from_raw_os_error(-error)),
                None => {}
            }
        }
    }
    Ok(())
}

/// The first message of a packet, as an error number where it is an answer, and what follows.
fn answer(packet: &[u8]) -> Option<(Option<i32>, &[u8])> {
    let length = u32::from_ne_bytes(packet.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(packet.get(4..6)?.try_into().ok()?);
    if length < HEAD_BYTES {
        return None;
    }
    let error = match packet.get(HEAD_BYTES..HEAD_BYTES + 4) {
        Some(number) if kind == TYPE_ERROR => Some(i32::from_ne_bytes(number.try_into().ok()?)),
        _ => None,
    };
    Some((error, packet.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn open(protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: integers only.
    let fd = check(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: sockaddr_nl is plain data for which zeroes are valid: the kernel chooses the port.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as u16;
    let size = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the kernel reads one sockaddr_nl. Connecting to address 0, the kernel, lets `send` do.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), size) })?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_messages_have_their_length() {
        let attributes = Attributes::default().text(1, "ab").number(2, 1);
        assert_eq!(attributes.0.len(), 8 + 8);
        let mut messages = Messages::default();
        messages.make(7, &[1, 2, 3], attributes);
        assert_eq!(messages.bytes.len(), HEAD_BYTES + 4 + 16);
        assert_eq!(messages.bytes[..4], ((HEAD_BYTES + 20) as u32).to_ne_bytes());
        assert_eq!(messages.acks, 1);
    }

    #[test]
    fn answers_are_read_one_by_one() {
        let mut packet = Vec::new();
        for error in [0i32, -17] {
            packet.extend(20u32.to_ne_bytes());
            packet.extend(TYPE_ERROR.to_ne_bytes());
            packet.extend([0; 10]);
            packet.extend(error.to_ne_bytes());
        }
        let (first, rest) = answer(&packet).expect("a message");
        let (second, rest) = answer(rest).expect("a message");
        assert_eq!((first, second, rest.len()), (Some(0), Some(-17), 0));
        assert!(answer(rest).is_none() && answer(&[1, 0, 0, 0, 0, 0]).is_none());
    }
}
