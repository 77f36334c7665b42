//! Callers by keys and tokens, through a running gateway.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use sluicegate::KeyDigest;
use sluicegate_testkit::tokens::Issuer;
use sluicegate_testkit::upstream::{Upstream, ok};
use tempfile::TempDir;

use crate::process::{FILE, Running, get, send_from};

/// A node that counts by `client`, one request a day, and has its keys from `keys_from`.
fn start(upstream: SocketAddr, keys_from: &str) -> Running {
    let folder = TempDir::new().expect("a folder");
    let hash = KeyDigest::of(KEY.as_bytes());
    fs::write(
        folder.path().join("keys.yaml"),
        format!("version: 1\nkeys: [{{ id: {CANARY}, hash: \"{hash}\", tenant: {CANARY} }}]\n"),
    )
    .expect("a file of ours");
    let policy = format!(
        "version: 1
admin: {{ listen: 127.0.0.1:0 }}
state: {{ memory: 1MiB, directory: state }}
identity:
  api_keys: keys.yaml
  jwt: {{ jwks: \"{keys_from}\", issuer: issuer, audience: api, tenant: org }}
gateway: {{ listen: 127.0.0.1:0, upstreams: {{ api: {{ servers: \"{upstream}\" }} }} }}
rules:
  - {{ name: per-client, key: [client, tenant], limit: 1 per 1d }}
"
    );
    fs::write(folder.path().join(FILE), policy).expect("a file of ours");
    Running::with_folder(folder, "trace").read_on()
}

/// What must be read nowhere: as a user, a tenant, a key's id, and within a key.
const CANARY: &str = "canary0b5e55ed";
const KEY: &str = "sg_canary0b5e55ed";

const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 91);

fn ask(running: &Running, fields: &str) -> (u16, String) {
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}Connection: close\r\n\r\n");
    send_from(SOURCE, running.gateway, &request)
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn claims(user: &str) -> String {
    let end = sluicegate_state::unix_nanos() / 1_000_000_000 + 3_600;
    format!(r#"{{"iss":"issuer","aud":"api","exp":{end},"sub":"{user}","org":"{user}"}}"#)
}

/// I7.
#[test]
fn a_storm_of_unknown_key_ids_is_one_fetch() {
    let issuer = Issuer::es256();
    let keys = issuer.key_set("one");
    let server = Upstream::answering(move |_| ok(&keys)).expect("a free port");
    let upstream = Upstream::answering(|_| ok("here")).expect("a free port");
    let running = start(upstream.address(), &format!("http://{}/keys?a=b", server.address()));
    assert_eq!(ask(&running, "").0, 200);
    let good = bearer(&issuer.token("one", &claims("alice")));
    // A liveness poll: until the keys are there, the token's bearer is the address, which has had its one request.
    while ask(&running, &good).0 != 200 {
        thread::yield_now();
    }
    for number in 0..200 {
        let forged = bearer(&issuer.token(&format!("id-{number}"), &claims("alice")));
        assert_eq!(ask(&running, &forged).0, 429);
    }
    let asked = server.requests();
    assert_eq!(asked.len(), 1, "the first fetch, and none for any of the made-up ids");
    assert_eq!(asked[0].target(), "/keys?a=b");
}

/// T43 of the threat list.
#[test]
fn neither_keys_nor_tokens_nor_whom_they_name_are_written_anywhere() {
    let issuer = Issuer::es256();
    let keys = issuer.key_set("one");
    let server = Upstream::answering(move |_| ok(&keys)).expect("a free port");
    let upstream = Upstream::answering(|_| ok("here")).expect("a free port");
    let running = start(upstream.address(), &format!("http://{}/", server.address()));
    let (key, token) = (
        format!("X-Api-Key: {KEY}\r\n"),
        bearer(&issuer.token("one", &claims(CANARY))),
    );
    let forged = bearer(&Issuer::es256().token(CANARY, &claims(CANARY)));
    assert_eq!(ask(&running, &forged).0, 200, "the address");
    while ask(&running, &token).0 != 200 {
        thread::yield_now();
    }
    let mut told = String::new();
    for (fields, status) in [
        (key.clone(), 200),
        (key.clone(), 429),
        (token.clone(), 429),
        (forged, 429),
        (format!("{key}X-Api-Key: other\r\n"), 400),
        (format!("{token}Authorization: Bearer other\r\n"), 400),
    ] {
        let (answered, answer) = ask(&running, &fields);
        assert_eq!(answered, status, "{answer}");
        told.push_str(&answer);
    }
    let metrics = get(running.admin, "/metrics").1;
    let state = running.file().with_file_name("state").join("snapshot");
    running.signal("TERM");
    // A liveness poll: it is written at the end, and its folder goes with `running`.
    let kept = loop {
        match fs::read(&state) {
            Ok(bytes) if !bytes.is_empty() => break String::from_utf8_lossy(&bytes).into_owned(),
            _ => thread::yield_now(),
        }
    };
    let (_, log) = running.end();
    let signature = token.rsplit('.').next().unwrap_or_default().trim();
    for (what, text) in [
        ("answers", &told),
        ("metrics", &metrics),
        ("state", &kept),
        ("log", &log),
    ] {
        assert!(!text.contains(CANARY), "the {what}:\n{text}");
        assert!(!text.contains(signature), "the {what}:\n{text}");
    }
}
