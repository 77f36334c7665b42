//! The loop in which everybody is measured, and the turns in which they run it.

use std::hint::black_box;

use crate::clients::{Client, Clients};
use crate::contestants::Contestant;
use crate::error::BenchError;
use crate::progress::tell;
use crate::spread::{Spread, nanos_each};
use crate::stopwatch::{Stopwatch, allocated};

/// One contestant under a name, ready to run.
pub(crate) trait Entrant {
    /// The name in the table.
    fn name(&self) -> &str;

    /// Lets each of the first `clients` clients ask once, so that all are known.
    fn warm(&mut self, clients: u32) -> Result<(), BenchError>;

    /// Lets `decisions` clients ask.
    fn lap(&mut self, clients: Clients, decisions: u64) -> Result<Lap, BenchError>;
}

/// What one turn showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lap {
    /// Processor time a decision, the loop's own cost included.
    pub(crate) nanos: f64,
    /// Bytes asked of the allocator in all decisions together.
    pub(crate) allocated: u64,
}

/// A contestant with its name.
pub(crate) struct Named<C> {
    name: &'static str,
    contestant: C,
    /// Of the decisions of a turn it makes one in this many.
    one_in: u64,
}

impl<C: Contestant> Named<C> {
    /// Names a contestant.
    pub(crate) const fn new(name: &'static str, contestant: C) -> Self {
        Self {
            name,
            contestant,
            one_in: 1,
        }
    }

    /// One that is so slow that a part of the decisions tells as much, and keeps the turns short.
    pub(crate) const fn slow(name: &'static str, contestant: C, one_in: u64) -> Self {
        Self {
            name,
            contestant,
            one_in,
        }
    }
}

impl<C: Contestant> Entrant for Named<C> {
    fn name(&self) -> &str {
        self.name
    }

    fn warm(&mut self, clients: u32) -> Result<(), BenchError> {
        let passed = (0..clients)
            .filter(|index| self.contestant.decide(&Client::at(*index)))
            .count();
        all_passed(self.name, passed as u64, clients.into())
    }

    fn lap(&mut self, mut clients: Clients, decisions: u64) -> Result<Lap, BenchError> {
        let decisions = (decisions / self.one_in).max(1);
        let before = allocated()?;
        let watch = Stopwatch::start();
        let passed = run(&mut self.contestant, &mut clients, decisions);
        let taken = watch.read();
        let allocated = allocated()? - before;
        all_passed(self.name, passed, decisions)?;
        Ok(Lap {
            nanos: nanos_each(taken.cpu, decisions),
            allocated,
        })
    }
}

/// Asks for `decisions` clients and tells how many passed. In a function of its own for each contestant, so that a profile
/// shows who it is.
#[inline(never)]
pub(crate) fn run(contestant: &mut impl Contestant, clients: &mut Clients, decisions: u64) -> u64 {
    let mut passed = 0;
    let mut row = [Client::at(0); AHEAD];
    let mut left = decisions;
    while left > 0 {
        // The last row may be a shorter one.
        let count = usize::try_from(left).map_or(AHEAD, |left| left.min(AHEAD));
        let row = &mut row[..count];
        for client in &mut *row {
            *client = clients.draw();
        }
        passed += contestant.decide_row(row);
        left -= count as u64;
    }
    passed
}

/// How many keys are written into the buffer before the first of them asks.
///
/// A key is written in small pieces and hashed in large ones. A processor that is asked to read across pieces that are
/// still on their way to memory waits until they have arrived, behind everything before them: up to 15 ns for whoever
/// hashes by words, and nothing for whoever hashes by bytes. No request's key was written in the very same moment.
pub(crate) const AHEAD: usize = 64;

/// Whoever refuses measures something else than the others.
pub(crate) fn all_passed(who: &str, passed: u64, asked: u64) -> Result<(), BenchError> {
    if passed == asked {
        return Ok(());
    }
    Err(BenchError::Strayed {
        who: who.to_owned(),
        what: format!("it refused {} of {asked} requests", asked - passed),
    })
}

/// Somebody whose keys are written in the very moment in which they ask; the writing is not subtracted.
pub(crate) struct JustWritten<C>(pub(crate) C);

impl<C: Contestant> Contestant for JustWritten<C> {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        self.0.decide(black_box(&Client::at(client.index)))
    }
}

/// The loop with nobody in it: what is subtracted from everybody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nobody;

impl Contestant for Nobody {
    #[inline]
    fn decide(&mut self, _: &Client) -> bool {
        black_box(true)
    }
}

/// Turns of all entrants, `rounds` times one after the other.
///
/// # Errors
///
/// If somebody refuses a request, or allocates who is not to; see [`Turns::frugal`].
pub(crate) fn turns(
    bench: &str,
    scenario: &str,
    entrants: &mut [Box<dyn Entrant>],
    turns: Turns<'_>,
) -> Result<Vec<Laps>, BenchError> {
    let mut laps = vec![Laps::default(); entrants.len()];
    for round in 0..turns.rounds {
        tell(bench, &format!("{scenario}: round {} of {}", round + 1, turns.rounds));
        let mut alone = 0.0;
        for (at, (entrant, laps)) in entrants.iter_mut().zip(&mut laps).enumerate() {
            let lap = entrant.lap(Clients::new(0, turns.keys, round.into()), turns.decisions)?;
            if turns.frugal.contains(&entrant.name()) && lap.allocated > 0 {
                return Err(BenchError::Strayed {
                    who: entrant.name().to_owned(),
                    what: format!(
                        "it allocated {} bytes, and a decision must allocate none",
                        lap.allocated
                    ),
                });
            }
            // Every round has a cost of its own for the loop, so that a slow moment of the machine is subtracted too.
            laps.nanos.push(lap.nanos - alone);
            laps.allocated += lap.allocated;
            if at == 0 {
                alone = lap.nanos;
            }
        }
    }
    Ok(laps)
}

/// All turns of one entrant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Laps {
    /// Processor time a decision in each round, less that of the first entrant, which is the loop alone.
    pub(crate) nanos: Vec<f64>,
    /// Bytes asked of the allocator in all rounds together.
    pub(crate) allocated: u64,
}

impl Laps {
    /// The rounds together.
    pub(crate) fn spread(&self) -> Spread {
        Spread::of(self.nanos.iter().copied())
    }
}

/// What the turns are like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns<'a> {
    /// How many clients there are.
    pub(crate) keys: u32,
    /// In one turn.
    pub(crate) decisions: u64,
    /// How often.
    pub(crate) rounds: u32,
    /// Those that must not allocate.
    pub(crate) frugal: &'a [&'a str],
}
