//! A decision that is still under way: the store has been asked for what it alone can say.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sluicegate_core::{Report, RuleId};
use sluicegate_state::Takings;
use sluicegate_state::leases::{SharedHolding, SharedHoldings, Waited};

use super::admitted::{give_back, give_back_but_penalties};
use super::engine::Engine;
use super::outcome::Outcome;
use super::phase::{Waits, report_refused};
use super::question::BodyQuestion;
use crate::route::RouteId;

/// A decision that is still under way; await it. It ends within a few milliseconds, by the store's answer or without it; and never
/// with another ticket, but where the body's rules have to ask after the head's.
///
/// Needs no runtime of its own. Dropping it withdraws the request and gives back what it took.
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    open: Option<Box<Open>>,
}

#[derive(Debug)]
struct Open {
    engine: Arc<Engine>,
    route: Option<RouteId>,
    waits: Waits,
    report: Report,
    then: Then,
}

/// What comes after the store's answer.
#[derive(Debug)]
pub(super) enum Then {
    /// The request passes, with what it has taken for the time being.
    Admit(Takings),
    /// Its body is asked for.
    AskBody(Box<BodyQuestion>),
    /// Its body was read: the question has what the head's rules took, and this is what the body's took for the time being.
    AfterBody(Box<BodyQuestion>, Takings),
}

impl Ticket {
    pub(super) fn new(engine: &Arc<Engine>, route: Option<RouteId>, waits: Waits, report: Report, then: Then) -> Self {
        Self {
            open: Some(Box::new(Open {
                engine: Arc::clone(engine),
                route,
                waits,
                report,
                then,
            })),
        }
    }
}

impl Future for Ticket {
    type Output = Outcome;

    /// # Panics
    ///
    /// If it is polled after it has ended, as futures may.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let open = self.open.as_mut().expect("a future is not polled after its end");
        let waited = ready!(Pin::new(&mut *open.waits.waiting).poll(cx));
        let open = self.open.take().expect("it was there a line above");
        Poll::Ready(match waited {
            Waited::All(holdings) => open.pass(*holdings),
            Waited::Nothing { refused } => open.refuse(&refused),
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // What the store was asked for is withdrawn by what waits for it, and a question gives back its own.
        if let Some(open) = self.open.take()
            && let Then::Admit(mut takings) | Then::AfterBody(_, mut takings) = open.then
        {
            let shared = &open.engine.shared;
            give_back(shared, &mut takings, shared.now());
        }
    }
}

impl Open {
    fn pass(self, holdings: SharedHoldings) -> Outcome {
        let Self {
            engine,
            route,
            waits,
            mut report,
            then,
        } = self;
        engine.report_asked(&waits.asked, &mut report);
        match then {
            Then::Admit(mut takings) => {
                let delay = engine.lend(holdings, waits.delay, &mut takings);
                if delay.is_zero() {
                    spend(&mut takings);
                }
                Outcome::Decided(engine.admit(route, takings, delay, report))
            }
            Then::AskBody(mut question) => {
                let delay = engine.lend(holdings, waits.delay, &mut question.takings);
                question.hold_up(delay);
                question.report = report;
                Outcome::NeedsBody(question)
            }
            Then::AfterBody(question, mut takings) => {
                let delay = engine.lend(holdings, waits.delay, &mut takings);
                Outcome::Decided(question.pass(takings, delay, report))
            }
        }
    }

    fn refuse(self, refused: &[(RuleId, f64)]) -> Outcome {
        let Self {
            engine,
            route,
            waits,
            mut report,
            then,
        } = self;
        match then {
            Then::Admit(mut takings) => give_back_but_penalties(&engine, &mut takings),
            Then::AskBody(mut question) => question.keep_penalties(),
            Then::AfterBody(mut question, mut takings) => {
                give_back_but_penalties(&engine, &mut takings);
                question.keep_penalties();
            }
        }
        engine.report_asked(&waits.asked, &mut report);
        report_refused(refused, &mut report);
        Outcome::Decided(engine.deny(route, report))
    }
}

impl Engine {
    /// Adds what the store has granted to what the request has taken. Tells how long it has to wait for its turn, by all of that and by
    /// what it has to wait for already.
    pub(super) fn lend(&self, holdings: SharedHoldings, delay: Duration, takings: &mut Takings) -> Duration {
        let now = self.shared.now();
        let departs_at = holdings.iter().filter_map(SharedHolding::departs_at).max();
        let delay = departs_at.map_or(delay, |at| at.saturating_since(now).max(delay));
        for mut holding in holdings {
            if let Some(leases) = self.shared.leases.as_ref().filter(|_| !delay.is_zero()) {
                leases.hold_up(&mut holding, now.saturating_add(delay));
            }
            takings.lend(holding);
        }
        delay
    }
}

/// What was taken for the time being is taken for good, now that all have agreed.
pub(super) fn spend(takings: &mut Takings) {
    drop(takings.take_queued());
    drop(takings.take_lent());
}
