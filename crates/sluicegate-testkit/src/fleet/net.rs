//! What lies between nodes and store: links, the server's time, and what goes wrong with them.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::outcome::Outcome;
use super::{Chance, Request, Setup};

/// What happens at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A call reaches the server.
    Arrives(u32),
    /// The server is done with it.
    Served(u32),
    /// The reply reaches the node.
    Replied(u32),
    /// The node waits no longer for it.
    TimedOut(u32),
    /// Something that a scheme wanted to be told of.
    Timer(Timer),
    /// A fault, by its place in the setup's list.
    Fault(u32),
}

/// Something that a scheme wants to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// What it is about: the scheme's own number.
    pub what: u32,
    /// Of which node, key or request: the scheme's own number.
    pub which: u32,
}

#[derive(Debug, Clone, Copy)]
struct Planned {
    at: f64,
    /// Of events at the same moment the one planned first is first.
    number: u64,
    event: Event,
}

/// One call of a node to the store.
#[derive(Debug, Default)]
pub struct Call<B> {
    /// Who made it.
    pub node: u32,
    /// When, in microseconds of the simulation.
    pub sent_at: f64,
    /// What it says, and then what is answered.
    pub batch: B,
    keys: u32,
    /// Events that will still name it.
    events: u32,
    is_over: bool,
}

/// Links and server, the events to come, and what has come of it all.
#[derive(Debug)]
pub struct Net<B> {
    /// How things are set up.
    pub setup: Setup,
    /// The moment, in microseconds of the simulation.
    pub now: f64,
    /// Random numbers of the net and the scheme; the load has its own, so that all schemes meet the same requests.
    pub chance: Chance,
    /// What has come of it.
    pub outcome: Outcome,
    planned: BinaryHeap<Planned>,
    count: u64,
    calls: Vec<Call<B>>,
    free: Vec<u32>,
    busy_until: f64,
    pub(super) is_up: bool,
    pub(super) clock_offset: f64,
    pub(super) round_trip: (f64, f64),
}

impl<B: Default> Net<B> {
    pub(super) fn new(setup: Setup, seed: u64) -> Self {
        let mut net = Self {
            now: 0.0,
            chance: Chance::new(seed),
            outcome: Outcome::new(setup.load.key_count()),
            planned: BinaryHeap::new(),
            count: 0,
            calls: Vec::new(),
            free: Vec::new(),
            busy_until: 0.0,
            is_up: true,
            clock_offset: 0.0,
            round_trip: setup.link.round_trip,
            setup,
        };
        for place in 0..net.setup.faults.len() {
            let fault = net.setup.faults[place];
            net.plan(fault.at, Event::Fault(place as u32));
        }
        net
    }

    /// Has the scheme told of something at a moment.
    pub fn set_timer(&mut self, at: f64, what: u32, which: u32) {
        self.plan(at.max(self.now), Event::Timer(Timer { what, which }));
    }

    /// An empty batch, with the memory of a former one.
    pub fn batch(&mut self) -> B {
        let place = self.free.last().copied();
        place.map_or_else(B::default, |place| {
            std::mem::take(&mut self.calls[place as usize].batch)
        })
    }

    /// Sends a call of so many keys.
    pub fn send(&mut self, node: u32, batch: B, keys: u32) {
        let call = Call {
            node,
            sent_at: self.now,
            batch,
            keys,
            events: 0,
            is_over: false,
        };
        let place = if let Some(place) = self.free.pop() {
            self.calls[place as usize] = call;
            place
        } else {
            self.calls.push(call);
            self.calls.len() as u32 - 1
        };
        self.outcome.calls += 1.0;
        self.outcome.key_ops += f64::from(keys);
        let up = self.one_way();
        self.plan_for(place, self.now + up, Event::Arrives(place));
        self.plan_for(place, self.now + self.setup.link.timeout, Event::TimedOut(place));
    }

    /// A request passes now.
    pub fn admit(&mut self, request: &Request) {
        self.outcome.admit(&self.setup, request, self.now);
    }

    /// A request is refused now.
    pub fn refuse(&mut self, request: &Request) {
        self.outcome.refuse(request, self.now);
    }

    /// The store's clock.
    pub fn store_time(&self) -> f64 {
        STORE_BEGINS_AT + self.now + self.clock_offset
    }

    fn one_way(&mut self) -> f64 {
        self.chance.between(self.round_trip.0, self.round_trip.1) / 2.0
    }

    fn plan(&mut self, at: f64, event: Event) {
        self.count += 1;
        self.planned.push(Planned {
            at,
            number: self.count,
            event,
        });
    }

    fn plan_for(&mut self, place: u32, at: f64, event: Event) {
        self.calls[place as usize].events += 1;
        self.plan(at, event);
    }

    /// When the next event is; infinite if none is.
    pub(super) fn next_at(&self) -> f64 {
        self.planned.peek().map_or(f64::INFINITY, |planned| planned.at)
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        let planned = self.planned.pop()?;
        self.now = self.now.max(planned.at);
        Some(planned.event)
    }

    /// A call has reached the server; it is served after all that came before.
    pub(super) fn arrive(&mut self, place: u32) {
        let keys = f64::from(self.calls[place as usize].keys);
        if self.is_up {
            let costs = self.setup.link.call_costs + keys * self.setup.link.key_costs;
            self.busy_until = self.busy_until.max(self.now) + costs;
            self.outcome.store_busy += costs;
            self.plan_for(place, self.busy_until, Event::Served(place));
        }
        self.done_with(place);
    }

    /// Takes out a call that is served now; `None` if the server is down.
    pub(super) fn serve(&mut self, place: u32) -> Option<Call<B>> {
        self.is_up.then(|| std::mem::take(&mut self.calls[place as usize]))
    }

    /// Sends the reply of a call that was served.
    pub(super) fn answer(&mut self, place: u32, call: Option<Call<B>>) {
        if let Some(call) = call {
            self.calls[place as usize] = call;
            if self.chance.happens(self.setup.link.loses) {
                self.outcome.replies_lost += 1.0;
            } else {
                let down = self.one_way();
                self.plan_for(place, self.now + down, Event::Replied(place));
            }
        }
        self.done_with(place);
    }

    /// Takes out a call whose reply is there or whose time is over; `None` if the other came first.
    pub(super) fn end(&mut self, place: u32) -> Option<Call<B>> {
        let call = &mut self.calls[place as usize];
        if call.is_over {
            self.done_with(place);
            return None;
        }
        Some(Call {
            node: call.node,
            sent_at: call.sent_at,
            batch: std::mem::take(&mut call.batch),
            ..Call::default()
        })
    }

    /// Puts the batch of a call that has ended back, for the next one.
    pub(super) fn ended(&mut self, place: u32, batch: B) {
        let call = &mut self.calls[place as usize];
        call.is_over = true;
        call.batch = batch;
        self.done_with(place);
    }

    fn done_with(&mut self, place: u32) {
        let call = &mut self.calls[place as usize];
        call.events -= 1;
        if call.events == 0 {
            self.free.push(place);
        }
    }
}

/// What the store's clock says at the start of the simulation: late in 2026.
pub(super) const STORE_BEGINS_AT: f64 = 91_000_000_000_000.0;

impl Ord for Planned {
    /// The earlier is the greater: for a heap that gives out the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.total_cmp(&self.at).then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Planned {}
