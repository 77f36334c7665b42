//! A connection after its upgrade: bytes of a protocol that the gateway does not know, both ways, each direction through
//! one buffer of fixed size, until both sides have ended, one breaks off, or nothing passes for too long.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use crate::connection::{SharedWatch, Watch};

/// Where bytes go in and out of a tunnel: one side's socket, and what it said before the tunnel began.
pub(crate) struct Mouth<T> {
    socket: T,
    said: Bytes,
}

impl<T> Mouth<T> {
    /// `said` is what was read from the socket beyond the last of its HTTP.
    pub(crate) fn new(socket: T, said: Bytes) -> Self {
        Self { socket, said }
    }
}

/// Passes bytes between a client and a server. A side that ends is told to the other, which may still go on.
pub(crate) async fn tunnel<C, S>(client: Mouth<C>, server: Mouth<S>, watch: &SharedWatch)
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    watch.begin_tunnel();
    let mut client = Watched::new(client, Side::Client, watch);
    let mut server = Watched::new(server, Side::Server, watch);
    let mut passing = pin!(copy_bidirectional_with_sizes(
        &mut client,
        &mut server,
        BUFFER_BYTES,
        BUFFER_BYTES
    ));
    poll_fn(|cx| {
        watch.turn().wakes(cx.waker());
        // Requests before the upgrade may have left some.
        let _ = watch.poll_uploads(cx);
        // Only behind it: bytes that came with the same wake-up have passed, and moved the deadline.
        if passing.as_mut().poll(cx).is_ready() || watch.turn().has_rung() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// A mouth under its connection's watch.
struct Watched<'a, T> {
    mouth: Mouth<T>,
    side: Side,
    watch: &'a Watch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Its socket holds the deadline for taking bytes by itself.
    Client,
    Server,
}

impl<'a, T> Watched<'a, T> {
    fn new(mouth: Mouth<T>, side: Side, watch: &'a Watch) -> Self {
        Self { mouth, side, watch }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<'_, T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let said = &mut self.mouth.said;
        if said.has_remaining() {
            let count = said.remaining().min(buf.remaining());
            buf.put_slice(&said[..count]);
            said.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.mouth.socket).poll_read(cx, buf);
        if matches!(read, Poll::Ready(Ok(()))) {
            if buf.filled().len() > before {
                self.watch.passed();
            } else if buf.remaining() > 0 {
                self.watch.half_ended();
            }
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<'_, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.mouth.socket).poll_write(cx, buf);
        match written {
            Poll::Ready(_) => {
                self.watch.passed();
                if self.side == Side::Server {
                    self.watch.server_takes().progressed();
                }
            }
            Poll::Pending if self.side == Side::Server => {
                if self.watch.server_takes().pending(cx.waker()).is_err() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            Poll::Pending => {}
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.mouth.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.mouth.socket).poll_shutdown(cx)
    }
}

/// Held for each direction of a tunnel as long as it lasts, most of them idle: 10 000 of them take 160 MB, and a message
/// of a chat or a cursor's move fits in many times.
const BUFFER_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use sluicegate::policy::checked::Deadlines;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::connection::{HALF_ENDED_IDLE, Spans};
    use crate::pulse::{Beat, Pulse};

    /// A tunnel between two pipes that hold `room` bytes each, and the far ends of both.
    fn tunnelled(room: usize, said: (&'static str, &'static str)) -> (DuplexStream, DuplexStream, JoinHandle<()>) {
        let deadlines = Deadlines::default();
        let pulse = Rc::new(Pulse::new(deadlines.upstream_idle));
        let beating = Rc::clone(&pulse);
        tokio::task::spawn_local(async move { beating.beat(|_| Beat::Rest).await });
        let (client, near) = duplex(room);
        let (server, far) = duplex(room);
        let tunnel = tokio::task::spawn_local(async move {
            let watch = pulse.attend(Watch::new(Rc::clone(&pulse), Spans::new(&deadlines, &pulse)));
            let near = Mouth::new(near, Bytes::from_static(said.0.as_bytes()));
            let far = Mouth::new(far, Bytes::from_static(said.1.as_bytes()));
            tunnel(near, far, &watch.share()).await;
        });
        (client, server, tunnel)
    }

    async fn read(from: &mut DuplexStream, count: usize) -> String {
        let mut bytes = vec![0; count];
        from.read_exact(&mut bytes).await.expect("the tunnel is open");
        String::from_utf8(bytes).expect("the tests send ASCII")
    }

    async fn is_at_its_end(from: &mut DuplexStream) -> bool {
        from.read(&mut [0; 1]).await.is_ok_and(|count| count == 0)
    }

    #[tokio::test(start_paused = true, flavor = "local")]
    async fn what_was_said_before_comes_first_whatever_its_length() {
        // More than the tunnel's buffer and the pipe hold.
        let long: &'static str = "x".repeat(3 * BUFFER_BYTES).leak();
        let (mut client, mut server, _tunnel) = tunnelled(1024, (long, "hi"));
        client.write_all(b"after").await.expect("the tunnel is open");
        assert_eq!(read(&mut server, long.len()).await, long);
        assert_eq!(read(&mut server, 5).await, "after");
        assert_eq!(read(&mut client, 2).await, "hi");
    }

    #[tokio::test(start_paused = true, flavor = "local")]
    async fn a_side_that_ends_is_told_to_the_other_which_may_go_on() {
        let (mut client, mut server, tunnel) = tunnelled(64, ("", ""));
        client.write_all(b"last").await.expect("the tunnel is open");
        client.shutdown().await.expect("the tunnel is open");
        assert_eq!(read(&mut server, 4).await, "last");
        assert!(is_at_its_end(&mut server).await);
        server.write_all(b"more").await.expect("this direction is open");
        assert_eq!(read(&mut client, 4).await, "more");
        drop(server);
        assert!(is_at_its_end(&mut client).await);
        tunnel.await.expect("the tunnel ends");
    }

    #[tokio::test(start_paused = true, flavor = "local")]
    async fn it_ends_when_nothing_passes_for_too_long_and_not_before() {
        let (mut client, mut server, tunnel) = tunnelled(64, ("", ""));
        let upgraded_idle = Deadlines::default().upgraded_idle;
        for _ in 0..3 {
            tokio::time::sleep(upgraded_idle * 9 / 10).await;
            client.write_all(b"a").await.expect("still open");
            read(&mut server, 1).await;
            tokio::time::sleep(upgraded_idle * 9 / 10).await;
            server.write_all(b"b").await.expect("still open");
            read(&mut client, 1).await;
        }
        assert!(!tunnel.is_finished());
        tokio::time::sleep(upgraded_idle + Duration::from_secs(1)).await;
        tunnel.await.expect("the tunnel ends");
        assert!(is_at_its_end(&mut client).await && is_at_its_end(&mut server).await);
    }

    #[tokio::test(start_paused = true, flavor = "local")]
    async fn half_of_it_is_not_kept_as_long_as_the_whole() {
        let (mut client, mut server, tunnel) = tunnelled(64, ("", ""));
        client.shutdown().await.expect("the tunnel is open");
        for _ in 0..3 {
            tokio::time::sleep(HALF_ENDED_IDLE * 9 / 10).await;
            server.write_all(b"b").await.expect("still open");
            read(&mut client, 1).await;
        }
        tokio::time::sleep(HALF_ENDED_IDLE + Duration::from_secs(1)).await;
        assert!(tunnel.is_finished());
    }

    /// The client may go on reading, so that the tunnel is not idle.
    #[tokio::test(start_paused = true, flavor = "local")]
    async fn it_ends_when_the_server_takes_nothing_for_too_long() {
        let (mut client, mut server, tunnel) = tunnelled(64, ("", ""));
        let write_stall = Deadlines::default().write_stall;
        client.write_all(&[b'x'; 65]).await.expect("the tunnel is open");
        let step = write_stall / 10;
        for _ in 0..9 {
            tokio::time::sleep(step).await;
            server.write_all(b"b").await.expect("still open");
            read(&mut client, 1).await;
        }
        assert!(!tunnel.is_finished());
        tokio::time::sleep(2 * step).await;
        assert!(tunnel.is_finished());
    }
}
