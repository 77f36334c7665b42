//! One key, as its nodes, the model and the store know it.

use std::collections::HashMap;
use std::time::Duration;

use sluicegate_core::sharing::{Ask, Heal, Kind, Reply, Settled, Terms, exchange, permits, windows};
use sluicegate_state::store::{Answer, Item, Question, StoreKey};

use crate::draw::Draw;
use crate::{TOLERANCE, Tally};

/// A key, its limit, what the model keeps of it, and the leases that nodes hold of it.
pub(crate) struct Tracked {
    pub(crate) item: Item,
    pub(crate) kept: Kept,
    /// What was written into the store is not even of the right form.
    is_foreign: bool,
    /// Unspent units by epoch, with those that are long over.
    held: HashMap<u64, f64>,
    last: Option<Reply>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kept {
    Bucket(Option<exchange::Kept>),
    Window(Option<windows::Kept>),
    Permits(Vec<permits::Part>),
}

impl Tracked {
    pub(crate) fn new(number: u8, draw: &mut Draw) -> Self {
        const LIMITS: &[&str] = &[
            "1/s",
            "5/min",
            "100/s burst 200",
            "7/min burst 50",
            "50000/s burst 100000",
            "1000000/s",
            "10/day",
            "333/h burst 1000",
        ];
        let limit = LIMITS[draw.below(LIMITS.len())].parse().expect("a limit");
        let overdraft = [0.0, 1.0, 20.0][draw.below(3)];
        let lock = Duration::from_millis([0, 300, 5_000, 3_600_000][draw.below(4)]);
        let holds = draw.below(2) == 0;
        let units = |kind| {
            let terms = Terms::new(kind, &limit, overdraft).locking(lock);
            Question::Units {
                terms: if holds { terms.held() } else { terms },
                ask: Ask::default(),
            }
        };
        let (question, kept) = match number % 8 {
            0..4 => (units(Kind::Bucket), Kept::Bucket(None)),
            4 | 5 => (units(Kind::SlidingWindow), Kept::Window(None)),
            6 => (units(Kind::FixedWindow), Kept::Window(None)),
            _ => (Question::Permits(permits::Ask::default()), Kept::Permits(Vec::new())),
        };
        Self {
            item: Item {
                key: StoreKey {
                    shard: number,
                    hash: [number; 16],
                },
                question,
            },
            kept,
            is_foreign: false,
            held: HashMap::new(),
            last: None,
        }
    }

    /// What a write by somebody else leaves for the model to find.
    pub(crate) fn find(&mut self, bytes: &[u8]) {
        let numbers = numbers(bytes);
        let words = |count: usize| (bytes.len() == count * 8).then_some(&numbers[..]);
        self.is_foreign = match &mut self.kept {
            Kept::Bucket(kept) => {
                *kept = words(6).or_else(|| words(7)).map(|numbers| exchange::Kept {
                    tat: numbers[0],
                    demand: numbers[1],
                    demand_at: numbers[2],
                    current: numbers[3],
                    previous: numbers[4],
                    epoch_ends_at: numbers[5],
                    locked_until: numbers.get(6).copied().unwrap_or_default(),
                });
                kept.is_none()
            }
            Kept::Window(kept) => {
                *kept = words(5).map(|numbers| windows::Kept {
                    window: numbers[0],
                    current: numbers[1],
                    previous: numbers[2],
                    demand: numbers[3],
                    demand_at: numbers[4],
                });
                kept.is_none()
            }
            Kept::Permits(parts) => {
                parts.clear();
                if bytes.len().is_multiple_of(24) {
                    parts.extend(numbers.chunks_exact(3).map(|part| permits::Part {
                        node: part[0],
                        permits: part[1],
                        ends_at: part[2],
                    }));
                }
                !bytes.len().is_multiple_of(24)
            }
        };
    }

