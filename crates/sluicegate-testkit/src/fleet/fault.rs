//! What goes wrong, and when.

use super::Net;

/// Something that goes wrong at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// In microseconds of the simulation.
    pub at: f64,
    /// What.
    pub what: What,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// So many nodes die with all that they hold; what would reach them reaches others.
    Kill(u32),
    /// The server does not answer any more. It keeps its data.
    Stop,
    /// It answers again.
    Start,
    /// It loses all data.
    Wipe,
    /// What it holds now is what a later [`What::FailOver`] comes back to.
    Replicate,
    /// A replica takes over that holds what the store held at the last [`What::Replicate`].
    FailOver,
    /// Its clock jumps by so many microseconds.
    Clock(f64),
    /// The round trip is drawn from between these from now on, in microseconds.
    RoundTrip(f64, f64),
}

impl<B: Default> Net<B> {
    /// Does the part of a fault that concerns links and server.
    pub(super) fn fault(&mut self, what: What) {
        match what {
            What::Stop => self.is_up = false,
            What::Start => self.is_up = true,
            What::Clock(by) => self.clock_offset += by,
            What::RoundTrip(least, most) => self.round_trip = (least, most),
            What::Kill(_) | What::Wipe | What::Replicate | What::FailOver => {}
        }
    }
}
