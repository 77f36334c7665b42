//! Proof of admission, and with it what the request holds until its response has ended.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use sluicegate_core::{Cost, RuleId, Timestamp};
use sluicegate_state::Takings;

use super::ending::{Fate, Known};
use super::engine::Engine;
use super::held::Held;
use super::shared::Shared;
use super::ticket::spend;
use crate::body::{Media, ResponseReader, Values};
use crate::route::RouteId;

/// Proof that a request was admitted. Only a limiter makes it, and whatever forwards a request asks for it, so that no
/// request passes by a path that forgot to decide.
///
/// It also holds what the request holds: permits, and charges that its response will put right. So it has to live as long as
/// the response's body does. A door tells it of the response in this order: [`Admitted::answered`] with the head,
/// [`Admitted::feed`] with each piece of the body if [`Admitted::reads_body`], [`Admitted::finish`] at the clean end.
/// Dropped before that, it releases its permits all the same, and what was reserved stays charged; a request that leaves while it
/// waits gives everything back.
#[derive(Debug)]
#[must_use]
pub struct Admitted {
    route: Option<RouteId>,
    generation: u32,
    open: Option<Open>,
}

/// What a request has open.
#[derive(Debug)]
struct Open {
    engine: Arc<Engine>,
    takings: Takings,
    /// When the request's wait is over; `None` for one that did not wait.
    departs_at: Option<Timestamp>,
    is_waiting: bool,
    status: Option<StatusCode>,
    reader: Option<ResponseReader>,
}

impl Admitted {
    pub(super) const fn new(route: Option<RouteId>, generation: u32) -> Self {
        Self {
            route,
            generation,
            open: None,
        }
    }

    /// With what the request has taken. `departs_at` is when its wait is over, if it waits: then it is counted as waiting already.
    pub(super) fn holding(
        route: Option<RouteId>,
        engine: &Arc<Engine>,
        takings: Takings,
        departs_at: Option<Timestamp>,
    ) -> Self {
        Self {
            route,
            generation: engine.generation(),
            open: Some(Open {
                engine: Arc::clone(engine),
                takings,
                departs_at,
                is_waiting: departs_at.is_some(),
                status: None,
                reader: None,
            }),
        }
    }

    /// The request's route; `None` if no route takes it in.
    pub const fn route(&self) -> Option<RouteId> {
        self.route
    }

    /// Which of the policies that were in force one after another admitted it, and has numbered its route.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether anything is open until the response has ended. If not, there is nothing to tell it, and dropping it does nothing.
    pub const fn holds(&self) -> bool {
        self.open.is_some()
    }

    /// The request's wait is over and it goes on. Without this call it counts among those that wait until it ends.
    pub fn depart(&mut self) {
        if let Some(open) = &mut self.open {
            open.depart();
        }
    }

    /// The response's head is here.
    pub fn answered(&mut self, head: &Parts) {
        if let Some(open) = &mut self.open {
            open.answered(self.route, head);
        }
    }

