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
pub const FAMILIES: &[&Family] = &[
    &BUILD,
    &REQUESTS,
    &DECISIONS,
    &DECISION_SECONDS,
    &OVERFLOWED,
    &RULE_CELLS_OWNED,
    &HELD,
    &WAITING,
    &TABLE_CELLS,
    &TABLE_CELLS_OWNED,
    &LOG_BLOCKS,
    &LOG_BLOCKS_USED,
    &TABLE_BYTES,
    &GATEWAY_CONNECTIONS,
    &GATEWAY_CONNECTIONS_MAX,
    &GATEWAY_CONNECTIONS_ACCEPTED,
    &GATEWAY_BYTES_READ,
    &GATEWAY_BYTES_WRITTEN,
    &CONFIG_RELOADS,
    &CONFIG_RELOAD_FAILURES,
    &CONFIG_FILE_IN_FORCE,
    &CONFIG_GENERATION,
    &CONFIG_APPLIED_TIMESTAMP_SECONDS,
    &SNAPSHOT_TIMESTAMP_SECONDS,
    &SNAPSHOT_WRITE_SECONDS,
    &SNAPSHOT_BYTES,
    &SNAPSHOT_KEYS,
    &SNAPSHOT_WRITES,
    &SNAPSHOT_WRITE_FAILURES,
    &SNAPSHOT_LOAD_FAILURES,
    &SNAPSHOT_KEYS_RESTORED,
    &SNAPSHOT_KEYS_LOST,
    &SERIES_OMITTED,
];

/// Which build is running.
pub const BUILD: Family = info("build", &["version"], "Which build is running");

/// What became of requests as a whole.
pub const REQUESTS: Family = counter(
    "requests",
    &["route", "outcome"],
    "Requests decided, by route (empty: none) and what became of them",
);

/// What each rule said.
pub const DECISIONS: Family = counter(
    "decisions",
    &["rule", "route", "outcome"],
    "What each rule said to the requests it applies to",
);

/// How long deciding took.
pub const DECISION_SECONDS: Family = histogram(
    "decision_seconds",
    &[],
    "How long one decision took, for one in 64 of them",
);

/// Requests whose key found no free cell.
pub const OVERFLOWED: Family = counter(
    "overflowed",
    &["rule"],
    "Requests whose key found no free cell, and met the rule's overflow",
);

/// Cells that belong to keys of each rule.
pub const RULE_CELLS_OWNED: Family = gauge(
    "rule_cells_owned",
    &["rule"],
    "Cells of the table that belong to keys of this rule",
);

/// What requests under way hold of each rule.
pub const HELD: Family = gauge(
    "held",
    &["rule"],
    "Permits, or units reserved and not settled yet, that requests under way hold of this rule",
);

/// Requests in queues.
pub const WAITING: Family = gauge("waiting", &[], "Requests that wait in leaky buckets");

/// Room for the entries of logs.
pub const LOG_BLOCKS: Family = gauge(
    "log_blocks",
    &[],
    "Blocks for the entries of sliding logs, seven entries each",
);

/// How much of it is used.
pub const LOG_BLOCKS_USED: Family = gauge("log_blocks_used", &[], "Blocks that sliding logs use");

/// Cells there are.
pub const TABLE_CELLS: Family = gauge("table_cells", &[], "Cells that the table has");

/// Cells that belong to a key.
pub const TABLE_CELLS_OWNED: Family = gauge(
    "table_cells_owned",
    &[],
    "Cells that belong to a key, live or not yet found idle",
);

/// Bytes that the table takes when every cell is in use.
pub const TABLE_BYTES: Family = gauge("table_bytes", &[], "Bytes that all cells of the table take");

/// Client connections open now.
pub const GATEWAY_CONNECTIONS: Family = gauge("gateway_connections", &[], "Client connections open now");

/// Most client connections at once.
pub const GATEWAY_CONNECTIONS_MAX: Family = gauge(
    "gateway_connections_max",
    &[],
    "Most client connections that may be open at once",
);

