//! Listeners that speak TLS: who gets through the handshake, with which certificate, and what happens when that is replaced.

mod support;
mod tls_world;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use sluicegate::policy::Policy;
use sluicegate_gateway::{BindError, Gateway, ReplaceError, TlsError};
use sluicegate_testkit::poll;
use sluicegate_testkit::upstream::{Upstream, ok};
use support::{PATIENCE, Running, gateway_by, policy_on, upstreams};
use tls_world::{Authority, Folder, Identity, Manner};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{HandshakeKind, ProtocolVersion};

/// Everything that a test of one listener needs.
struct World {
    authority: Authority,
    folder: Folder,
    upstream: Upstream,
}

impl World {
    /// With a certificate for `gateway.test` that is good for long.
    fn new() -> Self {
        let authority = Authority::new();
        let folder = Folder::new();
        folder.put("server", &authority.server(&["gateway.test"], 2100));
        let upstream = Upstream::answering(|_| ok("hello")).expect("a free port");
        Self {
            authority,
            folder,
            upstream,
        }
    }

    fn policy(&self, more: &str) -> Policy {
        policy_on(&self.folder.listen(more), &upstreams(&[&self.upstream]), "")
    }

    fn gateway(&self, more: &str) -> Running {
        gateway_by(&self.policy(more))
    }

    fn manner(&self) -> Manner {
        Manner::trusting(&self.authority)
    }
}

/// The certificate that a client is shown.
#[track_caller]
fn shown(gateway: &Running, manner: &Manner) -> Vec<u8> {
    let client = manner.connect(gateway.address).expect("a connection");
    client.session().peer_certificates().expect("one is shown")[0].to_vec()
}

#[test]
fn a_request_over_tls_is_answered_and_the_server_reads_of_it() {
    let world = World::new();
    let gateway = world.gateway("");
    let mut client = world.manner().connect(gateway.address).expect("a connection");
    assert_eq!(client.session().protocol_version(), Some(ProtocolVersion::TLSv1_3));
    for _ in 0..3 {
        let answer = client.get("/").expect("an answer");
        assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "hello"));
    }
    assert_eq!(world.upstream.connections(), 1);
    assert_eq!(
        world.upstream.last().expect("it came").header("x-forwarded-proto"),
        Some("https")
    );
    assert_eq!(
        (gateway.traffic.handshakes(), gateway.traffic.handshakes_failed()),
        (1, 0)
    );
}

/// C8
#[test]
fn what_a_proxy_says_stands_before_the_handshake() {
    let world = World::new();
    let listen = format!(
        "{{ address: \"127.0.0.1:0\", proxy_protocol: true, tls: {{ {} }} }}",
        world.folder.pair("server")
    );
    let trusted = "identity: { trusted_proxies: [127.0.0.0/8] }\n";
    let gateway = gateway_by(&policy_on(&listen, &upstreams(&[&world.upstream]), trusted));
    let header = b"PROXY TCP4 203.0.113.9 192.0.2.2 4711 443\r\n";
    let client = world.manner().connect_behind(header, gateway.address);
    let answer = client.expect("a connection").get("/").expect("an answer");
    assert_eq!(answer.status(), Some(200));
    let seen = world.upstream.last().expect("it came");
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.9"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert!(
        world.manner().connect(gateway.address).is_err(),
        "no header, no handshake"
    );
}

