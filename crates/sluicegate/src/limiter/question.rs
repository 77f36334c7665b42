//! The second phase: rules that are counted by what a request's body says.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::{Report, Timestamp};
use sluicegate_state::Takings;
use sluicegate_state::leases::Patience;

use super::admitted::{give_back, give_back_but_penalties};
use super::attributes::{Attributes, Kept};
use super::engine::{Charges, Engine, SharedCharges};
use super::outcome::{Decision, Outcome};
use super::phase::Phase;
use super::ticket::{Then, Ticket, spend};
use crate::body::{BodyReader, Media, ReadFault, Values};
use crate::metrics::RequestOutcome;
use crate::request::Request;
use crate::route::RouteId;

/// A request whose head passed, and whose body has to be read before it is decided.
///
/// The rules that need no body were asked first and have taken their charges, so that a client they refuse cannot make
/// anyone read a body. A door feeds this every piece of the body, at most [`BodyQuestion::bytes_max`] bytes, and then asks for the
/// decision. Dropped before, it gives back everything.
#[derive(Debug)]
#[must_use]
pub struct BodyQuestion {
    pub(super) engine: Arc<Engine>,
    pub(super) route: Option<RouteId>,
    kept: Kept,
    /// What the body says it is.
    media: Result<Media, ReadFault>,
    /// `None` until the first piece comes.
    reader: Option<BodyReader>,
    /// What the head's rules have taken, all of it to be given back if the body's refuse.
    pub(super) takings: Takings,
    /// When they let the request go on; `None` if none of them makes it wait.
    departs_at: Option<Timestamp>,
    /// Where they stand.
    pub(super) report: Report,
}

impl BodyQuestion {
    pub(super) fn new(
        engine: &Arc<Engine>,
        route: Option<RouteId>,
        request: &Request<'_>,
        attributes: &Attributes<'_>,
        (takings, delay, report): (Takings, Duration, Report),
    ) -> Self {
        let body_rules = &engine.on_route(route).body;
        Self {
            engine: Arc::clone(engine),
            route,
            kept: Kept::new(attributes, engine.headers_of(body_rules)),
            media: Media::of(request.headers),
            reader: None,
            takings,
            departs_at: (!delay.is_zero()).then(|| engine.shared.now().saturating_add(delay)),
            report,
        }
    }

    /// The head's rules let the request go on so much later, counted from now.
    pub(super) fn hold_up(&mut self, delay: Duration) {
        if !delay.is_zero() {
            let departs_at = self.engine.shared.now().saturating_add(delay);
            self.departs_at = self.departs_at.max(Some(departs_at));
        }
    }

    /// Most bytes that will be read; a longer body is refused.
    pub fn bytes_max(&self) -> usize {
        self.engine.resolver.identity.body_bytes
    }

    /// Whether no rule that asks is enforced. A door then refuses nobody for a body that cannot be read, and reads none that is longer than
    /// [`BodyQuestion::bytes_max`], or does not say how long it is: it asks for the decision by [`BodyQuestion::finish_unread`].
    pub fn is_advisory(&self) -> bool {
        self.engine.on_route(self.route).is_body_advisory
    }

    /// The next piece of the body.
    ///
    /// # Errors
    ///
    /// Why the body cannot be read, as early as it shows; a door answers with [`ReadFault::status`].
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), ReadFault> {
        if piece.is_empty() {
            return Ok(());
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                let pointers = &self.engine.on_route(self.route).request;
                let bytes_max = self.engine.resolver.identity.body_bytes as u64;
                none.insert(BodyReader::new(self.media?, pointers, bytes_max)?)
            }
        };
        reader.feed(piece)
    }

    /// The body cannot be read, and the door says so: counts the request as refused, and gives back all but what rules charge a
    /// refused request.
    pub fn refused(mut self) {
        self.keep_penalties();
        self.engine
            .metrics
            .count(self.route, RequestOutcome::Deny, self.report.states());
    }

    /// The body is over: decides, or asks the store; never needs the body again. A request without a body has none of the attributes that are looked for in it.
    ///
    /// # Errors
    ///
    /// Why the body cannot be read. The request is then counted as refused, and everything given back.
    pub fn finish(mut self) -> Result<Outcome, ReadFault> {
        let values = match self.reader.take().map(BodyReader::finish) {
            None => Values::none(&self.engine.on_route(self.route).request),
            Some(Ok(values)) => values,
            Some(Err(fault)) => {
                self.refused();
                return Err(fault);
            }
        };
        Ok(self.decide(&values))
    }

    /// As [`BodyQuestion::finish`] for a question that [is advisory](Self::is_advisory): a body that cannot be read has none of the members.
    pub fn finish_advisory(mut self) -> Outcome {
        match self.reader.take().map(BodyReader::finish) {
            Some(Ok(values)) => self.decide(&values),
            None | Some(Err(_)) => self.finish_unread(),
        }
    }

    /// Decides as for a request without a body: for whoever cannot read it, and may refuse nobody for that.
    pub fn finish_unread(mut self) -> Outcome {
        self.reader = None;
        let values = Values::none(&self.engine.on_route(self.route).request);
        self.decide(&values)
    }

    fn decide(mut self, values: &Values) -> Outcome {
        let engine = Arc::clone(&self.engine);
        let on_route = engine.on_route(self.route);
        let body = Some((&on_route.request, values));
        let attributes = self.kept.attributes(&engine, on_route, body);
        let mut charges = Charges::new();
        let mut together = SharedCharges::new();
        let charged = engine.charge(&on_route.body.alone, &attributes, &mut charges);
        if let Err(refused) = charged.and_then(|()| engine.charge_shared(&on_route.body, &attributes, &mut together)) {
            self.keep_penalties();
            return Outcome::Decided(engine.deny_without_charge(self.route, &refused));
        }
        let mut report = std::mem::take(&mut self.report);
        // A request that leaves while it waits for the head's rules gets back what the body's took, too.
        let mut takings = match self.departs_at {
            Some(_) => Takings::tentative(),
            None => Takings::new(),
        };
        match engine.take(&charges, &together, Patience::Waits, &mut report, &mut takings) {
            Phase::Passed { delay } => Outcome::Decided(self.pass(takings, delay, report)),
            Phase::Refused => {
                self.keep_penalties();
                Outcome::Decided(engine.deny(self.route, report))
            }
            Phase::Waits(waits) => {
                let route = self.route;
                let then = Then::AfterBody(Box::new(self), takings);
                Outcome::Pending(Ticket::new(&engine, route, waits, report, then))
            }
        }
    }

    /// All rules have agreed: lets the request pass with what both phases took, `takings` and `delay` being the second's.
    pub(super) fn pass(mut self, mut takings: Takings, delay: Duration, report: Report) -> Decision {
        // The time that the body took counts as waited.
        let left = self.departs_at.map(|at| at.saturating_since(self.engine.shared.now()));
        let delay = delay.max(left.unwrap_or_default());
        takings.join(&mut std::mem::take(&mut self.takings));
        if delay.is_zero() {
            spend(&mut takings);
        }
        Arc::clone(&self.engine).admit(self.route, takings, delay, report)
    }

    /// Spends for good what the head's rules charge a refused request; the rest is given back.
    pub(super) fn keep_penalties(&mut self) {
        give_back_but_penalties(&self.engine, &mut self.takings);
    }
}

impl Drop for BodyQuestion {
    fn drop(&mut self) {
        if !self.takings.is_empty() {
            let shared = &self.engine.shared;
            give_back(shared, &mut self.takings, shared.now());
        }
    }
}
