//! Requests that draw from buckets of every algorithm, by a plain model: meters applied to states in a map, a log kept in a
//! queue. Every answer, what is held, and in the end every state is the model's, whatever was given back when and whatever the
//! clock did.

mod world;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sluicegate_core::algorithm::{Algorithm, Align, Answer, Entry, Log, LogFull, Meter, Ruling, Wide, WordMeter};
use sluicegate_core::{Cost, Mode, Report, RuleId, RuleState, Timestamp};
use sluicegate_state::{Bucket, Charge, Clock, Hold, Holding, ManualClock, Table, Taken, Takings, WhenRefused};
use world::{AMPLE, clean, key, leaky, meter, settling, spec};

/// A rule of the policy that is played: which bucket, which of its limits, and how.
#[derive(Debug, Clone, Copy)]
struct Rule {
    bucket: usize,
    meter: u8,
    mode: Mode,
    hold: Hold,
    when_refused: WhenRefused,
}

const SPENT: Rule = Rule {
    bucket: 0,
    meter: 0,
    mode: Mode::Enforced,
    hold: Hold::No,
    when_refused: WhenRefused::Nothing,
};

const fn of(bucket: usize) -> Rule {
    Rule { bucket, ..SPENT }
}

const HELD: Rule = Rule {
    hold: Hold::UntilTheEnd,
    ..SPENT
};

const PENAL: Rule = Rule {
    when_refused: WhenRefused::Charge,
    ..SPENT
};

const SHADOW: Rule = Rule {
    mode: Mode::Shadow,
    ..SPENT
};

/// At most four of them hold something, as of a checked policy.
const RULES: [Rule; 18] = [
    of(0),
    Rule { bucket: 0, ..PENAL },
    Rule {
        bucket: 0,
        meter: 1,
        ..SPENT
    },
    of(1),
    Rule {
        bucket: 1,
        meter: 1,
        ..SPENT
    },
    Rule { bucket: 2, ..PENAL },
    of(2),
    of(3),
    Rule { bucket: 3, ..PENAL },
    of(4),
    of(5),
    Rule { bucket: 5, ..PENAL },
    Rule { bucket: 6, ..HELD },
    Rule { bucket: 7, ..HELD },
    Rule { bucket: 8, ..HELD },
    Rule { bucket: 9, ..HELD },
    Rule { bucket: 10, ..SHADOW },
    Rule { bucket: 11, ..SHADOW },
];

fn meters() -> Vec<Vec<Meter>> {
    let lone = |meter| vec![meter];
    let sharing = |text| {
        let limit = world::limit(text);
        Meter::Word(WordMeter::TokenBucket(
            sluicegate_core::algorithm::TokenBucket::new_sharing(limit, world::limit("10/s burst 9").burst()),
        ))
    };
    vec![
        vec![sharing("10/s burst 4"), sharing("10/s burst 9")],
        leaky(Duration::from_millis(700), &["10/s burst 5", "10/s burst 8"]),
        lone(meter(
            Algorithm::LeakyBucket {
                max_wait: Duration::from_secs(2),
                free: 2,
            },
            "7/s burst 6",
        )),
        lone(meter(Algorithm::FixedWindow { align: Align::Epoch }, "6/s")),
        lone(meter(Algorithm::FixedWindow { align: Align::FirstHit }, "6/s")),
        lone(meter(Algorithm::SlidingLog, "6/s")),
        lone(meter(Algorithm::Concurrency, "5/s")),
        lone(settling("5/s", None)),
        lone(settling("5/s", Some(Duration::from_millis(1_500)))),
        lone(meter(Algorithm::SlidingWindow, "6/s")),
        lone(meter(Algorithm::SlidingLog, "3/s")),
        lone(meter(
            Algorithm::LeakyBucket {
                max_wait: Duration::from_millis(300),
                free: 0,
            },
            "10/s burst 9",
        )),
    ]
}

// --- The model --------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone, Default, PartialEq)]
struct Entries {
    list: VecDeque<Entry>,
    used: u64,
}

impl Log for Entries {
    fn len(&self) -> usize {
        self.list.len()
    }

    fn get(&self, index: usize) -> Option<Entry> {
        self.list.get(index).copied()
    }

