//! Who is calling over TLS: clients told apart by their certificates, and by the programs that they are.

mod support;
mod tls_world;

use rcgen::SanType;
use sluicegate_testkit::upstream::{Message, Upstream, ok};
use support::{Client, Running, gateway_by, gateway_with, policy_on, upstreams};
use tls_world::{Authority, Folder, Identity, Manner};
use tokio_rustls::rustls::version::{TLS12, TLS13};

struct World {
    authority: Authority,
    folder: Folder,
    upstream: Upstream,
}

impl World {
    fn new() -> Self {
        let authority = Authority::new();
        let folder = Folder::new();
        folder.put("server", &authority.server(&["gateway.test"], 2100));
        folder.write("clients.pem", &authority.pem);
        Self {
            authority,
            folder,
            upstream: Upstream::answering(|_| ok("hello")).expect("a free port"),
        }
    }

    /// A gateway that asks for certificates and has one rule.
    fn gateway(&self, rule: &str) -> Running {
        let clients = self.folder.path("clients.pem");
        let more = format!(", client_ca: \"{}\", client_auth: request", clients.display());
        let rules = format!("rules: [ {{ name: a, limit: 1/h, {rule} }} ]\n");
        gateway_by(&policy_on(
            &self.folder.listen(&more),
            &upstreams(&[&self.upstream]),
            &rules,
        ))
    }

    fn client(&self, name: &str, alternative: Vec<SanType>) -> Identity {
        self.authority.client(name, alternative)
    }

    /// What a client that shows this is answered.
    #[track_caller]
    fn ask(&self, gateway: &Running, identity: Option<&Identity>) -> Message {
        let manner = Manner::with(&self.authority, &[&TLS13], identity);
        let mut client = manner.connect(gateway.address).expect("a connection");
        client.get("/").expect("an answer")
    }

