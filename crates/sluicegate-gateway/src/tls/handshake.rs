//! The handshake with one client.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;

use std::sync::Arc;

use sluicegate::Caller;
use sluicegate_identity::Ja4;
use sluicegate_identity::certificate::read_certificate;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::terms::Terms;
use super::transport::{Socket, Transport};
use crate::connection::Watch;

/// Who has shaken hands.
pub(crate) struct Shaken {
    pub(crate) stream: Transport,
    /// The client by its certificate, if it has shown one, and by the program that it is.
    pub(crate) caller: Arc<Caller>,
}

impl Shaken {
    fn new(mut stream: Box<TlsStream<Socket>>) -> Self {
        let (socket, session) = stream.get_mut();
        let mut caller = Caller::default();
        if let Some(hello) = socket.take_hello() {
            caller = caller.with_ja4(Ja4::of(&hello));
        }
        // Verified by now: without its authority's word the handshake would have failed.
        let shown = session.peer_certificates().and_then(<[_]>::first);
        if let Some(vouched) = shown.and_then(|certificate| read_certificate(certificate)) {
            caller = caller.with(vouched);
        }
        Self {
            stream: Transport::Tls(stream),
            caller: Arc::new(caller),
        }
    }
}

impl Terms {
    /// Shakes hands with whoever connected. `None` if that comes to nothing, be it that the client speaks no TLS, shows no good
    /// certificate, or takes too long: what is left of the time for its first head is all that it has.
    pub(crate) async fn shake_hands(&self, socket: TcpStream, watch: &Watch) -> Option<Shaken> {
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
        .map(|stream| Shaken::new(Box::new(stream)))
    }
}
