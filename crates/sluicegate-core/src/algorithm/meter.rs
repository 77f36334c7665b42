//! Any limit, made ready to decide by.

use core::num::NonZeroU64;
use core::time::Duration;

use super::answer::{Ruling, Wide};
use super::choice::Algorithm;
use super::concurrency::{Concurrency, Held};
use super::fixed_window::FixedWindow;
use super::leaky_bucket::LeakyBucket;
use super::settling::Settling;
use super::sliding_log::SlidingLog;
use super::sliding_window::SlidingWindow;
use super::ticks::TickScale;
use super::token_bucket::{Ageing, Tat, TokenBucket};
use crate::{Cost, Limit, Permits, Timestamp};

/// Any limit, made ready to decide by, sorted by what it remembers of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meter {
    /// One word.
    Word(WordMeter),
    /// Three words.
    Wide(WideMeter),
    /// A log of charges.
    Log(SlidingLog),
}

/// What a meter is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeterSpec {
    /// Which algorithm keeps the limit.
    pub algorithm: Algorithm,
    /// The limit. Only buckets have a use for its burst; concurrency takes its count alone.
    pub limit: Limit,
    /// The largest burst of all limits that draw from the same cells; `None` if there are no others.
    pub largest_burst: Option<NonZeroU64>,
    /// What is settled late, or locks. Only token buckets do.
    pub settle: Option<Settle>,
    /// The Unix time in nanoseconds at which the caller's clock started; what windows are aligned by.
    pub epoch_at_start: u64,
}

/// That charges are settled late, or that the limit locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settle {
    /// How long to lock who uses the limit up; `None` never does.
    pub lock: Option<Duration>,
}

/// What a meter remembers of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storage {
    /// One word.
    Word,
    /// Three words.
    Wide,
    /// Three words and a log.
    Log,
}

impl Meter {
    /// Makes the meter of a limit.
    pub fn new(spec: &MeterSpec) -> Self {
        let limit = spec.limit;
        let largest_burst = spec.largest_burst.unwrap_or(limit.burst());
        match spec.algorithm {
            Algorithm::TokenBucket => match spec.settle {
                None => Self::Word(WordMeter::TokenBucket(TokenBucket::new_sharing(limit, largest_burst))),
                Some(Settle { lock }) => {
                    Self::Wide(WideMeter::Settling(Settling::new_sharing(limit, largest_burst, lock)))
                }
            },
            Algorithm::LeakyBucket { max_wait, free } => Self::Word(WordMeter::LeakyBucket(LeakyBucket::new_sharing(
                limit,
                largest_burst,
                max_wait,
                free,
            ))),
            Algorithm::FixedWindow { align } => Self::Wide(WideMeter::FixedWindow(FixedWindow::new(
                limit,
                align,
                spec.epoch_at_start,
            ))),
            Algorithm::SlidingWindow => {
                Self::Wide(WideMeter::SlidingWindow(SlidingWindow::new(limit, spec.epoch_at_start)))
            }
            Algorithm::SlidingLog => Self::Log(SlidingLog::new(limit)),
            Algorithm::Concurrency => Self::permits(Permits::new(limit.count())),
        }
    }

    /// Makes the meter of so many permits at once.
    pub const fn permits(permits: Permits) -> Self {
        Self::Word(WordMeter::Concurrency(Concurrency::new(permits)))
    }

    /// What it remembers of a key.
    pub const fn storage(&self) -> Storage {
        match self {
            Self::Word(_) => Storage::Word,
            Self::Wide(_) => Storage::Wide,
            Self::Log(_) => Storage::Log,
        }
    }

