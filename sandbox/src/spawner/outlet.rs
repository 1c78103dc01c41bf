//! The way out of a worker's network namespace: every address outside is made local to it, and what is sent there arrives
//! at sockets that the server holds.
//!
//! No interface leads out. A route makes the addresses that [`Egress`] opens local to the namespace; nftables' `tproxy`, in the
//! same namespace, gives TCP connections and UDP packets for them to two transparent sockets, whatever the port. Who holds
//! those accepts a connection, sees the address that was meant, and makes the connection from the host. Nothing of this is
//! seen on the host, and all of it ends with the namespace.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use crate::egress::{Egress, NAME_SERVER, Network, WORKER_ADDRESS};
use crate::sys::netlink::{Attributes, Messages, talk};
use crate::sys::process::{self, Side};
use crate::sys::{Context, net};

/// Where the sockets listen on the loopback interface: above what the kernel gives out by itself.
const PORT: u16 = 65_001;

const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// The loopback interface is the first of every namespace.
const LOOPBACK: u32 = 1;
const TABLE_MAIN: u8 = 254;
const PROTOCOL_STATIC: u8 = 4;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_HOST: u8 = 254;
const ROUTE_LOCAL: u8 = 2;
const ROUTE_UNREACHABLE: u8 = 7;

/// nftables' subsystem, and its messages.
const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const FAMILY_IPV4: u8 = 2;
/// The hook `prerouting`, at the priority of packet mangling.
const PREROUTING: u32 = 0;
const PRIORITY: i32 = -150;
const TABLE: &str = "squall";
const CHAIN: &str = "out";

/// How many descriptors come of it: TCP, UDP, and a raw socket that answers for others.
pub(super) const SOCKETS: usize = 3;

/// Makes the way out of the current network namespace.
pub(super) fn open(egress: &Egress) -> io::Result<[OwnedFd; SOCKETS]> {
    talk(libc::NETLINK_ROUTE, address()).context("give the loopback interface an address")?;
    talk(libc::NETLINK_ROUTE, routes(egress)).context("make routes")?;
    let here = SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT);
    let tcp = net::transparent_listener(here).context("listen for connections")?;
    let udp = net::transparent_datagrams(here).context("listen for datagrams")?;
    let raw = net::raw_sender().context("make a raw socket")?;
    talk(libc::NETLINK_NETFILTER, redirection()).context("make nftables rules")?;
    Ok([tcp, udp, raw])
}

/// Tries it in a namespace of its own that is gone afterwards.
pub(super) fn try_out(egress: &Egress) -> Result<(), String> {
    let (reader, writer) = crate::sys::socket::pipe().map_err(|e| e.to_string())?;
    match process::clone(0).map_err(|e| e.to_string())? {
        Side::Child => {
            let tried = process::unshare(libc::CLONE_NEWNET).and_then(|()| net::loopback_up());
            if let Err(e) = tried.and_then(|()| open(egress).map(drop)) {
                let _ = process::write(std::os::fd::AsFd::as_fd(&writer), e.to_string().as_bytes());
            }
            process::exit(0)
        }
        Side::Parent(pid, _) => {
            drop(writer);
            let mut said = String::new();
            let read = io::Read::read_to_string(&mut std::fs::File::from(reader), &mut said);
            let _ = process::wait(pid);
            match read {
                Ok(_) if said.is_empty() => Ok(()),
                Ok(_) => Err(said),
                Err(e) => Err(e.to_string()),
            }
        }
    }
}

fn address() -> Messages {
    let mut messages = Messages::default();
    let mut head = vec![libc::AF_INET as u8, 32, 0, SCOPE_UNIVERSE];
    head.extend(LOOPBACK.to_ne_bytes());
    let octets = WORKER_ADDRESS.octets();
    // IFA_LOCAL and IFA_ADDRESS.
    messages.make(NEW_ADDRESS, &head, Attributes::default().bytes(2, &octets).bytes(1, &octets));
    messages
}

fn routes(egress: &Egress) -> Messages {
    let mut messages = Messages::default();
    for route in egress.routes() {
        add_route(&mut messages, route.network, route.is_open);
    }
    add_route(&mut messages, Network { address: NAME_SERVER, prefix: 32 }, true);
    messages
}

fn add_route(messages: &mut Messages, network: Network, is_open: bool) {
    let (scope, kind) = if is_open { (SCOPE_HOST, ROUTE_LOCAL) } else { (SCOPE_UNIVERSE, ROUTE_UNREACHABLE) };
    let head = [libc::AF_INET as u8, network.prefix, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, scope, kind, 0, 0, 0, 0];
    let mut attributes = Attributes::default();
    if network.prefix > 0 {
        // RTA_DST
        attributes = attributes.bytes(1, &network.address.octets());
    }
    if is_open {
        // RTA_OIF, RTA_PREFSRC
        attributes = attributes.bytes(4, &LOOPBACK.to_ne_bytes()).bytes(7, &WORKER_ADDRESS.octets());
    }
    messages.make(NEW_ROUTE, &head, attributes);
}

/// The rules: what is not for the loopback interface's own addresses goes to the socket of its protocol.
fn redirection() -> Messages {
    let mut messages = Messages::default();
    let bounds = [0, 0, 0, 10];
    let head = [FAMILY_IPV4, 0, 0, 0];
    messages.mark(BATCH_BEGIN, &bounds);
    messages.make(NEW_TABLE, &head, Attributes::default().text(1, TABLE));
    let hook = Attributes::default().number(1, PREROUTING).number(2, PRIORITY as u32);
    let chain = Attributes::default().text(1, TABLE).text(3, CHAIN).nest(4, hook).text(7, "filter");
    messages.make(NEW_CHAIN, &head, chain);
    for protocol in [libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
        let rule = Attributes::default().text(1, TABLE).text(2, CHAIN).nest(4, expressions(protocol as u8));
        messages.make(NEW_RULE, &head, rule);
    }
    messages.mark(BATCH_END, &bounds);
    messages
}

/// `ip daddr != 127.0.0.0/8 meta l4proto PROTOCOL tproxy to 127.0.0.1:PORT`.
fn expressions(protocol: u8) -> Attributes {
    const REGISTER: u32 = 1;
    const PORT_REGISTER: u32 = 2;
    const EQUAL: u32 = 0;
    const NOT_EQUAL: u32 = 1;
    let none = Attributes::default;
    let data = |bytes: &[u8]| none().bytes(1, bytes);
    let compare = |how: u32, with: &[u8]| ("cmp", none().number(1, REGISTER).number(2, how).nest(3, data(with)));
    let load = |register: u32, value: &[u8]| ("immediate", none().number(1, register).nest(2, data(value)));
    // The first byte of the destination, at offset 16 of the network header (1).
    let destination = ("payload", none().number(1, REGISTER).number(2, 1).number(3, 16).number(4, 1));
    let kind = ("meta", none().number(1, REGISTER).number(2, 16));
    let proxy = ("tproxy", none().number(1, u32::from(FAMILY_IPV4)).number(2, REGISTER).number(3, PORT_REGISTER));
    let list = [
        destination,
        compare(NOT_EQUAL, &[127]),
        kind,
        compare(EQUAL, &[protocol]),
        load(REGISTER, &Ipv4Addr::LOCALHOST.octets()),
        load(PORT_REGISTER, &PORT.to_be_bytes()),
        proxy,
    ];
    list.into_iter().fold(none(), |all, (name, inner)| all.nest(1, none().text(1, name).nest(2, inner)))
}
