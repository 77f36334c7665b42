//! What the demo showed: who asked, passed and was refused, and whether the gateway kept its word.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use sluicegate_core::Limit;

use super::cast::{Client, Promise};
use super::table::{self, Row};
use super::tally::Counts;
use super::upstream::Received;
use crate::allowance::most_within;
use crate::exit::Exit;

/// The demo's end, for people by [`Summary::text`] and for programs as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Whether every verdict is good.
    pub(crate) ok: bool,
    seconds: f64,
    /// What each client's address may pass.
    limit: String,
    clients: Vec<ClientSummary>,
    #[serde(skip)]
    rows: Vec<Row>,
    /// Requests of these clients that reached the upstream, by its own count.
    upstream_received: u64,
    /// Requests of anybody else that did.
    upstream_received_from_others: u64,
    /// Requests that these clients count as passed.
    passed: u64,
    /// Whether both ends counted the same.
    conserved: bool,
}

#[derive(Debug, Serialize)]
struct ClientSummary {
    name: &'static str,
    address: String,
    does: &'static str,
    asked: u64,
    passed: u64,
    refused: u64,
    errors: u64,
    seconds: f64,
    /// Burst plus rate times `seconds`, rounded down.
    limit_allows: u64,
    ok: bool,
    verdict: String,
}

impl Summary {
    /// Judges what each of the cast counted. `length` is how long the demo ran.
    pub(crate) fn new(
        played: &[(&'static Client, Counts)],
        limit: &Limit,
        received: Received,
        length: Duration,
    ) -> Self {
        let clients: Vec<_> = played
            .iter()
            .map(|(client, counts)| ClientSummary::new(client, counts, limit))
            .collect();
        let passed = clients.iter().map(|client| client.passed).sum();
        let lost: u64 = clients.iter().map(|client| client.errors).sum();
        // A request whose answer never came back may or may not have reached the upstream.
        let conserved = (passed..=passed + lost).contains(&received.cast);
        Self {
            ok: conserved && clients.iter().all(|client| client.ok),
            seconds: length.as_secs_f64(),
            limit: limit.to_string(),
            clients,
            rows: played
                .iter()
                .map(|(client, counts)| Row::new(client, counts, limit))
                .collect(),
            upstream_received: received.cast,
            upstream_received_from_others: received.others,
            passed,
            conserved,
        }
    }

    /// As lines, ending with the verdict.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "After {:.1} s, each address limited to {}:\n",
            self.seconds, self.limit
        );
        for line in table::lines(&self.rows) {
            let _ = writeln!(text, "{line}");
        }
        text.push('\n');
        for client in &self.clients {
            let _ = writeln!(text, "  {} {}: {}", mark(client.ok), client.name, client.verdict);
        }
        let (conserved, received) = (mark(self.conserved), self.upstream_received);
        let _ = writeln!(
            text,
            "  {conserved} upstream: received {received}, clients passed {}",
            self.passed
        );
        if self.upstream_received_from_others > 0 {
            let _ = writeln!(
                text,
                "       and {} that others sent",
                self.upstream_received_from_others
            );
        }
        let verdict = if self.ok {
            "Every limit was held."
        } else {
            "A limit was NOT held."
        };
        let _ = writeln!(text, "\n{verdict}");
        text
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.ok { Exit::Success } else { Exit::NotHeld }
    }
}

impl ClientSummary {
    fn new(client: &Client, counts: &Counts, limit: &Limit) -> Self {
        let limit_allows = most_within(limit, counts.span);
        let (ok, verdict) = judge(client.promise, counts, limit_allows, limit.burst().get());
        Self {
            name: client.name,
            address: client.address.to_string(),
            does: client.does,
            asked: counts.asked,
            passed: counts.passed,
            refused: counts.refused,
            errors: counts.errors,
            seconds: counts.span.as_secs_f64(),
            limit_allows,
            ok,
            verdict,
        }
    }
}

