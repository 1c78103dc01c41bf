//! A connection's socket, which sends a short answer's head and body in one piece.
//!
//! hyper hands both over as a list of slices. The system call for lists costs more than copying a few hundred bytes and
//! sending them with the plain one, and nearly all answers are that short.

use std::cell::RefCell;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Longest list of slices that is copied into one, in bytes.
const JOINED_BYTES_MAX: usize = 4096;

thread_local! {
    /// Where a thread joins slices; nothing stays in it from one call to the next.
    static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A TCP stream whose short vectored writes are plain ones.
#[derive(Debug)]
pub struct Socket(TcpStream);

impl Socket {
    /// Wraps a stream.
    pub fn new(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let stream = Pin::new(&mut self.0);
        if bufs.len() < 2 || bufs.iter().map(|buf| buf.len()).sum::<usize>() > JOINED_BYTES_MAX {
            return stream.poll_write_vectored(cx, bufs);
        }
        JOINED.with_borrow_mut(|joined| {
            joined.clear();
            bufs.iter().for_each(|buf| joined.extend_from_slice(buf));
            stream.poll_write(cx, joined)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn slices_arrive_whole_and_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut socket, mut peer) = (Socket::new(stream.expect("connected")), accepted.expect("accepted").0);
        let long = vec![b'x'; 3 * JOINED_BYTES_MAX];
        let lists: [&[&[u8]]; 4] = [&[b"head", b"body"], &[b"one"], &[b"h", &long], &[b"a", b"", b"b", b"c"]];
        let expected = lists.iter().flat_map(|list| list.concat()).collect::<Vec<u8>>();
        let mut arrived = Vec::new();
        let send = async move {
            for list in lists {
                let mut slices: Vec<IoSlice<'_>> = list.iter().map(|part| IoSlice::new(part)).collect();
                let mut left = &mut slices[..];
                IoSlice::advance_slices(&mut left, 0);
                while !left.is_empty() {
                    let n = socket.write_vectored(left).await.expect("written");
                    IoSlice::advance_slices(&mut left, n);
                }
            }
        };
        let ((), read) = tokio::join!(send, peer.read_to_end(&mut arrived));
        read.expect("read to the end");
        assert!(arrived == expected, "{} of {} bytes", arrived.len(), expected.len());
    }
}
