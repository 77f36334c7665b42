//! Clients that read nothing for longer than idle connections live: their answers still arrive whole.
//!
//! How much of an answer the system's buffers take differs from machine to machine, and the answers that matter are those
//! that end just above it: the server has sent everything, and a part of it waits in the gateway. So many sizes are asked
//! for at once.

mod support;

use sluicegate_testkit::upstream::{ReadBody, Upstream, ok};
use support::{Client, PATIENCE, Running, gateway, upstreams};

/// A server that answers `/N` with N bytes.
fn sized() -> Upstream {
    Upstream::answering(|request| {
        let size = request.target().trim_start_matches('/').parse().unwrap_or(0);
        ok(&"x".repeat(size))
    })
    .expect("a free port")
}

/// From below what a pair of sockets holds to above what it and the gateway hold together, each step smaller than what
/// the gateway holds.
fn sizes() -> impl Iterator<Item = usize> {
    (300_000..6_600_000).step_by(300_000)
}

/// Asks for every size, and reads nothing.
fn ask_all(gateway: &Running, upstream: &Upstream) -> Vec<(usize, Client)> {
    let clients: Vec<_> = sizes()
        .map(|size| {
            let mut client = gateway.client();
            client.send(format!("GET /{size} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            (size, client)
        })
        .collect();
    assert!(upstream.wait_for(clients.len(), PATIENCE));
    clients
}

fn ask(client: &mut Client) {
    assert_eq!(client.ask("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").status(), Some(200));
}

#[track_caller]
fn read_all(clients: Vec<(usize, Client)>) {
    for (size, mut client) in clients {
        let answer = client.answer(ReadBody::Whole);
        assert_eq!((answer.status(), answer.body.len()), (Some(200), size));
    }
}

/// The last frame was once taken for the end of the answer, though hundreds of kilobytes had still to be written.
#[test]
fn an_answer_arrives_whole_however_long_the_client_pauses() {
    let upstream = sized();
    let gateway = gateway(&format!(
        "{}deadlines: {{ keep_alive: 150ms }}",
        upstreams(&[&upstream])
    ));
    let clients = ask_all(&gateway, &upstream);
    // Each of these lives for as long as an idle connection does.
    for _ in 0..4 {
        let mut idle = gateway.client();
        ask(&mut idle);
        assert!(idle.is_closed());
    }
    read_all(clients);
}

#[test]
fn a_drain_waits_for_answers_that_clients_have_not_taken_yet() {
    let upstream = sized();
    let gateway = gateway(&upstreams(&[&upstream]));
    let mut idle: Vec<_> = (0..3).map(|_| gateway.client()).collect();
    idle.iter_mut().for_each(ask);
    let clients = ask_all(&gateway, &upstream);
    gateway.stop();
    // They are closed half a second later.
    for client in &mut idle {
        assert!(client.is_closed());
    }
    read_all(clients);
    assert_eq!(gateway.drain().cut, 0);
}
