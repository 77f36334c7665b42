//! A process that has run out of file descriptors. A file of its own, since the limit is the whole process's.

mod support;

use std::net::{TcpListener, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sluicegate_testkit::upstream::{Upstream, ok};
use support::{Client, gateway_with};

/// Takes every descriptor that is left. What it gives back holds them.
fn exhaust() -> Vec<TcpListener> {
    let was = getrlimit(Resource::Nofile);
    // Few enough to take in no time, and more than the test has open.
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(128),
            ..was
        },
    )
    .expect("a lower limit is always allowed");
    std::iter::from_fn(|| TcpListener::bind("127.0.0.1:0").ok()).collect()
}

fn ask(client: &mut Client, path: &str) -> (Option<u16>, String) {
    let answer = client.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    (answer.status(), answer.text())
}

/// A server was once taken for dead when it was the gateway that could not open a socket.
#[test]
fn unused_connections_make_room_where_descriptors_have_run_out() {
    let (first, second) = (
        Upstream::answering(|_| ok("first")).expect("a free port"),
        Upstream::answering(|_| ok("second")).expect("a free port"),
    );
    let gateway = gateway_with(
        &format!(
            "threads: 1\nupstreams: {{ first: {{ servers: \"{}\" }}, second: {{ servers: \"{}\" }} }}\n\
             deadlines: {{ upstream_idle: 1h }}",
            first.address(),
            second.address()
        ),
        "routes:\n  - { name: first, path: /first, upstream: first }\n  - { name: second, path: /second, upstream: second }\n",
    );
    let mut client = gateway.client();
    assert_eq!(ask(&mut client, "/first"), (Some(200), "first".to_owned()));
    let held = exhaust();
    // The unused connection to the first server is given up for one to the second.
    assert_eq!(ask(&mut client, "/second"), (Some(200), "second".to_owned()));
    assert_eq!((first.connections(), second.connections()), (1, 1));
    // It is in use again at once.
    assert_eq!(ask(&mut client, "/second"), (Some(200), "second".to_owned()));
    drop(held);
    assert!(TcpStream::connect(gateway.address).is_ok());
}
