//! Requests in simulated time, put to the table that a gateway decides by.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sluicegate_core::algorithm::{Align, Answer};
use sluicegate_core::{Cost, Limit, Mode, Report, Retry, RuleId, RuleState, Timestamp};
use sluicegate_state::{
    Bucket, BucketIdentity, BucketSpec, Charge, Hold, Holding, Key, ManualClock, Memory, Overflow, Table, Taken,
    Takings, WhenRefused,
};

use super::arrivals::Arrivals;
use super::subject::Subject;

/// What is played.
#[derive(Debug)]
pub(super) struct Script<'a> {
    pub(super) limit: Limit,
    pub(super) arrivals: &'a Arrivals,
    /// How long a request lasts, for what is known only at its end.
    pub(super) hold: Duration,
    /// Where the picture ends.
    pub(super) end: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Play {
    pub(super) subject: Subject,
    /// One for each arrival, in their order.
    pub(super) verdicts: Vec<Verdict>,
    /// Units left, each from its time on.
    pub(super) remaining: Vec<(Duration, u64)>,
    /// From when to when even a request that costs nothing is refused: locked, or overdrawn.
    pub(super) shut: Vec<(Duration, Duration)>,
    /// From when to when each window lasts; none where they are too many to be told apart.
    pub(super) windows: Vec<(Duration, Duration)>,
}

/// What one request was told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) at: Duration,
    pub(super) ruling: Ruling,
    pub(super) remaining: u64,
    pub(super) reset_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It passes now.
    Pass,
    /// It passes after so long.
    Delay(Duration),
    Refuse(Retry),
}

impl Verdict {
    /// When it goes on; `None` for one that does not.
    pub(super) fn departs_at(&self) -> Option<Duration> {
        match self.ruling {
            Ruling::Pass => Some(self.at),
            Ruling::Delay(delay) => Some(self.at + delay),
            Ruling::Refuse(_) => None,
        }
    }
}

impl Play {
    /// Puts the script's requests to `subject`, one after another.
    ///
    /// # Errors
    ///
    /// If the algorithm cannot keep the limit, or memory for a table of a few kibibytes cannot be had.
    pub(super) fn new(subject: Subject, script: &Script<'_>) -> anyhow::Result<Self> {
        let mut stage = Stage::new(subject, script)?;
        let mut arrivals = script.arrivals.iter().peekable();
        for column in 0..=COLUMNS {
            let at = script.end * column / COLUMNS;
            while let Some(arrival) = arrivals.next_if(|arrival| *arrival <= at) {
                stage.end_requests(arrival);
                stage.arrive(arrival);
            }
            stage.end_requests(at);
            stage.look(at);
        }
        stage.play.windows = stage.windows(script.end);
        Ok(stage.play)
    }

    /// How many passed, at once or later.
    pub(super) fn passed(&self) -> usize {
        self.departures().count()
    }

    /// Most requests that went on within any `period`: those of `[x, x + period)`, wherever x lies.
    pub(super) fn most_within(&self, period: Duration) -> usize {
        let mut departures: Vec<Duration> = self.departures().collect();
        departures.sort();
        let within = |(index, first): (usize, &Duration)| {
            let end = *first + period;
            departures[index..]
                .iter()
                .take_while(|departs_at| **departs_at < end)
                .count()
        };
        departures.iter().enumerate().map(within).max().unwrap_or(0)
    }

    fn departures(&self) -> impl Iterator<Item = Duration> {
        self.verdicts.iter().filter_map(Verdict::departs_at)
    }
}

/// A table with one cell, and what is under way.
struct Stage {
    table: Table,
    bucket: Arc<Bucket>,
    clock: ManualClock,
    limit: Limit,
    hold: Duration,
    /// Requests under way that will be settled, in the order of their ends: all last equally long.
    open: VecDeque<(Duration, Holding)>,
    play: Play,
}

impl Stage {
    fn new(subject: Subject, script: &Script<'_>) -> anyhow::Result<Self> {
        let meter = subject.meter(script.limit).map_err(anyhow::Error::msg)?;
        let spec = BucketSpec {
            keyed: false,
            ..BucketSpec::new(BucketIdentity(0), meter, Overflow::Closed)
        };
        let (table, buckets) = Table::with_buckets(MEMORY, [spec])?;
        Ok(Self {
            table,
            bucket: buckets
                .into_iter()
                .next()
                .context("a table has the buckets it was given")?,
            clock: ManualClock::default(),
            limit: script.limit,
            hold: script.hold,
            open: VecDeque::new(),
            play: Play {
                subject,
                verdicts: Vec::new(),
                remaining: Vec::new(),
                shut: Vec::new(),
                windows: Vec::new(),
            },
        })
    }

