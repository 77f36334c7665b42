//! What a response has to do with what its request holds.

use http::{HeaderMap, HeaderName, StatusCode};
use sluicegate_core::Cost;

use crate::body::{Pointer, Pointers, Value, Values, cost_of};
use crate::policy::checked::{Count, FailedWhen, OnSuccess, Rule, SettleSource};

/// How a rule puts right what it charged. `None` of both: nothing.
#[derive(Debug)]
pub(super) struct Ending {
    settle: Option<SettleSource>,
    failures: Option<(FailedWhen, OnSuccess)>,
}

/// What is known of a response.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) status: StatusCode,
    /// Its head's, or `None` where that has gone on.
    pub(super) headers: Option<&'a HeaderMap>,
    /// Its body's members; `None` while it is on its way, and of a body that cannot be read.
    pub(super) members: Option<(&'a Pointers, &'a Values)>,
    /// Whether a member that is not there will not come any more.
    pub(super) is_whole: bool,
}

/// What becomes of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It turns out to have been so much.
    Actual(Cost),
    /// It stays as it was reserved.
    Keep,
    /// What the key was charged before is forgotten with it.
    Clear,
    /// The response's body has to tell. Of a response that is over: nobody will, so it stays as it was reserved.
    Wait,
}

impl Ending {
    /// `None` for a rule that puts nothing right.
    pub(super) fn new(rule: &Rule) -> Option<Self> {
        let failures = match &rule.count {
            Count::Requests => None,
            Count::Failures(failures) => Some((failures.failed_when.clone(), failures.on_success)),
        };
        let settle = rule.cost.settle.clone();
        (settle.is_some() || failures.is_some()).then_some(Self { settle, failures })
    }

    /// What a success gives back; `None` of a rule that counts every request.
    pub(super) fn on_success(&self) -> Option<OnSuccess> {
        self.failures.as_ref().map(|(_, on_success)| *on_success)
    }

    /// What becomes of the reservation, by what is known now.
    pub(super) fn fate(&self, known: Known<'_>) -> Fate {
        if let Some((when, on_success)) = &self.failures {
            match failed(when, known) {
                // It counts, for what it cost.
                Some(true) => {}
                Some(false) => {
                    // What is 400 or above and no failure of the client's says nothing of who it is.
                    let is_success = known.status.as_u16() < 400;
                    return match on_success {
                        OnSuccess::Clear if is_success => Fate::Clear,
                        OnSuccess::Clear | OnSuccess::Return => Fate::Actual(Cost::ZERO),
                    };
                }
                None => return Fate::Wait,
            }
        }
        let claimed = match &self.settle {
            None | Some(SettleSource::Program) => return Fate::Keep,
            Some(SettleSource::Header(name)) => match known.headers {
                Some(headers) => header_cost(headers, name),
                None => None,
            },
            Some(SettleSource::Body(pointer)) => match known.members {
                Some(members) => member(members, pointer).and_then(|value| cost_of(value).ok()),
                None => return Fate::Wait,
            },
        };
        claimed.map_or(Fate::Keep, Fate::Actual)
    }
}

/// Whether the request failed; `None` while its body has to tell.
fn failed(when: &FailedWhen, known: Known<'_>) -> Option<bool> {
    // A server's own failure says nothing of the client.
    if known.status.is_server_error() {
        return Some(false);
    }
    if when.statuses.contains(&known.status.as_u16()) {
        return Some(true);
    }
    if let Some(headers) = known.headers
        && when.headers.iter().any(|name| headers.contains_key(name))
    {
        return Some(true);
    }
    if when.members.is_empty() {
        return Some(false);
    }
    let members = known.members?;
    let said = |pointer| !matches!(member(members, pointer), None | Some(Value::Null | Value::Bool(false)));
    if when.members.iter().any(said) {
        return Some(true);
    }
    // What was cut off before it said so is not taken for a no.
    known.is_whole.then_some(false)
}

fn member<'v>((pointers, values): (&Pointers, &'v Values), pointer: &Pointer) -> Option<Value<'v>> {
    values.get(pointers.iter().position(|other| other == pointer)?)
}

/// The cost that one header line says.
fn header_cost(headers: &HeaderMap, name: &HeaderName) -> Option<Cost> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(value), None) => Cost::parse(value.as_bytes().trim_ascii()).ok(),
        _ => None,
    }
}