    /// The limit; `None` for concurrency, which has no rate.
    pub const fn limit(&self) -> Option<&Limit> {
        match self {
            Self::Word(WordMeter::TokenBucket(meter)) => Some(meter.limit()),
            Self::Word(WordMeter::LeakyBucket(meter)) => Some(meter.limit()),
            Self::Word(WordMeter::Concurrency(_)) => None,
            Self::Wide(WideMeter::FixedWindow(meter)) => Some(meter.limit()),
            Self::Wide(WideMeter::SlidingWindow(meter)) => Some(meter.limit()),
            Self::Wide(WideMeter::Settling(meter)) => Some(meter.limit()),
            Self::Log(meter) => Some(meter.limit()),
        }
    }
}

/// A meter that remembers one word of a key, below 2⁶³; zero is a key never seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordMeter {
    /// A [`Tat`].
    TokenBucket(TokenBucket),
    /// A [`Tat`].
    LeakyBucket(LeakyBucket),
    /// A [`Held`].
    Concurrency(Concurrency),
}

impl WordMeter {
    /// Decides one request.
    #[inline]
    pub fn decide(&self, word: u64, now: Timestamp, cost: Cost) -> Ruling<u64> {
        self.decide_departing(word, now, cost, Duration::ZERO)
    }

    /// Decides one request that has to wait `depart_after` for another limit's sake; only a leaky bucket minds.
    #[inline]
    pub fn decide_departing(&self, word: u64, now: Timestamp, cost: Cost, depart_after: Duration) -> Ruling<u64> {
        match self {
            Self::TokenBucket(meter) => meter.rule(Tat::from_u64(word), now, cost).map(Tat::as_u64),
            Self::LeakyBucket(meter) => meter
                .decide_departing(Tat::from_u64(word), now, cost, depart_after)
                .map(Tat::as_u64),
            Self::Concurrency(meter) => meter.decide(Held::from_u64(word), cost).map(Held::as_u64),
        }
    }

    /// The word after a charge of `cost`, made at `charged_at`, is taken back: permits come back whole, units as far as
    /// they have not refilled since.
    #[must_use]
    pub fn give_back(&self, word: u64, cost: Cost, charged_at: Timestamp, now: Timestamp) -> u64 {
        self.settle(word, cost, Cost::ZERO, charged_at, now)
    }

    /// The word after a charge of `reserved`, made at `charged_at`, turns out to have been `actual`. Permits are counted
    /// beforehand: more than was asked for is not taken.
    #[must_use]
    pub fn settle(&self, word: u64, reserved: Cost, actual: Cost, charged_at: Timestamp, now: Timestamp) -> u64 {
        let tat = Tat::from_u64(word);
        match self {
            Self::TokenBucket(bucket) => {
                let (charged_at, now) = (bucket.tick(charged_at), bucket.tick(now));
                bucket.settle(tat, reserved, actual, charged_at, now).as_u64()
            }
            Self::LeakyBucket(leaky) => leaky.settle(tat, reserved, actual, charged_at, now).as_u64(),
            Self::Concurrency(meter) => {
                let back = Cost::new(reserved.units().saturating_sub(actual.units()));
                meter.release(Held::from_u64(word), back).as_u64()
            }
        }
    }

    /// The word after one who moved it from `before` to `written` withdraws: `before`, if nobody has moved it since, else
    /// as it is.
    #[must_use]
    pub const fn leave(&self, word: u64, before: u64, written: u64) -> u64 {
        if word == written { before } else { word }
    }

    /// The word after a charge that is made whether it fits or not. Permits are never overdrawn.
    #[must_use]
    pub fn overdraw(&self, word: u64, now: Timestamp, cost: Cost) -> u64 {
        match self {
            Self::TokenBucket(bucket) => bucket.overdraw(Tat::from_u64(word), bucket.tick(now), cost).as_u64(),
            Self::LeakyBucket(leaky) => leaky.overdraw(Tat::from_u64(word), now, cost).as_u64(),
            Self::Concurrency(_) => word,
        }
    }