    /// What some node asks next: mostly what an honest one would, sometimes anything.
    pub(crate) fn ask(&mut self, now: f64, draw: &mut Draw) -> Item {
        match &mut self.item.question {
            Question::Permits(ask) => {
                *ask = permits::Ask {
                    node: 1.0 + draw.up_to(40.0).floor(),
                    in_use: draw.up_to(4.0).floor(),
                    target: draw.up_to(20.0).floor(),
                    limit: 100.0,
                    ttl: 1e6 + draw.up_to(1e6).floor(),
                    learning: draw.below(8) == 0,
                };
            }
            Question::Units { terms, ask } => {
                let scale = terms.burst;
                let mut some = |of: usize, most: f64| {
                    if draw.below(of) == 0 { draw.up_to(most) } else { 0.0 }
                };
                *ask = Ask {
                    pay: some(4, scale / 10.0).floor(),
                    take: some(3, scale / 5.0).ceil(),
                    want: some(2, scale / 2.0),
                    refund: some(8, 3.0).floor(),
                    demand: some(2, scale).floor(),
                    own: some(2, scale),
                    chance: some(1, 1.0),
                    holds: terms.holds,
                    clear: draw.below(20) == 0,
                    ..Ask::default()
                };
                let mut epochs: Vec<u64> = self.held.keys().copied().collect();
                epochs.sort_unstable();
                for settled in &mut ask.settled {
                    if epochs.is_empty() || draw.below(2) == 0 {
                        continue;
                    }
                    let bits = epochs[draw.below(epochs.len())];
                    let held = self.held.get(&bits).copied().unwrap_or_default();
                    let spent = draw.up_to(held).floor();
                    let returned = draw.up_to(held - spent).floor();
                    let left = held - spent - returned;
                    *settled = Settled {
                        epoch: f64::from_bits(bits),
                        spent,
                        returned,
                        reserved: if ask.holds { draw.up_to(left).floor() } else { 0.0 },
                    };
                    self.held.insert(bits, left);
                }
                if draw.below(6) == 0 {
                    ask.heal = Some(Heal {
                        seen: self.last.map_or(now, |last| last.seen) + draw.up_to(2.0).floor(),
                        seen_epoch: self.last.map_or(0.0, |last| match terms.kind {
                            Kind::Bucket if draw.below(2) == 0 => now + draw.up_to(1e7),
                            Kind::Bucket => last.locked_until,
                            _ => last.epoch,
                        }),
                        held: draw.up_to(scale / 4.0).floor(),
                    });
                }
                if self.held.len() > 8 {
                    self.held.clear();
                }
            }
        }
        self.item
    }

    /// What the model says to the same, and whether that is what the script said.
    pub(crate) fn compare(&mut self, answer: &Answer, now: f64, tally: &mut Tally) -> Result<(), String> {
        tally.inputs += 1;
        let is_foreign = std::mem::take(&mut self.is_foreign);
        match (&self.item.question, &mut self.kept, answer) {
            (Question::Permits(ask), Kept::Permits(parts), Answer::Permits(said)) => {
                let (mut model, _) = permits::exchange(parts, ask, now);
                model.damaged |= is_foreign;
                tally.damaged += usize::from(said.damaged);
                if model == *said {
                    Ok(())
                } else {
                    Err(format!("permits: {said:?}, the model says {model:?}"))
                }
            }
            (Question::Units { terms, ask }, kept, Answer::Units(said)) => {
                let mut model = match kept {
                    Kept::Bucket(kept) => {
                        let (next, reply, _) = exchange::bucket(*kept, terms, ask, now);
                        *kept = Some(next);
                        reply
                    }
                    Kept::Window(kept) => {
                        let (next, reply, _) = windows::exchange(*kept, terms, ask, now);
                        *kept = Some(next);
                        reply
                    }
                    Kept::Permits(_) => return Err("kinds are mixed up".into()),
                };
                model.damaged |= is_foreign;
                tally.damaged += usize::from(said.damaged);
                tally.granted += usize::from(said.granted > 0.0);
                tally.taken += usize::from(said.taken > 0.0);
                tally.healed += usize::from(ask.heal.is_some());
                tally.settled += usize::from(ask.settled.iter().any(|settled| settled.epoch > 0.0));
                tally.cleared += usize::from(ask.clear);
                tally.locked += usize::from(said.locked_until > 0.0);
                let reserved = |settled: &&Settled| settled.reserved > 0.0;
                for settled in ask.settled.iter().filter(reserved) {
                    if settled.epoch.to_bits() != said.epoch.to_bits() {
                        tally.moved += usize::from(settled.epoch.to_bits() == said.previous_epoch.to_bits());
                        let former = self.held.entry(settled.epoch.to_bits()).or_default();
                        *former = (*former - settled.reserved).max(0.0);
                        *self.held.entry(said.epoch.to_bits()).or_default() += settled.reserved;
                    }
                }
                let taken = if ask.holds { said.taken } else { 0.0 };
                *self.held.entry(said.epoch.to_bits()).or_default() += said.granted + taken;
                self.last = Some(*said);
                if is_same(&model, said, terms) {
                    Ok(())
                } else {
                    Err(format!("units: {said:?}, the model says {model:?}"))
                }
            }
            _ => Err("kinds are mixed up".into()),
        }
    }

