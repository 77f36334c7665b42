//! What this crate can be asked about by itself: the build, and the limiter.

use std::sync::Arc;
use std::time::Duration;

use sluicegate::metrics::{DECISION_BOUNDS, RuleOutcome};
use sluicegate::policy::checked::Enforce;
use sluicegate::{AllowId, Limiter, RouteId, RuleId, SharedBucket};

use crate::catalogue;
use crate::readings::{Readings, Source};

/// Tells which build is running.
#[derive(Debug)]
pub struct BuildSource {
    version: &'static str,
}

impl BuildSource {
    /// `version` is the binary's.
    pub fn new(version: &'static str) -> Self {
        Self { version }
    }
}

impl Source for BuildSource {
    fn read(&self, readings: &mut Readings) {
        readings.whole(&catalogue::BUILD, &[self.version], 1);
    }
}

/// Tells what a limiter decided, and how full its table is.
#[derive(Debug)]
pub struct LimiterSource {
    limiter: Arc<Limiter>,
}

impl LimiterSource {
    /// Reads whatever policy is in force when it is asked.
    pub fn new(limiter: Arc<Limiter>) -> Self {
        Self { limiter }
    }
}

/// Whether a rule can ever say so: one that is enforced for every key has no shadow, and the reverse. Leaving the
/// others out halves the largest family.
fn can_say(enforce: Enforce, outcome: RuleOutcome) -> bool {
    match outcome {
        RuleOutcome::Allow | RuleOutcome::Deny => enforce > Enforce::SHADOW,
        RuleOutcome::ShadowAllow | RuleOutcome::ShadowDeny => enforce < Enforce::ALL,
    }
}

impl Source for LimiterSource {
    fn read(&self, readings: &mut Readings) {
        let engine = self.limiter.engine();
        let metrics = engine.metrics();
        let times = metrics.decision_times();
        let bounds = DECISION_BOUNDS.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        let buckets = bounds.zip(times.counts).collect();
        readings.histogram(&catalogue::DECISION_SECONDS, &[], times.total.as_secs_f64(), buckets);

        let fill = self.limiter.table().fill();
        readings.whole(&catalogue::TABLE_BYTES, &[], whole(fill.bytes));
        readings.whole(&catalogue::TABLE_CELLS, &[], whole(fill.cells));
        readings.whole(&catalogue::TABLE_CELLS_OWNED, &[], whole(fill.owned));
        readings.whole(&catalogue::LOG_BLOCKS, &[], whole(fill.log_blocks));
        readings.whole(&catalogue::LOG_BLOCKS_USED, &[], whole(fill.log_blocks_used));
        readings.whole(&catalogue::WAITING, &[], whole(self.limiter.waiting()));
        let rules: Vec<&str> = engine.rule_names().collect();
        let routes: Vec<&str> = engine.route_names().collect();
        for (id, name) in (0..).map(RuleId::new).zip(&rules) {
            let Some(bucket) = engine.bucket(id) else { continue };
            readings.whole(&catalogue::RULE_CELLS_OWNED, &[name], whole(bucket.owned()));
            let shared = engine.shared_bucket(id);
            let overflowed = shared.map_or(0, SharedBucket::overflowed);
            readings.whole(&catalogue::OVERFLOWED, &[name], bucket.overflowed() + overflowed);
            let in_use = shared.map_or(0, SharedBucket::in_use);
            readings.whole(&catalogue::HELD, &[name], bucket.held() + in_use);
        }

        for (id, name) in (0..).map(AllowId::new).zip(engine.allow_names()) {
            readings.whole(&catalogue::ALLOWED, &[name], metrics.allowed(id));
            let labels = ["allow", name];
            readings.whole(&catalogue::CONDITION_FAILURES, &labels, metrics.allow_without_value(id));
        }
        for (id, name) in (0..).map(RuleId::new).zip(&rules) {
            if engine.has_condition(id) {
                let labels = ["rule", name];
                readings.whole(&catalogue::CONDITION_FAILURES, &labels, metrics.rule_without_value(id));
            }
        }

        // Empty for none, which no route is called.
        let route = |route: Option<RouteId>| route.and_then(|route| routes.get(route.index())).copied().unwrap_or("");
        for count in metrics.requests() {
            let labels = [route(count.route), count.outcome.as_str()];
            readings.whole(&catalogue::REQUESTS, &labels, count.count);
        }
        // Last, since this is the family that a large policy overruns the bound with.
        for count in metrics.rules() {
            let id = u16::try_from(count.rule).ok().map(RuleId::new);
            let Some((name, enforce)) = rules.get(count.rule).zip(id.and_then(|id| engine.enforce(id))) else {
                continue;
            };
            if can_say(enforce, count.outcome) {
                let labels = [name, route(count.route), count.outcome.as_str()];
                readings.whole(&catalogue::DECISIONS, &labels, count.count);
            }
        }
    }
}

