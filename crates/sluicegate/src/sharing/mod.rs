//! Keeping a limiter's shared limits in step with a store: beside the traffic, in one thread of its own.
//!
//! ```text
//!  Limiter::decide ──► Leases ◄── Driver: what is due, at a pace ──► Store::exchange
//!                                   ├─ heartbeat: how many nodes live
//!                                   ├─ probe: is a store that was away back?
//!                                   └─ Chronicle: what of it is news
//! ```

mod chronicle;
mod driver;

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use sluicegate_state::AnyClock;
use sluicegate_state::store::{Presence, Store};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;

use crate::limiter::Limiter;
use crate::secret;
pub use chronicle::News;
use driver::Driver;

/// Why limits cannot be shared; `E` is why there is no store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError<E = Infallible> {
    /// The policy that the limiter was made with has no `state.share`, so it has no memory for leases.
    #[error("the policy does not share its limits: it has no state.share")]
    NotShared,
    /// The limiter shares its limits already, until that [`Sharer`] is dropped.
    #[error("the limiter shares its limits already")]
    SharedAlready,
    /// The system has no thread to give, or no event queue.
    #[error("the system has no thread for sharing limits")]
    NoThread(#[source] io::Error),
    /// There is no store.
    #[error("there is no store to share limits by")]
    Store(#[source] E),
}

impl Limiter {
    /// Shares limits with the other nodes, until the [`Sharer`] is dropped. Until the store has answered, and whenever it does not,
    /// each rule goes by its `on_store_loss`.
    ///
    /// `store` makes the store, on the runtime and by the clock that are to be its own. It is called at once, in the caller's thread;
    /// what it begins on the runtime goes on in the sharer's.
    ///
    /// # Errors
    ///
    /// If the policy does not share its limits, the limiter shares them already, there is no thread, or there is no store.
    pub fn share<S: Store, E>(
        &self,
        store: impl FnOnce(Handle, AnyClock) -> Result<S, E>,
    ) -> Result<Sharer, ShareError<E>> {
        self.share_telling(store, |_| {})
    }

    /// As [`Limiter::share`]. `tell` hears how the node stands with the store: when it has met it, lost it, found it again or found it
    /// used by nodes with another secret, six times at once and then twice a minute at most. It is called in the sharer's thread.
    ///
    /// # Errors
    ///
    /// As [`Limiter::share`].
    pub fn share_telling<S: Store, E>(
        &self,
        store: impl FnOnce(Handle, AnyClock) -> Result<S, E>,
        tell: impl FnMut(News) + Send + 'static,
    ) -> Result<Sharer, ShareError<E>> {
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
        let (stop, stopped) = oneshot::channel();
        // The thread first: a runtime that is left over may not be dropped by whoever has one of their own.
        let (hand_over, handed_over) = mpsc::channel::<(Runtime, Driver<S, _>)>();
        let speak = move || {
            if let Ok((runtime, driver)) = handed_over.recv() {
                runtime.block_on(driver.run(stopped));
            }
        };
        let thread = std::thread::Builder::new()
            .name("sluicegate-share".to_owned())
            .spawn(speak)
            .map_err(ShareError::NoThread)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ShareError::NoThread)?;
        let store = match store(runtime.handle().clone(), self.shared.clock.clone()) {
            Ok(store) => store,
            Err(error) => {
                runtime.shutdown_background();
                return Err(ShareError::Store(error));
            }
        };
        let driver = Driver::new(Arc::clone(leases), attendance, store, presence, tell);
        // It waits for nothing else, and ends without.
        let _ = hand_over.send((runtime, driver));
        Ok(Sharer {
            stop: Some(stop),
            thread: Some(thread),
        })
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

impl Drop for Sharer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A driver that panicked has said so, and there is nothing to give back any more.
            let _ = thread.join();
        }
    }
}