    /// What one unit is in the numbers of what is kept: of a bucket a time, of anything else itself.
    pub(crate) fn scale(&self) -> f64 {
        match &self.item.question {
            Question::Units { terms, .. } if terms.kind == Kind::Bucket => terms.interval.min(1.0),
            _ => 1.0,
        }
    }
}

impl Kept {
    pub(crate) fn place_of_demand(&self) -> Option<usize> {
        match self {
            Self::Bucket(_) => Some(1),
            Self::Window(_) => Some(3),
            Self::Permits(_) => None,
        }
    }

    pub(crate) fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Bucket(kept) => kept.map_or_else(Vec::new, |kept| {
                [
                    kept.tat,
                    kept.demand,
                    kept.demand_at,
                    kept.current,
                    kept.previous,
                    kept.epoch_ends_at,
                    kept.locked_until,
                ][..if kept.locked_until > 0.0 { 7 } else { 6 }]
                    .to_vec()
            }),
            Self::Window(kept) => kept.map_or_else(Vec::new, |kept| {
                vec![kept.window, kept.current, kept.previous, kept.demand, kept.demand_at]
            }),
            Self::Permits(parts) => parts
                .iter()
                .flat_map(|part| [part.node, part.permits, part.ends_at])
                .collect(),
        }
    }
}

/// Somebody may have written a demand of ten thousand million. The two exponentials differ in the last digit, which is then a
/// millionth of a request.
pub(crate) fn unit_of_demand(demand: f64) -> f64 {
    (demand / 1e6).max(1.0)
}

fn is_same(model: &Reply, said: &Reply, terms: &Terms) -> bool {
    let near = |one: f64, other: f64, unit: f64| (one - other).abs() <= TOLERANCE * unit;
    let span = terms.interval;
    near(model.taken, said.taken, 1.0)
        && near(model.granted, said.granted, 1.0)
        && near(model.epoch, said.epoch, 1.0)
        && near(model.valid_for, said.valid_for, span)
        && near(model.available, said.available, 1.0)
        && near(model.ready_after, said.ready_after, span)
        && near(
            model.rate * terms.theta,
            said.rate * terms.theta,
            unit_of_demand(model.rate * terms.theta),
        )
        && near(model.share, said.share, 1.0)
        && near(model.seen, said.seen, span.min(1.0))
        && near(model.locked_until, said.locked_until, 1.0)
        && near(model.previous_epoch, said.previous_epoch, 1.0)
        && model.damaged == said.damaged
}

pub(crate) fn numbers(bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks_exact(8)
        .map(|bytes| f64::from_le_bytes(bytes.try_into().expect("eight bytes")))
        .collect()
}
