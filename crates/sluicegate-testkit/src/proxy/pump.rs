//! One direction of a connection: reads chunks, asks what becomes of them, and writes what is due.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::Mode;
use super::connection::{Broken, Link};
use super::driver::{InForce, ModeInForce, count};
use super::replies::Spoiler;
use crate::redis::resp::Framer;

/// What to do once all that is under way has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Read more.
    GoOn,
    /// Close the connection.
    Close,
    /// Reset it.
    Break,
    /// Write a string of 1 GiB.
    Flood,
}

/// Relays until one side ends.
pub(super) async fn run(
    from: &TcpStream,
    to: &TcpStream,
    mut direction: Direction<'_>,
    mut mode: ModeInForce,
) -> Result<(), Broken> {
    let mut queue = Queue::default();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut then = Then::GoOn;
    loop {
        let in_force = Arc::clone(&mode.borrow_and_update());
        let is_silent = direction.is_silent(&in_force.mode);
        if is_silent {
            queue.clear(direction.link());
        }
        let is_stalled = !is_silent && in_force.mode == Mode::Stall;
        let due_at = queue.due_at().filter(|_| !is_stalled);
        if queue.is_empty() {
            match then {
                Then::GoOn => {}
                // A client that is cut off from the server does not see it go.
                Then::Close if is_silent && direction.is_to_client() => {}
                Then::Close => {
                    // The other side may be gone already.
                    let _ = shutdown(to, Shutdown::Write);
                    return Ok(());
                }
                Then::Break => return Err(Broken),
                Then::Flood => return flood(to).await,
            }
        }
        tokio::select! {
            biased;
            changed = mode.changed() => changed.map_err(|_| Broken)?,
            writable = ready_at(to, due_at), if due_at.is_some() => {
                writable?;
                queue.write(to, direction.drip(&in_force.mode))?;
            }
            read = read(from, &mut buffer), if then == Then::GoOn && !is_stalled && queue.bytes < UNDER_WAY_BYTES_MAX => {
                let read = read?;
                then = if read == 0 {
                    Then::Close
                } else {
                    let (bytes, then) = direction.take(&buffer[..read], &in_force);
                    queue.push(bytes, direction.delay(&in_force));
                    then
                };
            }
        }
    }
}

/// As one read of a kernel's socket buffer usually brings.
const CHUNK_BYTES: usize = 1 << 14;

/// What a line of 80 ms holds at 50 MB/s.
const UNDER_WAY_BYTES_MAX: usize = 4 << 20;

/// Waits until there is something to write and room for it.
async fn ready_at(to: &TcpStream, due_at: Option<Instant>) -> Result<(), Broken> {
    if let Some(due_at) = due_at.filter(|due_at| *due_at > now()) {
        sleep_until(due_at).await;
    }
    to.writable().await.map_err(|_| Broken)
}

/// Reads what there is; 0 bytes at the end. Nothing is lost if it is given up.
pub(super) async fn read(from: &TcpStream, buffer: &mut [u8]) -> Result<usize, Broken> {
    loop {
        from.readable().await.map_err(|_| Broken)?;
        match from.try_read(buffer) {
            Ok(read) => return Ok(read),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Err(Broken),
        }
    }
}

