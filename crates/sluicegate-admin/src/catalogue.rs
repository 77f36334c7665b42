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
    &ALLOWED,
    &CONDITION_FAILURES,
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
    &GATEWAY_HEADS_REFUSED,
    &GATEWAY_BYTES_READ,
    &GATEWAY_BYTES_WRITTEN,
    &GATEWAY_TLS_HANDSHAKES,
    &GATEWAY_CERT_NOT_AFTER,
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
    &SHARING_NODES,
    &SHARING_LANES,
    &SHARING_LANES_UP,
    &SHARING_ROUND_TRIP_SECONDS,
    &SHARING_LAG_SECONDS,
    &SHARING_FOREIGN_SECRET,
    &SHARING_KEYS,
    &SHARING_KEYS_MAX,
    &SHARING_KEYS_ALONE,
    &SHARING_OUTSTANDING_UNITS,
    &SHARING_UNREPORTED_UNITS,
    &SHARING_CALLS,
    &SHARING_KEY_OPERATIONS,
    &SHARING_DAMAGED,
    &SHARING_WAITED,
    &SHARING_LATE,
    &STORE_CONNECTED,
    &STORE_BREAKER,
    &STORE_IN_FLIGHT,
    &STORE_ROUND_TRIP_SECONDS,
    &STORE_CONNECTIONS,
    &STORE_SCRIPT_LOADS,
    &STORE_CALLS,
    &STORE_CALL_FAILURES,
    &STORE_MAY_EVICT,
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

/// What the allow-list let pass.
pub const ALLOWED: Family = counter(
    "allowed",
    &["entry"],
    "Requests that an entry of the allow-list let pass, without asking any rule",
);

/// Conditions that had no value.
pub const CONDITION_FAILURES: Family = counter(
    "condition_failures",
    &["of", "name"],
    "Times a condition had no value for a request: a rule then applied, an entry of the allow-list allowed nothing",
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

/// Heads with more than one meaning.
pub const GATEWAY_HEADS_REFUSED: Family = counter(
    "gateway_heads_refused",
    &[],
    "Client connections closed for a request's head that has more than one meaning or is above its caps",
);

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

/// TLS handshakes.
pub const GATEWAY_TLS_HANDSHAKES: Family = counter(
    "gateway_tls_handshakes",
    &["outcome"],
    "TLS handshakes with clients that came to a connection, or to nothing",
);

/// When a listener's certificate ends.
pub const GATEWAY_CERT_NOT_AFTER: Family = gauge(
    "gateway_cert_not_after_timestamp_seconds",
    &["listener", "file"],
    "Unix time at which a listener's certificate ends",
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

/// Nodes that share limits.
pub const SHARING_NODES: Family = gauge(
    "sharing_nodes",
    &[],
    "Nodes that share limits, this one among them; those that went are forgotten slowly",
);

/// Parts of the store.
pub const SHARING_LANES: Family = gauge(
    "sharing_lanes",
    &[],
    "Parts of the store that are spoken with by themselves: servers, or shards of a cluster",
);

/// Those of them that answer.
pub const SHARING_LANES_UP: Family = gauge("sharing_lanes_up", &[], "Parts of the store that answer");

/// How long a call takes.
pub const SHARING_ROUND_TRIP_SECONDS: Family = gauge(
    "sharing_round_trip_seconds",
    &[],
    "The longest smoothed round trip to a part of the store that answers",
);

/// How far speaking with the store is behind.
pub const SHARING_LAG_SECONDS: Family = gauge(
    "sharing_lag_seconds",
    &[],
    "For how long the first of the keys that have to speak with the store has waited for a call",
);

/// Whether the store is used under another secret.
pub const SHARING_FOREIGN_SECRET: Family = gauge(
    "sharing_foreign_secret",
    &[],
    "1 while nodes with another secret use the store, and this one keeps its limits alone; else 0",
);

/// Keys with a lease.
pub const SHARING_KEYS: Family = gauge("sharing_keys", &[], "Keys of shared limits that this node remembers");

/// Room for them.
pub const SHARING_KEYS_MAX: Family = gauge("sharing_keys_max", &[], "Room for keys of shared limits");

/// Keys that go by the share.
pub const SHARING_KEYS_ALONE: Family = gauge(
    "sharing_keys_alone",
    &[],
    "Keys that go by this node's share, without the store",
);

/// What leases hold.
pub const SHARING_OUTSTANDING_UNITS: Family = gauge(
    "sharing_outstanding_units",
    &[],
    "Units that this node holds by lease and has not spent, over all keys",
);

/// What the store does not know yet.
pub const SHARING_UNREPORTED_UNITS: Family = gauge(
    "sharing_unreported_units",
    &[],
    "Units that this node let pass and has not told the store of, over all keys: what it adds to the excess now",
);

/// Calls to the store.
pub const SHARING_CALLS: Family = counter(
    "sharing_calls",
    &["outcome"],
    "Calls to the store, by what came of them",
);

/// Keys in them.
pub const SHARING_KEY_OPERATIONS: Family = counter("sharing_key_operations", &[], "Keys in the calls that were done");

/// What made no sense.
pub const SHARING_DAMAGED: Family = counter(
    "sharing_damaged",
    &[],
    "Values in the store that made no sense, and were replaced",
);

/// Charges that waited.
pub const SHARING_WAITED: Family = counter("sharing_waited", &[], "Charges that waited for the store");

/// Charges that waited in vain.
pub const SHARING_LATE: Family = counter(
    "sharing_late",
    &[],
    "Charges that waited for the store in vain, and were answered without it",
);

/// Whether there is a connection.
pub const STORE_CONNECTED: Family = gauge(
    "store_connected",
    &["server"],
    "1 if calls are sent to this server of the store, else 0",
);

/// How the breaker stands.
pub const STORE_BREAKER: Family = gauge(
    "store_breaker",
    &["server", "state"],
    "1 for the state that the breaker before this server is in, 0 for the others",
);

/// Calls under way.
pub const STORE_IN_FLIGHT: Family = gauge("store_in_flight", &["server"], "Calls to this server under way");

/// How long a call takes.
pub const STORE_ROUND_TRIP_SECONDS: Family = gauge(
    "store_round_trip_seconds",
    &["server"],
    "The mean round trip of the last eight calls to this server or so, 0 before the first",
);

/// Connections made.
pub const STORE_CONNECTIONS: Family = counter(
    "store_connections",
    &["server"],
    "Connections made to this server, the first among them",
);

/// Scripts given again.
pub const STORE_SCRIPT_LOADS: Family = counter(
    "store_script_loads",
    &["server"],
    "Times that this server had lost the script and was given it again",
);

/// Calls sent.
pub const STORE_CALLS: Family = counter("store_calls", &["server"], "Calls sent to this server");

/// Calls that failed.
pub const STORE_CALL_FAILURES: Family = counter(
    "store_call_failures",
    &["server", "reason"],
    "Calls to this server that failed, by why",
);

/// Whether it forgets.
pub const STORE_MAY_EVICT: Family = gauge(
    "store_may_evict",
    &["server"],
    "1 if this server evicts keys when its memory is full, and then forgets what was used; else 0",
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
