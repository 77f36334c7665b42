//! Each request asks the store, by a script of one key, with a bound on what is under way.

use sluicegate_testkit::fleet::{Call, Net, Request, Scheme, Setup, Timer, What};

use super::bucket::{Allowed, Bucket};

/// A script call for each request, over one connection of each node, pipelined: what gathers within [`GATHERS_US`] goes out
/// together. A node has at most [`WAITING_MAX`] requests under way and refuses what comes beyond: without such a bound, all requests would
/// wait for longer than anybody waits for an answer, and the store would spend its time on those whom nobody waits for any more.
#[derive(Debug)]
pub(in super::super) struct Exact {
    allowed: Allowed,
    /// In the store, of each key.
    buckets: Vec<Bucket>,
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    gathered: Vec<Request>,
    /// Requests that are gathered or under way.
    waiting: usize,
}

/// Requests that go out together, each with what the store says.
#[derive(Debug, Default)]
pub(in super::super) struct Asked(Vec<(Request, bool)>);

/// How long requests gather: less than a client's own scheduling takes.
const GATHERS_US: f64 = 50.0;

/// Requests that one node has under way: with as many on each of a hundred nodes, the last is answered after 6 400 scripts of 6.5 µs each, within
/// the 50 ms that a node waits.
const WAITING_MAX: usize = 64;

impl Exact {
    /// For this setup.
    pub(in super::super) fn new(setup: &Setup) -> Self {
        Self {
            allowed: Allowed::of(&setup.plan.terms),
            buckets: vec![Bucket::default(); setup.load.key_count() as usize],
            nodes: (0..setup.nodes).map(|_| Node::default()).collect(),
        }
    }
}

impl Scheme for Exact {
    type Batch = Asked;

    fn request(&mut self, net: &mut Net<Asked>, request: Request) {
        let node = &mut self.nodes[request.node as usize];
        if node.waiting >= WAITING_MAX {
            net.refuse(&request);
            return;
        }
        node.waiting += 1;
        if node.gathered.is_empty() {
            net.set_timer(net.now + GATHERS_US, 0, request.node);
        }
        node.gathered.push(request);
    }

    fn timer(&mut self, net: &mut Net<Asked>, timer: Timer) {
        let mut asked = net.batch();
        let gathered = self.nodes[timer.which as usize].gathered.drain(..);
        asked.0.extend(gathered.map(|request| (request, false)));
        let keys = asked.0.len();
        // At most WAITING_MAX.
        net.send(timer.which, asked, u32::try_from(keys).unwrap_or(u32::MAX));
    }

    fn serve(&mut self, store_time: f64, asked: &mut Asked) {
        for (request, passes) in &mut asked.0 {
            let bucket = &mut self.buckets[request.key as usize];
            *passes = bucket.take(self.allowed, store_time, request.cost);
        }
    }

    fn reply(&mut self, net: &mut Net<Asked>, call: &mut Call<Asked>) {
        self.nodes[call.node as usize].waiting -= call.batch.0.len();
        for (request, passes) in call.batch.0.drain(..) {
            if passes {
                net.admit(&request);
            } else {
                net.refuse(&request);
            }
        }
    }

    /// Closed: whoever gets no answer is refused.
    fn lost(&mut self, net: &mut Net<Asked>, call: &mut Call<Asked>) {
        self.nodes[call.node as usize].waiting -= call.batch.0.len();
        for (request, _) in call.batch.0.drain(..) {
            net.refuse(&request);
        }
    }

    fn fault(&mut self, _: &mut Net<Asked>, what: What) {
        if what == What::Wipe {
            self.buckets.fill(Bucket::default());
        }
    }
}
