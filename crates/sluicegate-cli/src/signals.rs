//! Being asked to stop, and to read the policy file again.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, one after the other.
#[derive(Debug)]
pub(crate) struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

impl Stops {
    /// From now on both signals come here instead of ending the process.
    ///
    /// # Errors
    ///
    /// When the system does not let us take them.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of them and gives back its name. May be dropped and asked again without losing one.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// SIGHUP.
#[derive(Debug)]
pub(crate) struct Hangups(Signal);

impl Hangups {
    /// From now on SIGHUP comes here instead of ending the process.
    ///
    /// # Errors
    ///
    /// When the system does not let us take it.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        take(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one; several that came in the meantime are one.
    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}

fn take(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("signals cannot be taken")
}
