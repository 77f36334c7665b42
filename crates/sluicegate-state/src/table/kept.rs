//! What an act makes of a key's state: the one place where the table calls an algorithm.

use std::time::Duration;

use sluicegate_core::algorithm::{Answer, Meter, SlidingLog, Storage, Wide, WideMeter, WordMeter};
use sluicegate_core::{Cost, Timestamp};

use super::slab::Slab;
use super::wide::State;

/// The state of one key, in whichever kind of cell it is kept.
pub(super) enum Kept<'s> {
    Small(&'s mut u64),
    Wide(&'s mut State),
    /// A wide cell with entries in the slab. Whoever reads it has to hold the cell.
    Log(&'s mut State, &'s Slab),
}

impl<'s> Kept<'s> {
    /// The state of a wide cell.
    pub(super) const fn wide(state: &'s mut State, storage: Storage, slab: &'s Slab) -> Self {
        match storage {
            Storage::Log => Self::Log(state, slab),
            Storage::Word | Storage::Wide => Self::Wide(state),
        }
    }
}

/// What is to be done with a state.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// Charge, if it passes.
    Charge(Demand),
    /// Say what a charge would say.
    Ask(Demand),
    /// Charge although it is refused, up to what the limit holds.
    Penalize(Cost),
    /// Undo a charge that was made at `charged_at`.
    GiveBack { cost: Cost, charged_at: Timestamp },
    /// Give back a place in a queue, if nobody stands behind it.
    Leave { before: u64, written: u64 },
    /// Correct a charge that was made at `charged_at` to what it turned out to be.
    Settle {
        reserved: Cost,
        actual: Cost,
        charged_at: Timestamp,
    },
    /// Forget what was charged.
    Clear,
}

