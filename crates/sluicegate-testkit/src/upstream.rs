//! A server that records what reaches it, and says what a test tells it to: on threads and std's sockets, so that no
//! HTTP library of the gateway's judges its own work.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// One HTTP/1.1 message as it came: a request or a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The request line or status line, without its end.
    pub start: String,
    /// Every header line in order, names as on the wire, values trimmed.
    pub headers: Vec<(String, String)>,
    /// The body, its chunks joined.
    pub body: Vec<u8>,
}

impl Message {
    /// Reads a whole message; `None` if the other side closed before the first byte.
    ///
    /// `bodiless` is for the answer to a `HEAD`, which announces a body and has none. A response without length or
    /// chunks lasts until the other side closes.
    ///
    /// # Errors
    ///
    /// If the other side breaks off, is silent for longer than the socket's read timeout, or does not speak HTTP.
    pub fn read(from: &mut impl BufRead, body: ReadBody) -> io::Result<Option<Self>> {
        let Some(mut message) = Self::read_head(from)? else {
            return Ok(None);
        };
        message.body = message.read_body(from, body)?;
        Ok(Some(message))
    }

    /// Reads a message up to the blank line.
    ///
    /// # Errors
    ///
    /// As [`Message::read`].
    pub fn read_head(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let start = read_line(from)?;
        if start.is_empty() {
            return Ok(None);
        }
        let mut message = Self {
            start,
            ..Self::default()
        };
        loop {
            let line = read_line(from)?;
            if line.is_empty() {
                return Ok(Some(message));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
            message.headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn read_body(&self, from: &mut impl BufRead, body: ReadBody) -> io::Result<Vec<u8>> {
        let status = self.status();
        if body == ReadBody::Skip || matches!(status, Some(100..200 | 204 | 304)) {
            return Ok(Vec::new());
        }
        let mut bytes = Vec::new();
        if self
            .header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            while let Some(chunk) = read_chunk(from)? {
                bytes.extend(chunk);
            }
        } else if let Some(length) = self.header("content-length") {
            let length: usize = length.parse().map_err(|_| malformed(length))?;
            bytes.resize(length, 0);
            from.read_exact(&mut bytes)?;
        } else if status.is_some() {
            from.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    /// The status of a response; `None` for a request.
    pub fn status(&self) -> Option<u16> {
        self.start
            .strip_prefix("HTTP/1.1 ")
            .or(self.start.strip_prefix("HTTP/1.0 "))?
            .get(..3)?
            .parse()
            .ok()
    }

    /// The method of a request; for a response its version.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request as it was written.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The value of the only line with this name, in whatever case; `None` if there is none or more than one.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self.lines(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// The values of all lines with this name, in whatever case.
    pub fn lines(&self, name: &str) -> Vec<&str> {
        let same = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text, with what is no UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Whether a message has the body that its head announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBody {
    /// It has.
    Whole,
    /// It answers a `HEAD`.
    Skip,
}

/// Reads one chunk of a chunked body; `None` after the last, with the trailer read and dropped.
///
/// # Errors
///
/// As [`Message::read`].
pub fn read_chunk(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let line = read_line(from)?;
    let size = line.split(';').next().unwrap_or_default().trim();
    let size = usize::from_str_radix(size, 16).map_err(|_| malformed(&line))?;
    if size == 0 {
        while !read_line(from)?.is_empty() {}
        return Ok(None);
    }
    let mut chunk = vec![0; size];
    from.read_exact(&mut chunk)?;
    read_line(from)?;
    Ok(Some(chunk))
}

/// A line without its end; empty at the end of the stream.
fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    while line.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {what:?}"))
}

/// Longer lines are cut, and the message then does not parse.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// A `200` with this body.
pub fn ok(body: &str) -> String {
    let mut answer = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        answer,
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    answer
}

/// A server on a free port of 127.0.0.1 that keeps every request it got. It stops when dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    requests: Mutex<Vec<Message>>,
    changed: Condvar,
    connections: AtomicUsize,
    stopped: AtomicBool,
}

impl Shared {
    fn requests(&self) -> MutexGuard<'_, Vec<Message>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, request: Message) {
        self.requests().push(request);
        self.changed.notify_all();
    }
}

impl Upstream {
    /// Answers every request with what `answer` makes of it, and keeps connections open.
    ///
    /// # Errors
    ///
    /// If no port can be had.
    pub fn answering(answer: impl Fn(&Message) -> String + Send + Sync + 'static) -> io::Result<Self> {
        Self::scripted(move |connection| {
            while let Some(request) = connection.request()? {
                connection.write(answer(&request).as_bytes())?;
            }
            Ok(())
        })
    }

    /// Hands every connection to `script`, on a thread of its own; the connection is closed when it returns.
    ///
    /// # Errors
    ///
    /// If no port can be had.
    pub fn scripted(script: impl Fn(&mut Connection) -> io::Result<()> + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let (script, accepting) = (Arc::new(script), Arc::clone(&shared));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let number = accepting.connections.fetch_add(1, Ordering::AcqRel);
                let (script, shared) = (Arc::clone(&script), Arc::clone(&accepting));
                thread::spawn(move || {
                    let Ok(mut connection) = Connection::new(stream, number, shared) else {
                        return;
                    };
                    // A connection that breaks is a test's own doing, or shows in what the test expects.
                    let _ = script(&mut connection);
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Every request so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Message> {
        self.shared.requests().clone()
    }

    /// The last request so far.
    pub fn last(&self) -> Option<Message> {
        self.shared.requests().last().cloned()
    }

    /// Waits until `count` requests have arrived; `false` if they do not within `patience`.
    #[must_use]
    pub fn wait_for(&self, count: usize, patience: Duration) -> bool {
        let requests = self.shared.requests();
        let arrived = self
            .shared
            .changed
            .wait_timeout_while(requests, patience, |requests| requests.len() < count);
        arrived.map_or_else(|poisoned| poisoned.into_inner().0.len(), |(requests, _)| requests.len()) >= count
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        // Wakes the listener up; it closes on its own if this fails.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

/// One connection to an [`Upstream`], as its script sees it.
#[derive(Debug)]
pub struct Connection {
    /// Counted from 0 for each upstream.
    pub number: usize,
    reader: BufReader<TcpStream>,
    shared: Arc<Shared>,
}

impl Connection {
    fn new(stream: TcpStream, number: usize, shared: Arc<Shared>) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            number,
            reader: BufReader::new(stream),
            shared,
        })
    }

    /// Reads and records a whole request; `None` if the gateway closed the connection.
    ///
    /// # Errors
    ///
    /// As [`Message::read`].
    pub fn request(&mut self) -> io::Result<Option<Message>> {
        let request = Message::read(&mut self.reader, ReadBody::Whole)?;
        if let Some(request) = &request {
            self.shared.record(request.clone());
        }
        Ok(request)
    }

    /// Reads and records a request's head; its body is left to be read.
    ///
    /// # Errors
    ///
    /// As [`Message::read`].
    pub fn request_head(&mut self) -> io::Result<Option<Message>> {
        let request = Message::read_head(&mut self.reader)?;
        if let Some(request) = &request {
            self.shared.record(request.clone());
        }
        Ok(request)
    }

    /// Reads one chunk of a chunked body; `None` after the last.
    ///
    /// # Errors
    ///
    /// As [`Message::read`].
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        read_chunk(&mut self.reader)
    }

    /// Writes bytes at once.
    ///
    /// # Errors
    ///
    /// If the gateway has closed the connection.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Reads so many bytes, of whatever they are a part.
    ///
    /// # Errors
    ///
    /// If the gateway closes the connection before, or is silent for too long.
    pub fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads all bytes to the end of the gateway's side.
    ///
    /// # Errors
    ///
    /// If the connection breaks off, or the gateway is silent for too long.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether there is something to read right now.
    ///
    /// # Errors
    ///
    /// If the gateway has closed the connection.
    pub fn has_bytes(&mut self) -> io::Result<bool> {
        if !self.reader.buffer().is_empty() {
            return Ok(true);
        }
        let socket = self.reader.get_ref();
        socket.set_nonblocking(true)?;
        let seen = socket.peek(&mut [0]);
        socket.set_nonblocking(false)?;
        match seen {
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Says that nothing more will come; the other direction stays open.
    ///
    /// # Errors
    ///
    /// If the gateway has closed the connection.
    pub fn finish(&mut self) -> io::Result<()> {
        self.reader.get_ref().shutdown(Shutdown::Write)
    }

    /// Waits until the gateway closes the connection; `false` if it is silent and open for `patience`.
    #[must_use]
    pub fn is_closed_within(&mut self, patience: Duration) -> bool {
        if self.reader.get_ref().set_read_timeout(Some(patience)).is_err() {
            return false;
        }
        match io::copy(&mut self.reader, &mut io::sink()) {
            Ok(_) => true,
            // A reset closes too.
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }
}

/// How long a script waits for bytes; a gateway that needs longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);
