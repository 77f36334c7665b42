//! What requests arrive, when, where and for which key.

use super::Chance;

/// So long at such a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phase {
    /// How long, in microseconds.
    pub lasts: f64,
    /// Requests a microsecond over all nodes and keys; zero for none.
    pub rate: f64,
}

/// When requests come within a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// At random: a Poisson process.
    Random,
    /// Evenly.
    Even,
}

/// Which node a request reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place {
    /// Any, with the same probability.
    Uniform,
    /// One node in five gets four requests in five.
    EightyTwenty,
    /// All requests one node, and after so many microseconds another.
    Pinned {
        /// In microseconds.
        moves_after: f64,
    },
    /// The first half of the nodes until then, the second half from then on.
    Moves {
        /// In microseconds.
        at: f64,
    },
}

/// Which key a request is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keys {
    /// Always the same.
    One,
    /// One of so many, with the same probability.
    Even(u32),
    /// One of so many; the first is twice as frequent as the second, three times as the third.
    Zipf(u32),
    /// Each a new one; so many at most, then from the first again.
    Unique(u32),
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// One after another.
    pub phases: Vec<Phase>,
    /// When requests come.
    pub rhythm: Rhythm,
    /// Where.
    pub place: Place,
    /// For what.
    pub keys: Keys,
    /// Units that a request costs: drawn evenly from 1 to this.
    pub cost_max: u32,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// When it came, in microseconds of the simulation.
    pub at: f64,
    /// The node.
    pub node: u32,
    /// The key.
    pub key: u32,
    /// Units.
    pub cost: f64,
}

impl Load {
    /// A constant rate of requests a second for so many seconds, at random, everywhere, of one unit for one key.
    pub fn constant(per_second: f64, seconds: f64) -> Self {
        Self {
            phases: vec![Phase::of(per_second, seconds)],
            rhythm: Rhythm::Random,
            place: Place::Uniform,
            keys: Keys::One,
            cost_max: 1,
        }
    }

    /// Nothing for so many seconds, then so many requests within 50 ms, then nothing again.
    pub fn burst(requests: f64, idle_seconds: f64) -> Self {
        let phases = vec![
            Phase::of(0.0, idle_seconds),
            Phase::of(requests / 0.05, 0.05),
            Phase::of(0.0, idle_seconds),
        ];
        Self {
            phases,
            ..Self::constant(0.0, 0.0)
        }
    }

    /// How long it lasts, in microseconds.
    pub fn lasts(&self) -> f64 {
        self.phases.iter().map(|phase| phase.lasts).sum()
    }

    /// How many keys there can be.
    pub const fn key_count(&self) -> u32 {
        match self.keys {
            Keys::One => 1,
            Keys::Even(count) | Keys::Zipf(count) | Keys::Unique(count) => count,
        }
    }
}

impl Phase {
    /// From requests a second and seconds.
    pub fn of(per_second: f64, seconds: f64) -> Self {
        Self {
            lasts: seconds * 1e6,
            rate: per_second / 1e6,
        }
    }
}

/// The requests of a load, one after another.
#[derive(Debug)]
pub(super) struct Arrivals {
    load: Load,
    nodes: u32,
    chance: Chance,
    phase: usize,
    phase_ends_at: f64,
    at: f64,
    pinned: u32,
    pinned_until: f64,
    unique: u32,
    /// For Zipf: the sum of the weights up to each key.
    weights: Vec<f64>,
}

impl Arrivals {
    pub(super) fn new(load: Load, nodes: u32, seed: u64) -> Self {
        let mut sum = 0.0;
        let weights = match load.keys {
            Keys::Zipf(count) => (1..=count)
                .map(|rank| {
                    sum += 1.0 / f64::from(rank);
                    sum
                })
                .collect(),
            _ => Vec::new(),
        };
        let first_ends_at = load.phases.first().map_or(0.0, |phase| phase.lasts);
        Self {
            load,
            nodes,
            chance: Chance::new(seed),
            phase: 0,
            phase_ends_at: first_ends_at,
            at: 0.0,
            pinned: 0,
            pinned_until: 0.0,
            unique: 0,
            weights,
        }
    }

    /// The next one; `None` after the last phase.
    pub(super) fn next(&mut self) -> Option<Request> {
        loop {
            let phase = *self.load.phases.get(self.phase)?;
            if phase.rate > 0.0 {
                let mean = 1.0 / phase.rate;
                let at = self.at
                    + match self.load.rhythm {
                        Rhythm::Random => self.chance.wait(mean),
                        Rhythm::Even => mean,
                    };
                if at < self.phase_ends_at {
                    self.at = at;
                    return Some(self.request());
                }
            }
            self.at = self.phase_ends_at;
            self.phase += 1;
            self.phase_ends_at += self.load.phases.get(self.phase).map_or(0.0, |next| next.lasts);
        }
    }

    fn request(&mut self) -> Request {
        Request {
            at: self.at,
            node: self.place(),
            key: self.key(),
            cost: f64::from(1 + self.chance.below(self.load.cost_max)),
        }
    }

    fn place(&mut self) -> u32 {
        match self.load.place {
            Place::Uniform => self.chance.below(self.nodes),
            Place::EightyTwenty => {
                let few = (self.nodes / 5).max(1);
                if self.chance.happens(0.8) || few == self.nodes {
                    self.chance.below(few)
                } else {
                    few + self.chance.below(self.nodes - few)
                }
            }
            Place::Pinned { moves_after } => {
                if self.at >= self.pinned_until {
                    self.pinned = self.chance.below(self.nodes);
                    self.pinned_until = self.at + moves_after;
                }
                self.pinned
            }
            Place::Moves { at } => {
                let half = self.nodes / 2;
                if self.at < at {
                    self.chance.below(half.max(1))
                } else {
                    half + self.chance.below(self.nodes - half)
                }
            }
        }
    }

    fn key(&mut self) -> u32 {
        match self.load.keys {
            Keys::One => 0,
            Keys::Even(count) => self.chance.below(count),
            Keys::Zipf(_) => {
                let drawn = self.chance.part() * self.weights.last().copied().unwrap_or(0.0);
                self.weights.partition_point(|sum| *sum <= drawn) as u32
            }
            Keys::Unique(count) => {
                self.unique = (self.unique + 1) % count;
                self.unique
            }
        }
    }
}
