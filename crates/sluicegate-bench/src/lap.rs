//! The loop in which everybody is measured, and the turns in which they run it.

use std::hint::black_box;

use crate::clients::{Client, Clients};
use crate::contestants::Contestant;
use crate::error::BenchError;
use crate::spread::nanos_each;
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
}

impl<C: Contestant> Named<C> {
    /// Names a contestant.
    pub(crate) const fn new(name: &'static str, contestant: C) -> Self {
        Self { name, contestant }
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
    for _ in 0..decisions {
        // In memory, and of unknown length: nobody may guess the key.
        let client = clients.draw();
        passed += u64::from(contestant.decide(black_box(&client)));
    }
    passed
}

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

/// The loop with nobody in it: what is subtracted from everybody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nobody;

impl Contestant for Nobody {
    #[inline]
    fn decide(&mut self, _: &Client) -> bool {
        black_box(true)
    }
}
