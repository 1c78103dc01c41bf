//! What functions send to the internet: taken from their sandboxes and sent on from the host, as far as the settings open it.
//!
//! A sandbox has no interface but its loopback one; connections and datagrams for open addresses arrive at sockets that the
//! server holds ([`squall_sandbox::EgressSockets`]). For each the relay asks the table once more, refuses every address of the host
//! itself, and makes the connection from the host: so the host's own routes, firewall and resolvers are in force, nothing is
//! changed on it, and nothing is left after a crash.
//!
//! The relay has a thread of its own: bulk traffic does not stand between an invocation and its answer.
//!
//! A connection is accepted before the far side is asked: one that is refused or cannot be made is reset instead.

mod dns;
mod setting;
mod tcp;
mod udp;

pub use setting::Setting;

use squall_sandbox::{Egress, EgressSockets};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Connections of one instance at a time; a function has 1,024 open files.
const PER_INSTANCE_MAX: usize = 512;
/// Connections and flows of all instances: each takes one or two descriptors of the server, a connection 32 KiB as well.
const IN_ALL_MAX: usize = 8192;

/// Relays for every instance. Dropping it ends all relaying.
pub struct Relay {
    runtime: Handle,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

pub(crate) struct Shared {
    egress: Egress,
    resolv_conf: PathBuf,
    open: AtomicUsize,
}

impl Relay {
    /// Starts the relay's thread. `resolv_conf` names the host's resolvers.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(egress: Egress, resolv_conf: PathBuf) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        // Ends when the sender is dropped.
        std::thread::Builder::new().name("egress".into()).spawn(move || {
            let _ = runtime.block_on(stopped);
        })?;
        let shared = Arc::new(Shared { egress, resolv_conf, open: AtomicUsize::new(0) });
        Ok(Self { runtime: handle, shared, _stop: stop })
    }

    /// Relays for one instance until the answer is dropped.
    #[must_use]
    pub fn serve(&self, sockets: EgressSockets) -> Serving {
        let EgressSockets { tcp, udp, raw } = sockets;
        let connections = self.runtime.spawn(tcp::serve(self.shared.clone(), tcp)).abort_handle();
        let datagrams = self.runtime.spawn(udp::serve(self.shared.clone(), udp, raw)).abort_handle();
        Serving([connections, datagrams])
    }
}

/// Ends an instance's connections when dropped.
pub struct Serving([AbortHandle; 2]);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Where something that a function sends goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To the host's resolvers.
    Resolver,
    Outside(SocketAddrV4),
    Nowhere,
}

impl Shared {
    /// Where what was meant for this address goes.
    fn way(&self, meant: SocketAddr) -> Way {
        let SocketAddr::V4(meant) = meant else { return Way::Nowhere };
        if *meant.ip() == squall_sandbox::NAME_SERVER {
            return if meant.port() == dns::PORT { Way::Resolver } else { Way::Nowhere };
        }
        let Some(route) = self.egress.route(*meant.ip()).filter(|r| r.is_open) else { return Way::Nowhere };
        // An address of this host only if it is named by itself, not with a network that it happens to be in.
        if route.network.prefix < 32 && is_own(*meant.ip()) {
            return Way::Nowhere;
        }
        Way::Outside(meant)
    }

    /// Counts a connection or flow; `None` when there are too many.
    fn open(self: &Arc<Self>) -> Option<Open> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(self.clone());
        (before < IN_ALL_MAX).then_some(open)
    }
}

struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether an address is one of this host's own: what is sent there would come from there. Nothing is sent to find out. Where that
/// cannot be told, the address counts as the host's.
fn is_own(address: Ipv4Addr) -> bool {
    let source = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        // Port 9 (discard): connecting a datagram socket only looks up the route.
        match socket.connect((address, 9)) {
            Ok(()) => socket.local_addr().map(Some),
            // There is no way to it, which the connection itself will say.
            Err(e) if e.kind() == io::ErrorKind::NetworkUnreachable || e.kind() == io::ErrorKind::HostUnreachable => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    });
    match source {
        Ok(source) => source.is_some_and(|s| s.ip() == address),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_open_addresses_that_are_not_the_hosts_have_a_way() {
        let open = ["127.0.0.2".parse().expect("a network")];
        assert!(Egress::new(false, &open).is_err());
        let shared = Shared { egress: Egress::internet(), resolv_conf: "/nowhere".into(), open: AtomicUsize::new(0) };
        let way = |text: &str| shared.way(text.parse().expect("an address"));
        assert_eq!(way("169.254.78.1:53"), Way::Resolver);
        for closed in ["169.254.78.1:80", "169.254.169.254:80", "10.0.0.1:53", "127.0.0.1:65001", "[::1]:53"] {
            assert_eq!(way(closed), Way::Nowhere, "{closed}");
        }
        assert!(is_own(Ipv4Addr::LOCALHOST));
    }
}
