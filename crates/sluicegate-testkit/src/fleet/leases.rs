//! The product's own arithmetic, in every node of the fleet: a driver around [`Lease`] as plain as it can be.

use std::collections::{HashMap, VecDeque};

use sluicegate_core::sharing::exchange::Rules;
use sluicegate_core::sharing::{Ask, EPOCH_UNIX_US, Lease, Look, Now, Pacing, Reply, Terms, View, WAIT_US};

use super::settling::{Books, Ends, Truth};
use super::store::Kept;
use super::{Call, Chance, Net, Request, Scheme, Setup, Timer, What};

/// What is left out on purpose, to see that it was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ablation {
    /// What is outstanding does not block refill.
    Outstanding,
    /// What is taken for requests that settle counts as spent.
    Taken,
    /// It blocks refill only after a report was settled.
    FloorFirst,
    /// After an outage a node reports all that it let through, as most limiters do.
    Residual,
    /// A store that lost its data is told nothing of it.
    Healing,
}

/// Nodes that hold leases of the product.
#[derive(Debug)]
pub struct Leases {
    ablation: Option<Ablation>,
    nodes: Vec<Node>,
    /// Which entry a node has for a key.
    places: HashMap<(u32, u32), u32>,
    entries: Vec<Entry>,
    store: Kept,
    replica: Option<Kept>,
    /// Nodes that others count.
    live: f64,
    dead: u32,
    crossing: Crossing,
    /// Where requests reserve.
    books: Option<Books>,
}

/// What was taken for requests in one window of the store's clock, and passed in the next.
#[derive(Debug, Clone, Copy, Default)]
struct Crossing {
    window: f64,
    units: f64,
    most: f64,
}

#[derive(Debug)]
struct Node {
    /// Its clock runs by so much faster, and stands so far ahead.
    drift: f64,
    ahead: f64,
    is_dead: bool,
    is_down: bool,
    is_probing: bool,
    failures: u32,
    round_trip: f64,
    generation: u64,
    pacing: Pacing,
    /// Entries that are due, each once.
    due: Vec<u32>,
    /// When calls are made next, in microseconds of the simulation; infinite if nothing waits for it.
    calls_at: f64,
}

#[derive(Debug)]
struct Entry {
    lease: Lease,
    node: u32,
    key: u32,
    /// For which moment a timer is set, in microseconds of the simulation.
    timer_at: f64,
    is_due: bool,
    waiters: VecDeque<Waiter>,
    /// Units that passed by the share since the store was missed.
    shared: f64,
}

#[derive(Debug, Clone, Copy)]
struct Waiter {
    request: Request,
    was_asked: bool,
}

/// What a call of a node says.
#[derive(Debug, Default)]
pub struct Batch {
    generation: u64,
    /// Whether it is only to see whether the store is back.
    is_probe: bool,
    has_changed: bool,
    /// When it was done, by the store's clock.
    served_at: f64,
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    entry: u32,
    key: u32,
    terms: Terms,
    ask: Ask,
    reply: Reply,
}

/// What timers are about.
const DUE: u32 = 0;
const CALLS: u32 = 1;
const WAITED: u32 = 2;
const PROBE: u32 = 3;
const DEAD: u32 = 4;
const ENDED: u32 = 5;

/// Most keys of one call.
const KEYS_MAX: usize = 128;

/// How long what is due gathers before it goes out, in microseconds; what somebody waits for does not.
const TICK_US: f64 = 250.0;

/// Calls without an answer, one after another, after which a node takes the store for gone: one is a lost packet.
const FAILURES: u32 = 3;

/// How often a node looks whether the store is back, in microseconds.
const PROBE_US: (f64, f64) = (100_000.0, 200_000.0);

/// For how long others count a node that died, in microseconds.
const HEARTBEAT_MEMORY_US: f64 = 3_500_000.0;

