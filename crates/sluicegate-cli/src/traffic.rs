//! The gateway's counts, for the admin listener. Here because admin and gateway do not know each other.

use std::sync::Arc;

use sluicegate_admin::{Readings, Source, catalogue};
use sluicegate_gateway::{Settings, Traffic};

/// Reads what the gateway counts of its connections, and when its certificates end.
#[derive(Debug)]
pub(crate) struct TrafficSource {
    traffic: Arc<Traffic>,
    settings: Settings,
}

impl TrafficSource {
    pub(crate) fn new(traffic: Arc<Traffic>, settings: Settings) -> Self {
        Self { traffic, settings }
    }
}

impl Source for TrafficSource {
    fn read(&self, readings: &mut Readings) {
        // Counts of memory fit 64 bits on every machine there is.
        let whole = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let traffic = &self.traffic;
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
        readings.whole(&catalogue::GATEWAY_HEADS_REFUSED, &[], traffic.heads_refused());
        readings.whole(&catalogue::GATEWAY_BYTES_READ, &[], traffic.bytes_read());
        readings.whole(&catalogue::GATEWAY_BYTES_WRITTEN, &[], traffic.bytes_written());
        let handshakes = &catalogue::GATEWAY_TLS_HANDSHAKES;
        readings.whole(handshakes, &["done"], traffic.handshakes());
        readings.whole(handshakes, &["failed"], traffic.handshakes_failed());
        for certificate in self.settings.certificates() {
            let (listener, file) = (certificate.listen.to_string(), certificate.file.display().to_string());
            readings.whole(
                &catalogue::GATEWAY_CERT_NOT_AFTER,
                &[&listener, &file],
                certificate.not_after.as_secs(),
            );
        }
    }
}