    /// Whether the response's body will say something that a rule waits for, so that whoever forwards the request should not ask for
    /// an encoding that hides it.
    pub fn reads_answers(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| !open.engine.on_route(self.route).response.is_empty())
    }

    /// Whether the response's body says something that a rule waits for.
    pub const fn reads_body(&self) -> bool {
        matches!(&self.open, Some(Open { reader: Some(_), .. }))
    }

    /// The next piece of the response's body. Allocates nothing.
    pub fn feed(&mut self, piece: &[u8]) {
        if let Some(Open {
            reader: Some(reader), ..
        }) = &mut self.open
        {
            reader.feed(piece);
        }
    }

    /// The response has come to its end.
    pub fn finish(mut self) {
        if let Some(open) = self.open.take() {
            open.end(self.route, Ending::Whole);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.end(self.route, Ending::CutOff);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Whole,
    CutOff,
}

impl Open {
    fn depart(&mut self) {
        if std::mem::take(&mut self.is_waiting) {
            self.engine.shared.wait_no_more();
        }
        self.departs_at = None;
        // It goes on, so this stays spent.
        spend(&mut self.takings);
    }

    fn answered(&mut self, route: Option<RouteId>, head: &Parts) {
        self.status = Some(head.status);
        let known = Known {
            status: head.status,
            headers: Some(&head.headers),
            members: None,
            is_whole: true,
        };
        if !self.settle_known(known) {
            return;
        }
        let pointers = &self.engine.on_route(route).response;
        match Media::of(&head.headers).and_then(|media| ResponseReader::new(media, pointers)) {
            Ok(reader) => self.reader = Some(reader),
            Err(_) if may_have_members(&head.headers) => {}
            // Of a type that has no members, none will come.
            Err(_) => {
                let members = Values::none(pointers);
                let pointers = pointers.clone();
                self.settle_known(Known {
                    members: Some((&pointers, &members)),
                    ..known
                });
            }
        }
    }

    /// Settles what can be settled by what is known; says whether something waits for the body.
    fn settle_known(&mut self, known: Known<'_>) -> bool {
        let engine = &self.engine;
        let is_known = |rule| !matches!(fate(engine, rule, known), None | Some(Fate::Wait));
        while let Some(held) = Held::take_of(&mut self.takings, is_known) {
            settle(engine, held, known);
        }
        // Whatever is left and no permit waits for the body.
        Held::rules(&self.takings).any(|rule| fate(engine, rule, known).is_some())
    }

    fn end(mut self, route: Option<RouteId>, ending: Ending) {
        let now = self.engine.shared.now();
        if std::mem::take(&mut self.is_waiting) {
            self.engine.shared.wait_no_more();
        }
        if self.departs_at.is_some_and(|departs_at| now < departs_at) {
            give_back(&self.engine.shared, &mut self.takings, now);
            return;
        }
        let pointers = &self.engine.on_route(route).response;
        // What a response broke off or hid before it said so is not taken for a no.
        let is_whole = ending == Ending::Whole && self.reader.as_ref().is_none_or(ResponseReader::is_whole);
        let values = self.reader.take().map(ResponseReader::finish);
        let known = self.status.map(|status| Known {
            status,
            headers: None,
            members: values.as_ref().map(|values| (pointers, values)),
            is_whole,
        });
        while let Some(held) = Held::take(&mut self.takings) {
            match known {
                Some(known) => settle(&self.engine, held, known),
                // Nobody knows what it came to.
                None => held.keep(&self.engine.shared),
            }
        }
    }
}

/// Whether a body that we cannot read may have members all the same: under an encoding, in another charset, or of a type that only
/// nearly is one that has them.
fn may_have_members(headers: &HeaderMap) -> bool {
    let names_one = |value: &HeaderValue| {
        let text = value.as_bytes().to_ascii_lowercase();
        [&b"json"[..], b"event-stream"]
            .iter()
            .any(|kind| text.windows(kind.len()).any(|part| part == *kind))
    };
    headers.contains_key(CONTENT_ENCODING) || headers.get_all(CONTENT_TYPE).iter().any(names_one)
}

/// Gives back all that a request has taken, as if it had never come.
pub(super) fn give_back(shared: &Shared, takings: &mut Takings, now: Timestamp) {
    while let Some(held) = Held::take(takings) {
        held.give_back(shared);
    }
    for holding in takings.take_queued() {
        shared.table.give_back(holding, now);
    }
    for holding in takings.take_lent() {
        shared.give_back_lent(&holding);
    }
}

/// Gives back what a refused request has taken, but for what its rules charge those too.
pub(super) fn give_back_but_penalties(engine: &Engine, takings: &mut Takings) {
    while let Some(held) = Held::take_penalty(takings) {
        held.keep(&engine.shared);
    }
    for holding in takings.take_queued() {
        if !holding.is_penalty() {
            engine.shared.table.give_back(holding, engine.shared.now());
        }
    }
    for holding in takings.take_lent() {
        if !holding.is_penalty() {
            engine.shared.give_back_lent(&holding);
        }
    }
    give_back(&engine.shared, takings, engine.shared.now());
}

/// What becomes of what is held; `None` for a permit, which goes by the end alone.
fn fate(engine: &Engine, rule: RuleId, known: Known<'_>) -> Option<Fate> {
    let ending = engine.rules.get(rule.index())?.ending.as_ref()?;
    Some(ending.fate(known))
}

fn settle(engine: &Engine, held: Held, known: Known<'_>) {
    let shared = &engine.shared;
    match fate(engine, held.rule(), known) {
        None => held.settle(shared, Cost::ZERO),
        Some(Fate::Actual(actual)) => {
            // Who cuts a response off before its last word must not get off with the first.
            let least = if known.is_whole { Cost::ZERO } else { held.cost() };
            held.settle(shared, actual.max(least));
        }
        Some(Fate::Clear) => held.clear(shared),
        Some(Fate::Keep | Fate::Wait) => held.keep(shared),
    }
}
