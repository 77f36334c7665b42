//! One key's state, kept as a table keeps it.

use std::collections::VecDeque;
use std::time::Duration;

use sluicegate_core::algorithm::{Answer, Entry, Log, LogFull, Meter, Wide};
use sluicegate_core::{Cost, Timestamp};

/// A log in memory, without a bound of its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Entries {
    entries: VecDeque<Entry>,
    used: u64,
}

impl Log for Entries {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn get(&self, index: usize) -> Option<Entry> {
        self.entries.get(index).copied()
    }

    fn set(&mut self, index: usize, entry: Entry) {
        self.entries[index] = entry;
    }

    fn push_newest(&mut self, entry: Entry) -> Result<(), LogFull> {
        self.entries.push_back(entry);
        Ok(())
    }

    fn pop_oldest(&mut self) {
        self.entries.pop_front();
    }

    fn used(&self) -> u64 {
        self.used
    }

    fn set_used(&mut self, units: u64) {
        self.used = units;
    }
}

impl Entries {
    /// What must hold between any two calls.
    #[track_caller]
    pub(crate) fn assert_invariants(&self) {
        assert_eq!(self.used, self.entries.iter().map(|entry| entry.cost).sum::<u64>());
        assert!(self.entries.iter().all(|entry| entry.cost > 0), "an entry of nothing");
        assert!(
            self.entries.iter().is_sorted_by_key(|entry| entry.ends_at),
            "out of order"
        );
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    Word(u64),
    Wide(Wide),
    Log(Entries),
}

/// One key's state, and the limit it is kept by.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) meter: Meter,
    pub(crate) state: State,
}

impl Cell {
    pub(crate) fn unseen(meter: Meter) -> Self {
        let state = match meter {
            Meter::Word(_) => State::Word(0),
            Meter::Wide(_) => State::Wide(Wide::UNSEEN),
            Meter::Log(_) => State::Log(Entries::default()),
        };
        Self { meter, state }
    }

    pub(crate) fn take(&mut self, now: u64, cost: u64) -> Answer {
        let (now, cost) = (Timestamp::from_nanos(now), Cost::new(cost));
        match (&self.meter, &mut self.state) {
            (Meter::Word(meter), State::Word(word)) => {
                let ruling = meter.decide(*word, now, cost);
                assert!(ruling.state < 1 << 63, "{ruling:?}");
                *word = ruling.state;
                ruling.answer
            }
            (Meter::Wide(meter), State::Wide(state)) => {
                let ruling = meter.decide(*state, now, cost);
                assert!(ruling.state.idle_at() < 1 << 63, "{ruling:?}");
                *state = ruling.state;
                ruling.answer
            }
            (Meter::Log(meter), State::Log(log)) => {
                let looked = meter.look(log, now, cost);
                let answer = meter.decide(log, now, cost).expect("room without end");
                log.assert_invariants();
                assert_eq!(looked.retry, answer.retry);
                answer
            }
            _ => unreachable!("a state is made for its meter"),
        }
    }

    /// What a request would be told, at no charge.
    pub(crate) fn look(&self, now: u64, cost: u64) -> Answer {
        self.clone().take(now, cost)
    }

    pub(crate) fn give_back(&mut self, cost: u64, charged_at: u64, now: u64) {
        let (cost, charged_at, now) = (
            Cost::new(cost),
            Timestamp::from_nanos(charged_at),
            Timestamp::from_nanos(now),
        );
        match (&self.meter, &mut self.state) {
            (Meter::Word(meter), State::Word(word)) => *word = meter.give_back(*word, cost, charged_at, now),
            (Meter::Wide(meter), State::Wide(state)) => *state = meter.give_back(*state, cost, charged_at, now),
            (Meter::Log(meter), State::Log(log)) => {
                meter.give_back(log, cost, charged_at, now);
                log.assert_invariants();
            }
            _ => unreachable!("a state is made for its meter"),
        }
    }

    pub(crate) fn overdraw(&mut self, cost: u64, now: u64) {
        let (cost, now) = (Cost::new(cost), Timestamp::from_nanos(now));
        match (&self.meter, &mut self.state) {
            (Meter::Word(meter), State::Word(word)) => *word = meter.overdraw(*word, now, cost),
            (Meter::Wide(meter), State::Wide(state)) => *state = meter.overdraw(*state, now, cost),
            (Meter::Log(meter), State::Log(log)) => meter.overdraw(log, now, cost).expect("room without end"),
            _ => unreachable!("a state is made for its meter"),
        }
    }

    pub(crate) fn penalize(&mut self, cost: u64, now: u64) {
        let (cost, now) = (Cost::new(cost), Timestamp::from_nanos(now));
        match (&self.meter, &mut self.state) {
            (Meter::Word(meter), State::Word(word)) => *word = meter.penalize(*word, now, cost),
            (Meter::Wide(meter), State::Wide(state)) => *state = meter.penalize(*state, now, cost),
            (Meter::Log(meter), State::Log(log)) => {
                meter.penalize(log, now, cost).expect("room without end");
                log.assert_invariants();
            }
            _ => unreachable!("a state is made for its meter"),
        }
    }

    pub(crate) fn is_idle(&self, now: u64) -> bool {
        let at = Timestamp::from_nanos(now);
        match (&self.meter, &self.state) {
            (Meter::Word(meter), State::Word(word)) => meter.is_idle(*word, at),
            (_, State::Wide(state)) => state.is_idle(at),
            (Meter::Log(meter), State::Log(log)) => meter.idle_at(log) <= now,
            _ => unreachable!("a state is made for its meter"),
        }
    }

    /// The cell under `meter`, after a reload at `now`.
    pub(crate) fn carried_over(&self, meter: Meter, now: u64) -> Self {
        let now = Timestamp::from_nanos(now);
        let state = match (&meter, &self.meter, &self.state) {
            (Meter::Word(new), Meter::Word(old), State::Word(word)) => State::Word(new.carry_over(old, *word, now)),
            (Meter::Wide(new), Meter::Wide(old), State::Wide(state)) => State::Wide(new.carry_over(old, *state, now)),
            (Meter::Log(new), Meter::Log(old), State::Log(log)) => {
                let mut log = log.clone();
                new.carry_over(old, &mut log);
                log.assert_invariants();
                State::Log(log)
            }
            _ => unreachable!("a reload keeps a state only under its own algorithm"),
        };
        Self { meter, state }
    }

    /// The cell after a restart: kept at `now` and read back at `then` on `meter`'s clock, `away` later.
    pub(crate) fn restarted(&self, meter: Meter, now: u64, then: u64, away: u64) -> Self {
        let (now, then) = (Timestamp::from_nanos(now), Timestamp::from_nanos(then));
        let away = Duration::from_nanos(away);
        let state = match (&meter, &self.meter, &self.state) {
            (Meter::Word(new), Meter::Word(old), State::Word(word)) => {
                State::Word(new.restore(old.keep(*word, now), then, away))
            }
            (Meter::Wide(new), Meter::Wide(old), State::Wide(state)) => {
                State::Wide(new.restore(old.keep(*state, now), then, away))
            }
            (Meter::Log(new), Meter::Log(old), State::Log(log)) => {
                let mut restored = Entries::default();
                for entry in log.entries() {
                    if let Some(entry) = new.restore(old.keep(entry, now), then, away) {
                        restored.push_newest(entry).expect("room without end");
                        restored.set_used(restored.used() + entry.cost);
                    }
                }
                restored.assert_invariants();
                State::Log(restored)
            }
            _ => unreachable!("a state is made for its meter"),
        };
        Self { meter, state }
    }
}
