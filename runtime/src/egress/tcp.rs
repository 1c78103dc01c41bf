//! Connections of a function to the outside.

use super::{PER_INSTANCE_MAX, Shared, Way, dns};
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longer than the host's own patience would be of no use to a function: most run for less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// What one direction of a connection holds at a time.
const BUFFER_BYTES: usize = 16 << 10;

/// Takes an instance's connections until the task is aborted, which closes them.
pub async fn serve(shared: Arc<Shared>, listener: std::net::TcpListener) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < PER_INSTANCE_MAX => {
                    connections.spawn(one(shared.clone(), stream));
                }
                Ok((stream, _)) => reset(&stream),
                // Out of descriptors, most likely: leave the others time to close some.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn one(shared: Arc<Shared>, mut stream: TcpStream) {
    let counted = shared.open();
    let way = match stream.local_addr() {
        Ok(meant) if counted.is_some() => shared.way(meant),
        _ => Way::Nowhere,
    };
    let done = match way {
        Way::Resolver => dns::connection(&shared, &mut stream).await,
        Way::Outside(to) => relay(&mut stream, to).await,
        Way::Nowhere => Err(io::ErrorKind::PermissionDenied.into()),
    };
    if done.is_err() {
        reset(&stream);
    }
}

async fn relay(stream: &mut TcpStream, to: SocketAddrV4) -> io::Result<()> {
    let connect = TcpStream::connect(SocketAddr::V4(to));
    let mut far = timeout(CONNECT_TIMEOUT, connect).await.map_err(|_| io::ErrorKind::TimedOut)??;
    // Small messages that wait for each other: what the function sends is sent.
    far.set_nodelay(true)?;
    stream.set_nodelay(true)?;
    let done = tokio::io::copy_bidirectional_with_sizes(stream, &mut far, BUFFER_BYTES, BUFFER_BYTES).await;
    if done.is_err() {
        reset(&far);
    }
    done.map(|_| ())
}

/// Closing tells the other side that the connection has failed, not that it is over.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
