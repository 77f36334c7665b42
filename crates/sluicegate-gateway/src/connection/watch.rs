//! Where one client connection stands, and the deadlines that follow from it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use sluicegate::policy::checked::Deadlines;
use sluicegate_tower::Passage;

use crate::framing::Doubt;
use crate::pulse::{Alarm, Attendant, Pulse, Tick, Ticks, Timed};
use crate::uploads::Uploads;
use crate::upstream::Far;

/// One connection's watch, as its socket, its door and its bodies share it.
pub(crate) type SharedWatch = Rc<Attendant<Watch>>;

/// Where a connection stands, and its alarms.
pub(crate) struct Watch {
    pulse: Rc<Pulse<Watch>>,
    spans: Spans,
    phase: Cell<Phase>,
    turn_now: Cell<Turn>,
    draining: Cell<bool>,
    uploading: Cell<bool>,
    /// In HTTP/2, of the connection.
    multiplexed: Cell<bool>,
    streams_now: Cell<u32>,
    /// In HTTP/2, of a stream.
    said_all: Cell<bool>,
    unread: Cell<bool>,
    /// For the current phase: the first or next request, a head, an upstream's answer, anything in a tunnel.
    turn: Alarm,
    /// For the next bytes of a request's body.
    upload: Alarm,
    /// For the next bytes of a response's body; in a tunnel, for the server to take some.
    download: Alarm,
    /// For the client to take some bytes.
    write: Alarm,
    uploads: Uploads,
    /// The server's end of a connection that leaves HTTP, until the client has been told.
    far: RefCell<Option<Box<Far>>>,
    /// Why a head is refused, and how many requests stand before it.
    refused: Cell<Option<(Doubt, u64)>>,
    /// After how many requests the gate goes on with what waits there.
    held_back: Cell<Option<u64>>,
}

/// Which of a connection's requests, counted from its first; 0 is none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn(u64);

/// What a connection is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has sent nothing yet.
    Fresh,
    /// A part of a request's head is here.
    Head,
    /// A request is being answered.
    Answering,
    /// The answer is complete, and a part of it waits here until the client takes more. The deadline is `write_stall`:
    /// what is timed as idle may be closed, and the answer with it.
    Flushing,
    /// The answer is complete and sent, the request is not: an upstream may answer before it has read everything. What
    /// comes in is the body's. Its reader holds the deadline, `request_body_idle`.
    Receiving,
    /// Between two requests.
    Idle,
    /// It speaks HTTP/2, and streams are under way, each with a watch of its own.
    Streams,
    /// It has left HTTP, and what passes is bytes.
    Tunnel,
    /// As `Tunnel`, and one side has ended.
    HalfTunnel,
}

/// The deadlines in ticks of one worker's pulse.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    request_head: Ticks,
    keep_alive: Ticks,
    request_body_idle: Ticks,
    response_head: Ticks,
    response_body_idle: Ticks,
    write_stall: Ticks,
    drain_grace: Ticks,
    upgraded_idle: Ticks,
    half_ended_idle: Ticks,
}

impl Spans {
    pub(crate) fn new(deadlines: &Deadlines, pulse: &Pulse<Watch>) -> Self {
        Self {
            request_head: pulse.ticks(deadlines.request_head),
            keep_alive: pulse.ticks(deadlines.keep_alive),
            request_body_idle: pulse.ticks(deadlines.request_body_idle),
            response_head: pulse.ticks(deadlines.response_head),
            response_body_idle: pulse.ticks(deadlines.response_body_idle),
            write_stall: pulse.ticks(deadlines.write_stall),
            drain_grace: pulse.ticks(super::DRAIN_GRACE.min(deadlines.drain / 2)),
            upgraded_idle: pulse.ticks(deadlines.upgraded_idle),
            half_ended_idle: pulse.ticks(HALF_ENDED_IDLE.min(deadlines.upgraded_idle)),
        }
    }
}