fn judge(promise: Promise, counts: &Counts, limit_allows: u64, burst: u64) -> (bool, String) {
    let Counts {
        asked,
        passed,
        refused,
        errors,
        ..
    } = *counts;
    if asked == 0 {
        return (false, "asked nothing".to_owned());
    }
    // One unit for rounding: the bucket counts in its own ticks, we in nanoseconds.
    let most = limit_allows.saturating_add(1);
    match promise {
        _ if passed > most => (false, format!("passed {passed}, but the limit allows {limit_allows}")),
        Promise::LosesNothing if passed == asked => (true, format!("lost nothing of {asked}")),
        Promise::LosesNothing => (
            false,
            format!(
                "lost {} of {asked} ({refused} refused, {errors} errors)",
                asked - passed
            ),
        ),
        // A gateway that refuses everything holds every limit; the burst is owed whatever the clock says.
        Promise::IsHeld if passed < burst.min(asked.saturating_sub(errors)) => {
            (false, format!("passed only {passed} of a burst of {burst}"))
        }
        Promise::IsHeld => (
            true,
            format!("passed {passed} of {asked}, the limit allows {limit_allows}"),
        ),
    }
}

const fn mark(ok: bool) -> &'static str {
    if ok { "ok  " } else { "FAIL" }
}

#[cfg(test)]
mod tests {
    use super::super::cast::{CAST, LIMIT};
    use super::*;

    fn counts(asked: u64, passed: u64, refused: u64, errors: u64) -> Counts {
        Counts {
            asked,
            passed,
            refused,
            errors,
            span: Duration::from_secs(10),
        }
    }

    /// Judges the three of the cast, over ten seconds in which the limit allows 240.
    fn summary(steady: Counts, abusive: Counts, upstream: u64) -> Summary {
        let limit: Limit = LIMIT.parse().expect("a limit");
        let played = [
            (&CAST[0], steady),
            (&CAST[1], counts(90, 90, 0, 0)),
            (&CAST[2], abusive),
        ];
        Summary::new(
            &played,
            &limit,
            Received {
                cast: upstream,
                others: 7,
            },
            Duration::from_secs(10),
        )
    }

    #[test]
    fn a_held_abuser_and_an_unharmed_steady_client_end_well() {
        let summary = summary(counts(100, 100, 0, 0), counts(15_000, 240, 14_760, 0), 430);
        assert!(summary.ok, "{}", summary.text());
        assert_eq!(summary.exit(), Exit::Success);
        assert!(summary.text().contains("Every limit was held"));
    }

    #[test]
    fn one_unit_beyond_the_rounding_is_not_held() {
        let steady = counts(100, 100, 0, 0);
        assert!(summary(steady, counts(15_000, 241, 14_759, 0), 431).ok);
        let summary = summary(steady, counts(15_000, 242, 14_758, 0), 432);
        assert_eq!(summary.exit(), Exit::NotHeld, "{}", summary.text());
    }

    #[test]
    fn a_steady_client_that_lost_one_request_is_not_unharmed() {
        for steady in [counts(100, 99, 1, 0), counts(100, 99, 0, 1)] {
            let summary = summary(steady, counts(15_000, 240, 14_760, 0), 429);
            assert!(
                !summary.ok && summary.text().contains("FAIL steady"),
                "{}",
                summary.text()
            );
        }
    }

    #[test]
    fn a_gateway_that_refuses_everything_has_not_kept_its_word() {
        assert!(!summary(counts(100, 100, 0, 0), counts(15_000, 39, 14_961, 0), 229).ok);
        assert!(
            !summary(counts(100, 100, 0, 0), counts(0, 0, 0, 0), 190).ok,
            "nobody played the abuser"
        );
    }

    #[test]
    fn what_the_upstream_received_agrees_with_what_passed() {
        let steady = counts(100, 100, 0, 0);
        assert!(
            !summary(steady, counts(15_000, 240, 14_760, 0), 431).ok,
            "one slipped past the counting"
        );
        assert!(
            !summary(steady, counts(15_000, 240, 14_760, 0), 429).ok,
            "one was answered by someone else"
        );
        assert!(
            summary(steady, counts(15_000, 240, 14_759, 1), 431).ok,
            "one answer was lost on its way back"
        );
    }

    #[test]
    fn the_answer_for_programs_has_the_same_verdicts() {
        let summary = summary(counts(100, 99, 1, 0), counts(15_000, 240, 14_760, 0), 429);
        let json = serde_json::to_value(&summary).expect("plain data");
        assert_eq!(json["ok"], false);
        assert_eq!(json["clients"][0]["ok"], false);
        assert_eq!(json["clients"][2]["limit_allows"], 240);
    }
}
