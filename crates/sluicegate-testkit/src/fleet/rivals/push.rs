//! Each node decides by a bucket of its own, pushes what it has let through now and then, and pulls what all have: what guides recommend.

use std::collections::HashMap;

use sluicegate_core::sharing::Terms;

use super::Bucket;
use crate::fleet::{Call, Net, Request, Scheme, Setup, Timer, What};

/// Push what was let through and pull the whole, once a period.
#[derive(Debug)]
pub struct Push {
    terms: Terms,
    period: f64,
    nodes: Vec<Node>,
    store: Vec<Bucket>,
}

#[derive(Debug, Default)]
struct Node {
    keys: HashMap<u32, Entry>,
    /// Keys that were asked for since the last push.
    touched: Vec<u32>,
    is_set: bool,
}

#[derive(Debug, Default)]
struct Entry {
    /// The whole, as of the last pull, and what was let through here since.
    bucket: Bucket,
    /// Let through and not pushed.
    unpushed: f64,
    is_touched: bool,
}

/// What was let through of some keys, and what all have taken of them.
#[derive(Debug, Default)]
pub struct Pushed {
    items: Vec<Item>,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    key: u32,
    units: f64,
    /// Once the store has answered.
    debt: f64,
}

/// Most keys of one call.
const KEYS_MAX: usize = 128;

impl Push {
    /// For this setup, with a period in microseconds.
    pub fn new(setup: &Setup, period: f64) -> Self {
        Self {
            terms: setup.plan.terms,
            period,
            nodes: (0..setup.nodes).map(|_| Node::default()).collect(),
            store: vec![Bucket::default(); setup.load.key_count() as usize],
        }
    }
}

impl Scheme for Push {
    type Batch = Pushed;

    fn request(&mut self, net: &mut Net<Pushed>, request: Request) {
        let node = &mut self.nodes[request.node as usize];
        let entry = node.keys.entry(request.key).or_default();
        if entry.bucket.take(&self.terms, net.now, request.cost, 1.0) {
            entry.unpushed += request.cost;
            net.admit(&request);
        } else {
            net.refuse(&request);
        }
        if !entry.is_touched {
            entry.is_touched = true;
            node.touched.push(request.key);
        }
        if !node.is_set {
            node.is_set = true;
            // Nodes push at moments of their own.
            let first = net.now + self.period * net.chance.part();
            net.set_timer(first, 0, request.node);
        }
    }

    fn timer(&mut self, net: &mut Net<Pushed>, timer: Timer) {
        let node = &mut self.nodes[timer.which as usize];
        let mut touched = std::mem::take(&mut node.touched);
        for keys in touched.chunks(KEYS_MAX) {
            let mut batch = net.batch();
            batch.items.clear();
            for key in keys {
                if let Some(entry) = node.keys.get_mut(key) {
                    entry.is_touched = false;
                    batch.items.push(Item {
                        key: *key,
                        units: std::mem::take(&mut entry.unpushed),
                        debt: 0.0,
                    });
                }
            }
            net.send(timer.which, batch, keys.len() as u32);
        }
        touched.clear();
        node.touched = touched;
        net.set_timer(net.now + self.period, 0, timer.which);
    }

    fn serve(&mut self, store_time: f64, batch: &mut Pushed) {
        for item in &mut batch.items {
            let bucket = &mut self.store[item.key as usize];
            bucket.debt = bucket.debt(&self.terms, store_time, 1.0) + item.units;
            item.debt = bucket.debt;
        }
    }

    fn reply(&mut self, net: &mut Net<Pushed>, call: &mut Call<Pushed>) {
        let node = &mut self.nodes[call.node as usize];
        for item in call.batch.items.drain(..) {
            if let Some(entry) = node.keys.get_mut(&item.key) {
                entry.bucket = Bucket {
                    debt: item.debt + entry.unpushed,
                    at: net.now,
                };
            }
        }
    }

    fn lost(&mut self, _: &mut Net<Pushed>, call: &mut Call<Pushed>) {
        // Said again with the next push: whether it was done is unknown.
        let node = &mut self.nodes[call.node as usize];
        for item in call.batch.items.drain(..) {
            if let Some(entry) = node.keys.get_mut(&item.key) {
                entry.unpushed += item.units;
                if !entry.is_touched {
                    entry.is_touched = true;
                    node.touched.push(item.key);
                }
            }
        }
    }

    fn fault(&mut self, _: &mut Net<Pushed>, what: What) {
        if what == What::Wipe {
            self.store.fill(Bucket::default());
        }
    }
}
