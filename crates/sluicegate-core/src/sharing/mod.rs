//! One limit on many nodes: what a node and the shared store say to each other about a key, as pure arithmetic.
//!
//! ```text
//!  node: Lease ── decide ──► spends what it holds, or asks
//!          │  ▲
//!      Ask ▼  │ Reply          one exchange; a script call carries those of up to 128 keys
//!  store: exchange::bucket, windows::exchange, permits::exchange ──► what is kept, one value a key
//! ```
//!
//! A node never reports what it has already let through beyond a stated allowance: it holds a **lease**, whole units that the
//! store has charged already, and spends from it. The store remembers how many units of a key are **outstanding**, and those
//! block refill until a node has told that they are spent or has given them back. So the limit holds for any number of nodes,
//! any round trip and any lost reply.
//!
//! This is the one place of the crate that counts in floating point. Times are microseconds, as `f64`: the store's since the
//! first of January 2024, UTC, exact to 0.02 µs; a node's since whatever point it likes. Only durations and counts travel
//! between the two. `libm` does the rest, so that every platform computes the same.

pub mod excess;
pub mod exchange;
mod lease;
mod outage;
mod pacing;
mod permit_lease;
pub mod permits;
mod plan;
mod spacing;
mod terms;
pub mod windows;

pub use exchange::{Ask, Heal, Reply, Settled};
pub use lease::{Lease, Look, Outlook, Place, Spent, TooLate, Urgency};
pub use pacing::{CALLS_PER_SECOND, Pacing};
pub use permit_lease::{PermitLease, PermitPlan, PermitView};
pub use plan::{Mode, Now, OMEGA, OnStoreLoss, Plan, SIGMA, Sharing, View, WAIT_US};
pub use spacing::Spacing;
pub use terms::{EPOCH_UNIX_US, Kind, Terms};