    /// The word after a refused request is charged all the same, as a penalty: as far as the burst reaches. Permits know no
    /// penalty.
    #[must_use]
    pub const fn penalize(&self, word: u64, now: Timestamp, cost: Cost) -> u64 {
        match self {
            Self::TokenBucket(bucket) => bucket.penalize(Tat::from_u64(word), bucket.tick(now), cost).as_u64(),
            Self::LeakyBucket(leaky) => leaky.penalize(Tat::from_u64(word), now, cost).as_u64(),
            Self::Concurrency(_) => word,
        }
    }

    /// Whether forgetting the word at `now` loses nothing.
    #[inline]
    pub const fn is_idle(&self, word: u64, now: Timestamp) -> bool {
        match self {
            Self::TokenBucket(bucket) => Tat::from_u64(word).is_idle(bucket.tick(now)),
            Self::LeakyBucket(leaky) => Tat::from_u64(word).is_idle(leaky.bucket().tick(now)),
            Self::Concurrency(_) => word == 0,
        }
    }

    /// The scale by which words age; `None` where only zero is idle.
    pub const fn scale(&self) -> Option<TickScale> {
        match self {
            Self::TokenBucket(bucket) => Some(bucket.scale()),
            Self::LeakyBucket(leaky) => Some(leaky.bucket().scale()),
            Self::Concurrency(_) => None,
        }
    }

    /// A word of `old`'s, a meter of the same algorithm and period, as this one reads it: what was used stays, as far as
    /// a changed limit reaches; permits that are held stay held. Zero if the algorithms differ.
    #[must_use]
    pub fn carry_over(&self, old: &Self, word: u64, now: Timestamp) -> u64 {
        let tats = |new: &TokenBucket, old| new.carry_over(old, Tat::from_u64(word), now).as_u64();
        match (self, old) {
            (Self::TokenBucket(new), Self::TokenBucket(old)) => tats(new, old),
            (Self::LeakyBucket(new), Self::LeakyBucket(old)) => tats(new.bucket(), old.bucket()),
            (Self::Concurrency(_), Self::Concurrency(_)) => word,
            _ => 0,
        }
    }

    /// What to keep of a word where another clock will read it, zero for nothing: of a bucket its debt in ticks, of permits
    /// nothing, since those who hold them are gone.
    pub const fn keep(&self, word: u64, now: Timestamp) -> u64 {
        match self {
            Self::TokenBucket(bucket) => bucket.keep(Tat::from_u64(word), now),
            Self::LeakyBucket(leaky) => leaky.bucket().keep(Tat::from_u64(word), now),
            Self::Concurrency(_) => 0,
        }
    }

    /// What [`Self::restore`] does, for whoever has many words; `None` where nothing is kept.
    pub const fn ageing(&self, now: Timestamp, away: Duration) -> Option<Ageing> {
        match self {
            Self::TokenBucket(bucket) => Some(bucket.ageing(now, away)),
            Self::LeakyBucket(leaky) => Some(leaky.bucket().ageing(now, away)),
            Self::Concurrency(_) => None,
        }
    }

    /// The word of what a meter of the same limit kept `away` ago.
    pub fn restore(&self, kept: u64, now: Timestamp, away: Duration) -> u64 {
        self.ageing(now, away).map_or(0, |ageing| ageing.tat(kept).as_u64())
    }
}

/// A meter that remembers three words of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WideMeter {
    /// A count in a window.
    FixedWindow(FixedWindow),
    /// Counts in two windows.
    SlidingWindow(SlidingWindow),
    /// A TAT or a lock, and what is outstanding.
    Settling(Settling),
}

impl WideMeter {
    /// Decides one request and, if it passes, charges it for good.
    #[inline]
    pub fn decide(&self, state: Wide, now: Timestamp, cost: Cost) -> Ruling<Wide> {
        match self {
            Self::FixedWindow(meter) => meter.decide(state, now, cost),
            Self::SlidingWindow(meter) => meter.decide(state, now, cost),
            Self::Settling(meter) => meter.charge(state, now, cost),
        }
    }

