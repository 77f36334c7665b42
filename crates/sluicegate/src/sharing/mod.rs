//! Keeping a limiter's shared limits in step with a store: beside the traffic, in one thread of its own.
//!
//! ```text
//!  Limiter::decide ──► Leases ◄── Driver: what is due, at a pace ──► Store::exchange
//!                                   ├─ heartbeat: how many nodes live
//!                                   └─ probe: is a store that was away back?
//! ```

mod driver;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use sluicegate_state::leases::{Attendance, Leases};
use sluicegate_state::store::{Presence, Store};
use tokio::sync::oneshot;

use crate::limiter::Limiter;
use crate::secret;
use driver::Driver;

/// Why limits cannot be shared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The policy that the limiter was made with has no `state.share`, so it has no memory for leases.
    #[error("the policy does not share its limits: it has no state.share")]
    NotShared,
    /// The limiter shares its limits already, until that [`Sharer`] is dropped.
    #[error("the limiter shares its limits already")]
    SharedAlready,
    /// The system has no thread to give.
    #[error("the system has no thread for sharing limits")]
    NoThread(#[from] io::Error),
}

impl Limiter {
    /// Shares limits with the other nodes at `store`, until the [`Sharer`] is dropped. Until the store has answered, and whenever it
    /// does not, each rule goes by its `on_store_loss`.
    ///
    /// # Errors
    ///
    /// If the policy does not share its limits, the limiter shares them already, or there is no thread.
    pub fn share<S: Store>(&self, store: S) -> Result<Sharer, ShareError> {
        let leases = self.shared.leases.as_ref().ok_or(ShareError::NotShared)?;
        let presence = Presence {
            node: secret::node_number(),
            // Derived from the secret under a context of its own; half of it is enough to tell one from another.
            secret: self
                .shared
                .fingerprint
                .0
                .iter()
                .take(8)
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        };
        let attendance = leases.attend().ok_or(ShareError::SharedAlready)?;
        Ok(Sharer::start(Arc::clone(leases), attendance, store, presence)?)
    }
}

/// Keeps a limiter's shared limits in step with a store, until it is dropped: then it gives back what this node holds, which
/// takes a few round trips and at most a quarter of a second. After that each rule goes by its `on_store_loss`, and whoever waits for
/// the store is answered by it.
///
/// Made by [`Limiter::share`](crate::Limiter::share).
#[derive(Debug)]
#[must_use = "dropped, the limiter is alone again"]
pub struct Sharer {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sharer {
    fn start<S: Store>(leases: Arc<Leases>, attendance: Attendance, store: S, presence: Presence) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let run = move || runtime.block_on(Driver::new(leases, attendance, store, presence).run(stopped));
        let thread = std::thread::Builder::new()
            .name("sluicegate-share".to_owned())
            .spawn(run)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Sharer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A driver that panicked has said so, and there is nothing to give back any more.
            let _ = thread.join();
        }
    }
}
