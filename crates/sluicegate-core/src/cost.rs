//! How many units one request takes.

/// Units that one request takes from a limit: whole, from 0 to `u64::MAX`.
///
/// Zero asks without charging. A cost above the burst can never pass ([`crate::Retry::Never`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cost(u64);

impl Cost {
    /// Asks without charging.
    pub const ZERO: Self = Self(0);
    /// What a request costs where nothing else is said.
    pub const ONE: Self = Self(1);

    /// A cost of `units`.
    pub const fn new(units: u64) -> Self {
        Self(units)
    }

    /// The cost in units.
    pub const fn units(self) -> u64 {
        self.0
    }
}