    fn set(&mut self, index: usize, entry: Entry) {
        self.list[index] = entry;
    }

    fn push_newest(&mut self, entry: Entry) -> Result<(), LogFull> {
        self.list.push_back(entry);
        Ok(())
    }

    fn pop_oldest(&mut self) {
        self.list.pop_front();
    }

    fn used(&self) -> u64 {
        self.used
    }

    fn set_used(&mut self, units: u64) {
        self.used = units;
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    word: u64,
    wide: Wide,
    log: Entries,
}

/// What a request took and may give back.
#[derive(Debug, Clone, Copy)]
struct Took {
    rule: u16,
    key: u64,
    cost: Cost,
    at: Timestamp,
    before: u64,
    written: u64,
}

/// One rule's part in a request.
#[derive(Debug, Clone, Copy)]
struct Part {
    rule: u16,
    key: u64,
    cost: Cost,
}

impl Part {
    fn of(self) -> Rule {
        RULES[usize::from(self.rule)]
    }
}

struct Model {
    meters: Vec<Vec<Meter>>,
    states: BTreeMap<(usize, u64), State>,
}

impl Model {
    fn meter(&self, rule: Rule) -> Meter {
        self.meters[rule.bucket][usize::from(rule.meter)]
    }

    fn state(&mut self, rule: Rule, key: u64) -> &mut State {
        self.states.entry((rule.bucket, key)).or_default()
    }

    /// Decides, and keeps the state if it is meant.
    fn decide(
        &mut self,
        part: Part,
        cost: Cost,
        departs_after: Duration,
        now: Timestamp,
        keep: bool,
    ) -> (Answer, Took) {
        let rule = part.of();
        let meter = self.meter(rule);
        let state = self.state(rule, part.key);
        let mut after = state.clone();
        let answer = match meter {
            Meter::Word(meter) => {
                let Ruling { state, answer } = meter.decide_departing(after.word, now, cost, departs_after);
                after.word = state;
                answer
            }
            Meter::Wide(meter) => {
                let ruling = if rule.hold == Hold::UntilTheEnd {
                    meter.reserve(after.wide, now, cost)
                } else {
                    meter.decide(after.wide, now, cost)
                };
                after.wide = ruling.state;
                ruling.answer
            }
            Meter::Log(meter) => meter.decide(&mut after.log, now, cost).expect("a queue without an end"),
        };
        let took = Took {
            rule: part.rule,
            key: part.key,
            cost,
            at: match meter {
                Meter::Wide(meter) => meter.counted_at(state.wide, now),
                Meter::Word(_) | Meter::Log(_) => now,
            },
            before: state.word,
            written: after.word,
        };
        if keep {
            *state = after;
            return (answer, took);
        }
        if let Meter::Log(meter) = meter {
            // The log's own way to ask: what passes is not logged.
            return (meter.look(&state.log, now, cost), took);
        }
        (answer, took)
    }

    fn penalize(&mut self, part: Part, now: Timestamp) {
        let meter = self.meter(part.of());
        let state = self.state(part.of(), part.key);
        match meter {
            Meter::Word(meter) => state.word = meter.penalize(state.word, now, part.cost),
            Meter::Wide(meter) => state.wide = meter.penalize(state.wide, now, part.cost),
            Meter::Log(meter) => meter
                .penalize(&mut state.log, now, part.cost)
                .expect("a queue without an end"),
        }
    }

    fn settle(&mut self, took: Took, actual: Cost, now: Timestamp) {
        let rule = RULES[usize::from(took.rule)];
        let meter = self.meter(rule);
        let is_permit = matches!(meter, Meter::Word(WordMeter::Concurrency(_)));
        let state = self.state(rule, took.key);
        match meter {
            Meter::Word(meter) if is_permit => state.word = meter.give_back(state.word, took.cost, took.at, now),
            Meter::Word(meter) => state.word = meter.settle(state.word, took.cost, actual, took.at, now),
            Meter::Wide(meter) => state.wide = meter.settle(state.wide, took.cost, actual, took.at, now),
            Meter::Log(_) => unreachable!("no log is settled here"),
        }
    }

