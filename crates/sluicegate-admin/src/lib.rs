//! Metrics and health on a listener of their own.
