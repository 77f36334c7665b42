//! An axum application behind the layer: 60 requests a minute for each client address, and at most four at once.
//!
//! ```text
//! cargo run -p sluicegate-tower --example axum
//! curl -i http://127.0.0.1:3000/
//! ```
#![forbid(unsafe_code)]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use http::Extensions;
use sluicegate::{Builder, Cleaner, Limiter, Rule};
use sluicegate_tower::LimitLayer;

/// The limits of this program. Rules that requests are to meet say what of a request they count by.
fn limits() -> Builder {
    Limiter::builder()
        .rule(Rule::named("per-client").key(["ip"]).limit("60/min"))
        .rule(Rule::named("at-once").key(["ip"]).permits(4))
}

fn application(limiter: Arc<Limiter>) -> Router {
    let layer = LimitLayer::new(limiter).peer_from(|extensions: &Extensions| {
        extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|ConnectInfo(peer)| peer.ip())
    });
    Router::new().route("/", get(|| async { "hello\n" })).layer(layer)
}

async fn serve(listener: tokio::net::TcpListener, limiter: Arc<Limiter>) -> std::io::Result<()> {
    // axum has to tell the layer who is at the other end.
    let service = application(limiter).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let limiter = Arc::new(limits().build()?);
    let _cleaner = Cleaner::start(Arc::clone(&limiter))?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, limiter).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluicegate::ManualClock;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Everything that the server answers on one connection.
    async fn ask(address: SocketAddr) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("a request");
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer));
        read.await.expect("an answer in time").expect("an answer");
        answer
    }

    #[tokio::test]
    async fn the_sixty_first_request_of_a_minute_is_told_when_to_come_back() {
        let limiter = limits().clock(Arc::new(ManualClock::default())).build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(serve(listener, Arc::new(limiter.expect("sound limits"))));
        for left in (0..60).rev() {
            let answer = ask(address).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains(&format!("\"per-client\";r={left}")), "{answer}");
            assert!(answer.ends_with("hello\n"), "{answer}");
        }
        let answer = ask(address).await;
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
        assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    }
}
