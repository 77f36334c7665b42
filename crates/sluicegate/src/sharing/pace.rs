//! How many calls a node makes: so that a store is asked as often as it can answer, whatever the number of nodes and keys.

/// Most calls that all nodes together make to one lane, in a second. A Redis core answers about 80 000 of one key; a quarter of that
/// leaves room for everything else it does.
const CALLS_PER_SECOND_MAX: f64 = 20_000.0;

/// Calls that may be made at once after a rest.
const BURST: f64 = 4.0;

/// One lane's calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    ready: f64,
    at: f64,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { ready: BURST, at: 0.0 }
    }

    /// Takes one call at `now`, in microseconds, if it may be made; `nodes` is how many share the store.
    pub(super) fn take(&mut self, now: f64, nodes: f64) -> bool {
        let per_micro = CALLS_PER_SECOND_MAX / nodes.max(1.0) / 1e6;
        self.ready = (self.ready + (now - self.at).max(0.0) * per_micro).min(BURST);
        self.at = now;
        if self.ready < 1.0 {
            return false;
        }
        self.ready -= 1.0;
        true
    }

    /// Gives back a call that was not made.
    pub(super) fn give_back(&mut self) {
        self.ready += 1.0;
    }
}
