//! How a policy's memory is divided, and how many keys that has room for.

use serde::Serialize;
use sluicegate::policy::Policy;
use sluicegate_state::leases::Leases;
use sluicegate_state::{SMALL_CELL_BYTES, WIDE_CELL_BYTES};

use crate::columns::{self, Side};

/// The parts of `state.memory`.
#[derive(Debug, Serialize)]
pub(super) struct MemoryReport {
    /// All parts together, at most.
    bytes: usize,
    /// Cells of token buckets, leaky buckets and permits.
    small: Cells,
    /// Cells of windows, logs, and buckets that settle, count failures or lock.
    wide: Cells,
    /// Entries of sliding logs.
    logs: Entries,
    /// Leases of shared limits; `None` where nothing is shared.
    leases: Option<Cells>,
}

#[derive(Debug, Serialize)]
struct Cells {
    bytes: usize,
    /// About so many keys can be kept apart at once.
    keys: usize,
}

#[derive(Debug, Serialize)]
struct Entries {
    bytes: usize,
    /// About so many requests can be remembered at once.
    entries: usize,
}

impl MemoryReport {
    pub(super) fn new(policy: &Policy) -> Self {
        let parts = policy.state.divide(&policy.rules);
        Self {
            bytes: policy.state.memory,
            small: Cells::new(parts.small, SMALL_CELL_BYTES),
            wide: Cells::new(parts.wide, WIDE_CELL_BYTES),
            logs: Entries {
                bytes: parts.logs,
                entries: parts.logs / LOG_BLOCK_BYTES * LOG_BLOCK_ENTRIES,
            },
            leases: policy.state.share.is_some().then_some(Cells {
                bytes: parts.leases,
                keys: Leases::entries_in(parts.leases),
            }),
        }
    }

    pub(super) fn table(&self) -> Vec<String> {
        let row = |what: &str, bytes, room, of| [what.to_owned(), size(bytes), about(room), of];
        let of = |word: &str| word.to_owned();
        let mut rows = vec![
            ["memory", "", "room for", ""].map(str::to_owned),
            row("small cells", self.small.bytes, self.small.keys, of("keys")),
            row("wide cells", self.wide.bytes, self.wide.keys, of("keys")),
            row("logs", self.logs.bytes, self.logs.entries, of("requests")),
        ];
        if let Some(leases) = &self.leases {
            rows.push(row("leases", leases.bytes, leases.keys, of("busy keys")));
        }
        columns::align([Side::Left, Side::Right, Side::Right, Side::Left], &rows)
    }
}

impl Cells {
    fn new(bytes: usize, cell_bytes: usize) -> Self {
        Self {
            bytes,
            keys: bytes / cell_bytes / FILL_OF * FILL,
        }
    }
}

/// Five cells in eight hold a key before the first new one may find none (`docs/memory.md`).
const FILL: usize = 5;
const FILL_OF: usize = 8;

/// The entries of logs come in blocks.
const LOG_BLOCK_BYTES: usize = 128;
const LOG_BLOCK_ENTRIES: usize = 7;

/// A size in the largest unit of which it has at least one, to a tenth.
fn size(bytes: usize) -> String {
    decimal(bytes, &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")], "B")
}

/// A number in thousands or millions, to a tenth.
fn about(number: usize) -> String {
    decimal(number, &[(1_000_000, "M"), (1_000, "k")], "")
}

/// Rounded down, so that nobody counts on more than there is.
fn decimal(number: usize, units: &[(usize, &str)], ones: &str) -> String {
    let Some((unit, name)) = units.iter().find(|(unit, _)| number >= *unit) else {
        return format!("{number}{ones}");
    };
    // At most a terabyte, so that ten times as much stays within 64 bits.
    match number % unit * 10 / unit {
        0 => format!("{}{name}", number / unit),
        tenths => format!("{}.{tenths}{name}", number / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_each_part_has_room_for() {
        let text = "version: 1\nstate: { memory: 160MiB }\nrules: [{ name: a, key: ip, limit: 1/s }]\n";
        let (policy, _) = Policy::parse("policy.yaml", text).expect("a good policy");
        let report = MemoryReport::new(&policy);
        // 155 MiB / 16 B × 5/8; 2.5 MiB / 32 B × 5/8; 2.5 MiB / 128 B × 7.
        assert_eq!(
            (report.small.keys, report.wide.keys, report.logs.entries),
            (6_348_800, 51_200, 143_360)
        );
        let lines = [
            "  memory               room for",
            "  small cells  155MiB      6.3M  keys",
            "  wide cells   2.5MiB     51.2k  keys",
            "  logs         2.5MiB    143.3k  requests",
        ];
        assert_eq!(report.table(), lines);
    }

    #[test]
    fn leases_are_told_of_where_limits_are_shared() {
        let text = "version: 1\nstate: { memory: 160MiB, secret_file: s, share: \"redis://a:1\" }\nrules: [{ name: a, key: ip, limit: 1/s }]\n";
        let (policy, _) = Policy::parse("policy.yaml", text).expect("a good policy");
        let report = MemoryReport::new(&policy);
        let leases = report.leases.as_ref().expect("they have a part");
        assert_eq!((leases.bytes, leases.keys), (40 << 20, Leases::entries_in(40 << 20)));
        let table = report.table();
        let row = table.last().expect("a row");
        assert!(
            row.starts_with("  leases ") && row.contains(" 40MiB ") && row.ends_with("  busy keys"),
            "{row}"
        );
    }

    #[test]
    fn sizes_are_rounded_down_to_a_tenth() {
        assert_eq!(size(1_023), "1023B");
        assert_eq!(size(1_024), "1KiB");
        assert_eq!(size((1 << 20) - 1), "1023.9KiB");
        assert_eq!(size(3 << 29), "1.5GiB");
    }
}