/// Counts of memory fit 64 bits on every machine there is.
fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::net::Ipv4Addr;

    use http::{HeaderMap, HeaderValue, Method};
    use sluicegate::policy::Policy;
    use sluicegate::{ManualClock, Request, Secret};

    use super::*;
    use crate::SERIES_MAX;
    use crate::scrape::Exposition;

    fn limiter(policy: &str) -> (Arc<Limiter>, Exposition) {
        let (policy, _) = Policy::parse("test", policy).expect("no faults");
        let limiter = Limiter::new(&policy, &Secret::from_bytes([7; 32]), Arc::new(ManualClock::default()));
        let limiter = Arc::new(limiter.expect("a small table"));
        let source = LimiterSource::new(Arc::clone(&limiter));
        (limiter, Exposition::new(vec![Arc::new(source)]))
    }

    fn scrape(exposition: &Exposition) -> String {
        exposition.text().expect("every reading fits its family")
    }

    #[track_caller]
    fn assert_has(text: &str, line: &str) {
        assert!(text.lines().any(|found| found == line), "no {line:?} in:\n{text}");
    }

    const POLICY: &str = r#"
version: 1
routes:
  - {name: search, path: "/search/{*rest}"}
rules:
  - {name: per-client, key: ip, limit: 2/s}
  - {name: tried, key: header.x-api-key, routes: [search], limit: 1/s, enforce: 0%, on_missing_key: shared}
"#;

    #[test]
    fn each_request_is_counted_once_and_each_rule_by_itself() {
        let (limiter, exposition) = limiter(POLICY);
        for _ in 0..3 {
            let headers = HeaderMap::new();
            let peer = Some(Ipv4Addr::new(192, 0, 2, 1).into());
            let request = Request {
                method: &Method::GET,
                host: "a",
                path: "/search/x",
                query: "",
                peer,
                headers: &headers,
            };
            let _ = limiter.decide(&request);
        }
        let text = scrape(&exposition);
        for line in [
            r#"sluicegate_requests_total{route="search",outcome="allow"} 2"#,
            r#"sluicegate_requests_total{route="search",outcome="deny"} 1"#,
            r#"sluicegate_requests_total{route="",outcome="allow"} 0"#,
            r#"sluicegate_decisions_total{rule="per-client",route="search",outcome="allow"} 2"#,
            r#"sluicegate_decisions_total{rule="per-client",route="search",outcome="deny"} 1"#,
            r#"sluicegate_decisions_total{rule="tried",route="search",outcome="shadow_allow"} 1"#,
        ] {
            assert_has(&text, line);
        }
        assert!(
            !text.contains(r#"rule="per-client",route="search",outcome="shadow"#),
            "it has no shadow:\n{text}"
        );
        assert!(
            !text.contains(r#"rule="tried",route="search",outcome="deny"#),
            "it refuses nobody:\n{text}"
        );
    }

    /// Metrics cardinality explosion: whoever sends what, the series stay the same, and nothing sent is among them.
    #[test]
    fn traffic_adds_no_series_and_leaves_no_trace_of_itself() {
        let (limiter, exposition) = limiter(POLICY);
        let before = scrape(&exposition);
        for n in 0..20_000_u32 {
            let canary = format!("canary-{n}");
            let path = format!("/{}/{canary}", if n % 2 == 0 { "search" } else { "other" });
            let headers = HeaderMap::from_iter([(
                "x-api-key".parse().expect("a name"),
                HeaderValue::from_str(&canary).expect("a value"),
            )]);
            let peer = Some(Ipv4Addr::from_bits(0xC633_0000 + n).into());
            let _ = limiter.decide(&Request {
                method: &Method::GET,
                host: &canary,
                path: &path,
                query: "",
                peer,
                headers: &headers,
            });
        }
        let after = scrape(&exposition);
        assert_eq!(before.lines().count(), after.lines().count());
        for trace in ["canary", "198.51."] {
            assert!(!after.contains(trace), "{trace} in:\n{after}");
        }
    }

    #[test]
    fn a_huge_policy_stays_within_the_bound_and_keeps_all_but_its_largest_family() {
        let mut policy = String::from("version: 1\nroutes:\n");
        for n in 0..1000 {
            writeln!(
                policy,
                "  - {{name: route-with-quite-a-long-name-{n:04}, path: \"/{n}\"}}"
            )
            .expect("a string");
        }
        policy.push_str("rules:\n");
        for n in 0..10 {
            writeln!(policy, "  - {{name: rule-{n}, key: ip, limit: 1/s}}").expect("a string");
        }
        let text = scrape(&limiter(&policy).1);
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(
            series <= SERIES_MAX + 1,
            "{series} series, the count of those left out among them"
        );
        assert!(text.len() < 1 << 20, "{} bytes", text.len());
        assert_has(&text, r#"sluicegate_rule_cells_owned{rule="rule-9"} 0"#);
        assert!(!text.contains("sluicegate_series_omitted 0\n"));
    }
}
