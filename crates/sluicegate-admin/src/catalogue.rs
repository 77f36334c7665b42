//! Every metric there is: its name, type, labels and meaning.
//!
//! `docs/metrics.md` lists the same; a test holds the two together.

/// In front of every name, followed by an underscore.
pub const PREFIX: &str = "sluicegate";

/// One metric, with all its series.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Without [`PREFIX`], and without the suffix that the format adds (`_total`, `_bucket`, `_info`).
    pub name: &'static str,
    /// How its numbers behave.
    pub kind: Kind,
    /// Label names; values come from the configuration only.
    pub labels: &'static [&'static str],
    /// One sentence, shown to who scrapes.
    pub help: &'static str,
}

/// How the numbers of a [`Family`] behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows from zero at the start of the process; `_total` is appended to its name.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size; `_bucket`, `_sum` and `_count` are appended.
    Histogram,
    /// Always 1; its labels tell something. `_info` is appended.
    Info,
}

/// All of them, in the order of a scrape.
pub const FAMILIES: &[&Family] = &[&BUILD, &DECISIONS, &DECISION_SECONDS, &SERIES_OMITTED];

/// Which build is running.
pub const BUILD: Family = Family {
    name: "build",
    kind: Kind::Info,
    labels: &["version"],
    help: "Which build is running",
};

/// What each rule said.
pub const DECISIONS: Family = Family {
    name: "decisions",
    kind: Kind::Counter,
    labels: &["rule", "route", "outcome"],
    help: "What each rule said to the requests it applies to",
};

/// How long deciding took.
pub const DECISION_SECONDS: Family = Family {
    name: "decision_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "How long one decision took, sampled",
};

/// How many series found no room in this scrape.
pub const SERIES_OMITTED: Family = Family {
    name: "series_omitted",
    kind: Kind::Gauge,
    labels: &[],
    help: "Series left out of this scrape because it has a bound",
};
