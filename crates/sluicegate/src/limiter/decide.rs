//! Deciding one request: its charges, all of them or none.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::algorithm::Answer;
use sluicegate_core::{Mode, Reason, Report, Retry, RuleState};
use sluicegate_identity::Caller;
use sluicegate_state::Takings;
use sluicegate_state::leases::Patience;

use super::admitted::{Admitted, give_back};
use super::attributes::Attributes;
use super::engine::{Charges, Engine, NoCharge, SharedCharges};
use super::outcome::{Decision, Outcome};
use super::phase::Phase;
use super::question::BodyQuestion;
use super::ticket::{Then, Ticket};
use crate::metrics::RequestOutcome;
use crate::request::Request;
use crate::route::RouteId;

impl Engine {
    /// Finds the request's route and decides; one decision of many is timed.
    #[inline]
    pub(super) fn decide(self: &Arc<Self>, request: &Request<'_>, given: &Caller) -> Outcome {
        let route = self.told.routes.find(request.method, request.host, request.path);
        if !self.metrics.is_sampled(route) {
            return self.decide_on(route, request, given);
        }
        let start = self.shared.now();
        let outcome = self.decide_on(route, request, given);
        self.metrics.time(self.shared.now().saturating_since(start));
        outcome
    }

    /// Decides by the rules of a route; where some need the body, by the others first.
    fn decide_on(self: &Arc<Self>, route: Option<RouteId>, request: &Request<'_>, given: &Caller) -> Outcome {
        // What most requests come to, filled where it is handed out: it takes most of a kibibyte, and would be copied at each
        // step that handed it to the next.
        let mut outcome = Outcome::Decided(Decision::Allow {
            admitted: Admitted::new(route, self.generation()),
            report: Report::of_generation(self.generation()),
        });
        self.decide_into(&mut outcome, route, request, given);
        outcome
    }

    /// Makes of an allowance without rules what becomes of the request.
    #[inline]
    fn decide_into(
        self: &Arc<Self>,
        outcome: &mut Outcome,
        route: Option<RouteId>,
        request: &Request<'_>,
        given: &Caller,
    ) {
        let Outcome::Decided(Decision::Allow { admitted, report }) = outcome else {
            return;
        };
        let on_route = self.on_route(route);
        if self.resolver.is_ambiguous(request.headers) {
            // We would believe one of the two, and whoever serves the request perhaps the other.
            *outcome = Outcome::Decided(self.deny_without_charge(route, &NoCharge::Bad));
            return;
        }
        let attributes = Attributes::of(request, given, self, on_route);
        if let Some(entry) = self.allowed_by(&attributes) {
            report.allow_by(entry);
            self.metrics.count_allowed(route, entry);
            return;
        }
        let mut charges = Charges::new();
        let mut shared = SharedCharges::new();
        let charged = self.charge(&on_route.head.alone, &attributes, &mut charges);
        if let Err(refused) = charged.and_then(|()| self.charge_shared(&on_route.head, &attributes, &mut shared)) {
            *outcome = Outcome::Decided(self.deny_without_charge(route, &refused));
            return;
        }
        let needs_body = !on_route.body.is_empty();
        let mut takings = if needs_body {
            Takings::tentative()
        } else {
            Takings::new()
        };
        match self.take(&charges, &shared, Patience::Waits, report, &mut takings) {
            Phase::Passed { delay } if needs_body => {
                let taken = (takings, delay, mem::take(report));
                let question = BodyQuestion::new(self, route, request, &attributes, taken);
                *outcome = Outcome::NeedsBody(Box::new(question));
            }
            Phase::Passed { delay } if delay.is_zero() => self.pass(route, takings, admitted, report),
            Phase::Passed { delay } => {
                let report = mem::take(report);
                *outcome = Outcome::Decided(self.admit_later(route, takings, delay, report));
            }
            Phase::Refused => {
                let report = mem::take(report);
                *outcome = Outcome::Decided(self.deny(route, report));
            }
            Phase::Waits(waits) => {
                let report = mem::take(report);
                let then = if needs_body {
                    // It gets the report when the store has answered.
                    let taken = (takings, waits.delay, Report::of_generation(self.generation()));
                    Then::AskBody(Box::new(BodyQuestion::new(self, route, request, &attributes, taken)))
                } else {
                    Then::Admit(takings)
                };
                *outcome = Outcome::Pending(Ticket::new(self, route, waits, report, then));
            }
        }
    }

    /// Lets the request pass now, with what it holds.
    #[inline]
    fn pass(self: &Arc<Self>, route: Option<RouteId>, takings: Takings, admitted: &mut Admitted, report: &Report) {
        self.metrics.count(route, RequestOutcome::Allow, report.states());
        if !takings.is_empty() {
            *admitted = Admitted::holding(route, self, takings, None);
        }
    }

    /// Lets the request pass, now or after its wait.
    #[inline]
    pub(super) fn admit(
        self: &Arc<Self>,
        route: Option<RouteId>,
        takings: Takings,
        delay: Duration,
        report: Report,
    ) -> Decision {
        if delay.is_zero() {
            let mut admitted = Admitted::new(route, self.generation());
            self.pass(route, takings, &mut admitted, &report);
            return Decision::Allow { admitted, report };
        }
        self.admit_later(route, takings, delay, report)
    }

    #[cold]
    fn admit_later(
        self: &Arc<Self>,
        route: Option<RouteId>,
        mut takings: Takings,
        after: Duration,
        report: Report,
    ) -> Decision {
        let now = self.shared.now();
        if !self.shared.wait(self.waiting_max) {
            // Nobody may make us keep any number of requests.
            give_back(&self.shared, &mut takings, now);
            self.metrics.count(route, RequestOutcome::Deny, report.states());
            return Decision::Deny {
                reason: Reason::Limit,
                retry: Retry::After(after),
                report,
            };
        }
        self.metrics.count(route, RequestOutcome::Allow, report.states());
        Decision::Delay {
            admitted: Admitted::holding(route, self, takings, Some(now.saturating_add(after))),
            after,
            report,
        }
    }

    /// Refuses before anything is charged.
    #[cold]
    pub(super) fn deny_without_charge(&self, route: Option<RouteId>, refused: &NoCharge) -> Decision {
        let mut report = Report::of_generation(self.generation());
        let (reason, rule) = match refused {
            NoCharge::Missing(rule) => (Reason::MissingKey, Some(*rule)),
            // No limit is violated, and a client that obeys `r=0` would stop for nothing.
            NoCharge::Bad => (Reason::BadValue, None),
            NoCharge::Skip => (Reason::MissingKey, None),
        };
        if let Some(rule) = rule {
            let never = Answer {
                remaining: 0,
                reset_after: Duration::ZERO,
                retry: Some(Retry::Never),
                delay: Duration::ZERO,
            };
            report.push(RuleState::new(rule, Mode::Enforced, &never));
        }
        self.metrics.count(route, RequestOutcome::Deny, report.states());
        Decision::Deny {
            reason,
            retry: Retry::Never,
            report,
        }
    }

    /// The refusal that a report amounts to.
    pub(super) fn deny(&self, route: Option<RouteId>, report: Report) -> Decision {
        self.metrics.count(route, RequestOutcome::Deny, report.states());
        let waits = report
            .states()
            .iter()
            .filter(|state| state.refuses())
            .filter_map(RuleState::retry);
        let retry = waits.fold(Retry::After(Duration::ZERO), Retry::max);
        Decision::Deny {
            reason: Reason::Limit,
            retry,
            report,
        }
    }
}
