//! How sharing goes, in numbers.

use sluicegate::{SharingCounts, SharingStatus};

use super::{Breaker, SharingView};
use crate::catalogue as all;
use crate::readings::{Readings, Source};

impl Source for SharingView {
    fn read(&self, readings: &mut Readings) {
        if let Some(status) = self.limiter.sharing() {
            read_status(&status, readings);
        }
        for server in self.servers.servers() {
            let labels = [server.server.as_str()];
            let is_connected = server.breaker == Breaker::Closed;
            readings.whole(&all::STORE_CONNECTED, &labels, is_connected.into());
            for state in [Breaker::Closed, Breaker::HalfOpen, Breaker::Open] {
                let labels = [server.server.as_str(), state.as_str()];
                readings.whole(&all::STORE_BREAKER, &labels, (server.breaker == state).into());
            }
            readings.whole(&all::STORE_IN_FLIGHT, &labels, server.in_flight.into());
            let round_trip = server.round_trip_ms.unwrap_or_default() / 1e3;
            readings.fraction(&all::STORE_ROUND_TRIP_SECONDS, &labels, round_trip);
            readings.whole(&all::STORE_CONNECTIONS, &labels, server.connections);
            readings.whole(&all::STORE_SCRIPT_LOADS, &labels, server.script_loads);
            readings.whole(&all::STORE_CALLS, &labels, server.calls);
            for (reason, count) in [
                ("unknown", server.unknown),
                ("late", server.late),
                ("refused", server.refused),
                ("not_sent", server.not_sent),
            ] {
                readings.whole(&all::STORE_CALL_FAILURES, &[labels[0], reason], count);
            }
            readings.whole(&all::STORE_MAY_EVICT, &labels, server.may_evict.into());
        }
    }
}

fn read_status(status: &SharingStatus, readings: &mut Readings) {
    let SharingCounts {
        calls,
        keys,
        undone,
        unknown,
        changed,
        damaged,
        waited,
        late,
    } = status.counts;
    readings.fraction(&all::SHARING_NODES, &[], status.nodes);
    readings.whole(&all::SHARING_LANES, &[], whole(status.lanes));
    readings.whole(&all::SHARING_LANES_UP, &[], whole(status.lanes_up));
    readings.fraction(&all::SHARING_ROUND_TRIP_SECONDS, &[], status.round_trip_us / MICROS);
    readings.fraction(&all::SHARING_LAG_SECONDS, &[], status.lag_us / MICROS);
    readings.whole(&all::SHARING_FOREIGN_SECRET, &[], status.is_foreign.into());
    readings.whole(&all::SHARING_KEYS, &[], whole(status.keys));
    readings.whole(&all::SHARING_KEYS_MAX, &[], whole(status.keys_max));
    readings.whole(&all::SHARING_KEYS_ALONE, &[], whole(status.keys_alone));
    readings.fraction(&all::SHARING_OUTSTANDING_UNITS, &[], status.held);
    readings.fraction(&all::SHARING_UNREPORTED_UNITS, &[], status.unreported);
    for (outcome, count) in [
        ("done", calls),
        ("undone", undone),
        ("changed", changed),
        ("unknown", unknown),
    ] {
        readings.whole(&all::SHARING_CALLS, &[outcome], count);
    }
    readings.whole(&all::SHARING_KEY_OPERATIONS, &[], keys);
    readings.whole(&all::SHARING_DAMAGED, &[], damaged);
    readings.whole(&all::SHARING_WAITED, &[], waited);
    readings.whole(&all::SHARING_LATE, &[], late);
}

/// Microseconds in a second.
const MICROS: f64 = 1e6;

/// Counts of memory fit 64 bits on every machine there is.
fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