impl Leases {
    /// A fleet for this setup. Nodes' clocks stand anywhere, and run apart by up to a ten-thousandth.
    pub fn new(setup: &Setup, seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0xC10C);
        let nodes = (0..setup.nodes)
            .map(|_| {
                let ahead = chance.between(0.0, 1e9);
                Node {
                    drift: chance.between(-1e-4, 1e-4),
                    ahead,
                    is_dead: false,
                    is_down: false,
                    is_probing: false,
                    failures: 0,
                    round_trip: setup.link.round_trip.0,
                    generation: 1,
                    pacing: Pacing::new(ahead),
                    due: Vec::new(),
                    calls_at: f64::INFINITY,
                }
            })
            .collect();
        Self {
            ablation: None,
            nodes,
            places: HashMap::new(),
            entries: Vec::new(),
            store: Kept::new(setup.plan.terms.kind, setup.load.key_count()),
            replica: None,
            live: f64::from(setup.nodes),
            dead: 0,
            crossing: Crossing::default(),
            books: None,
        }
    }

    /// The most units that were taken for requests in one window, and passed in the next since their reply was under way.
    pub fn crossed(&self) -> f64 {
        self.crossing.most
    }

    /// The same without one of the rules.
    #[must_use]
    pub fn without(mut self, ablation: Ablation) -> Self {
        self.ablation = Some(ablation);
        self
    }

    /// The same of requests that reserve and settle. The setup's terms have to be [`held`](Terms::held).
    #[must_use]
    pub fn settling(mut self, ends: Ends, seed: u64) -> Self {
        self.books = Some(Books::new(ends, seed));
        self
    }

    /// What requests have really cost that reserved; `None` where they spend for good.
    pub fn truth(&self, setup: &Setup) -> Option<Truth> {
        self.books.as_ref().map(|books| books.truth(setup))
    }

    /// What a node's decisions go by.
    fn at(&self, node: u32, now: f64) -> Now {
        let state = &self.nodes[node as usize];
        Now {
            time: state.own_time(now),
            round_trip: state.round_trip,
            nodes: self.live,
            is_down: state.is_down,
            generation: state.generation,
        }
    }

    fn place(&mut self, node: u32, key: u32, now: f64) -> u32 {
        let own_time = self.nodes[node as usize].own_time(now);
        let entries = &mut self.entries;
        *self.places.entry((node, key)).or_insert_with(|| {
            entries.push(Entry {
                lease: Lease::new(own_time),
                node,
                key,
                timer_at: f64::INFINITY,
                is_due: false,
                waiters: VecDeque::new(),
                shared: 0.0,
            });
            entries.len() as u32 - 1
        })
    }

    /// Sets a timer for when the entry's next ask is due.
    fn arm(&mut self, net: &mut Net<Batch>, place: u32) {
        let entry = &mut self.entries[place as usize];
        let due_at = entry.lease.due_at();
        if entry.is_due || due_at.is_infinite() {
            return;
        }
        let at = self.nodes[entry.node as usize].simulated(due_at).max(net.now);
        if at < entry.timer_at {
            entry.timer_at = at;
            net.set_timer(at, DUE, place);
        }
    }

    fn due(&mut self, net: &mut Net<Batch>, place: u32) {
        let entry = &mut self.entries[place as usize];
        if net.now < entry.timer_at {
            // A later timer of an entry that had an earlier one.
            return;
        }
        entry.timer_at = f64::INFINITY;
        let node = &mut self.nodes[entry.node as usize];
        if entry.is_due || node.is_dead {
            return;
        }
        // Half a microsecond, for what is lost in going from one clock to the other.
        if entry.lease.due_at() > node.own_time(net.now) + 0.5 {
            self.arm(net, place);
            return;
        }
        entry.is_due = true;
        node.due.push(place);
        let hurries = entry.lease.has_waiters();
        let number = entry.node;
        self.call_by(net, number, net.now + if hurries { 0.0 } else { TICK_US });
    }

    fn call_by(&mut self, net: &mut Net<Batch>, number: u32, at: f64) {
        let node = &mut self.nodes[number as usize];
        if at < node.calls_at && !node.is_down {
            node.calls_at = at;
            net.set_timer(at, CALLS, number);
        }
    }

    /// Makes as many calls as the node's pace allows.
    fn make_calls(&mut self, net: &mut Net<Batch>, number: u32) {
        let live = self.live;
        let per_second = net.setup.link.calls_per_second;
        loop {
            let node = &mut self.nodes[number as usize];
            if node.due.is_empty() || node.is_down || node.is_dead {
                return;
            }
            let own_time = node.own_time(net.now);
            if !node.pacing.take(own_time, per_second, live) {
                let at = node.simulated(node.pacing.ready_at(per_second, live));
                self.call_by(net, number, at);
                return;
            }
            self.make_call(net, number);
        }
    }

    fn make_call(&mut self, net: &mut Net<Batch>, number: u32) {
        let mut batch = net.batch();
        batch.is_probe = false;
        batch.has_changed = false;
        batch.generation = self.nodes[number as usize].generation;
        batch.items.clear();
        let plan = net.setup.plan;
        let view = plan.view(self.at(number, net.now));
        let mut due = std::mem::take(&mut self.nodes[number as usize].due);
        if due.len() > KEYS_MAX {
            due.sort_by_cached_key(|place| self.entries[*place as usize].lease.urgency(&view));
        }
        for place in due.drain(..due.len().min(KEYS_MAX)) {
            let entry = &mut self.entries[place as usize];
            entry.is_due = false;
            let ask = entry.lease.build(&view, net.chance.part());
            if let Some(mut ask) = ask {
                if ask.take > 0.0 {
                    for waiter in &mut entry.waiters {
                        waiter.was_asked = true;
                    }
                }
                self.ablate(place, &mut ask);
                let entry = &self.entries[place as usize];
                batch.items.push(Item {
                    entry: place,
                    key: entry.key,
                    terms: view.terms(),
                    ask,
                    reply: Reply::default(),
                });
            }
            self.arm(net, place);
        }
        self.nodes[number as usize].due = due;
        if batch.items.is_empty() {
            return;
        }
        let keys = batch.items.len() as u32;
        net.send(number, batch, keys);
    }

    fn ablate(&mut self, place: u32, ask: &mut Ask) {
        let entry = &mut self.entries[place as usize];
        match self.ablation {
            Some(Ablation::Healing) => ask.heal = None,
            Some(Ablation::Residual) if entry.shared > 0.0 => {
                ask.pay = entry.lease.unreported() + entry.shared;
            }
            _ => {}
        }
    }

    /// Lets a request through that [`Lease::look`] has let pass.
    fn pass(&mut self, net: &mut Net<Batch>, view: &View<'_>, place: u32, look: Look, request: &Request) {
        let entry = &mut self.entries[place as usize];
        if let Some(books) = &mut self.books {
            let spent = entry.lease.reserve(view, look, request.cost);
            if let (number, Some(ends_at)) = books.note(net.now, place, spent, request) {
                net.set_timer(ends_at, ENDED, number);
            }
        } else {
            let _ = entry.lease.spend(view, look, request.cost);
        }
        if look == Look::Share {
            entry.shared += request.cost;
        }
        net.admit(request);
    }

    /// Gives what was taken to those it was asked for, in order; who gets nothing takes what the lease has, or is refused.
    fn serve_waiters(&mut self, net: &mut Net<Batch>, view: &View<'_>, place: u32, reply: &Reply) {
        // What is held for requests is in the lease already.
        let mut taken = if self.books.is_some() { 0.0 } else { reply.taken };
        loop {
            let entry = &mut self.entries[place as usize];
            if !entry.waiters.front().is_some_and(|waiter| waiter.was_asked) {
                break;
            }
            let Some(waiter) = entry.waiters.pop_front() else { break };
            let cost = waiter.request.cost;
            if taken >= cost {
                taken -= cost;
                net.admit(&waiter.request);
                continue;
            }
            let look = entry.lease.look(view, cost);
            if look.passes() {
                self.pass(net, view, place, look, &waiter.request);
            } else {
                net.refuse(&waiter.request);
            }
        }
        if taken > 0.0 {
            self.entries[place as usize].lease.return_taken(view, taken);
        }
        // Those who came while it was under way need no ask of their own where the lease that came does for them.
        loop {
            let entry = &mut self.entries[place as usize];
            let Some(waiter) = entry.waiters.front().copied() else {
                break;
            };
            let cost = waiter.request.cost;
            let look = entry.lease.look(view, cost);
            if !look.passes() {
                break;
            }
            entry.waiters.pop_front();
            entry.lease.leave(cost, false);
            self.pass(net, view, place, look, &waiter.request);
        }
    }

    fn note_crossing(&mut self, net: &Net<Batch>, terms: &Terms, served_at: f64, taken: f64) {
        let window = |store_time: f64| ((store_time + EPOCH_UNIX_US) / terms.ttl).floor();
        let now = window(net.store_time());
        if window(served_at) < now {
            if self.crossing.window < now {
                self.crossing.window = now;
                self.crossing.units = 0.0;
            }
            self.crossing.units += taken;
            self.crossing.most = self.crossing.most.max(self.crossing.units);
        }
    }

    fn refuse_asked(&mut self, net: &mut Net<Batch>, place: u32) {
        let entry = &mut self.entries[place as usize];
        while entry.waiters.front().is_some_and(|waiter| waiter.was_asked) {
            if let Some(waiter) = entry.waiters.pop_front() {
                net.refuse(&waiter.request);
            }
        }
    }

    fn waited(&mut self, net: &mut Net<Batch>, place: u32) {
        let entry = &mut self.entries[place as usize];
        while entry
            .waiters
            .front()
            .is_some_and(|waiter| waiter.request.at + WAIT_US <= net.now)
        {
            if let Some(waiter) = entry.waiters.pop_front() {
                entry.lease.leave(waiter.request.cost, waiter.was_asked);
                net.refuse(&waiter.request);
            }
        }
    }

    /// A request has ended that reserved; of a node that died, nobody hears of it.
    fn ended(&mut self, net: &mut Net<Batch>, number: u32) {
        let Some(books) = &mut self.books else { return };
        let reserved = books.reserved(number);
        let node = self.entries[reserved.entry as usize].node;
        if self.nodes[node as usize].is_dead {
            return;
        }
        books.settle(number);
        let plan = net.setup.plan;
        let view = plan.view(self.at(node, net.now));
        let lease = &mut self.entries[reserved.entry as usize].lease;
        lease.settle(&view, &reserved.spent, reserved.cost, reserved.actual);
        self.arm(net, reserved.entry);
    }

    fn probe(&mut self, net: &mut Net<Batch>, number: u32) {
        let node = &mut self.nodes[number as usize];
        if node.failures == 0 || node.is_dead {
            node.is_probing = false;
            return;
        }
        let mut batch = net.batch();
        batch.is_probe = true;
        batch.items.clear();
        net.send(number, batch, 0);
    }

    fn is_back(&mut self, net: &mut Net<Batch>, number: u32) {
        let node = &mut self.nodes[number as usize];
        node.failures = 0;
        node.is_probing = false;
        if !node.is_down {
            return;
        }
        node.is_down = false;
        node.calls_at = f64::INFINITY;
        let own_time = node.own_time(net.now);
        for place in 0..self.entries.len() as u32 {
            let entry = &mut self.entries[place as usize];
            if entry.node == number {
                entry.lease.wake(own_time + net.chance.part() * WAKE_WITHIN_US);
                self.arm(net, place);
            }
        }
        self.call_by(net, number, net.now);
    }
}

