//! Requests at a pace, the meter that counts what passes, and what it all costs.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use sluicegate::{AnyClock, Clock as _, Limit, SystemClock};
use sluicegate_core::sharing::{Kind, OnStoreLoss, Plan, Sharing, Terms};
use sluicegate_testkit::fleet::{Chance, Meter};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use super::super::super::store::Setting;
use super::nodes::{Contestant, Fleet, Verdict};
use crate::error::BenchError;
use crate::spread::number;
use crate::stopwatch::{Stopwatch, cpu_of};

/// What is asked, and under which limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) name: &'static str,
    /// Of each key.
    pub(super) limit: &'static str,
    pub(super) keys: u32,
    /// Requests in each millisecond, each for any key at any node.
    pub(super) a_millisecond: u32,
    pub(super) nodes: u32,
    pub(super) span: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Measured {
    /// Requests a second that were made.
    pub(super) asked: f64,
    /// What passed, as a part of what one bucket alone would have let through.
    pub(super) admitted: f64,
    /// The most beyond the limit in the worst of all windows, as a part of the burst.
    pub(super) excess: f64,
    /// Keys that the store was asked about, for each request.
    pub(super) operations: f64,
    /// What half of all decisions took at most, and what 99 of 100 took, in microseconds.
    pub(super) waits: [f64; 2],
    /// Processor time of the server over time on the wall.
    pub(super) server: f64,
    /// The same of this process: nodes, load and meter.
    pub(super) nodes: f64,
}

/// Counts what is decided.
pub(super) struct Tally {
    clock: AnyClock,
    terms: Terms,
    meters: Vec<Meter>,
    asked: u64,
    waits: Histogram<u64>,
}

impl Load {
    /// Plays it.
    pub(super) fn run(&self, setting: &Setting, contestant: Contestant) -> Result<Measured, BenchError> {
        let clock = AnyClock::from(SystemClock::new());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let tasks = LocalSet::new();
        let plan = self.plan()?;
        let fleet = tasks.block_on(&runtime, Fleet::start(setting, contestant, self, &plan, &clock))?;
        let tally = Rc::new(RefCell::new(Tally::new(clock, plan.terms, self.keys)?));

        let own = std::process::id();
        let times =
            || -> Result<[Duration; 2], BenchError> { Ok([setting.server_time()?, cpu_of(own).unwrap_or_default()]) };
        let operations = fleet.operations();
        let before = times()?;
        let watch = Stopwatch::start();
        tasks.block_on(&runtime, self.ask(&fleet, &tally))?;
        let wall = watch.read().wall.as_secs_f64();
        let after = times()?;
        let busy = |at: usize| after[at].saturating_sub(before[at]).as_secs_f64() / wall;
        let operations = number(fleet.operations() - operations);
        // What is still under way is answered or dropped with its tasks.
        drop(tasks);

        let tally = tally.borrow();
        let sum = |value: fn(&Meter) -> f64| tally.meters.iter().map(value).sum::<f64>();
        let worst = tally.meters.iter().map(|meter| meter.excess).fold(0.0, f64::max);
        let wait = |quantile| number(tally.waits.value_at_quantile(quantile));
        Ok(Measured {
            asked: number(tally.asked) / wall,
            admitted: sum(|meter| meter.admitted) / sum(|meter| meter.ideal_admitted).max(1.0),
            excess: worst / plan.terms.burst,
            operations: operations / number(tally.asked.max(1)),
            waits: [wait(0.5), wait(0.99)],
            server: busy(0),
            nodes: busy(1),
        })
    }

    /// Makes requests, as many in each millisecond; those of a millisecond that was missed come in the next.
    async fn ask(&self, fleet: &Fleet, tally: &Rc<RefCell<Tally>>) -> Result<(), BenchError> {
        let mut chance = Chance::new(4);
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let watch = Stopwatch::start();
        while watch.read().wall < self.span {
            ticks.tick().await;
            for _ in 0..self.a_millisecond {
                let (node, key) = (chance.below(self.nodes), chance.below(self.keys));
                let at = tally.borrow_mut().ask(key);
                match fleet.decide(node, key)? {
                    Verdict::Now(passes) => tally.borrow_mut().decided(key, at, passes),
                    Verdict::Later(decision) => {
                        let tally = Rc::clone(tally);
                        tokio::task::spawn_local(async move {
                            let passes = decision.await;
                            tally.borrow_mut().decided(key, at, passes);
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn plan(&self) -> Result<Plan, BenchError> {
        let limit: Limit = self
            .limit
            .parse()
            .map_err(|error| BenchError::set_up("a limit", &error))?;
        Ok(Plan {
            terms: Terms::new(Kind::Bucket, &limit, 0.0),
            sharing: Sharing::Hybrid,
            on_store_loss: OnStoreLoss::Local,
            cost_max: 1.0,
            fanout: 0.0,
            spacing: None,
        })
    }

    /// What all nodes together may let through beyond the limit in hybrid mode, as a part of the burst.
    pub(super) fn allowed_excess(&self) -> f64 {
        let nodes = f64::from(self.nodes);
        self.plan()
            .map_or(f64::NAN, |plan| plan.allowance(nodes) * nodes / plan.terms.burst)
    }
}

impl Tally {
    fn new(clock: AnyClock, terms: Terms, keys: u32) -> Result<Self, BenchError> {
        let waits =
            Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|error| BenchError::set_up("a histogram", &error))?;
        Ok(Self {
            clock,
            terms,
            meters: vec![Meter::default(); keys as usize],
            asked: 0,
            waits,
        })
    }

    fn now(&self) -> f64 {
        number(self.clock.now().as_nanos()) / 1e3
    }

    /// A request comes; when.
    fn ask(&mut self, key: u32) -> f64 {
        let now = self.now();
        self.asked += 1;
        self.meters[key as usize].ask(&self.terms, now, 1.0);
        now
    }

    /// It is decided.
    fn decided(&mut self, key: u32, asked_at: f64, passes: bool) {
        let now = self.now();
        if passes {
            self.meters[key as usize].pass(&self.terms, now, 1.0, 1.0);
        }
        // Of a decision that is there at once less than a microsecond is told as one.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "microseconds of one run"
        )]
        self.waits.saturating_record((now - asked_at).max(0.0) as u64);
    }
}
