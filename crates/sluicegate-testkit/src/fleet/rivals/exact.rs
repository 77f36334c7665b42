//! Every request asks the store, by a script that is pipelined: what the textbook says.

use sluicegate_core::sharing::Terms;

use super::Bucket;
use crate::fleet::{Call, Net, Request, Scheme, Setup, Timer, What};

/// Each request is a call; one that has no answer within the deadline is refused.
#[derive(Debug)]
pub struct Exact {
    terms: Terms,
    store: Vec<Bucket>,
    deadline: f64,
}

/// One request, and whether it passes.
#[derive(Debug, Default)]
pub struct One {
    request: Option<Request>,
    passes: bool,
}

impl Exact {
    /// For this setup. A request waits no longer than `deadline` microseconds, and no longer than the link's timeout.
    pub fn new(setup: &Setup, deadline: f64) -> Self {
        Self {
            terms: setup.plan.terms,
            store: vec![Bucket::default(); setup.load.key_count() as usize],
            deadline,
        }
    }
}

impl Scheme for Exact {
    type Batch = One;

    fn request(&mut self, net: &mut Net<One>, request: Request) {
        let one = One {
            request: Some(request),
            passes: false,
        };
        net.send(request.node, one, 1);
    }

    fn timer(&mut self, _: &mut Net<One>, _: Timer) {}

    fn serve(&mut self, store_time: f64, one: &mut One) {
        if let Some(request) = one.request {
            let bucket = &mut self.store[request.key as usize];
            one.passes = bucket.take(&self.terms, store_time, request.cost, 1.0);
        }
    }

    fn reply(&mut self, net: &mut Net<One>, call: &mut Call<One>) {
        if let Some(request) = call.batch.request {
            if call.batch.passes && net.now - request.at <= self.deadline {
                net.admit(&request);
            } else {
                net.refuse(&request);
            }
        }
    }

    fn lost(&mut self, net: &mut Net<One>, call: &mut Call<One>) {
        if let Some(request) = call.batch.request {
            net.refuse(&request);
        }
    }

    fn fault(&mut self, _: &mut Net<One>, what: What) {
        if what == What::Wipe {
            self.store.fill(Bucket::default());
        }
    }
}
