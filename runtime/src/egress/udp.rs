//! Datagrams of a function to the outside, and the answers: a flow per pair of addresses, as a NAT keeps them.

use super::{Open, Shared, Way, dns};
use squall_sandbox::datagrams::{self, DATAGRAM_BYTES_MAX};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::{Id, JoinSet};
use tokio::time::timeout;

/// A flow in which nothing was sent for so long is forgotten.
const IDLE: Duration = Duration::from_secs(60);
/// Flows of one instance at a time.
const FLOWS_MAX: usize = 256;
/// Queries for names of one instance at a time.
const QUERIES_MAX: usize = 64;

/// From, and meant for.
type Key = (SocketAddrV4, SocketAddrV4);

struct Flow {
    far: UdpSocket,
    /// Something was sent since it was last looked at.
    is_used: AtomicBool,
    _open: Open,
}

#[derive(Default)]
struct Flows {
    by_key: HashMap<Key, Arc<Flow>>,
    tasks: JoinSet<()>,
    keys: HashMap<Id, Key>,
    queries: JoinSet<()>,
}

/// Takes an instance's datagrams until the task is aborted.
pub async fn serve(shared: Arc<Shared>, udp: std::net::UdpSocket, raw: OwnedFd) {
    let Ok(udp) = UdpSocket::from_std(udp) else { return };
    let raw = Arc::new(raw);
    let mut flows = Flows::default();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let received = tokio::select! {
            received = udp.async_io(Interest::READABLE, || datagrams::receive(udp.as_fd(), &mut buffer)) => received,
            Some(ended) = flows.tasks.join_next_with_id() => {
                let id = ended.map_or_else(|e| e.id(), |(id, ())| id);
                if let Some(key) = flows.keys.remove(&id) {
                    flows.by_key.remove(&key);
                }
                continue;
            }
            Some(_) = flows.queries.join_next() => continue,
        };
        let Ok((length, from, meant)) = received else { continue };
        let Some(payload) = buffer.get(..length) else { continue };
        match shared.way(SocketAddr::V4(meant)) {
            Way::Resolver => query(&shared, &mut flows, &raw, (from, meant), payload),
            Way::Outside(_) => send(&shared, &mut flows, &raw, (from, meant), payload).await,
            Way::Nowhere => {}
        }
    }
}

/// A datagram may be lost: what cannot be sent is.
async fn send(shared: &Arc<Shared>, flows: &mut Flows, raw: &Arc<OwnedFd>, key: Key, payload: &[u8]) {
    let flow = match flows.by_key.get(&key) {
        Some(flow) => flow.clone(),
        None => match begin(shared, flows, raw, key).await {
            Ok(flow) => flow,
            Err(_) => return,
        },
    };
    flow.is_used.store(true, Ordering::Relaxed);
    let _ = flow.far.try_send(payload);
}

async fn begin(shared: &Arc<Shared>, flows: &mut Flows, raw: &Arc<OwnedFd>, key: Key) -> io::Result<Arc<Flow>> {
    let open = shared.open().filter(|_| flows.by_key.len() < FLOWS_MAX).ok_or(io::ErrorKind::QuotaExceeded)?;
    let far = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    // Connected, so that only answers of the one that was asked come back.
    far.connect(key.1).await?;
    // Until it has been writable once, a try to send on a new socket fails.
    far.writable().await?;
    let flow = Arc::new(Flow { far, is_used: AtomicBool::new(true), _open: open });
    let id = flows.tasks.spawn(answers(flow.clone(), raw.clone(), key)).id();
    flows.keys.insert(id, key);
    flows.by_key.insert(key, flow.clone());
    Ok(flow)
}

async fn answers(flow: Arc<Flow>, raw: Arc<OwnedFd>, (from, meant): Key) {
    loop {
        if timeout(IDLE, flow.far.readable()).await.is_err() {
            if flow.is_used.swap(false, Ordering::Relaxed) {
                continue;
            }
            return;
        }
        // Only now: a flow that waits should not hold the largest datagram's room.
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        match flow.far.try_recv(&mut buffer) {
            Ok(length) => {
                flow.is_used.store(true, Ordering::Relaxed);
                let _ = datagrams::send(&raw, meant, from, buffer.get(..length).unwrap_or_default());
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            // The far side has nobody there (ICMP): a later datagram may find somebody.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn query(shared: &Arc<Shared>, flows: &mut Flows, raw: &Arc<OwnedFd>, (from, meant): Key, message: &[u8]) {
    if flows.queries.len() >= QUERIES_MAX {
        return;
    }
    let (shared, raw, message) = (shared.clone(), raw.clone(), message.to_vec());
    flows.queries.spawn(async move {
        if let Some(answer) = dns::ask(&shared, &message).await {
            let _ = datagrams::send(&raw, meant, from, &answer);
        }
    });
}