    fn clear(&mut self, took: Took, now: Timestamp) {
        self.settle(took, Cost::ZERO, now);
        let rule = RULES[usize::from(took.rule)];
        let meter = self.meter(rule);
        let state = self.state(rule, took.key);
        match meter {
            Meter::Word(_) => state.word = 0,
            Meter::Wide(meter) => state.wide = meter.clear(state.wide, now),
            Meter::Log(_) => state.log = Entries::default(),
        }
    }

    fn give_back(&mut self, took: Took, now: Timestamp) {
        let rule = RULES[usize::from(took.rule)];
        if rule.hold == Hold::UntilTheEnd {
            return self.settle(took, Cost::ZERO, now);
        }
        let meter = self.meter(rule);
        let state = self.state(rule, took.key);
        match meter {
            Meter::Word(meter @ WordMeter::LeakyBucket(_)) => {
                state.word = meter.leave(state.word, took.before, took.written);
            }
            Meter::Word(meter) => state.word = meter.give_back(state.word, took.cost, took.at, now),
            Meter::Wide(meter) => state.wide = meter.give_back(state.wide, took.cost, took.at, now),
            Meter::Log(meter) => {
                let _ = meter.give_back(&mut state.log, took.cost, took.at, now);
            }
        }
    }

    /// Whether another part is charged in this one's place.
    fn is_charged_by_another(part: Part, parts: &[Part]) -> bool {
        let rank = |part: &Part| (part.of().mode == Mode::Shadow, part.of().meter, part.rule);
        parts
            .iter()
            .any(|other| other.of().bucket == part.of().bucket && other.key == part.key && rank(other) < rank(&part))
    }

    /// What a request is told, what it holds, and what it may give back if it leaves.
    fn take(&mut self, parts: &[Part], now: Timestamp) -> (Option<Duration>, Vec<RuleState>, Vec<Took>, Vec<Took>) {
        let enforced = |part: &&Part| part.of().mode == Mode::Enforced;
        let looks: Vec<_> = parts
            .iter()
            .filter(enforced)
            .map(|part| self.decide(*part, part.cost, Duration::ZERO, now, false).0)
            .collect();
        let mut states = Vec::new();
        if looks.iter().any(|answer| !answer.passes()) {
            for part in parts {
                let asked = self.decide(*part, part.cost, Duration::ZERO, now, false).0;
                let told = if asked.passes() {
                    self.decide(*part, Cost::ZERO, Duration::ZERO, now, false).0
                } else {
                    asked
                };
                states.push(state(*part, &told));
                let rule = part.of();
                if rule.when_refused == WhenRefused::Charge
                    && rule.mode == Mode::Enforced
                    && !Self::is_charged_by_another(*part, parts)
                {
                    self.penalize(*part, now);
                }
            }
            return (None, states, Vec::new(), Vec::new());
        }
        let delay = looks.iter().map(|answer| answer.delay).max().unwrap_or_default();
        let mut made = BTreeMap::new();
        for (index, part) in parts.iter().enumerate() {
            if part.of().mode == Mode::Enforced && !Self::is_charged_by_another(*part, parts) {
                made.insert(index, self.decide(*part, part.cost, delay, now, true));
            }
        }
        let (mut held, mut queued) = (Vec::new(), Vec::new());
        for (index, part) in parts.iter().enumerate() {
            let one = match part.of().mode {
                Mode::Enforced => made.remove(&index),
                Mode::Shadow if Self::is_charged_by_another(*part, parts) => None,
                Mode::Shadow => Some(self.decide(*part, part.cost, Duration::ZERO, now, true)),
            };
            let Some((answer, took)) = one else {
                let told = self.decide(*part, Cost::ZERO, Duration::ZERO, now, false).0;
                states.push(state(*part, &told));
                continue;
            };
            states.push(state(*part, &answer));
            if answer.passes() {
                if part.of().hold == Hold::UntilTheEnd {
                    held.push(took);
                } else {
                    queued.push(took);
                }
            }
        }
        (Some(delay), states, held, queued)
    }
}

fn state(part: Part, answer: &Answer) -> RuleState {
    RuleState::new(RuleId::new(part.rule), part.of().mode, answer)
}

// --- The play ---------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
enum Step {
    /// By which rules, and of each the key and the cost.
    Request {
        parts: Vec<(u16, u64, u64)>,
        phased: bool,
    },
    /// One of those that are held comes to its end.
    End {
        which: usize,
        actual: Option<u64>,
    },
    /// A request that waited, or whose body refused it, leaves.
    Leave {
        which: usize,
    },
    /// It goes on: what it had to give back is spent.
    Go {
        which: usize,
    },
    Clock {
        ms: i64,
        nanos: u64,
    },
    Clean,
}

fn step() -> impl Strategy<Value = Step> {
    let part = (
        0u16..18,
        0u64..2,
        prop_oneof![3 => Just(1u64), 1 => 0u64..4, 1 => 0u64..12],
    );
    prop_oneof![
        8 => (proptest::collection::vec(part, 1..6), any::<bool>())
            .prop_map(|(parts, phased)| Step::Request { parts, phased }),
        3 => (any::<usize>(), proptest::option::weighted(0.8, 0u64..8))
            .prop_map(|(which, actual)| Step::End { which, actual }),
        2 => any::<usize>().prop_map(|which| Step::Leave { which }),
        1 => any::<usize>().prop_map(|which| Step::Go { which }),
        4 => (prop_oneof![6 => 0i64..200, 1 => 0i64..4_000, 1 => -300i64..0], 0u64..1_000_000)
            .prop_map(|(ms, nanos)| Step::Clock { ms, nanos }),
        1 => Just(Step::Clean),
    ]
}

struct World {
    table: Table,
    buckets: Vec<Arc<Bucket>>,
    model: Model,
    clock: ManualClock,
    held: Vec<(Holding, Took)>,
    /// Of each request that may still leave.
    leaving: Vec<Vec<(Holding, Took)>>,
    /// Whether the clock may go back: it then asks for what once was idle, so nothing is cleaned.
    goes_back: bool,
}

impl World {
    fn new(goes_back: bool) -> Self {
        let meters = meters();
        let specs = (0..).zip(&meters).map(|(name, meters)| spec(name, meters.clone()));
        let (table, buckets) = Table::with_buckets(AMPLE, specs).expect("a table");
        Self {
            table,
            buckets,
            model: Model {
                meters,
                states: BTreeMap::new(),
            },
            clock: ManualClock::at(Timestamp::from_nanos(5_000_000_007)),
            held: Vec::new(),
            leaving: Vec::new(),
            goes_back,
        }
    }