/// Within which time all keys of a node speak with a store that is back, in microseconds.
const WAKE_WITHIN_US: f64 = 100_000.0;

impl Node {
    fn own_time(&self, now: f64) -> f64 {
        self.ahead + now * (1.0 + self.drift)
    }

    fn simulated(&self, own_time: f64) -> f64 {
        (own_time - self.ahead) / (1.0 + self.drift)
    }
}

impl Scheme for Leases {
    type Batch = Batch;

    fn request(&mut self, net: &mut Net<Batch>, request: Request) {
        let mut node = request.node;
        while self.nodes[node as usize].is_dead {
            node = net.chance.below(net.setup.nodes);
        }
        let place = self.place(node, request.key, net.now);
        let plan = net.setup.plan;
        let view = plan.view(self.at(node, net.now));
        let entry = &mut self.entries[place as usize];
        entry.lease.note(&view, request.cost);
        let look = entry.lease.look(&view, request.cost);
        if look.passes() {
            self.pass(net, &view, place, look, &request);
            self.arm(net, place);
            return;
        }
        let _ = entry.lease.spend(&view, look, request.cost);
        if look == Look::Wait {
            entry.waiters.push_back(Waiter {
                request,
                was_asked: false,
            });
            net.set_timer(request.at + WAIT_US, WAITED, place);
        } else {
            net.refuse(&request);
        }
        self.arm(net, place);
    }