    #[track_caller]
    fn status(&self, gateway: &Running, identity: Option<&Identity>) -> u16 {
        self.ask(gateway, identity).status().expect("a status")
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

#[test]
fn a_client_is_its_certificate_and_one_without_is_its_address() {
    let world = World::new();
    let gateway = world.gateway("key: client");
    let (alice, bob) = (world.client("alice", Vec::new()), world.client("bob", Vec::new()));
    // Another certificate of the same holder, such as a renewed one.
    let again = world.client("alice", Vec::new());
    for (identity, expected) in [
        (Some(&alice), 200),
        (Some(&alice), 429),
        (Some(&again), 429),
        (Some(&bob), 200),
        (None, 200),
        (None, 429),
        (Some(&bob), 429),
    ] {
        assert_eq!(world.status(&gateway, identity), expected);
    }
}

#[test]
fn rules_count_by_what_a_certificate_says_and_a_request_that_shows_none_has_none_of_it() {
    let world = World::new();
    let id = "spiffe://acme.test/billing";
    let one = world.client(
        "one",
        vec![SanType::DnsName("a.test".try_into().expect("ASCII")), uri(id)],
    );
    let other = world.client(
        "other",
        vec![SanType::DnsName("a.test".try_into().expect("ASCII")), uri(id)],
    );
    let same_subject = world.client(
        "one",
        vec![
            SanType::DnsName("b.test".try_into().expect("ASCII")),
            uri("spiffe://acme.test/mail"),
        ],
    );
    for (key, other_passes, same_passes) in [
        ("cert.spiffe", false, true),
        ("cert.san", false, true),
        ("cert.subject", true, false),
    ] {
        let gateway = world.gateway(&format!("key: {key}, on_missing_key: refuse"));
        let status = |identity| world.status(&gateway, identity);
        assert_eq!(status(Some(&one)), 200, "{key}");
        assert_eq!(status(Some(&other)) == 200, other_passes, "{key}");
        assert_eq!(status(Some(&same_subject)) == 200, same_passes, "{key}");
        assert_eq!(status(None), 400, "{key}");
    }
}

/// T43 of the threat list.
#[test]
fn what_a_certificate_says_reaches_no_answer_and_no_server() {
    let world = World::new();
    let gateway = world.gateway("key: [client, cert.san, ja4, fingerprint]");
    let canary = world.client(
        "canary-subject",
        vec![SanType::DnsName("canary-name.test".try_into().expect("ASCII"))],
    );
    for _ in 0..2 {
        let answer = world.ask(&gateway, Some(&canary));
        assert!(!format!("{answer:?}").contains("canary"), "{answer:?}");
    }
    let arrived = format!("{:?}", world.upstream.requests());
    assert!(!arrived.contains("canary") && !arrived.contains("t13d"), "{arrived}");
    assert!(!format!("{:?}", gateway.limiter).contains("canary"));
}

#[test]
fn programs_are_told_apart_by_their_handshakes_and_by_the_order_of_their_headers() {
    let world = World::new();
    for (key, order_counts) in [("ja4", false), ("fingerprint", true)] {
        let gateway = world.gateway(&format!("key: {key}, on_missing_key: refuse"));
        let ask = |version, headers: &str| {
            let mut client = Manner::with(&world.authority, &[version], None)
                .connect(gateway.address)
                .expect("a connection");
            let answer = client
                .ask(&format!("GET / HTTP/1.1\r\nHost: gateway.test\r\n{headers}\r\n"))
                .expect("an answer");
            answer.status().expect("a status")
        };
        let (first, turned) = ("User-Agent: a\r\nAccept: */*\r\n", "Accept: */*\r\nUser-Agent: b\r\n");
        assert_eq!(ask(&TLS13, first), 200, "{key}");
        assert_eq!(ask(&TLS13, first), 429, "{key}");
        assert_eq!(ask(&TLS12, first), 200, "{key}");
        assert_eq!(ask(&TLS13, turned) == 200, order_counts, "{key}");
        // What varies from request to request makes no other fingerprint.
        assert_eq!(
            ask(&TLS13, &format!("Cookie: a=b\r\n{first}X-Request-Id: 7\r\n")),
            429,
            "{key}"
        );
    }
}

#[test]
fn a_proxys_word_on_the_program_behind_it_is_taken_from_trusted_proxies_alone() {
    let upstream = Upstream::answering(|_| ok("hello")).expect("a free port");
    let rules = "identity: { trusted_proxies: 127.0.0.2, ja4_header: x-ja4 }\n\
                 rules: [ { name: a, key: ja4, limit: 1/h, on_missing_key: refuse } ]\n";
    let gateway = gateway_with(&upstreams(&[&upstream]), rules);
    let ask = |from: &str, header: &str| {
        let mut client = Client::from(format!("{from}:0").parse().expect("an address"), gateway.address);
        client
            .ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{header}\r\n"))
            .status()
            .expect("a status")
    };
    let (one, two) = (
        "X-JA4: t13d1516h2_8daaf6152771_e5627efa2ab1\r\n",
        "X-JA4: t13d1516h2_8daaf6152771_e5627efa2ab2\r\n",
    );
    assert_eq!(ask("127.0.0.2", one), 200);
    assert_eq!(ask("127.0.0.2", one), 429);
    assert_eq!(ask("127.0.0.2", two), 200);
    // A stranger has no say, nor has a proxy that says nothing, no JA4, or two.
    for (from, header) in [
        ("127.0.0.3", one),
        ("127.0.0.2", ""),
        ("127.0.0.2", "X-JA4: t13\r\n"),
        ("127.0.0.2", &format!("{one}{two}")),
    ] {
        assert_eq!(ask(from, header), 400, "{from} {header}");
    }
    let told = upstream.requests();
    assert!(
        told.iter().all(|request| request.header("x-ja4").is_some()),
        "a trusted proxy's word is passed on"
    );
}

#[test]
fn a_strangers_word_on_its_program_does_not_reach_the_server() {
    let upstream = Upstream::answering(|_| ok("hello")).expect("a free port");
    let gateway = gateway_with(
        &upstreams(&[&upstream]),
        "identity: { trusted_proxies: 127.0.0.2, ja4_header: x-ja4 }\n",
    );
    gateway.ask("GET / HTTP/1.1\r\nHost: a\r\nX-JA4: t13d1516h2_8daaf6152771_e5627efa2ab1\r\n\r\n");
    assert_eq!(upstream.last().expect("it came").header("x-ja4"), None);
}