    /// Decides one request whose charge will be settled. Windows need not know: they charge it.
    #[inline]
    pub fn reserve(&self, state: Wide, now: Timestamp, cost: Cost) -> Ruling<Wide> {
        match self {
            Self::Settling(meter) => meter.reserve(state, now, cost),
            _ => self.decide(state, now, cost),
        }
    }

    /// When a charge at `now` counts, for whoever takes it back or settles it: now, but for windows whose start the clock has gone
    /// back before.
    pub fn counted_at(&self, state: Wide, now: Timestamp) -> Timestamp {
        match self {
            Self::FixedWindow(meter) => meter.counted_at(state, now),
            Self::SlidingWindow(meter) => meter.counted_at(state, now),
            Self::Settling(_) => now,
        }
    }

    /// The state after a charge of [`Self::decide`], made at `charged_at`, is taken back.
    #[must_use]
    pub fn give_back(&self, state: Wide, cost: Cost, charged_at: Timestamp, now: Timestamp) -> Wide {
        match self {
            Self::FixedWindow(meter) => meter.give_back(state, cost, charged_at),
            Self::SlidingWindow(meter) => meter.give_back(state, cost, charged_at),
            Self::Settling(meter) => meter.give_back(state, cost, charged_at, now),
        }
    }

    /// The state after a charge of [`Self::reserve`], made at `charged_at`, turns out to have been `actual`: what a window
    /// gets back goes to the one that was charged, what it has to pay on top to the one of now.
    #[must_use]
    pub fn settle(&self, state: Wide, reserved: Cost, actual: Cost, charged_at: Timestamp, now: Timestamp) -> Wide {
        if let Self::Settling(meter) = self {
            return meter.settle(state, now, reserved, actual);
        }
        if actual < reserved {
            let less = Cost::new(reserved.units() - actual.units());
            return self.give_back(state, less, charged_at, now);
        }
        self.overdraw(state, now, Cost::new(actual.units() - reserved.units()))
    }

    /// The state after a charge that is made whether it fits or not.
    #[must_use]
    pub fn overdraw(&self, state: Wide, now: Timestamp, cost: Cost) -> Wide {
        match self {
            Self::FixedWindow(meter) => meter.overdraw(state, now, cost),
            Self::SlidingWindow(meter) => meter.overdraw(state, now, cost),
            Self::Settling(meter) => meter.overdraw(state, now, cost),
        }
    }

    /// The state after a refused request is charged all the same, as a penalty: as far as the limit reaches.
    #[must_use]
    pub fn penalize(&self, state: Wide, now: Timestamp, cost: Cost) -> Wide {
        match self {
            Self::FixedWindow(meter) => meter.penalize(state, now, cost),
            Self::SlidingWindow(meter) => meter.penalize(state, now, cost),
            Self::Settling(meter) => meter.penalize(state, now, cost),
        }
    }

    /// Forgets what was charged; not what is outstanding, nor a lock.
    #[must_use]
    pub fn clear(&self, state: Wide, now: Timestamp) -> Wide {
        match self {
            Self::Settling(meter) => meter.clear(state, now),
            _ => Wide::UNSEEN,
        }
    }

    /// A state of `old`'s, a meter of the same algorithm, period and alignment, as this one reads it: what was used stays,
    /// as far as a changed limit reaches; what is outstanding stays, and so does a lock. [`Wide::UNSEEN`] if the algorithms
    /// differ.
    #[must_use]
    pub fn carry_over(&self, old: &Self, state: Wide, now: Timestamp) -> Wide {
        match (self, old) {
            (Self::FixedWindow(new), Self::FixedWindow(old)) => new.carry_over(old, state),
            (Self::SlidingWindow(new), Self::SlidingWindow(old)) => new.carry_over(old, state, now),
            (Self::Settling(new), Self::Settling(old)) => new.carry_over(old, state, now),
            _ => Wide::UNSEEN,
        }
    }

