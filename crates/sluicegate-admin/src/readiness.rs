//! Whether traffic should be sent here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How far the process has come; shared by everyone who moves it on and everyone who asks.
///
/// Stages only move forward: what drains does not become ready again.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

/// One stage of the process's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Listeners are not all bound.
    Starting,
    /// Every listener is bound and takes connections.
    Ready,
    /// Told to stop: requests under way are finished, new ones should go elsewhere.
    Draining,
}

impl Readiness {
    /// Begins in [`Stage::Starting`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Every listener is bound. Does nothing once draining.
    pub fn ready(&self) {
        self.advance(READY);
    }

    /// Asks for no more traffic.
    pub fn draining(&self) {
        self.advance(DRAINING);
    }

    /// The present stage.
    pub fn stage(&self) -> Stage {
        // Relaxed: the stage stands alone, nothing else is read because of it.
        match self.0.load(Ordering::Relaxed) {
            STARTING => Stage::Starting,
            READY => Stage::Ready,
            _ => Stage::Draining,
        }
    }

    /// `fetch_max`, so that a late `ready` cannot undo `draining`.
    fn advance(&self, stage: u8) {
        self.0.fetch_max(stage, Ordering::Relaxed);
    }
}

impl Stage {
    /// The word for it in `/readyz`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }

    /// What a reader of `/readyz` should know.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Starting => "not every listener is bound yet",
            Self::Ready => "every listener is bound",
            Self::Draining => "told to stop; requests under way are being finished",
        }
    }
}

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_ready_does_not_undo_draining() {
        let readiness = Readiness::new();
        assert_eq!(readiness.stage(), Stage::Starting);
        readiness.ready();
        assert_eq!(readiness.stage(), Stage::Ready);
        readiness.draining();
        readiness.ready();
        assert_eq!(readiness.stage(), Stage::Draining);
    }

    #[test]
    fn clones_share_one_stage() {
        let readiness = Readiness::new();
        readiness.clone().ready();
        assert_eq!(readiness.stage(), Stage::Ready);
    }
}