    fn timer(&mut self, net: &mut Net<Batch>, timer: Timer) {
        match timer.what {
            DUE => self.due(net, timer.which),
            CALLS => {
                let node = &mut self.nodes[timer.which as usize];
                if net.now >= node.calls_at {
                    node.calls_at = f64::INFINITY;
                    self.make_calls(net, timer.which);
                }
            }
            WAITED => self.waited(net, timer.which),
            PROBE => self.probe(net, timer.which),
            ENDED => self.ended(net, timer.which),
            DEAD => self.live = (self.live - f64::from(timer.which)).max(1.0),
            _ => {}
        }
    }

    fn serve(&mut self, store_time: f64, batch: &mut Batch) {
        if batch.generation != self.store.generation {
            batch.has_changed = !batch.is_probe;
            batch.generation = self.store.generation;
            return;
        }
        batch.served_at = store_time;
        let rules = Rules {
            outstanding_blocks_refill: self.ablation != Some(Ablation::Outstanding),
            taken_stays_outstanding: self.ablation != Some(Ablation::Taken),
            floors_before_settling: self.ablation != Some(Ablation::FloorFirst),
            ..Rules::ALL
        };
        for item in &mut batch.items {
            item.reply = self.store.exchange(rules, item.key, &item.terms, &item.ask, store_time);
        }
    }

