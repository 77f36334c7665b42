//! The environment, read in one place.

/// Variables by name: the process's own, or a test's.
pub(crate) trait Environment {
    /// `None` where it is not set, or not Unicode.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The variables this process was started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}
