//! What came of a run.

use sluicegate_core::sharing::{EPOCH_UNIX_US, Kind, SIGMA, Terms};

use super::net::STORE_BEGINS_AT;
use super::{Meter, Request, Setup};

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// One for each key.
    pub meters: Vec<Meter>,
    /// Requests that came.
    pub requests: f64,
    /// Those that were refused.
    pub refused: f64,
    /// Calls to the store.
    pub calls: f64,
    /// Keys in them.
    pub key_ops: f64,
    /// Replies that were lost on their way.
    pub replies_lost: f64,
    /// Microseconds that the server worked.
    pub store_busy: f64,
    /// How long requests took that were not answered at once, in microseconds.
    pub waits: Vec<f32>,
    /// Units that passed in each tenth of a second.
    pub passed_in: Vec<f32>,
    /// Units that a single bucket would have let through in each.
    pub ideal_in: Vec<f32>,
}

/// How long a bin of [`Outcome::passed_in`] is, in microseconds.
pub const BIN_US: f64 = 100_000.0;

impl Outcome {
    pub(super) fn new(keys: u32) -> Self {
        Self {
            meters: vec![Meter::default(); keys as usize],
            requests: 0.0,
            refused: 0.0,
            calls: 0.0,
            key_ops: 0.0,
            replies_lost: 0.0,
            store_busy: 0.0,
            waits: Vec::new(),
            passed_in: Vec::new(),
            ideal_in: Vec::new(),
        }
    }

    pub(super) fn ask(&mut self, setup: &Setup, request: &Request) {
        self.requests += 1.0;
        let terms = &setup.plan.terms;
        if self.meters[request.key as usize].ask(terms, metered_at(terms, request.at), request.cost) {
            add(&mut self.ideal_in, request.at, request.cost);
        }
    }

    pub(super) fn admit(&mut self, setup: &Setup, request: &Request, now: f64) {
        let terms = &setup.plan.terms;
        self.meters[request.key as usize].pass(terms, metered_at(terms, now), request.cost, 1.0 + SIGMA);
        add(&mut self.passed_in, now, request.cost);
        self.note_wait(request, now);
    }

    pub(super) fn refuse(&mut self, request: &Request, now: f64) {
        self.refused += 1.0;
        self.note_wait(request, now);
    }

    fn note_wait(&mut self, request: &Request, now: f64) {
        if now > request.at {
            self.waits.push((now - request.at) as f32);
        }
    }

    /// The worst excess of all keys, in units; negative if no key was ever used up.
    pub fn excess(&self) -> f64 {
        self.meters
            .iter()
            .map(|meter| meter.excess)
            .fold(f64::NEG_INFINITY, f64::max)
    }

    /// The same, of a rate that is higher by what nodes may let through without a word.
    pub fn lenient_excess(&self) -> f64 {
        let excesses = self.meters.iter().map(|meter| meter.lenient_excess);
        excesses.fold(f64::NEG_INFINITY, f64::max)
    }

    /// Units that passed.
    pub fn admitted(&self) -> f64 {
        self.meters.iter().map(|meter| meter.admitted).sum()
    }

    /// Units that single buckets would have let through.
    pub fn ideal(&self) -> f64 {
        self.meters.iter().map(|meter| meter.ideal_admitted).sum()
    }

    /// What passed, as a part of the ideal.
    pub fn goodput(&self) -> f64 {
        self.admitted() / self.ideal().max(1.0)
    }

    /// Keys asked about for each request.
    pub fn ops_per_request(&self) -> f64 {
        self.key_ops / self.requests.max(1.0)
    }

    /// The wait that so many of a hundred of those that waited did not exceed, in microseconds; zero if none waited.
    pub fn wait(&self, percent: f64) -> f64 {
        let mut waits = self.waits.clone();
        waits.sort_by(f32::total_cmp);
        let place = (waits.len() as f64 * percent / 100.0) as usize;
        waits
            .get(place.min(waits.len().saturating_sub(1)))
            .copied()
            .map_or(0.0, f64::from)
    }

    /// Units that passed between two moments, in seconds from the start: whole bins.
    pub fn passed_between(&self, from: f64, to: f64) -> f64 {
        sum(&self.passed_in, from, to)
    }

    /// Units that single buckets would have let through between two moments.
    pub fn ideal_between(&self, from: f64, to: f64) -> f64 {
        sum(&self.ideal_in, from, to)
    }
}

/// By which time a meter counts: windows are those of the store's clock.
pub(super) fn metered_at(terms: &Terms, now: f64) -> f64 {
    match terms.kind {
        Kind::Bucket => now,
        Kind::SlidingWindow | Kind::FixedWindow => (STORE_BEGINS_AT + EPOCH_UNIX_US) % terms.ttl + now,
    }
}

fn add(bins: &mut Vec<f32>, at: f64, units: f64) {
    let bin = (at / BIN_US) as usize;
    if bin >= bins.len() {
        bins.resize(bin + 1, 0.0);
    }
    bins[bin] += units as f32;
}

fn sum(bins: &[f32], from: f64, to: f64) -> f64 {
    let bin = |seconds: f64| ((seconds * 1e6 / BIN_US).round() as usize).min(bins.len());
    bins[bin(from)..bin(to).max(bin(from))]
        .iter()
        .copied()
        .map(f64::from)
        .sum()
}
