//! What the processor can do at best: the least that any limiter with exact, shared state must do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Contestant;
use crate::clients::Client;
use crate::stopwatch::Counter;

/// One compare-and-swap in a flat table of 16-byte slots, found by index: no key, no hash, no time.
#[derive(Debug, Clone)]
pub(crate) struct Cas {
    words: Arc<[AtomicU64]>,
}

impl Cas {
    /// Slots for the clients below `clients`.
    pub(crate) fn new(clients: u32) -> Self {
        Self {
            words: (0..u64::from(clients) * 2).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    #[inline]
    fn swap(&self, client: &Client, add: u64) -> bool {
        let Some(word) = self.words.get(client.index as usize * 2) else {
            return false;
        };
        let mut seen = word.load(Ordering::Relaxed);
        while let Err(now) =
            word.compare_exchange_weak(seen, seen.wrapping_add(add), Ordering::Relaxed, Ordering::Relaxed)
        {
            seen = now;
        }
        true
    }
}

impl Contestant for Cas {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        self.swap(client, 1)
    }
}

/// One reading of the time stamp counter.
#[derive(Debug, Clone)]
pub(crate) struct CounterAlone(pub(crate) Counter);

impl Contestant for CounterAlone {
    #[inline]
    fn decide(&mut self, _: &Client) -> bool {
        std::hint::black_box(self.0.read()) > 0
    }
}

/// Both: the time goes into what is swapped.
#[derive(Debug, Clone)]
pub(crate) struct CasAndCounter(pub(crate) Cas, pub(crate) Counter);

impl Contestant for CasAndCounter {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        self.0.swap(client, self.1.read())
    }
}

/// One reading of the time for a row of swaps.
#[derive(Debug, Clone)]
pub(crate) struct CasRow(pub(crate) Cas, pub(crate) Counter);

impl Contestant for CasRow {
    #[inline]
    fn decide(&mut self, client: &Client) -> bool {
        self.0.swap(client, self.1.read())
    }

    #[inline]
    fn decide_row(&mut self, row: &[Client]) -> u64 {
        let now = self.1.read();
        let mut passed = 0;
        for client in row {
            passed += u64::from(self.0.swap(std::hint::black_box(client), now));
        }
        passed
    }
}