    fn request(&mut self, parts: &[Part], phased: bool) -> Result<(), TestCaseError> {
        let charges: Vec<_> = parts
            .iter()
            .map(|part| {
                let rule = part.of();
                Charge {
                    rule: RuleId::new(part.rule),
                    bucket: &self.buckets[rule.bucket],
                    meter: rule.meter,
                    key: key(part.key),
                    cost: part.cost,
                    mode: rule.mode,
                    hold: rule.hold,
                    when_refused: rule.when_refused,
                }
            })
            .collect();
        let mut takings = if phased { Takings::tentative() } else { Takings::new() };
        let mut report = Report::new();
        let taken = self.table.take(&charges, &self.clock, &mut report, &mut takings);
        let (delay, states, held, queued) = self.model.take(parts, self.clock.now());
        prop_assert_eq!(taken, delay.map_or(Taken::Nothing, |delay| Taken::All { delay }));
        prop_assert_eq!(report.states(), &states[..]);
        for took in held {
            let holding = takings.take_held(|holding| holding.rule() == RuleId::new(took.rule));
            let holding = holding.ok_or_else(|| TestCaseError::fail("something is not held"))?;
            prop_assert_eq!((holding.cost(), holding.charged_at()), (took.cost, took.at));
            self.held.push((holding, took));
        }
        let given: Vec<_> = takings.take_queued();
        let expected = if phased || delay.is_some_and(|delay| !delay.is_zero()) {
            queued
        } else {
            Vec::new()
        };
        prop_assert_eq!(given.len(), expected.len());
        prop_assert!(takings.is_empty());
        if !expected.is_empty() {
            self.leaving.push(given.into_iter().zip(expected).collect());
        }
        Ok(())
    }