    /// One request, as a gateway would put it.
    fn arrive(&mut self, at: Duration) {
        let mut takings = Takings::new();
        let (taken, state) = self.ask(at, self.play.subject.cost(), &mut takings);
        let ruling = match (taken, state.retry()) {
            (Taken::All { delay }, _) if delay.is_zero() => Ruling::Pass,
            (Taken::All { delay }, _) => Ruling::Delay(delay),
            (Taken::Nothing, retry) => Ruling::Refuse(retry.unwrap_or(Retry::Never)),
        };
        while let Some(holding) = takings.take_held(|_| true) {
            self.open.push_back((at.saturating_add(self.hold), holding));
        }
        self.play.verdicts.push(Verdict {
            at,
            ruling,
            remaining: state.remaining,
            reset_after: state.reset_after(),
        });
        self.look(at);
    }

    /// Settles all that end until `until`, each at its time.
    fn end_requests(&mut self, until: Duration) {
        while let Some((ends_at, _)) = self.open.front()
            && *ends_at <= until
            && let Some((ends_at, holding)) = self.open.pop_front()
        {
            self.clock.set(timestamp(ends_at));
            let actual = self.play.subject.settled().unwrap_or(holding.cost());
            self.table.settle(holding, actual, timestamp(ends_at));
            self.look(ends_at);
        }
    }

    /// Asks for nothing, which changes nothing, and notes what is said.
    fn look(&mut self, at: Duration) {
        let (taken, state) = self.ask(at, Cost::ZERO, &mut Takings::new());
        let remaining = &mut self.play.remaining;
        // Of several looks at one moment the last one counts.
        let _ = remaining.pop_if(|(before, _)| *before == at);
        if remaining.last().is_none_or(|(_, units)| *units != state.remaining) {
            remaining.push((at, state.remaining));
        }
        // Whoever is refused nothing is told when that ends, so the bar is exact between two looks.
        if taken == Taken::Nothing
            && let Some(Retry::After(wait)) = state.retry()
        {
            let until = at + wait;
            match self.play.shut.last_mut() {
                Some((_, end)) if *end >= at => *end = until,
                _ => self.play.shut.push((at, until)),
            }
        }
    }

    fn ask(&self, at: Duration, cost: Cost, takings: &mut Takings) -> (Taken, RuleState) {
        self.clock.set(timestamp(at));
        let rule = RuleId::new(0);
        let charge = Charge {
            rule,
            bucket: &self.bucket,
            meter: 0,
            key: Key::Whole,
            cost,
            mode: Mode::Enforced,
            hold: if cost != Cost::ZERO && self.play.subject.settled().is_some() {
                Hold::UntilTheEnd
            } else {
                Hold::No
            },
            when_refused: WhenRefused::Nothing,
        };
        let mut report = Report::new();
        let taken = self.table.take(&[charge], &self.clock, &mut report, takings);
        // One charge has one state.
        let nothing = Answer {
            remaining: 0,
            reset_after: Duration::ZERO,
            retry: None,
            delay: Duration::ZERO,
        };
        let state = report.states().first().copied();
        let state = state.unwrap_or_else(|| RuleState::new(rule, Mode::Enforced, &nothing));
        (taken, state)
    }

    /// The windows that begin before `end`.
    fn windows(&self, end: Duration) -> Vec<(Duration, Duration)> {
        let period = self.limit.period();
        let mut windows: Vec<(Duration, Duration)> = match self.play.subject.align() {
            None => Vec::new(),
            Some(Align::Epoch) => (0..=WINDOWS_MAX)
                .map(|number| (period * number, period * (number + 1)))
                .take_while(|(begins_at, _)| *begins_at < end)
                .collect(),
            Some(Align::FirstHit) => {
                // Whoever passed was told when its window ends.
                let passed = self
                    .play
                    .verdicts
                    .iter()
                    .filter(|verdict| verdict.departs_at().is_some());
                let ends = passed.map(|verdict| verdict.at + verdict.reset_after);
                ends.map(|ends_at| (ends_at.saturating_sub(period), ends_at)).collect()
            }
        };
        windows.dedup();
        if windows.len() > WINDOWS_MAX as usize {
            windows.clear();
        }
        windows
    }
}

fn timestamp(at: Duration) -> Timestamp {
    Timestamp::ZERO.saturating_add(at)
}

/// How often the bucket is asked what is left: more than once a pixel.
const COLUMNS: u32 = 1_000;

/// Room for what one key remembers, at most a log of a thousand entries.
const MEMORY: Memory = Memory {
    small: 4 << 10,
    wide: 4 << 10,
    logs: 32 << 10,
};

/// Twenty pixels each on the wider picture.
const WINDOWS_MAX: u32 = 36;