    fn reply(&mut self, net: &mut Net<Batch>, call: &mut Call<Batch>) {
        let node = &mut self.nodes[call.node as usize];
        if node.is_dead {
            return;
        }
        let round_trip = net.now - call.sent_at;
        node.round_trip += (round_trip - node.round_trip) / 8.0;
        let sent_at = node.own_time(call.sent_at);
        if call.batch.has_changed || call.batch.is_probe {
            node.generation = call.batch.generation;
        }
        self.is_back(net, call.node);
        let plan = net.setup.plan;
        let view = plan.view(self.at(call.node, net.now));
        for item in call.batch.items.drain(..) {
            let entry = &mut self.entries[item.entry as usize];
            if call.batch.has_changed {
                entry.lease.unsent(&view, &item.ask);
                for waiter in &mut entry.waiters {
                    if std::mem::take(&mut waiter.was_asked) {
                        let _ = entry.lease.spend(&view, Look::Wait, waiter.request.cost);
                    }
                }
            } else {
                entry
                    .lease
                    .apply(&view, &item.ask, &item.reply, sent_at, net.chance.part());
                entry.shared = 0.0;
                self.note_crossing(net, &plan.terms, call.batch.served_at, item.reply.taken);
                self.serve_waiters(net, &view, item.entry, &item.reply);
            }
            self.arm(net, item.entry);
        }
    }

    fn lost(&mut self, net: &mut Net<Batch>, call: &mut Call<Batch>) {
        let node = &mut self.nodes[call.node as usize];
        if node.is_dead {
            return;
        }
        node.failures += 1;
        node.is_down |= node.failures >= FAILURES;
        if call.batch.is_probe {
            node.is_probing = false;
        }
        if !node.is_probing {
            node.is_probing = true;
            // The first one at once: whether it was one call or the store should not take long to see.
            let pause = if node.is_down {
                net.chance.between(PROBE_US.0, PROBE_US.1)
            } else {
                0.0
            };
            net.set_timer(net.now + pause, PROBE, call.node);
        }
        let plan = net.setup.plan;
        let view = plan.view(self.at(call.node, net.now));
        for item in call.batch.items.drain(..) {
            self.entries[item.entry as usize].lease.lost(&view);
            self.refuse_asked(net, item.entry);
            self.arm(net, item.entry);
        }
    }

    fn fault(&mut self, net: &mut Net<Batch>, what: What) {
        match what {
            What::Kill(count) => {
                let count = count.min(self.nodes.len() as u32 - 1 - self.dead);
                let mut left = count;
                for node in &mut self.nodes {
                    if left > 0 && !node.is_dead {
                        node.is_dead = true;
                        left -= 1;
                    }
                }
                self.dead += count;
                for entry in &mut self.entries {
                    if self.nodes[entry.node as usize].is_dead {
                        for waiter in entry.waiters.drain(..) {
                            net.refuse(&waiter.request);
                        }
                    }
                }
                net.set_timer(net.now + HEARTBEAT_MEMORY_US, DEAD, count);
            }
            What::Wipe => self.store.wipe(),
            What::Replicate => self.replica = Some(self.store.clone()),
            What::FailOver => {
                if let Some(mut replica) = self.replica.take() {
                    replica.generation = self.store.generation + 1;
                    self.store = replica;
                }
            }
            What::Stop | What::Start | What::Clock(_) | What::RoundTrip(..) => {}
        }
    }
}