impl Act {
    /// The same without a trace.
    pub(super) const fn as_question(self) -> Self {
        match self {
            Self::Charge(demand) => Self::Ask(demand),
            Self::Penalize(_) | Self::Settle { .. } => Self::Ask(Demand::of(Cost::ZERO)),
            other => other,
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    pub(super) cost: Cost,
    /// Whether it will be settled.
    pub(super) reserves: bool,
    /// How long it has to wait for another limit's sake.
    pub(super) departs_after: Duration,
}

impl Demand {
    /// So much, for good, now.
    pub(super) const fn of(cost: Cost) -> Self {
        Self {
            cost,
            reserves: false,
            departs_after: Duration::ZERO,
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acted {
    /// Where the key stands. Of use after `Charge` and `Ask` only.
    pub(super) answer: Answer,
    /// A small cell's state before and after.
    pub(super) before: u64,
    pub(super) written: u64,
    /// When it counts: now, but for a window whose start the clock has gone back before. Of use after `Charge` only.
    pub(super) counted_at: Timestamp,
}

/// There is no room for a log's next entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

/// Does `act` to the state, which becomes what is to be kept. A state of another kind than the meter's stays as it is.
pub(super) fn act(meter: &Meter, kept: Kept<'_>, now: Timestamp, act: Act) -> Result<Acted, NoRoom> {
    match (meter, kept) {
        (Meter::Word(meter), Kept::Small(state)) => Ok(act_on_word(meter, state, now, act)),
        (Meter::Wide(meter), Kept::Wide(state)) => {
            let before = Wide::from_words(*state);
            let (after, answer) = act_on_wide(meter, before, now, act);
            *state = after.words();
            let counted_at = meter.counted_at(before, now);
            Ok(Acted {
                counted_at,
                ..Acted::saying(answer, now)
            })
        }
        (Meter::Log(meter), Kept::Log(state, slab)) => {
            let answer = act_on_log(meter, state, slab, now, act)?;
            Ok(Acted::saying(answer, now))
        }
        _ => Ok(Acted::saying(NOTHING_SAID, now)),
    }
}

fn act_on_word(meter: &WordMeter, state: &mut u64, now: Timestamp, act: Act) -> Acted {
    let before = *state;
    let mut answer = NOTHING_SAID;
    match act {
        Act::Charge(demand) => {
            let ruling = meter.decide_departing(before, now, demand.cost, demand.departs_after);
            (*state, answer) = (ruling.state, ruling.answer);
        }
        Act::Ask(demand) => {
            let ruling = meter.decide_departing(before, now, demand.cost, demand.departs_after);
            answer = ruling.answer;
        }
        Act::Penalize(cost) => *state = meter.penalize(before, now, cost),
        Act::GiveBack { cost, charged_at } => *state = meter.give_back(before, cost, charged_at, now),
        Act::Leave { before: free, written } => *state = meter.leave(before, free, written),
        Act::Settle {
            reserved,
            actual,
            charged_at,
        } => *state = meter.settle(before, reserved, actual, charged_at, now),
        Act::Clear => *state = 0,
    }
    Acted {
        answer,
        before,
        written: *state,
        counted_at: now,
    }
}

fn act_on_wide(meter: &WideMeter, state: Wide, now: Timestamp, act: Act) -> (Wide, Answer) {
    let decide = |demand: Demand| {
        if demand.reserves {
            meter.reserve(state, now, demand.cost)
        } else {
            meter.decide(state, now, demand.cost)
        }
    };
    let after = match act {
        Act::Charge(demand) => {
            let ruling = decide(demand);
            return (ruling.state, ruling.answer);
        }
        Act::Ask(demand) => return (state, decide(demand).answer),
        Act::Penalize(cost) => meter.penalize(state, now, cost),
        Act::GiveBack { cost, charged_at } => meter.give_back(state, cost, charged_at, now),
        // Nobody queues here.
        Act::Leave { .. } => state,
        Act::Settle {
            reserved,
            actual,
            charged_at,
        } => meter.settle(state, reserved, actual, charged_at, now),
        Act::Clear => meter.clear(state, now),
    };
    (after, NOTHING_SAID)
}

fn act_on_log(meter: &SlidingLog, state: &mut State, slab: &Slab, now: Timestamp, act: Act) -> Result<Answer, NoRoom> {
    let [_, second, third] = *state;
    let mut ring = slab.ring(second, third);
    let mut answer = Ok(NOTHING_SAID);
    match act {
        Act::Ask(demand) => return Ok(meter.look(&ring, now, demand.cost)),
        Act::Charge(demand) => {
            let decided = meter.decide(&mut ring, now, demand.cost);
            answer = decided.map_err(|_| NoRoom);
        }
        Act::Penalize(cost) => {
            // Where there is no room for its entry, there is none for the charge either.
            let charged = meter.penalize(&mut ring, now, cost);
            answer = charged.map(|()| NOTHING_SAID).map_err(|_| NoRoom);
        }
        // Nobody queues here.
        Act::Leave { .. } => {}
        Act::GiveBack { cost, charged_at } => {
            let _ = meter.give_back(&mut ring, cost, charged_at, now);
        }
        Act::Settle {
            reserved,
            actual,
            charged_at,
        } => {
            let settled = meter.settle(&mut ring, reserved, actual, charged_at, now);
            answer = settled.map(|()| NOTHING_SAID).map_err(|_| NoRoom);
        }
        Act::Clear => ring.clear(),
    }
    let [second, third] = ring.to_words();
    *state = [meter.idle_at(&ring), second, third];
    answer
}

impl Acted {
    /// Of a cell that is not small.
    const fn saying(answer: Answer, now: Timestamp) -> Self {
        Self {
            answer,
            before: 0,
            written: 0,
            counted_at: now,
        }
    }
}

/// The answer of acts that ask nothing.
pub(super) const NOTHING_SAID: Answer = Answer {
    remaining: 0,
    reset_after: Duration::ZERO,
    retry: None,
    delay: Duration::ZERO,
};