impl Watch {
    /// A connection that was just accepted. Nothing is awaited before [`Watch::open`].
    pub(crate) fn new(pulse: Rc<Pulse<Watch>>, spans: Spans) -> Self {
        Self {
            pulse,
            spans,
            phase: Cell::new(Phase::Fresh),
            turn_now: Cell::new(Turn(0)),
            draining: Cell::new(false),
            uploading: Cell::new(false),
            multiplexed: Cell::new(false),
            streams_now: Cell::new(0),
            said_all: Cell::new(false),
            unread: Cell::new(false),
            turn: Alarm::default(),
            upload: Alarm::default(),
            download: Alarm::default(),
            write: Alarm::default(),
            uploads: Uploads::default(),
            far: RefCell::default(),
            refused: Cell::new(None),
            held_back: Cell::new(None),
        }
    }

    /// The first request is awaited. To be called once the pulse attends: before, its clock may stand still.
    pub(crate) fn open(&self) {
        self.turn.set(self.pulse.now(), self.spans.request_head);
    }

    pub(crate) fn now(&self) -> Tick {
        self.pulse.now()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Which request this is, or was the last one.
    pub(crate) fn turn_now(&self) -> Turn {
        self.turn_now.get()
    }

    /// Whether so many requests, all that have passed the gate, have their whole answers, and the client has taken them.
    pub(super) fn has_answered(&self, requests: u64) -> bool {
        let is_between = matches!(self.phase.get(), Phase::Fresh | Phase::Head | Phase::Idle);
        is_between && self.turn_now.get().0 == requests
    }

    /// The head behind so many requests is refused.
    pub(super) fn refuse(&self, doubt: Doubt, requests: u64) {
        self.refused.set(Some((doubt, requests)));
    }

    /// Why the client gets no more answers but the one that says so, once it has all others.
    pub(super) fn refused(&self) -> Option<Doubt> {
        let (doubt, requests) = self.refused.get()?;
        self.has_answered(requests).then_some(doubt)
    }

    /// What waits at the gate is asked for again once so many requests have been answered.
    pub(super) fn hold_back(&self, requests: u64) {
        self.held_back.set(Some(requests));
    }

    /// Whether hyper has to ask again for what it was told to wait for; true once.
    pub(super) fn lets_go(&self) -> bool {
        let is_due = self.held_back.get().is_some_and(|requests| self.has_answered(requests)) && !self.is_going_over();
        if is_due {
            self.held_back.set(None);
        }
        is_due
    }

    /// Bytes came in: perhaps a head's first. The deadline for a whole head runs from there, or from the connection's
    /// start, however they trickle.
    #[inline]
    pub(crate) fn heard(&self) {
        match self.phase.get() {
            Phase::Fresh => {
                self.phase.set(Phase::Head);
                if self.draining.get() {
                    // Until now it had the grace, and perhaps not much of it.
                    self.turn.set(self.pulse.now(), self.spans.request_head);
                }
            }
            // Of a body that nobody wants, hyper may read and forget a rest that has come already. Nothing tells that
            // from a head, so that such a client has `keep_alive` for its next head, as if it had sent nothing.
            // In HTTP/2 anything may come between two requests, and says nothing of the next.
            Phase::Idle if !self.unread.get() && !self.multiplexed.get() => {
                self.phase.set(Phase::Head);
                self.turn.set(self.pulse.now(), self.spans.request_head);
            }
            Phase::Head
            | Phase::Answering
            | Phase::Flushing
            | Phase::Receiving
            | Phase::Idle
            | Phase::Streams
            | Phase::Tunnel
            | Phase::HalfTunnel => {}
        }
    }

    /// A whole head is here, and perhaps a body behind it.
    pub(crate) fn begin_turn(&self, has_body: bool) {
        self.phase.set(Phase::Answering);
        // 2⁶⁴ requests do not fit into a connection's life.
        self.turn_now.set(Turn(self.turn_now.get().0.wrapping_add(1)));
        self.unread.set(has_body);
        self.uploading.set(false);
        self.upload.clear();
        self.turn.clear();
    }

    /// The answer's last byte was handed over for writing, which is not to say that the client's socket has taken it.
    pub(crate) fn end_turn(&self) {
        if self.write.is_set() {
            self.phase.set(Phase::Flushing);
        } else {
            self.rest();
        }
    }

    /// The client's socket took bytes.
    #[inline]
    pub(crate) fn wrote(&self) {
        self.write.clear();
        if self.phase.get() == Phase::Flushing {
            // If these were not the last, the next try to write says so.
            self.rest();
        }
    }

    /// The client's socket takes no bytes for now.
    pub(crate) fn write_blocked(&self, waker: &std::task::Waker) -> Result<(), TooLong> {
        if matches!(self.phase.get(), Phase::Idle | Phase::Receiving) {
            self.phase.set(Phase::Flushing);
            self.turn.clear();
        }
        let wait = Wait {
            alarm: &self.write,
            now: self.pulse.now(),
            span: self.spans.write_stall,
        };
        wait.pending(waker)
    }

    /// The answer is with the client, as far as we can know: the rest of the request is awaited, or else the next one.
    fn rest(&self) {
        if self.uploading.get() && self.unread.get() {
            self.phase.set(Phase::Receiving);
            self.turn.clear();
            return;
        }
        self.phase.set(Phase::Idle);
        let wait = if self.draining.get() {
            self.spans.drain_grace
        } else {
            self.spans.keep_alive
        };
        self.turn.set(self.pulse.now(), wait);
    }

    /// The request went to an upstream server, or another part of its body did: its answer is awaited.
    pub(crate) fn await_answer(&self) {
        if self.phase.get() == Phase::Answering {
            self.turn.set(self.pulse.now(), self.spans.response_head);
        }
    }

    /// The answer's head is here.
    pub(crate) fn answered(&self) {
        self.turn.clear();
    }

    /// No more requests after this one. Who is between two requests may still bring one for a moment, so that a busy
    /// client learns of the end by `Connection: close` and not by a reset.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        if matches!(self.phase.get(), Phase::Fresh | Phase::Idle | Phase::Streams) {
            self.turn.set(self.pulse.now(), self.spans.drain_grace);
        }
    }

    /// The connection speaks HTTP/2.
    pub(super) fn multiplex(&self) {
        self.multiplexed.set(true);
    }

    /// A stream of the connection has begun.
    pub(super) fn stream_began(&self) {
        self.streams_now.set(self.streams_now.get() + 1);
        self.phase.set(Phase::Streams);
        if !self.draining.get() {
            self.turn.clear();
        }
    }

    /// A stream of the connection has ended.
    pub(super) fn stream_ended(&self) {
        self.streams_now.set(self.streams_now.get().saturating_sub(1));
        if self.streams_now.get() == 0 {
            self.end_turn();
        }
    }

    /// Whether any stream is under way.
    pub(super) fn has_streams(&self) -> bool {
        self.streams_now.get() > 0
    }

    /// The client was told that there will be no more requests; whether it notices or not, it is not waited for.
    pub(super) fn told_to_part(&self) {
        self.draining.set(true);
        self.turn.set(self.pulse.now(), self.spans.drain_grace);
    }

    /// Of a stream: a piece of its answer was handed over, and another may follow when the client has taken it.
    pub(crate) fn piece_given(&self) {
        self.write.set(self.pulse.now(), self.spans.write_stall);
    }

    /// Of a stream: the next piece is asked for.
    pub(crate) fn piece_taken(&self) {
        self.write.clear();
    }

    /// Of a stream: its answer's last piece was handed over.
    pub(crate) fn said_all(&self) {
        self.said_all.set(true);
        self.write.clear();
    }

    /// Of a stream: whether its answer came to its end.
    pub(super) fn has_said_all(&self) -> bool {
        self.said_all.get()
    }

    /// Of a stream: whether its client takes nothing of it for too long.
    pub(super) fn is_stalled(&self, waker: &std::task::Waker) -> bool {
        self.write.wakes(waker);
        self.write.has_rung()
    }

    /// Whether a request is being answered, received or passed on, to the last byte, or a tunnel is open.
    pub(crate) fn is_busy(&self) -> bool {
        let busy = match self.phase.get() {
            Phase::Answering | Phase::Flushing | Phase::Receiving | Phase::Tunnel | Phase::HalfTunnel => true,
            Phase::Fresh | Phase::Head | Phase::Idle | Phase::Streams => false,
        };
        busy || !self.uploads.is_empty()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether a part of a request's body is still to be read by whoever forwards it.
    pub(crate) fn is_uploading(&self) -> bool {
        self.uploading.get()
    }

    /// Whether somebody reads the current request's body, and it is not over. Told by its [`Receipt`](super::Receipt).
    pub(super) fn set_uploading(&self, uploading: bool) {
        self.uploading.set(uploading);
        self.end_receiving();
    }

    /// The current request's body was read to its end.
    pub(super) fn body_ended(&self) {
        self.unread.set(false);
        self.end_receiving();
    }

    fn end_receiving(&self) {
        if self.phase.get() == Phase::Receiving {
            self.rest();
        }
    }

    /// Whether the last request has a body that nobody read to its end.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.get()
    }

    pub(crate) fn turn(&self) -> &Alarm {
        &self.turn
    }

    pub(crate) fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// Drives the uploads whose answers have begun. Ready when none is left.
    #[inline]
    pub(crate) fn poll_uploads(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.uploads.poll(cx, self.pulse.now(), self.spans.write_stall)
    }

    /// The current request's answer is a 101: once the client has it, the connection goes on as a tunnel to `far`.
    pub(crate) fn go_over(&self, far: Box<Far>) {
        self.far.replace(Some(far));
    }

    /// What the request holds goes over with its connection.
    pub(crate) fn keep(&self, passage: Option<Passage>) {
        if let Some(far) = &mut *self.far.borrow_mut() {
            far.keep(passage);
        }
    }

    pub(super) fn is_going_over(&self) -> bool {
        self.far.borrow().is_some()
    }

    pub(super) fn take_far(&self) -> Option<Box<Far>> {
        self.far.take()
    }

    /// The client has been told: what comes now is no HTTP.
    pub(crate) fn begin_tunnel(&self) {
        self.phase.set(Phase::Tunnel);
        self.passed();
    }

    /// Bytes passed in the tunnel, whichever way.
    pub(crate) fn passed(&self) {
        let idle = match self.phase.get() {
            Phase::HalfTunnel => self.spans.half_ended_idle,
            _ => self.spans.upgraded_idle,
        };
        self.turn.set(self.pulse.now(), idle);
    }

    /// One side of the tunnel has said all it has to say.
    pub(crate) fn half_ended(&self) {
        self.phase.set(Phase::HalfTunnel);
        self.passed();
    }

    /// For the server at the tunnel's end to take some bytes.
    pub(crate) fn server_takes(&self) -> Wait<'_> {
        Wait {
            alarm: &self.download,
            now: self.pulse.now(),
            span: self.spans.write_stall,
        }
    }

    pub(super) fn upload(&self) -> Wait<'_> {
        Wait {
            alarm: &self.upload,
            now: self.pulse.now(),
            span: self.spans.request_body_idle,
        }
    }

    pub(crate) fn download(&self) -> Wait<'_> {
        Wait {
            alarm: &self.download,
            now: self.pulse.now(),
            span: self.spans.response_body_idle,
        }
    }
}

impl Timed for Watch {
    fn look(&self, now: Tick) {
        self.turn.look(now);
        self.upload.look(now);
        self.download.look(now);
        self.write.look(now);
        self.uploads.look(now);
    }
}

/// A wait that may last only so long without progress.
pub(crate) struct Wait<'a> {
    alarm: &'a Alarm,
    now: Tick,
    span: Ticks,
}

impl Wait<'_> {
    /// There was progress.
    #[inline]
    pub(crate) fn progressed(&self) {
        self.alarm.clear();
    }

    /// There is none yet: waits on, or says that it has lasted too long.
    pub(crate) fn pending(&self, waker: &std::task::Waker) -> Result<(), TooLong> {
        if self.alarm.has_rung() {
            return Err(TooLong);
        }
        self.alarm.wakes(waker);
        self.alarm.set_if_unset(self.now, self.span);
        Ok(())
    }
}

/// A wait lasted longer than its deadline.
#[derive(Debug)]
pub(crate) struct TooLong;

/// How long nothing may pass in a tunnel once one side has ended: the other has something left to say, or else it did not
/// notice. A client that went away looks just like one that has no more to say.
pub(crate) const HALF_ENDED_IDLE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