/// Writes bytes as long as the client takes them.
async fn flood(to: &TcpStream) -> Result<(), Broken> {
    let filler = vec![b'x'; CHUNK_BYTES];
    let mut left = FLOOD_BYTES;
    let mut header = format!("${FLOOD_BYTES}\r\n").into_bytes();
    loop {
        let next = if header.is_empty() {
            &filler[..filler.len().min(left)]
        } else {
            &header
        };
        if next.is_empty() {
            return Ok(());
        }
        to.writable().await.map_err(|_| Broken)?;
        match to.try_write(next) {
            Ok(written) if header.is_empty() => left -= written,
            Ok(written) => drop(header.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Err(Broken),
        }
    }
}

/// Twice the longest string that Redis itself can hold.
const FLOOD_BYTES: usize = 1 << 30;

/// What has been read and is to be written, in order.
#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    written: usize,
    due_at: Instant,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    fn due_at(&self) -> Option<Instant> {
        self.chunks.front().map(|chunk| chunk.due_at)
    }

    /// Nothing overtakes what is under way.
    fn push(&mut self, bytes: Vec<u8>, delay: Duration) {
        if bytes.is_empty() {
            return;
        }
        let earliest_at = now() + delay;
        let due_at = self
            .chunks
            .back()
            .map_or(earliest_at, |last| last.due_at.max(earliest_at));
        self.bytes += bytes.len();
        self.chunks.push_back(Chunk {
            bytes,
            written: 0,
            due_at,
        });
    }

    /// Writes the first chunk, as far as there is room; only one byte, and the next one later, where it drips.
    fn write(&mut self, to: &TcpStream, drip: Option<Duration>) -> Result<(), Broken> {
        let Some(chunk) = self.chunks.front_mut() else {
            return Ok(());
        };
        let rest = &chunk.bytes[chunk.written..];
        let piece = if drip.is_some() {
            &rest[..rest.len().min(1)]
        } else {
            rest
        };
        match to.try_write(piece) {
            Ok(written) => {
                chunk.written += written;
                self.bytes -= written;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(Broken),
        }
        if chunk.written == chunk.bytes.len() {
            self.chunks.pop_front();
        }
        if let (Some(drip), Some(next)) = (drip, self.chunks.front_mut()) {
            next.due_at = next.due_at.max(now() + drip);
        }
        Ok(())
    }

    /// What was under way never arrives.
    fn clear(&mut self, link: &Link) {
        if !self.is_empty() {
            link.has_hole.set(true);
            self.chunks.clear();
            self.bytes = 0;
        }
    }
}

/// Which way, and what is remembered of it.
#[derive(Debug)]
pub(super) enum Direction<'a> {
    Requests { link: &'a Link, framer: Option<Framer> },
    Replies { link: &'a Link, spoiler: Spoiler },
}

impl<'a> Direction<'a> {
    pub(super) fn requests(link: &'a Link) -> Self {
        Self::Requests {
            link,
            framer: Some(Framer::default()),
        }
    }

    pub(super) fn replies(link: &'a Link, spoiler: Spoiler) -> Self {
        Self::Replies { link, spoiler }
    }

    fn link(&self) -> &'a Link {
        match self {
            Self::Requests { link, .. } | Self::Replies { link, .. } => link,
        }
    }

    fn is_to_client(&self) -> bool {
        matches!(self, Self::Replies { .. })
    }

    /// Whether what comes is swallowed.
    fn is_silent(&self, mode: &Mode) -> bool {
        match mode {
            Mode::Blackhole => true,
            Mode::OneWay => self.is_to_client(),
            _ => self.link().has_hole.get(),
        }
    }

    fn drip(&self, mode: &Mode) -> Option<Duration> {
        match mode {
            Mode::Drip { every } if self.is_to_client() => Some(*every),
            _ => None,
        }
    }

    /// How much later than at once the chunk that was just taken is to arrive.
    fn delay(&self, in_force: &InForce) -> Duration {
        match in_force.mode {
            Mode::Delay { requests, .. } if !self.is_to_client() => requests,
            Mode::Delay { replies, .. } => replies,
            Mode::Lossy { permille, .. } => {
                let lost = (0..REPEATED_MAX).take_while(|_| in_force.loses(permille)).count();
                count(&self.link().shared.counted.chunks_lost, u64::from(lost > 0));
                (0..lost).map(|doubled| REPEATED_AFTER * (1 << doubled)).sum()
            }
            _ => Duration::ZERO,
        }
    }

    /// What becomes of a chunk.
    fn take(&mut self, chunk: &[u8], in_force: &InForce) -> (Vec<u8>, Then) {
        let is_silent = self.is_silent(&in_force.mode);
        if is_silent {
            self.link().has_hole.set(true);
        }
        match self {
            Self::Requests { link, framer } => {
                count(&link.shared.counted.request_bytes, chunk.len() as u64);
                note_commands(framer, chunk, link);
                (if is_silent { Vec::new() } else { chunk.to_vec() }, Then::GoOn)
            }
            Self::Replies { link, spoiler } => {
                count(&link.shared.counted.reply_bytes, chunk.len() as u64);
                if is_silent {
                    return (Vec::new(), Then::GoOn);
                }
                spoiler.take(chunk, in_force, link)
            }
        }
    }
}

/// Notes the commands that end in this chunk, until the client turns out to speak something else.
fn note_commands(framer: &mut Option<Framer>, chunk: &[u8], link: &Link) {
    let mut rest = chunk;
    while let Some(frames) = framer.as_mut().filter(|_| !rest.is_empty()) {
        match frames.advance(rest) {
            Ok(Some(end)) => {
                link.asked(frames.word());
                rest = &rest[end..];
            }
            Ok(None) => return,
            Err(_malformed) => {
                *framer = None;
                *link.waiting.borrow_mut() = None;
            }
        }
    }
}

/// Linux's least time until TCP repeats what was not acknowledged; each further time is twice as long.
///
/// Source: RFC 6298, section 5, with Linux's `TCP_RTO_MIN`.
const REPEATED_AFTER: Duration = Duration::from_millis(200);

/// The seventh repetition would be 25 s late, by when every client has gone.
const REPEATED_MAX: u32 = 6;

#[expect(clippy::disallowed_methods, reason = "what is late is late by the machine's clock")]
fn now() -> Instant {
    Instant::now()
}
