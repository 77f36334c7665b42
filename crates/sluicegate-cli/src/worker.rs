//! Threads with a runtime of their own, so that what one of them does cannot hold up another.

use std::thread;

use anyhow::Context;

/// A thread that drives one future to its end.
#[derive(Debug)]
pub(crate) struct Worker<T> {
    name: &'static str,
    thread: thread::JoinHandle<T>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts the thread; `work` is called on it and its future driven by a runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// When the system gives us no runtime or no thread.
    pub(crate) fn start<F>(name: &'static str, work: impl FnOnce() -> F + Send + 'static) -> anyhow::Result<Self>
    where
        F: Future<Output = T>,
    {
        let runtime = runtime().with_context(|| format!("{name} has no runtime"))?;
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || runtime.block_on(async { work().await }))
            .with_context(|| format!("{name} has no thread"))?;
        Ok(Self { name, thread })
    }

    /// Waits for the end. Only to be called once the work has been told to end.
    ///
    /// # Errors
    ///
    /// When the work ended by a panic, which is a defect of ours.
    pub(crate) fn join(self) -> anyhow::Result<T> {
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("{} broke off; please report this", self.name))
    }
}

/// A runtime for one thread.
///
/// # Errors
///
/// When the system gives us no event queue.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the system gives us no event queue")
}
