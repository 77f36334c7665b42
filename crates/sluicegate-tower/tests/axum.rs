//! The layer in an axum application, asked over a real socket.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Extension};
use axum::routing::get;
use http::Extensions;
use sluicegate::policy::Policy;
use sluicegate::{Limiter, ManualClock, Secret};
use sluicegate_testkit::upstream::{Message, ReadBody};
use sluicegate_tower::{Admission, LimitLayer};

#[tokio::test]
async fn an_axum_application_is_limited_by_the_peer_that_axum_found() {
    let text = "version: 1\nstate: { memory: 1MiB }\nrules:\n  - { name: per-client, key: ip, limit: 2/h }\n";
    let (policy, _) = Policy::parse("test", text).unwrap();
    let limiter = Limiter::new(&policy, &Secret::from_bytes([7; 32]), Arc::new(ManualClock::default())).unwrap();
    let layer = LimitLayer::new(Arc::new(limiter)).peer_from(|extensions: &Extensions| {
        extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|ConnectInfo(peer)| peer.ip())
    });
    let hello = |Extension(admission): Extension<Admission>| async move { format!("{:?}", admission.route()) };
    let app = Router::new().route("/", get(hello)).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await });

    let answers = tokio::task::spawn_blocking(move || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut reader = BufReader::new(stream);
        [(); 3].map(|()| {
            reader
                .get_mut()
                .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                .unwrap();
            Message::read(&mut reader, ReadBody::Whole).unwrap().unwrap()
        })
    });
    let [first, second, third] = answers.await.unwrap();
    assert_eq!((first.status(), first.text().as_str()), (Some(200), "None"));
    assert_eq!(second.status(), Some(200));
    assert_eq!(
        (third.status(), third.header("retry-after").is_some()),
        (Some(429), true)
    );
}
