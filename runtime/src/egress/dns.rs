//! Names: a function's queries go to the resolvers of the host, which it never reaches itself.
//!
//! Only what is a query is passed on, each from a socket of its own, and only the answer to it comes back. The resolvers may well
//! be in a private network and know private names: an address that they tell opens nothing.

use super::Shared;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// The port of name servers.
pub const PORT: u16 = 53;
/// What a query may have.
const QUERY_BYTES_MAX: usize = 4096;
/// What an answer over UDP may have.
const ANSWER_BYTES_MAX: usize = 65_535;
const HEADER_BYTES: usize = 12;
/// Resolvers that are asked, one after the other.
const RESOLVERS_MAX: usize = 3;
const PATIENCE: Duration = Duration::from_secs(2);
/// A connection for queries that is silent for so long is closed.
const SILENCE: Duration = Duration::from_secs(10);
/// `/etc/resolv.conf` is small.
const CONF_BYTES_MAX: u64 = 64 << 10;

/// The resolvers that the host's configuration names; read anew each time, since it changes with the host's network.
fn resolvers(conf: &Path) -> Vec<SocketAddr> {
    let mut text = String::new();
    let read = std::fs::File::open(conf)
        .and_then(|file| io::Read::read_to_string(&mut io::Read::take(file, CONF_BYTES_MAX), &mut text));
    if read.is_err() {
        return Vec::new();
    }
    parse(&text)
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver")?;
        // An address with a scope (`fe80::1%eth0`) is not served.
        Some(SocketAddr::new(words.next()?.parse::<IpAddr>().ok()?, PORT))
    });
    servers.take(RESOLVERS_MAX).collect()
}

/// Whether it is a query: a header without the flag of answers, the operation `QUERY`, and one question.
fn is_query(message: &[u8]) -> bool {
    let Some(header) = message.get(..HEADER_BYTES) else { return false };
    message.len() <= QUERY_BYTES_MAX && header[2] & 0xf8 == 0 && header[4..6] == [0, 1]
}

/// The same query with the answer `SERVFAIL`.
fn failure(query: &[u8]) -> Vec<u8> {
    let mut answer = query.to_vec();
    if let [_, _, flags, code, ..] = answer.as_mut_slice() {
        *flags |= 0x80;
        *code = 0x82;
    }
    answer
}

/// The answer to a query over UDP; `None` if it is none.
pub async fn ask(shared: &Shared, query: &[u8]) -> Option<Vec<u8>> {
    if !is_query(query) {
        return None;
    }
    for server in resolvers(&shared.resolv_conf) {
        if let Ok(Ok(answer)) = timeout(PATIENCE, ask_one(server, query)).await {
            return Some(answer);
        }
    }
    Some(failure(query))
}

async fn ask_one(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let here: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Each query has a port of its own: a function cannot have another's answers, nor forge them.
    let socket = UdpSocket::bind((here, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    loop {
        let length = socket.recv(&mut answer).await?;
        if length >= HEADER_BYTES && answer.get(..2) == query.get(..2) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

/// Queries over a connection, each with its length before it.
pub async fn connection(shared: &Shared, stream: &mut TcpStream) -> io::Result<()> {
    while let Some(query) = timeout(SILENCE, read(stream)).await.map_err(|_| io::ErrorKind::TimedOut)?? {
        if !is_query(&query) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut answer = failure(&query);
        for server in resolvers(&shared.resolv_conf) {
            if let Ok(Ok(found)) = timeout(PATIENCE, ask_connected(server, &query)).await {
                answer = found;
                break;
            }
        }
        write(stream, &answer).await?;
    }
    Ok(())
}

async fn ask_connected(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write(&mut stream, query).await?;
    match read(&mut stream).await? {
        Some(answer) if answer.get(..2) == query.get(..2) => Ok(answer),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_resolvers_are_read() {
        let text = "# c\nsearch x\nnameserver 127.0.0.53\nnameserver fd00::1\nnameserver fe80::1%eth0\nnameserver\n";
        let expected = ["127.0.0.53:53", "[fd00::1]:53"].map(|a| a.parse::<SocketAddr>().expect("an address"));
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn only_queries_pass() {
        let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        assert!(is_query(&query));
        assert_eq!(failure(&query)[..4], [0x12, 0x34, 0x81, 0x82]);
        query[2] = 0x81;
        assert!(!is_query(&query), "an answer");
        query[2] = 0x28;
        assert!(!is_query(&query), "an update");
        assert!(!is_query(b"GET / HTTP/1.1"[..11].as_ref()));
        assert!(!is_query(&vec![0; QUERY_BYTES_MAX + 1]));
    }
}
