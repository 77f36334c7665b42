//! A gateway in this process, and a client that writes raw bytes.

#![allow(dead_code, unreachable_pub, reason = "each file of tests uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use sluicegate::policy::Policy;
use sluicegate::{Limiter, Secret, SystemClock};
use sluicegate_gateway::{Drained, Gateway, RunError, Settings, Traffic, Trigger, shutdown};
use sluicegate_testkit::upstream::{Message, ReadBody, Upstream};

/// A bound far above anything a healthy gateway needs: whoever reaches it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway on a free port.
pub struct Running {
    pub address: SocketAddr,
    pub traffic: Arc<Traffic>,
    pub limiter: Arc<Limiter>,
    pub settings: Settings,
    trigger: Option<Trigger>,
    thread: Option<JoinHandle<Result<Drained, RunError>>>,
}

/// Runs a gateway by a policy whose `gateway` has these lines besides `listen`.
#[track_caller]
pub fn gateway(lines: &str) -> Running {
    gateway_with(lines, "")
}

/// As [`gateway`], with more of the policy behind.
#[track_caller]
pub fn gateway_with(lines: &str, rest: &str) -> Running {
    gateway_by(&policy(lines, rest))
}

/// Runs a gateway by a policy.
#[track_caller]
pub fn gateway_by(policy: &Policy) -> Running {
    let limiter = Limiter::new(policy, &Secret::from_bytes([7; 32]), SystemClock::new()).unwrap();
    let limiter = Arc::new(limiter);
    let bound = Gateway::bind(policy, Arc::clone(&limiter)).unwrap();
    let (trigger, stop) = shutdown();
    Running {
        address: bound.addresses()[0],
        traffic: bound.traffic(),
        limiter,
        settings: bound.settings(),
        trigger: Some(trigger),
        thread: Some(std::thread::spawn(move || bound.run(stop))),
    }
}

/// The policy that [`gateway_with`] runs by.
#[track_caller]
pub fn policy(lines: &str, rest: &str) -> Policy {
    policy_on("127.0.0.1:0", lines, rest)
}

/// As [`policy`], with a `listen` of its own.
#[track_caller]
pub fn policy_on(listen: &str, lines: &str, rest: &str) -> Policy {
    let mut text = String::from("version: 1\nadmin: { listen: off }\nstate: { memory: 1MiB }\ngateway:\n");
    writeln!(text, "  listen: {listen}").unwrap();
    for line in lines.lines() {
        writeln!(text, "  {line}").unwrap();
    }
    text.push_str(rest);
    let (policy, _) = Policy::parse("test", &text).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
    policy
}

/// A gateway in front of `upstreams`' one set of servers.
#[track_caller]
pub fn gateway_to(servers: &[&Upstream]) -> Running {
    gateway(&upstreams(servers))
}

/// The lines of a policy that name `servers` as the one upstream.
pub fn upstreams(servers: &[&Upstream]) -> String {
    let list: Vec<_> = servers
        .iter()
        .map(|server| format!("\"{}\"", server.address()))
        .collect();
    format!("upstreams: {{ all: {{ servers: [{}] }} }}\n", list.join(", "))
}

impl Running {
    /// Orders the drain.
    pub fn stop(&self) {
        self.trigger.as_ref().unwrap().fire();
    }

    /// Orders the drain, and waits for its end.
    pub fn drain(mut self) -> Drained {
        self.stop();
        self.thread.take().unwrap().join().unwrap().unwrap()
    }

    pub fn client(&self) -> Client {
        Client::from("127.0.0.1:0".parse().unwrap(), self.address)
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: &str) -> Message {
        self.client().ask(request)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Message {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.trigger.take();
        if let Some(thread) = self.thread.take() {
            // What it says is of no interest here, unless it panicked.
            let _ = thread.join();
        }
    }
}

/// A client that writes what it is told, byte by byte.
pub struct Client {
    pub reader: BufReader<TcpStream>,
}

impl Client {
    pub fn from(from: SocketAddr, to: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&to.into()).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            reader: BufReader::new(socket.into()),
        }
    }

    #[track_caller]
    pub fn ask(&mut self, request: &str) -> Message {
        self.send(request.as_bytes());
        let body = if request.starts_with("HEAD ") {
            ReadBody::Skip
        } else {
            ReadBody::Whole
        };
        self.answer(body)
    }

    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    /// The next answer, without its body if it says `Skip`.
    #[track_caller]
    pub fn answer(&mut self, body: ReadBody) -> Message {
        Message::read(&mut self.reader, body)
            .unwrap()
            .expect("the gateway closed without an answer")
    }

    #[track_caller]
    pub fn answer_head(&mut self) -> Message {
        Message::read_head(&mut self.reader)
            .unwrap()
            .expect("the gateway closed without an answer")
    }

    /// Whether the gateway closes the connection, with nothing more to say.
    pub fn is_closed(&mut self) -> bool {
        match io::copy(&mut self.reader, &mut io::sink()) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }
}
