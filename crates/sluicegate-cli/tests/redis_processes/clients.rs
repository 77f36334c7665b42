//! Who asks: connections that stay open, each with one request at a time, and what they were told.

use std::io::{self, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use sluicegate::{Clock as _, SystemClock};
use sluicegate_testkit::history::{Answer, Decision, History};
use sluicegate_testkit::upstream::{Message, ReadBody};
use socket2::{Domain, Socket, Type};

/// What passed, and what clients were told.
#[derive(Debug)]
pub(crate) struct Seen {
    clock: SystemClock,
    /// Of each request that reached the upstream, when it did.
    pub(crate) passed: History,
    /// Of each answer, when it came.
    pub(crate) told: History,
    /// Requests that were sent and not answered: the connection ended.
    pub(crate) cut: AtomicU64,
    /// Requests that were neither answered nor ended by the end of all patience.
    pub(crate) hung: AtomicU64,
    /// Requests that were under way when their node was stopped or went on: what of them passed may have been decided before.
    pub(crate) held: AtomicU64,
    /// The longest that any other request took.
    longest_ns: AtomicU64,
}

/// Where a node is to be found at the moment, and how often it was stopped and went on.
#[derive(Debug)]
pub(crate) struct Whereabouts {
    pub(crate) gateway: Mutex<SocketAddr>,
    pub(crate) stops: AtomicU64,
}

/// One connection that asks again and again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) node: u32,
    pub(crate) key: u8,
    pub(crate) every: Duration,
}

/// Said once, and heard by everybody who waits.
#[derive(Debug, Default)]
pub(crate) struct End {
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            clock: SystemClock::new(),
            passed: History::new(),
            told: History::new(),
            cut: AtomicU64::new(0),
            hung: AtomicU64::new(0),
            held: AtomicU64::new(0),
            longest_ns: AtomicU64::new(0),
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.clock.now().as_nanos()
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_ns.load(Ordering::Relaxed))
    }

    /// A request has come to the upstream.
    pub(crate) fn pass(&self, request: &Message) {
        let key = request.header(KEY).and_then(|key| key.parse().ok());
        self.passed.record(Decision {
            at_ns: self.now_ns(),
            node: 0,
            key: key.unwrap_or(u64::MAX),
            cost: 1,
            answer: Answer::Allow,
        });
    }

    fn tell(&self, client: Client, status: Option<u16>) {
        self.told.record(Decision {
            at_ns: self.now_ns(),
            node: client.node,
            key: client.key.into(),
            cost: 1,
            answer: match status {
                Some(200) => Answer::Allow,
                Some(429) => Answer::Deny,
                _ => Answer::Fail,
            },
        });
    }
}

impl Client {
    /// Asks until the end, over one connection for as long as that stays.
    pub(crate) fn ask(self, of: &Whereabouts, seen: &Seen, end: &End) {
        let mut connection = None;
        let mut due_ns = seen.now_ns();
        loop {
            due_ns += u64::try_from(self.every.as_nanos()).unwrap_or(u64::MAX);
            let left = Duration::from_nanos(due_ns.saturating_sub(seen.now_ns()));
            if end.comes_within(left) {
                return;
            }
            // What was missed is not made up for.
            due_ns = due_ns.max(seen.now_ns());
            connection = connection.or_else(|| self.connect(of).ok());
            // A node that was killed is not there until it is started again.
            if let Some(opened) = &mut connection
                && self.ask_once(opened, of, seen).is_err()
            {
                connection = None;
            }
        }
    }

    fn connect(self, of: &Whereabouts) -> io::Result<BufReader<TcpStream>> {
        let gateway = *of.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // The key is the address.
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 1, 1 + self.key), 0)).into())?;
        socket.connect_timeout(&gateway.into(), PATIENCE)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(BufReader::new(stream))
    }

    fn ask_once(self, connection: &mut BufReader<TcpStream>, of: &Whereabouts, seen: &Seen) -> io::Result<()> {
        let (asked_at, stops) = (seen.now_ns(), of.stops.load(Ordering::Acquire));
        let request = format!("GET / HTTP/1.1\r\nHost: api.example\r\n{KEY}: {}\r\n\r\n", self.key);
        let answer = connection
            .get_mut()
            .write_all(request.as_bytes())
            .and_then(|()| Message::read(connection, ReadBody::Whole));
        // Odd while it is stopped.
        if stops % 2 == 1 || of.stops.load(Ordering::Acquire) != stops {
            seen.held.fetch_add(1, Ordering::Relaxed);
        } else {
            seen.longest_ns.fetch_max(seen.now_ns() - asked_at, Ordering::Relaxed);
        }
        match answer {
            Ok(Some(answer)) => {
                seen.tell(self, answer.status());
                Ok(())
            }
            Ok(None) => {
                seen.cut.fetch_add(1, Ordering::Relaxed);
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Err(error) => {
                let hangs = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                let count = if hangs { &seen.hung } else { &seen.cut };
                count.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}

impl End {
    pub(crate) fn say(&self) {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether it comes before so much time is over.
    fn comes_within(&self, left: Duration) -> bool {
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(is_over, left, |is_over| !*is_over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Tells the upstream whose request it is.
const KEY: &str = "x-key";

/// For what hangs: no stop in these tests lasts as long.
const PATIENCE: Duration = Duration::from_secs(30);
