//! The gateway's counts, for the admin listener. Here because admin and gateway do not know each other.

use std::sync::Arc;

use sluicegate_admin::{Readings, Source, catalogue};
use sluicegate_gateway::Traffic;

/// Reads what the gateway counts of its connections.
#[derive(Debug)]
pub(crate) struct TrafficSource(Arc<Traffic>);

impl TrafficSource {
    pub(crate) fn new(traffic: Arc<Traffic>) -> Self {
        Self(traffic)
    }
}

impl Source for TrafficSource {
    fn read(&self, readings: &mut Readings) {
        // Counts of memory fit 64 bits on every machine there is.
        let whole = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let traffic = &self.0;
        readings.whole(&catalogue::GATEWAY_CONNECTIONS, &[], whole(traffic.connections_now()));
        readings.whole(
            &catalogue::GATEWAY_CONNECTIONS_MAX,
            &[],
            whole(traffic.connections_max()),
        );
        readings.whole(
            &catalogue::GATEWAY_CONNECTIONS_ACCEPTED,
            &[],
            traffic.connections_accepted(),
        );
        readings.whole(&catalogue::GATEWAY_BYTES_READ, &[], traffic.bytes_read());
        readings.whole(&catalogue::GATEWAY_BYTES_WRITTEN, &[], traffic.bytes_written());
    }
}