    fn play(&mut self, step: Step) -> Result<(), TestCaseError> {
        let now = self.clock.now();
        match step {
            Step::Request { parts, phased } => {
                let mut once: Vec<Part> = Vec::new();
                for (rule, key, cost) in parts {
                    if once.iter().all(|part| part.rule != rule) {
                        let cost = Cost::new(cost);
                        // Where two rules of one bucket apply their costs are equal.
                        let same = once
                            .iter()
                            .find(|part| part.of().bucket == RULES[usize::from(rule)].bucket);
                        let (key, cost) = same.map_or((key, cost), |part| (part.key, part.cost));
                        once.push(Part { rule, key, cost });
                    }
                }
                return self.request(&once, phased);
            }
            Step::End { which, actual } if !self.held.is_empty() => {
                let (holding, took) = self.held.swap_remove(which % self.held.len());
                if let Some(actual) = actual {
                    self.table.settle(holding, Cost::new(actual), now);
                    self.model.settle(took, Cost::new(actual), now);
                } else {
                    self.table.clear(holding, now);
                    self.model.clear(took, now);
                }
            }
            Step::Leave { which } if !self.leaving.is_empty() => {
                let request = self.leaving.swap_remove(which % self.leaving.len());
                for (holding, took) in request {
                    self.table.give_back(holding, now);
                    self.model.give_back(took, now);
                }
            }
            Step::Go { which } if !self.leaving.is_empty() => {
                drop(self.leaving.swap_remove(which % self.leaving.len()));
            }
            Step::Clock { ms, nanos } => {
                let ms = if self.goes_back { ms } else { ms.max(0) };
                let nanos = now
                    .as_nanos()
                    .saturating_add(nanos)
                    .saturating_add_signed(ms * 1_000_000);
                self.clock.set(Timestamp::from_nanos(nanos));
            }
            Step::Clean if !self.goes_back => clean(&self.table, now),
            Step::End { .. } | Step::Leave { .. } | Step::Go { .. } | Step::Clean => {}
        }
        let open = |bucket: usize| -> u64 {
            let of = self
                .held
                .iter()
                .filter(|(_, took)| RULES[usize::from(took.rule)].bucket == bucket);
            of.map(|(_, took)| took.cost.units()).sum()
        };
        for (index, bucket) in self.buckets.iter().enumerate() {
            prop_assert_eq!(bucket.held(), open(index));
        }
        Ok(())
    }

    /// What every key of every bucket would be told now and for some time to come.
    fn compare(&mut self) -> Result<(), TestCaseError> {
        let now = self.clock.now();
        for after in [0, 1, 99, 333, 1_000, 2_500, 60_000] {
            let now = now.saturating_add(Duration::from_millis(after));
            for (index, bucket) in self.buckets.iter().enumerate() {
                let rule = RULES.iter().position(|rule| rule.bucket == index && rule.meter == 0);
                let rule = u16::try_from(rule.expect("each has a rule")).expect("few");
                for number in 0..2 {
                    let part = Part {
                        rule,
                        key: number,
                        cost: Cost::ZERO,
                    };
                    let told = self.table.charge(bucket, key(number), Cost::ZERO, now);
                    let told = (told.remaining(), told.reset_after(), told.retry());
                    let (model, _) = self.model.decide(part, Cost::ZERO, Duration::ZERO, now, false);
                    prop_assert_eq!(
                        told,
                        (model.remaining, model.reset_after, model.retry),
                        "bucket {}",
                        index
                    );
                }
            }
        }
        Ok(())
    }

    /// When all that is held has come to its end, no permit is out, and in time not even a cell.
    fn end(mut self) -> Result<(), TestCaseError> {
        let now = self.clock.now();
        for (holding, took) in std::mem::take(&mut self.held) {
            self.table.settle(holding, Cost::ZERO, now);
            self.model.settle(took, Cost::ZERO, now);
        }
        self.compare()?;
        prop_assert!(self.buckets.iter().all(|bucket| bucket.held() == 0));
        clean(&self.table, now.saturating_add(Duration::from_hours(1)));
        prop_assert_eq!((self.table.fill().owned, self.table.fill().log_blocks_used), (0, 0));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4 * ProptestConfig::default().cases))]

    #[test]
    fn every_answer_to_a_request_by_several_rules_and_every_state_in_the_end_is_the_models(
        goes_back in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new(goes_back);
        for step in steps {
            world.play(step)?;
        }
        world.compare()?;
        world.end()?;
    }
}
