//! A server of somebody else's in the upstream's place, and its own book of the requests that it saw.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sluicegate_testkit::poll;
use tempfile::TempDir;

use crate::payloads::{SMUGGLED, payloads};
use crate::support::{PATIENCE, gateway};

/// Sends every payload through a gateway to the server that `start` starts: it must see none of the hidden requests, and of the
/// requests in which they hide one at most.
#[track_caller]
pub(crate) fn check(start: impl Fn(&Path, SocketAddr) -> Command) {
    let peer = Peer::start(&start);
    let gateway = gateway(&format!("upstreams: {{ all: {{ servers: \"{}\" }} }}\n", peer.address));
    // It takes part: what has one meaning reaches it.
    assert_eq!(gateway.get("/good").status(), Some(200));
    let payloads = payloads();
    for payload in &payloads {
        let mut client = gateway.client();
        client.send(payload.as_bytes());
        // A reset closes too.
        let _ = io::copy(&mut client.reader, &mut io::sink());
    }
    drop(gateway);
    let book = peer.book();
    assert!(book.iter().any(|line| line == "GET /good"), "{book:?}");
    assert!(!book.iter().any(|line| line.contains(SMUGGLED)), "{book:?}");
    for number in 0..payloads.len() {
        let first = format!(" /first{number}");
        let seen = book.iter().filter(|line| line.ends_with(&first)).count();
        assert!(seen <= 1, "{first} was seen {seen} times");
    }
    assert!(
        book.iter()
            .all(|line| line.starts_with("GET /good") || line.contains(" /first")),
        "{book:?}"
    );
}

/// A server on a free port, in a folder that goes with it. Its standard output is its book: a line for each request, method and path.
struct Peer {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Peer {
    fn start(start: &impl Fn(&Path, SocketAddr) -> Command) -> Self {
        // A port that was free a moment ago may be taken: then the next.
        let tries = (0..PORTS_TRIED).find_map(|_| Self::try_start(start));
        tries.expect("the server starts on one of several free ports")
    }

    fn try_start(start: &impl Fn(&Path, SocketAddr) -> Command) -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let book = File::create(folder.path().join("book")).expect("a file");
        let child = start(folder.path(), address)
            .stdin(Stdio::null())
            .stdout(book)
            .stderr(Stdio::null())
            .spawn()
            .expect("the server is installed");
        let mut peer = Self { child, address, folder };
        while peer.child.try_wait().expect("a child can be asked").is_none() {
            if TcpStream::connect(address).is_ok() {
                return Some(peer);
            }
            std::thread::yield_now();
        }
        None
    }

    /// What it saw. It writes in the order of its answers, so that the last line to come is the one asked for here.
    fn book(&self) -> Vec<String> {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.write_all(b"GET /last HTTP/1.0\r\n\r\n").expect("it reads");
        io::copy(&mut stream, &mut io::sink()).expect("it answers");
        let read = || fs::read_to_string(self.folder.path().join("book")).unwrap_or_default();
        poll::until_true("the book's last line", PATIENCE, || read().ends_with("GET /last\n"))
            .expect("it keeps its book");
        let text = read();
        text.lines()
            .filter(|line| *line != "GET /last")
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // One process, so that nothing of it is left behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a configuration into the server's folder.
pub(crate) fn configuration(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("configuration");
    fs::write(&file, text).expect("a file");
    file
}

/// Debian keeps servers where a plain user's search path does not look.
pub(crate) fn program(name: &str) -> PathBuf {
    let aside = Path::new("/usr/sbin").join(name);
    if aside.exists() { aside } else { PathBuf::from(name) }
}

/// Between asking the system for a free port and the server taking it, somebody else may; five times in a row nobody does.
const PORTS_TRIED: usize = 5;