    /// What to keep of a state where another clock will read it, zeros for nothing: windows by their end in Unix time,
    /// debts and locks by how far they reach from now. What is outstanding counts as charged.
    pub fn keep(&self, state: Wide, now: Timestamp) -> [u64; 3] {
        match self {
            Self::FixedWindow(meter) => meter.keep(state, now),
            Self::SlidingWindow(meter) => meter.keep(state, now),
            Self::Settling(meter) => meter.keep(state, now),
        }
    }

    /// The state of what a meter of the same limit, perhaps under another clock, kept `away` ago by the wall clock; zero if
    /// that went back.
    pub fn restore(&self, kept: [u64; 3], now: Timestamp, away: Duration) -> Wide {
        match self {
            Self::FixedWindow(meter) => meter.restore(kept, now, away),
            Self::SlidingWindow(meter) => meter.restore(kept, now),
            Self::Settling(meter) => meter.restore(kept, now, away),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(algorithm: Algorithm) -> Meter {
        Meter::new(&MeterSpec {
            algorithm,
            limit: "10/s burst 3".parse().expect("a limit"),
            largest_burst: None,
            settle: None,
            epoch_at_start: 0,
        })
    }

    const ALL: [Algorithm; 6] = [
        Algorithm::TokenBucket,
        Algorithm::LeakyBucket {
            max_wait: Duration::from_secs(1),
            free: 0,
        },
        Algorithm::FixedWindow {
            align: crate::algorithm::Align::Epoch,
        },
        Algorithm::SlidingWindow,
        Algorithm::SlidingLog,
        Algorithm::Concurrency,
    ];

    #[test]
    fn every_meter_but_permits_knows_its_limit() {
        let limit: Limit = "10/s burst 3".parse().expect("a limit");
        for algorithm in ALL {
            let expected = (algorithm != Algorithm::Concurrency).then_some(&limit);
            assert_eq!(meter(algorithm).limit(), expected, "{algorithm:?}");
        }
    }

    #[test]
    fn words_age_by_their_buckets_ticks_and_permits_do_not() {
        let now = Timestamp::from_nanos(5_000_000_000);
        for algorithm in ALL {
            let Meter::Word(meter) = meter(algorithm) else { continue };
            let spent = meter.decide(0, now, Cost::ONE).state;
            match meter.scale() {
                Some(scale) => {
                    assert!(!meter.is_idle(spent, now) && spent > scale.tick(now).as_u64());
                    let later = now.saturating_add(Duration::from_millis(100));
                    assert!(meter.is_idle(spent, later) && spent <= scale.tick(later).as_u64());
                }
                None => assert!(algorithm == Algorithm::Concurrency && !meter.is_idle(spent, Timestamp::MAX)),
            }
        }
    }

    #[test]
    fn an_overdraft_of_a_word_has_to_be_paid_off_and_permits_know_none() {
        let now = Timestamp::from_nanos(5_000_000_000);
        for algorithm in ALL {
            let Meter::Word(meter) = meter(algorithm) else { continue };
            let word = meter.overdraw(0, now, Cost::new(13));
            let passes = |ms| {
                let later = now.saturating_add(Duration::from_millis(ms));
                meter.decide(word, later, Cost::ONE).answer.passes()
            };
            if algorithm == Algorithm::Concurrency {
                assert!(word == 0 && passes(0));
            } else {
                // Eleven of the thirteen have to come back before there is room for one of three.
                assert!(!passes(1_099) && passes(1_100), "{algorithm:?}");
            }
        }
    }

    #[test]
    fn no_tat_that_is_written_lies_beyond_the_last() {
        assert_eq!(Tat::MAX.as_u64(), u64::MAX >> 1);
        let Meter::Word(meter) = meter(Algorithm::TokenBucket) else {
            unreachable!("a token bucket keeps one word")
        };
        assert_eq!(
            meter.overdraw(0, Timestamp::MAX, Cost::new(u64::MAX)),
            Tat::MAX.as_u64()
        );
    }
}
