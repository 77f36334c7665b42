//! A gateway that may open few files (F19 of the fault list): more clients than it has descriptors for wait, and nobody is
//! answered with an error for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sluicegate_testkit::upstream::{Message, ReadBody, Upstream, ok};
use tempfile::TempDir;

/// Few enough that a hundred clients are too many.
const FEW: Limits = Limits { soft: 64, hard: 64 };

/// A bound far above anything a healthy process needs: whoever reaches it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn more_clients_than_descriptors_are_served_in_turn_without_an_error() {
    let upstream = Upstream::answering(|_| ok("here")).unwrap();
    let gateway = Gateway::start(upstream.address(), FEW);
    let mut clients: Vec<_> = (0..100).map(|_| connect(gateway.address)).collect();
    for client in &mut clients {
        client
            .get_mut()
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .unwrap();
    }
    for client in &mut clients {
        let answer = Message::read(client, ReadBody::Whole).unwrap().expect("an answer");
        assert_eq!(answer.text(), "here", "{answer:?}");
    }
}

#[test]
fn a_gateway_full_of_silent_clients_still_tells_how_it_is_and_recovers() {
    let upstream = Upstream::answering(|_| ok("here")).unwrap();
    let gateway = Gateway::start(upstream.address(), FEW);
    let silent: Vec<_> = (0..100).map(|_| connect(gateway.address)).collect();
    let mut waiting = connect(gateway.address);
    waiting
        .get_mut()
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut scrape = connect(gateway.admin);
    scrape
        .get_mut()
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert_eq!(
        Message::read(&mut scrape, ReadBody::Whole).unwrap().unwrap().status(),
        Some(200)
    );
    assert!(
        upstream.requests().is_empty(),
        "there is no place for the one who waits"
    );
    drop(silent);
    assert_eq!(
        Message::read(&mut waiting, ReadBody::Whole).unwrap().unwrap().text(),
        "here"
    );
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let upstream = Upstream::answering(|_| ok("here")).unwrap();
    let gateway = Gateway::start(upstream.address(), Limits { soft: 64, hard: 200 });
    let mut scrape = connect(gateway.admin);
    scrape
        .get_mut()
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let metrics = Message::read(&mut scrape, ReadBody::Whole).unwrap().unwrap().text();
    let most = metrics
        .lines()
        .find_map(|line| line.strip_prefix("sluicegate_gateway_connections_max "));
    // Half of what is left of 200 after 32 for everything else and 13 for the one worker and its listener.
    assert_eq!(most, Some("77"), "{metrics}");
}

fn connect(to: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

/// Limits of open files.
#[derive(Clone, Copy)]
struct Limits {
    soft: u32,
    hard: u32,
}

struct Gateway {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    _folder: TempDir,
}

impl Gateway {
    /// Runs the built command under a shell's limits of open files.
    fn start(upstream: SocketAddr, limits: Limits) -> Self {
        let Limits { soft, hard } = limits;
        let folder = TempDir::new().unwrap();
        let policy = folder.path().join("policy.yaml");
        let text = format!(
            "version: 1
gateway:
  listen: 127.0.0.1:0
  threads: 1
  upstreams: {{ api: {{ servers: \"{upstream}\" }} }}
admin: {{ listen: 127.0.0.1:0 }}
state: {{ memory: 1MiB }}
"
        );
        fs::write(&policy, text).unwrap();
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\""))
            .arg(env!("CARGO_BIN_EXE_sluicegate"))
            .args(["run", "-c"])
            .arg(&policy)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut address = |door: &str| loop {
            let line = lines.next().expect("the gateway says where it listens").unwrap();
            if let Some(address) = line.strip_prefix(&format!("{door} listens on http://")) {
                break address.trim().parse().unwrap();
            }
        };
        let (address, admin) = (address("gateway"), address("admin"));
        // Whatever else it says is drained, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address,
            admin,
            _folder: folder,
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Its own pid: `exec` put it in the shell's place.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
