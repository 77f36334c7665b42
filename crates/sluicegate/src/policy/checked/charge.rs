//! What a request takes from a limit, which requests count, and what follows when the limit is used up.

use std::time::Duration;

use http::HeaderName;

use super::Pointer;
use crate::condition::Amount;

/// What a request takes from a limit, and where its true cost is read once that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostSpec {
    /// What is taken on the way in.
    pub reserve: CostSource,
    /// Units of a request that has no such attribute; 1 unless said. Without meaning for a fixed cost, whose number
    /// it then repeats.
    pub default: u64,
    /// A larger claim is cut down to so many units, at least 1; `None` takes every claim as it is, and refuses one
    /// above the burst. Without meaning for a fixed cost.
    pub max: Option<u64>,
    /// Where the response tells what the request cost in truth; `None` leaves it at what was reserved. A response
    /// that does not tell it is charged as reserved.
    pub settle: Option<SettleSource>,
}

impl CostSpec {
    /// A fixed cost, never put right.
    pub const fn fixed(units: u64) -> Self {
        Self {
            reserve: CostSource::Fixed(units),
            default: units,
            max: None,
            settle: None,
        }
    }
}

/// One unit for each request.
impl Default for CostSpec {
    fn default() -> Self {
        Self::fixed(1)
    }
}

/// Where a request's cost is read: whole units, in plain decimal digits. Anything else that stands there is an error
/// of the client's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CostSource {
    /// The same for every request. Zero only where the cost is put right later: it asks without charging.
    Fixed(u64),
    /// A header of the request.
    Header(HeaderName),
    /// A member of the request's body.
    Body(Pointer),
    /// By the class of the request.
    ByClass(ClassCosts),
    /// What an expression comes to.
    Amount(Amount),
}

/// What requests of each route cost, by the route itself or by its sensitivity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassCosts {
    /// What the file names the costs by.
    pub by: CostBy,
    /// For each route, in the policy's order; at least 1 each.
    pub of_routes: Vec<u64>,
    /// Of requests of no route; at least 1.
    pub of_none: u64,
}

impl ClassCosts {
    /// The highest of them.
    pub fn most(&self) -> u64 {
        self.of_routes.iter().copied().fold(self.of_none, u64::max)
    }
}

/// What costs are named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CostBy {
    /// Routes.
    Route,
    /// Classes of routes.
    Sensitivity,
}

impl CostBy {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Sensitivity => "sensitivity",
        }
    }
}

/// Who tells a request's true cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettleSource {
    /// A member of the response's body; in a stream of events, the last one that has it.
    Body(Pointer),
    /// A header of the response.
    Header(HeaderName),
    /// The program that reserved it tells; only in a rule for programs.
    Program,
}

/// Which requests count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Count {
    /// Every one.
    Requests,
    /// Those whose response says that they failed. Each is reserved on the way in, so that parallel guesses cannot
    /// beat the limit, and given back when it did not fail.
    Failures(Failures),
}

/// What a failure is, and what follows from a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    /// How a failure is told.
    pub failed_when: FailedWhen,
    /// What a success gives back.
    pub on_success: OnSuccess,
}

/// How a failure is told; any one of these is enough. At least one is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedWhen {
    /// Statuses of the response, 200 to 499: what is 500 or above is the server's failure, not the client's. 401 and
    /// 403 unless said.
    pub statuses: Vec<u16>,
    /// Members of the response's body: there, and neither `null` nor `false`.
    pub members: Vec<Pointer>,
    /// Headers of the response: there, whatever they say.
    pub headers: Vec<HeaderName>,
}

impl Default for FailedWhen {
    fn default() -> Self {
        Self {
            statuses: vec![401, 403],
            members: Vec::new(),
            headers: Vec::new(),
        }
    }
}

/// What a success gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSuccess {
    /// What it had reserved itself.
    Return,
    /// Everything: the key's earlier failures are forgotten. For accounts, whose owner has now come; never for what
    /// many share, since one good account would then wash an attacker's address clean.
    Clear,
}

/// One thing that happens when a limit is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The key is refused for so long, from the unit that used the limit up; attempts meanwhile do not lengthen it.
    Lock(Duration),
}
