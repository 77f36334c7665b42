//! The synthetic clients, on real sockets.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use sluicegate_state::Clock;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::cast::{CLIENT_HEADER, Client};
use super::tally::{Answer, Tally};

/// Looks whether every client's address can be used on this machine.
///
/// # Errors
///
/// Names the address and, where the system has no such loopback address, how to get it.
pub(crate) fn addresses_are_usable(cast: &[Client]) -> anyhow::Result<()> {
    for client in cast {
        let address = client.address;
        TcpListener::bind((address, 0)).with_context(|| {
            format!(
                "the {name} client needs the loopback address {address}, which this machine does not offer; \
                 on macOS and the BSDs add it with: sudo ifconfig lo0 alias {address} up",
                name = client.name
            )
        })?;
    }
    Ok(())
}

/// Plays one client until `stop` says true; requests under way are then finished.
pub(crate) async fn play<C>(
    client: &'static Client,
    gateway: SocketAddr,
    clock: C,
    tally: Arc<Tally>,
    stop: watch::Receiver<bool>,
) where
    C: Clock + Clone + Send + 'static,
{
    let mut connections = JoinSet::new();
    for _ in 0..client.connections {
        let line = Line {
            client,
            gateway,
            sender: None,
        };
        connections.spawn(keep_asking(line, clock.clone(), Arc::clone(&tally), stop.clone()));
    }
    while connections.join_next().await.is_some() {}
}

async fn keep_asking<C: Clock>(mut line: Line, clock: C, tally: Arc<Tally>, mut stop: watch::Receiver<bool>) {
    let mut rounds = interval(line.client.every);
    // A late round moves all later ones: catching up would be a burst that the client did not promise.
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // An error means that whoever tells us to stop is gone.
            _ = stop.wait_for(|stop| *stop) => return,
            _ = rounds.tick() => {}
        }
        for _ in 0..line.client.at_once {
            if *stop.borrow() {
                return;
            }
            tally.asks(clock.now());
            let answer = line.ask().await;
            tally.told(answer, clock.now());
        }
    }
}

/// One keep-alive connection from the client's own address.
struct Line {
    client: &'static Client,
    gateway: SocketAddr,
    /// `None` before the first request, and after one that failed.
    sender: Option<SendRequest<Empty<Bytes>>>,
}

impl Line {
    /// Sends one request and reads its whole answer.
    async fn ask(&mut self) -> Answer {
        match timeout(ANSWER_DEADLINE, self.exchange()).await {
            Ok(Ok(StatusCode::OK)) => Answer::Passed,
            Ok(Ok(StatusCode::TOO_MANY_REQUESTS)) => Answer::Refused,
            Ok(Ok(status)) => {
                tracing::debug!(client = self.client.name, %status, "unexpected answer");
                Answer::Error
            }
            Ok(Err(error)) => {
                tracing::debug!(client = self.client.name, error = format!("{error:#}"), "no answer");
                self.sender = None;
                Answer::Error
            }
            Err(_) => {
                tracing::debug!(client = self.client.name, "no answer in time");
                self.sender = None;
                Answer::Error
            }
        }
    }

    async fn exchange(&mut self) -> anyhow::Result<StatusCode> {
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.connect().await?,
        };
        sender.ready().await.context("the connection was closed")?;
        let request = Request::get("/")
            .header(HOST, self.gateway.to_string())
            .header(CLIENT_HEADER, self.client.name)
            .body(Empty::new())
            .context("the request is malformed")?;
        let response = sender
            .send_request(request)
            .await
            .context("the request was not answered")?;
        let status = response.status();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame.context("the answer broke off")?;
        }
        self.sender = Some(sender);
        Ok(status)
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
        let socket = TcpSocket::new_v4().context("no socket")?;
        socket
            .bind(SocketAddr::from((self.client.address, 0)))
            .context("no port at the client's address")?;
        let stream = socket
            .connect(self.gateway)
            .await
            .context("the gateway does not accept")?;
        stream.set_nodelay(true).context("the socket cannot be used")?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .context("no HTTP on the connection")?;
        tokio::spawn(async move {
            // Its errors reach whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// Longer than any answer on loopback takes; beyond it the request counts as an error.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use super::super::cast::CAST;
    use super::super::cast::Promise;
    use super::*;

    #[test]
    fn an_address_that_the_machine_does_not_offer_is_named_with_its_remedy() {
        // Kept for documentation (RFC 5737, section 3), so no machine has it.
        let absent = Client {
            name: "absent",
            does: "nothing",
            address: [192, 0, 2, 1].into(),
            connections: 0,
            at_once: 0,
            every: Duration::ZERO,
            promise: Promise::LosesNothing,
        };
        let error = addresses_are_usable(&[absent]).expect_err("nobody has it");
        assert!(
            error.to_string().contains("sudo ifconfig lo0 alias 192.0.2.1 up"),
            "{error}"
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_casts_addresses_are_there_from_the_start() {
        addresses_are_usable(CAST).expect("all of 127.0.0.0/8 is loopback");
    }
}
