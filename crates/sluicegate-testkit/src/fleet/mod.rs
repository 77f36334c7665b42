//! A fleet in simulated time: nodes, links, one store, requests, faults, and an exact meter of what passed.
//!
//! ```text
//!  Load ──► Scheme::request ──► Net::admit, Net::refuse ──► Outcome, with a Meter for each key
//!              │      ▲
//!    Net::send ▼      │ Scheme::reply, Scheme::lost, Scheme::timer
//!           links, loss, server ──► Scheme::serve
//! ```
//!
//! [`run`] plays a [`Setup`] with a [`Scheme`]: [`Leases`] is the product's own arithmetic, the others are what it is compared with.
//! Everything comes from the setup and one seed. Nothing waits and nothing reads a clock.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "counts of a simulation are far below 2³², and its times are no product's"
)]

mod chance;
mod fault;
mod leases;
mod load;
mod meter;
mod net;
mod outcome;
mod rivals;
mod settling;
mod store;

pub use chance::Chance;
pub use fault::{Fault, What};
pub use leases::{Ablation, Leases};
pub use load::{Keys, Load, Phase, Place, Request, Rhythm};
pub use meter::Meter;
pub use net::{Call, Net, Timer};
pub use outcome::{BIN_US, Outcome};
pub use rivals::{Exact, Push, Split};
pub use settling::{Ends, Truth};

use load::Arrivals;
use net::Event;
use sluicegate_core::sharing::Plan;

/// What is played.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many nodes there are at the start.
    pub nodes: u32,
    /// The limit of every key, and how it is shared.
    pub plan: Plan,
    /// What arrives.
    pub load: Load,
    /// Between nodes and store.
    pub link: Link,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// What lies between each node and the store. All spans are microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// How long a call and its reply travel together: each way takes half of a number drawn evenly between these.
    pub round_trip: (f64, f64),
    /// The probability that a reply is lost after the call was served.
    pub loses: f64,
    /// How long a node waits for a reply.
    pub timeout: f64,
    /// What a call costs the server.
    pub call_costs: f64,
    /// What each of its keys costs the server.
    pub key_costs: f64,
    /// Calls a second that all nodes together may make.
    pub calls_per_second: f64,
}

impl Default for Link {
    /// Within a data centre, and the costs that were measured on a real server.
    fn default() -> Self {
        Self {
            round_trip: (500.0, 2_000.0),
            loses: 0.0,
            timeout: 50_000.0,
            call_costs: 5.0,
            key_costs: 3.0,
            calls_per_second: sluicegate_core::sharing::CALLS_PER_SECOND,
        }
    }
}

/// A way for nodes to keep one limit together.
///
/// Each request ends in exactly one of [`Net::admit`] and [`Net::refuse`], at once or later.
pub trait Scheme {
    /// What a call says, and what is answered in its place.
    type Batch: Default + std::fmt::Debug;

    /// A request has come.
    fn request(&mut self, net: &mut Net<Self::Batch>, request: Request);

    /// A timer that was set is over.
    fn timer(&mut self, net: &mut Net<Self::Batch>, timer: Timer);

    /// The store does a call, at its time.
    fn serve(&mut self, store_time: f64, batch: &mut Self::Batch);

    /// A reply has come.
    fn reply(&mut self, net: &mut Net<Self::Batch>, call: &mut Call<Self::Batch>);

    /// No reply came in time.
    fn lost(&mut self, net: &mut Net<Self::Batch>, call: &mut Call<Self::Batch>);

    /// Something goes wrong that is not the net's.
    fn fault(&mut self, net: &mut Net<Self::Batch>, what: What);
}

/// Plays a setup from one seed, until the last request is answered.
pub fn run<S: Scheme>(setup: &Setup, scheme: &mut S, seed: u64) -> Outcome {
    let mut net = Net::new(setup.clone(), seed ^ 0x5EED);
    let mut arrivals = Arrivals::new(setup.load.clone(), setup.nodes, seed);
    let mut next = arrivals.next();
    let ends_at = setup.load.lasts() + AFTERWARDS_US;
    loop {
        let event_at = net.next_at();
        match next {
            Some(request) if request.at <= event_at => {
                net.now = request.at;
                net.outcome.ask(&net.setup, &request);
                scheme.request(&mut net, request);
                next = arrivals.next();
            }
            _ if event_at > ends_at => break,
            _ => step(&mut net, scheme),
        }
    }
    net.outcome
}

/// How long a run goes on after the last request, so that all are answered: more than any wait and timeout.
const AFTERWARDS_US: f64 = 500_000.0;

fn step<S: Scheme>(net: &mut Net<S::Batch>, scheme: &mut S) {
    match net.pop() {
        Some(Event::Arrives(place)) => net.arrive(place),
        Some(Event::Served(place)) => {
            let mut call = net.serve(place);
            if let Some(call) = &mut call {
                let store_time = net.store_time();
                scheme.serve(store_time, &mut call.batch);
            }
            net.answer(place, call);
        }
        Some(Event::Replied(place)) => {
            if let Some(mut call) = net.end(place) {
                scheme.reply(net, &mut call);
                net.ended(place, call.batch);
            }
        }
        Some(Event::TimedOut(place)) => {
            if let Some(mut call) = net.end(place) {
                scheme.lost(net, &mut call);
                net.ended(place, call.batch);
            }
        }
        Some(Event::Timer(timer)) => scheme.timer(net, timer),
        Some(Event::Fault(place)) => {
            let what = net.setup.faults[place as usize].what;
            net.fault(what);
            scheme.fault(net, what);
        }
        None => {}
    }
}