#[test]
fn plain_http_on_a_tls_listener_is_closed_and_reaches_nobody() {
    let world = World::new();
    let gateway = world.gateway("");
    let mut socket = TcpStream::connect(gateway.address).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
        .write_all(b"GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
        .expect("it is read");
    let mut answer = Vec::new();
    // An alert of TLS, or a reset behind it; not a word of HTTP.
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP") && answer.len() < 16, "{answer:?}");
    poll::until_true("it is counted", PATIENCE, || gateway.traffic.handshakes_failed() == 1).expect("it is");
    assert!(world.upstream.requests().is_empty());
}

#[test]
fn a_client_is_shown_the_certificate_for_the_name_it_asks_for() {
    let world = World::new();
    world
        .folder
        .put("other", &world.authority.server(&["other.test", "*.other.test"], 2100));
    let gateway = world.gateway(&format!(", more: {{ {} }}", world.folder.pair("other")));
    let shown = |name| shown(&gateway, &world.manner().naming(name));
    let (first, other) = (shown("gateway.test"), shown("other.test"));
    assert_ne!(first, other);
    assert_eq!(shown("a.other.test"), other);
    // It is shown the first, which is not for it, and refuses.
    for name in ["a.b.other.test", "third.test"] {
        assert!(world.manner().naming(name).connect(gateway.address).is_err(), "{name}");
    }
}

#[test]
fn a_client_that_asks_for_other_protocols_alone_is_refused() {
    let world = World::new();
    let gateway = world.gateway("");
    let protocol = |protocols: &[&str]| {
        let client = world.manner().speaking(protocols).connect(gateway.address);
        client
            .map(|client| client.session().alpn_protocol().map(<[u8]>::to_vec))
            .ok()
    };
    assert_eq!(protocol(&[]), Some(None));
    assert_eq!(protocol(&["spdy/3", "http/1.1"]), Some(Some(b"http/1.1".to_vec())));
    assert_eq!(protocol(&["spdy/3", "acme-tls/1"]), None);
}

#[test]
fn lower_versions_than_the_policys_are_not_spoken() {
    let world = World::new();
    for (more, speaks_old) in [("", true), (", min_version: tls1.3", false)] {
        let gateway = world.gateway(more);
        let connects = |version| {
            Manner::with(&world.authority, &[version], None)
                .connect(gateway.address)
                .is_ok()
        };
        assert_eq!((connects(&TLS12), connects(&TLS13)), (speaks_old, true), "{more}");
    }
}

#[test]
fn a_handshake_that_is_late_is_closed() {
    let world = World::new();
    let lines = format!("{}deadlines: {{ request_head: 300ms }}", upstreams(&[&world.upstream]));
    let gateway = gateway_by(&policy_on(&world.folder.listen(""), &lines, ""));
    // Nothing; the head of a record whose rest never comes.
    for sent in [&b""[..], &[22, 3, 1, 1, 0, 1]] {
        let mut socket = TcpStream::connect(gateway.address).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.write_all(sent).expect("it is read");
        assert_eq!(
            socket
                .read_to_end(&mut Vec::new())
                .expect("it is closed, not left open"),
            0
        );
    }
    // A client that has shaken hands and asks for nothing has no more time than that either.
    assert!(
        world
            .manner()
            .connect(gateway.address)
            .expect("a connection")
            .is_closed()
    );
    assert_eq!(gateway.traffic.handshakes_failed(), 2);
}

#[test]
fn a_session_is_resumed_unless_clients_are_asked_who_they_are() {
    let world = World::new();
    world.folder.write("clients.pem", &world.authority.pem);
    let asking = format!(
        ", client_ca: \"{}\", client_auth: request",
        world.folder.path("clients.pem").display()
    );
    for (more, version, expected) in [
        ("", &TLS13, HandshakeKind::Resumed),
        ("", &TLS12, HandshakeKind::Resumed),
        (&asking, &TLS13, HandshakeKind::Full),
        (&asking, &TLS12, HandshakeKind::Full),
    ] {
        let gateway = world.gateway(more);
        let manner = Manner::with(&world.authority, &[version], None).remembering();
        // The tickets come with the first answer.
        let mut first = manner.connect(gateway.address).expect("a connection");
        assert_eq!(first.get("/").expect("an answer").status(), Some(200));
        let second = manner.connect(gateway.address).expect("a connection");
        assert_eq!(second.session().handshake_kind(), Some(expected), "{more} {version:?}");
    }
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_while_old_ones_go_on() {
    let world = World::new();
    let gateway = world.gateway("");
    let mut open = world.manner().connect(gateway.address).expect("a connection");
    let before = shown(&gateway, &world.manner());
    assert!(!gateway.settings.have_certificates_changed());
    world
        .folder
        .put("server", &world.authority.server(&["gateway.test"], 2099));
    assert!(gateway.settings.have_certificates_changed());
    gateway.settings.replace(&world.policy("")).expect("it is a good one");
    assert!(!gateway.settings.have_certificates_changed());
    assert_ne!(shown(&gateway, &world.manner()), before);
    assert_eq!(open.get("/").expect("it goes on").status(), Some(200));
    let [certificate] = &gateway.settings.certificates()[..] else {
        unreachable!("there is one listener with one certificate");
    };
    // 2099-01-01, counted by hand: 129 years with 32 leap days.
    assert_eq!(certificate.not_after, Duration::from_hours((129 * 365 + 32) * 24));
    assert_eq!(certificate.file, world.folder.path("server.pem"));
}

/// F18 of the faults.
#[test]
fn a_certificate_that_cannot_be_used_is_refused_and_the_old_one_kept() {
    let world = World::new();
    let gateway = world.gateway("");
    let before = shown(&gateway, &world.manner());
    let good = world.authority.server(&["gateway.test"], 2100);
    let other = world.authority.server(&["gateway.test"], 2100);
    let replace = || match gateway.settings.replace(&world.policy("")) {
        Err(ReplaceError::Tls(error)) => error,
        other => unreachable!("it should be refused: {other:?}"),
    };
    world
        .folder
        .put("server", &world.authority.server(&["gateway.test"], 2026));
    assert!(matches!(replace(), TlsError::Expired { .. }));
    world.folder.put(
        "server",
        &Identity {
            key: other.key,
            ..good.clone()
        },
    );
    assert!(matches!(replace(), TlsError::Mismatch { .. }));
    world.folder.put(
        "server",
        &Identity {
            certificate: "none".to_owned(),
            ..good.clone()
        },
    );
    assert!(matches!(
        replace(),
        TlsError::NotPem {
            what: "certificate",
            ..
        }
    ));
    let canary = "-----BEGIN PRIVATE KEY-----\ncanary/of/a/key\n-----END PRIVATE KEY-----\n";
    world.folder.put(
        "server",
        &Identity {
            key: canary.to_owned(),
            ..good.clone()
        },
    );
    let error = replace();
    let words = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
    assert!(!words.contains("canary"), "{words}");
    std::fs::remove_file(world.folder.path("server.key")).expect("it is there");
    assert!(matches!(replace(), TlsError::File(_)));
    assert_eq!(shown(&gateway, &world.manner()), before);
    world.folder.put("server", &good);
    gateway.settings.replace(&world.policy("")).expect("it is a good one");
    assert_ne!(shown(&gateway, &world.manner()), before);
}

#[test]
fn an_expired_certificate_keeps_no_other_change_of_the_policy_from_being_put_in_force() {
    let world = World::new();
    world
        .folder
        .put("server", &world.authority.server(&["gateway.test"], 2026));
    // At a start there is no other to go on with; whoever trusts it all the same is served.
    let gateway = world.gateway("");
    let rules = "rules: [ { name: a, key: ip, limit: 1/h } ]\n";
    let policy = policy_on(&world.folder.listen(""), &upstreams(&[&world.upstream]), rules);
    gateway.settings.replace(&policy).expect("nothing new is wrong with it");
}

#[test]
fn a_gateway_does_not_start_with_a_key_that_is_another_certificates() {
    let world = World::new();
    let other = world.authority.server(&["gateway.test"], 2100);
    world.folder.write("server.key", &other.key);
    let policy = world.policy("");
    let secret = sluicegate::Secret::from_bytes([7; 32]);
    let limiter = sluicegate::Limiter::new(&policy, &secret, sluicegate::SystemClock::new()).expect("a limiter");
    let bound = Gateway::bind(&policy, std::sync::Arc::new(limiter));
    assert!(matches!(bound, Err(BindError::Tls(TlsError::Mismatch { .. }))));
}

#[test]
fn clients_are_let_in_by_what_they_show() {
    let world = World::new();
    let stranger = Authority::new();
    world.folder.write("clients.pem", &world.authority.pem);
    let good = Manner::showing(&world.authority, &world.authority.client("a", Vec::new()));
    let none = world.manner();
    // It trusts the gateway as the others do, and shows what somebody else has signed.
    let wrong = Manner::showing(&world.authority, &stranger.client("a", Vec::new()));
    let file = world.folder.path("clients.pem");
    for (auth, serves_none) in [("require", false), ("request", true)] {
        let gateway = world.gateway(&format!(", client_ca: \"{}\", client_auth: {auth}", file.display()));
        // A client learns by the first answer alone whether it was let in.
        let is_served = |manner: &Manner| {
            let answer = manner.connect(gateway.address).and_then(|mut client| client.get("/"));
            answer.is_ok_and(|answer| answer.status() == Some(200))
        };
        assert_eq!(
            (is_served(&good), is_served(&none), is_served(&wrong)),
            (true, serves_none, false),
            "{auth}"
        );
    }
}

#[test]
fn an_answer_arrives_whole_over_tls_and_a_client_that_takes_nothing_is_closed_upon() {
    let world = World::new();
    let upstream = Upstream::answering(|_| ok(&"x".repeat(8_000_000))).expect("a free port");
    let lines = format!("{}deadlines: {{ write_stall: 400ms }}", upstreams(&[&upstream]));
    let gateway = gateway_by(&policy_on(&world.folder.listen(""), &lines, ""));
    let mut reader = world.manner().connect(gateway.address).expect("a connection");
    assert_eq!(reader.get("/").expect("an answer").body.len(), 8_000_000);
    drop(reader);
    let mut idle = world.manner().connect(gateway.address).expect("a connection");
    idle.send("GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
        .expect("it is read");
    poll::until_true("it is closed", PATIENCE, || gateway.traffic.connections_now() == 0).expect("it is");
    assert!(idle.answer().is_err());
}

#[test]
fn an_upgraded_connection_stays_inside_tls() {
    let world = World::new();
    let upstream = Upstream::scripted(|connection| {
        connection.request_head()?;
        connection.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")?;
        let byte = connection.bytes(5)?;
        connection.write(&byte)?;
        Ok(())
    })
    .expect("a free port");
    let gateway = gateway_by(&policy_on(&world.folder.listen(""), &upstreams(&[&upstream]), ""));
    let mut client = world.manner().connect(gateway.address).expect("a connection");
    let request = "GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.send(request).expect("it is read");
    let head = sluicegate_testkit::upstream::Message::read_head(&mut client.0)
        .expect("a head")
        .expect("a head");
    assert_eq!(head.status(), Some(101));
    client.send("hello").expect("it is open");
    let mut echo = [0; 5];
    client.0.read_exact(&mut echo).expect("it is repeated");
    assert_eq!(&echo, b"hello");
    assert!(client.is_closed());
}

#[test]
fn a_drain_closes_idle_clients_over_tls_with_the_word_of_the_end() {
    let world = World::new();
    let gateway = world.gateway("");
    let mut client = world.manner().connect(gateway.address).expect("a connection");
    client.get("/").expect("an answer");
    gateway.stop();
    // Without that word reading ends in an error.
    assert_eq!(client.0.read_to_end(&mut Vec::new()).expect("it is told"), 0);
    assert_eq!(gateway.drain().cut, 0);
}
