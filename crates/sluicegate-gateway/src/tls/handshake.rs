//! The handshake with one client.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::net::TcpStream;

use super::terms::Terms;
use super::transport::{Socket, Transport};
use crate::connection::Watch;

impl Terms {
    /// Shakes hands with whoever connected. `None` if that comes to nothing, be it that the client speaks no TLS, shows no good
    /// certificate, or takes too long: what is left of the time for its first head is all that it has.
    pub(crate) async fn shake_hands(&self, socket: TcpStream, watch: &Watch) -> Option<Transport> {
        let mut accepting = pin!(self.acceptor.accept(Socket::new(socket)));
        poll_fn(|cx| {
            watch.turn().wakes(cx.waker());
            match accepting.as_mut().poll(cx) {
                // Why it failed is the client's affair, and its words are no matter for a log.
                Poll::Ready(done) => Poll::Ready(done.ok()),
                Poll::Pending if watch.turn().has_rung() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
        .map(|stream| Transport::Tls(Box::new(stream)))
    }
}
