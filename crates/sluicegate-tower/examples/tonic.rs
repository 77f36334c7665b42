//! A gRPC service of tonic's behind the layer: three calls a minute for each client address; a refused call ends with
//! `RESOURCE_EXHAUSTED`. The service is gRPC's own health check, so that nothing has to be generated for an example.
//!
//! ```text
//! cargo run -p sluicegate-tower --example tonic
//! grpcurl -plaintext 127.0.0.1:50051 grpc.health.v1.Health/Check
//! ```
#![forbid(unsafe_code)]

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;

use http::Extensions;
use sluicegate::{Builder, Cleaner, Limiter, Rule};
use sluicegate_tower::LimitLayer;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::{TcpConnectInfo, TcpIncoming};

/// The limits of this program. Rules that calls are to meet say what of a call they count by.
fn limits() -> Builder {
    Limiter::builder().rule(Rule::named("per-client").key(["ip"]).limit("3/min"))
}

/// Where tonic says who is at the other end.
fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let connection = extensions.get::<TcpConnectInfo>()?;
    connection.remote_addr().map(|peer| peer.ip())
}

async fn serve(listener: TcpListener, limiter: Arc<Limiter>) -> Result<(), tonic::transport::Error> {
    let (_reporter, health) = tonic_health::server::health_reporter();
    Server::builder()
        .layer(LimitLayer::new(limiter).peer_from(peer))
        .add_service(health)
        .serve_with_incoming(TcpIncoming::from(listener))
        .await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let limiter = Arc::new(limits().build()?);
    let _cleaner = Cleaner::start(Arc::clone(&limiter))?;
    let listener = TcpListener::bind("127.0.0.1:50051").await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, limiter).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sluicegate::ManualClock;
    use tonic::Code;
    use tonic::transport::Endpoint;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    use super::*;

    #[tokio::test]
    async fn the_fourth_call_of_a_minute_ends_with_resource_exhausted() {
        let limiter = limits().clock(Arc::new(ManualClock::default())).build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(serve(listener, Arc::new(limiter.expect("sound limits"))));
        let server = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let mut client = HealthClient::new(server.connect().await.expect("a connection"));
        for _ in 0..3 {
            let answer = client.check(HealthCheckRequest::default()).await.expect("an answer");
            assert_eq!(answer.into_inner().status, 1);
        }
        let refusal = client
            .check(HealthCheckRequest::default())
            .await
            .expect_err("a refusal");
        assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
        assert!(refusal.message().contains("try again in 20 seconds"), "{refusal}");
    }
}