/// Client connections accepted.
pub const GATEWAY_CONNECTIONS_ACCEPTED: Family =
    counter("gateway_connections_accepted", &[], "Client connections accepted");

/// Bytes from clients.
pub const GATEWAY_BYTES_READ: Family = counter(
    "gateway_bytes_read",
    &[],
    "Bytes read from clients, over connections that have ended",
);

/// Bytes to clients.
pub const GATEWAY_BYTES_WRITTEN: Family = counter(
    "gateway_bytes_written",
    &[],
    "Bytes written to clients, over connections that have ended",
);

/// Looks at the policy file that went well.
pub const CONFIG_RELOADS: Family = counter(
    "config_reloads",
    &["outcome"],
    "Times the policy file was read again and put in force, or was in force already",
);

/// Looks at the policy file that did not.
pub const CONFIG_RELOAD_FAILURES: Family = counter(
    "config_reload_failures",
    &["reason"],
    "Times the policy file was read again and could not be put in force",
);

/// Whether what is in force is what the file says.
pub const CONFIG_FILE_IN_FORCE: Family = gauge(
    "config_file_in_force",
    &[],
    "1 if the policy file, as it was last read, is the policy in force; else 0",
);

/// Which policy is in force.
pub const CONFIG_GENERATION: Family = gauge(
    "config_generation",
    &[],
    "The number of the policy in force among those since the start, from 1",
);

/// Since when it is.
pub const CONFIG_APPLIED_TIMESTAMP_SECONDS: Family = gauge(
    "config_applied_timestamp_seconds",
    &[],
    "Unix time at which the policy in force was put in force",
);

/// When the last snapshot was begun.
pub const SNAPSHOT_TIMESTAMP_SECONDS: Family = gauge(
    "snapshot_timestamp_seconds",
    &[],
    "Unix time at which the last snapshot that was written was begun, 0 before the first; none is written while nothing changes",
);

/// How long the last snapshot took.
pub const SNAPSHOT_WRITE_SECONDS: Family = gauge(
    "snapshot_write_seconds",
    &[],
    "How long it took to write the last snapshot",
);

/// How large the last snapshot is.
pub const SNAPSHOT_BYTES: Family = gauge("snapshot_bytes", &[], "Bytes of the last snapshot");

/// How many keys the last snapshot has.
pub const SNAPSHOT_KEYS: Family = gauge(
    "snapshot_keys",
    &[],
    "Keys that were limited when the last snapshot was written, each rule's counted by itself",
);

/// Snapshots that were written.
pub const SNAPSHOT_WRITES: Family = counter("snapshot_writes", &[], "Snapshots written");

/// Snapshots that could not be written.
pub const SNAPSHOT_WRITE_FAILURES: Family = counter(
    "snapshot_write_failures",
    &[],
    "Snapshots that could not be written; the one before is kept",
);

/// Snapshots that could not be used at the start.
pub const SNAPSHOT_LOAD_FAILURES: Family = counter(
    "snapshot_load_failures",
    &[],
    "Snapshots that could not be used at the start, and were set aside",
);

/// Keys that the start found in a snapshot.
pub const SNAPSHOT_KEYS_RESTORED: Family = gauge(
    "snapshot_keys_restored",
    &[],
    "Keys that went on at the start where the snapshot had left them",
);

/// Keys of a snapshot for which there was no room.
pub const SNAPSHOT_KEYS_LOST: Family = gauge(
    "snapshot_keys_lost",
    &[],
    "Keys of the snapshot that found no room at the start",
);

/// How many series found no room in this scrape.
pub const SERIES_OMITTED: Family = gauge(
    "series_omitted",
    &[],
    "Series left out of this scrape because a scrape has a bound",
);

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Counter,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        labels,
        help,
    }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Histogram,
        labels,
        help,
    }
}

const fn info(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Info,
        labels,
        help,
    }
}
