//! The limiter: a policy, made ready to decide, and replaced without a pause.
//!
//! ```text
//!  Limiter ── engine: one policy made ready ──────────► decide ──► take ──► Decision, with Admitted
//!     │          attributes ──► keys, costs ──► charges     └────► BodyQuestion ──► the second phase
//!     └─ shared: table, clock, secret; what outlives a policy
//!  Admitted ── ending: what the response settles
//! ```

mod admitted;
mod alarm;
mod asked;
mod attempt;
mod attributes;
mod batch;
mod builder;
mod check;
mod cleaner;
mod costs;
mod decide;
mod ending;
mod engine;
mod facts;
mod grant;
mod held;
mod key;
mod keys;
mod local;
mod outcome;
mod permit;
mod phase;
mod question;
mod registry;
mod reserve;
mod shared;
mod snapshot;
mod specs;
mod ticket;
mod together;
mod told;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, Method};
use sluicegate_core::{RULES_MAX, Report, Retry, Secret};
use sluicegate_identity::Caller;
use sluicegate_state::leases::{Leases, SharingStatus, StoreStanding};
use sluicegate_state::{AnyClock, BUCKETS_MAX, Clock as _, HOLDS_MAX, Memory, Table, TableError};

use crate::address;
use crate::body::TooManyPointers;
use crate::path::{self, PathFault};
use crate::policy::checked::Policy;
use crate::request::Request;
use crate::route::{PathConflict, RouteId};
use crate::secret;
use crate::told::{Announcement, Refusal, Refused, Wire};
pub(crate) use shared::Shared;
use told::Recent;

pub use admitted::Admitted;
pub use asked::{AskError, AskedRule, RuleHandle};
pub use attempt::Attempt;
pub use builder::{BuildError, Builder, Rule, RuleFaults};
pub use check::Check;
pub use cleaner::Cleaner;
pub use engine::Engine;
pub use grant::Grant;
pub use key::{Key, KeyParts};
pub use local::LocalLimiter;
pub use outcome::{Decision, Outcome};
pub use permit::Permit;
pub use question::BodyQuestion;
pub use registry::{OPEN_MAX, ReservationId, Settled};
pub use reserve::{DEADLINE_DEFAULT, Reservation, Reserve};
pub use snapshot::{Change, Restored};
pub use ticket::Ticket;

/// Decides, for every request, whether it keeps to the policy's limits.
///
/// Made once and shared by all threads (`Arc<Limiter>`). Deciding never waits, never allocates, and never fails: what
/// can be wrong with a policy was found when it was read.
#[derive(Debug)]
pub struct Limiter {
    pub(crate) shared: Arc<Shared>,
    engine: ArcSwap<Engine>,
    /// The number of the engine in force, for whoever has kept one.
    in_force: AtomicU64,
    recent: ArcSwap<Recent>,
    /// One policy at a time is put in force.
    replacing: Mutex<()>,
}

/// Why a policy cannot be put to work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LimiterError {
    /// The table cannot be made.
    #[error("the table of cells cannot be made")]
    Table(#[from] TableError),
    /// Two routes that one routing table cannot hold.
    #[error("the routes contradict each other")]
    Routes(#[from] PathConflict),
    /// More rules than a table has buckets for.
    #[error("the policy has {rules} rules, and {BUCKETS_MAX} is the most")]
    TooManyRules {
        /// How many it has.
        rules: usize,
    },
    /// More rules apply to one request than a decision has room for.
    #[error("{rules} rules apply to one request, and {RULES_MAX} is the most")]
    TooManyAtOnce {
        /// How many apply.
        rules: usize,
    },
    /// More rules hold something of one request than there is room for.
    #[error("{rules} rules hold something of one request until its end, and {HOLDS_MAX} is the most")]
    TooManyHeld {
        /// How many do.
        rules: usize,
    },
    /// More members of one body are looked for than a reader can.
    #[error("too much is looked for in one body")]
    TooManyMembers(#[from] TooManyPointers),
}

impl Limiter {
    /// Puts a policy to work. `clock` is a [`sluicegate_state::SystemClock`], or a manual one in tests.
    ///
    /// # Errors
    ///
    /// If the memory for the table cannot be had, or the policy was not made by [`Policy::parse`] and has too many
    /// rules.
    pub fn new(policy: &Policy, secret: &Secret, clock: impl Into<AnyClock>) -> Result<Self, LimiterError> {
        let split = policy.state.divide(&policy.rules);
        let memory = Memory {
            small: split.small,
            wide: split.wide,
            logs: split.logs,
        };
        let clock = clock.into();
        let leases = policy.state.share.is_some().then(|| {
            let (key, seed) = (secret::store_key(secret), secret::node_number());
            Arc::new(Leases::new(split.leases, key, clock.clone(), seed))
        });
        let shared = Arc::new(Shared::new(Table::new(memory)?, leases, clock, secret));
        let engine = Arc::new(Engine::new(policy, Arc::clone(&shared), 1)?);
        let mut recent = Recent::default();
        recent.add(Arc::clone(&engine.told));
        Ok(Self {
            shared,
            in_force: AtomicU64::new(engine.number),
            engine: ArcSwap::new(engine),
            recent: ArcSwap::from_pointee(recent),
            replacing: Mutex::new(()),
        })
    }

    /// Puts another policy in force, between two decisions. What is unchanged of its limits keeps all state; where a limit has
    /// changed, what was used stays used: a lowered limit cuts the debt to its burst, a raised one does not refill. Rules that
    /// are gone are forgotten. `state.memory` stays as it was.
    ///
    /// Then takes over the state of changed rules, which takes 10 ns for each cell of the table, in the caller's thread and beside the
    /// traffic. One policy at a time: a second call waits for the first.
    ///
    /// # Errors
    ///
    /// As [`Limiter::new`]; the policy in force then stays so.
    pub fn replace(&self, policy: &Policy) -> Result<(), LimiterError> {
        self.replace_after(policy, |_generation| {})
    }

    /// As [`Limiter::replace`], and calls `publish` with the new policy's [generation](Admitted::generation) when nothing can go
    /// wrong any more and no request has been decided by it yet. A door makes ready there what requests of that generation will
    /// ask of it, such as the servers behind its routes.
    ///
    /// # Errors
    ///
    /// As [`Limiter::replace`]; `publish` is then not called.
    pub fn replace_after(&self, policy: &Policy, publish: impl FnOnce(u32)) -> Result<(), LimiterError> {
        // Whoever panicked while it held this has left the policy before in force.
        let _one_at_a_time = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let former = self.engine.load_full();
        let generation = former.generation().wrapping_add(1);
        let engine = Arc::new(Engine::after(policy, &former, generation)?);
        let mut recent = Recent::clone(&self.recent.load());
        recent.add(Arc::clone(&engine.told));
        publish(generation);
        // Before a decision can carry its number.
        self.recent.store(Arc::new(recent));
        let number = engine.number;
        self.engine.store(engine);
        // Release pairs with the acquire of whoever then looks for the engine of that number.
        self.in_force.store(number, Ordering::Release);
        drop(former);
        self.shared.table.sweep(self.shared.now());
        Ok(())
    }

    /// Decides one request by all rules that apply to it: it passes if all of them agree, and is charged to all of
    /// them or to none.
    ///
    /// One reading of the clock; no allocation, no lock but for a key's first request, no wait. Only a request that has to wait, or
    /// whose body has to be read, costs an allocation.
    ///
    /// Who calls is verified here, by the policy's `identity`: see [`Limiter::decide_as`] for a program that has done so itself.
    pub fn decide(&self, request: &Request<'_>) -> Outcome {
        self.decide_as(request, &Caller::default())
    }

    /// As [`Limiter::decide`], for a caller that the program has verified itself, by a session for instance. What `caller` leaves open,
    /// the policy's `identity` still finds in the request's headers.
    ///
    /// ```
    /// use http::{HeaderMap, Method};
    /// use sluicegate::policy::Policy;
    /// use sluicegate::{Caller, Decision, Limiter, Outcome, Request, SystemClock, VouchKind, Vouched, secret};
    ///
    /// let text = "version: 1\nrules:\n  - {name: per-client, key: client, limit: 1/s}\n";
    /// let (policy, _warnings) = Policy::parse("policy.yaml", text)?;
    /// let limiter = Limiter::new(&policy, &secret::generate()?, SystemClock::new())?;
    /// let request = Request {
    ///     method: &Method::GET,
    ///     host: "api.example",
    ///     path: "/",
    ///     query: "",
    ///     peer: Some([192, 0, 2, 1].into()),
    ///     headers: &HeaderMap::new(),
    /// };
    /// // Two users behind one address, each with a limit of its own.
    /// for name in ["alice", "bob"] {
    ///     let caller = Caller::from(Vouched::new(VouchKind::User, name));
    ///     let outcome = limiter.decide_as(&request, &caller);
    ///     assert!(matches!(outcome, Outcome::Decided(Decision::Allow { .. })));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decide_as(&self, request: &Request<'_>, caller: &Caller) -> Outcome {
        self.engine.load().decide(request, caller)
    }

    /// The policy in force, made ready. What is asked of it stays what it was when another takes its place.
    pub fn engine(&self) -> Arc<Engine> {
        self.engine.load_full()
    }

    /// Who sent a request: its peer or, where that is a trusted proxy, whom the proxy names. Not cut to a prefix.
    pub fn client_address(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        address::find(&self.engine.load().resolver.identity, peer, headers)
    }

    /// A request's path in the one form in which it is to be decided and forwarded, by the policy in force; see [`path::canonical`].
    /// Costs nothing but the look for a path that is in it, as nearly all are.
    ///
    /// # Errors
    ///
    /// If servers would read the path in different ways; the request is to be answered with 400, and to be charged to nobody.
    #[inline]
    pub fn canonical_path<'a>(&self, method: &Method, path: &'a str) -> Result<Cow<'a, str>, PathFault> {
        if path::is_plain(path) {
            return Ok(Cow::Borrowed(path));
        }
        path::canonical_target(method, path, self.engine.load().paths)
    }

    /// The time of day by the limiter's clock, since 1970: for what bears a date, such as a certificate.
    pub fn unix_now(&self) -> Duration {
        Duration::from_nanos(self.shared.clock.unix_now())
    }

    /// Who verifies tokens by the policy in force; `None` where it reads none. Whoever fetches the keys hands them over here; a change of
    /// the policy keeps the verifier as long as it says the same of tokens.
    #[cfg(feature = "jwt")]
    pub fn verifier(&self) -> Option<Arc<sluicegate_identity::jwt::Verifier>> {
        self.engine.load().resolver.verifier().cloned()
    }

    /// What the node remembers.
    pub fn table(&self) -> &Table {
        &self.shared.table
    }

    /// How sharing limits with other nodes goes; `None` where the policy shares none. Takes the lock of each of 256 stripes, one after
    /// another.
    pub fn sharing(&self) -> Option<SharingStatus> {
        Some(self.shared.leases.as_ref()?.status())
    }

    /// How the node stands with the store; `None` where the policy shares nothing. Takes no lock.
    pub fn store_standing(&self) -> Option<StoreStanding> {
        Some(self.shared.leases.as_ref()?.surroundings().standing())
    }

    /// Requests that wait in leaky buckets now.
    pub fn waiting(&self) -> usize {
        self.shared.waiting()
    }

    /// Frees idle cells, among the next `cells` of the table after those of the last call, and tells how many. A
    /// [`Cleaner`] does this beside the traffic; see [`Table::clean`].
    ///
    /// Ends reservations whose deadline is over, too.
    pub fn clean(&self, cells: usize) -> usize {
        let now = self.shared.now();
        self.shared.open.expire(&self.shared, now);
        self.shared.table.clean(cells, now)
    }

    /// Writes what a client is told of its limits into the headers of any response: `RateLimit-Policy` and `RateLimit`.
    /// Fields that are there already, an upstream's own, stay.
    pub fn announce(&self, route: Option<RouteId>, report: &Report, headers: &mut HeaderMap) {
        if let Some(announcement) = self.announcement(route, report) {
            announcement.add_to(headers);
        }
    }

    /// What [`Limiter::announce`] would write, for a door that has to wait for the response: the report is ten times as large.
    /// `None` if there is nothing to tell.
    pub fn announcement(&self, route: Option<RouteId>, report: &Report) -> Option<Announcement> {
        let recent = self.recent.load();
        recent.get(report.generation())?.announcer.announcement(route, report)
    }

    /// The answer to a refused request; `None` for a decision that lets it pass.
    pub fn refusal(&self, request: &Request<'_>, decision: &Decision) -> Option<Refusal> {
        let refused = match decision {
            Decision::Deny { reason, retry, .. } => Refused {
                reason: Some(*reason),
                retry: *retry,
            },
            // A door that gets here cannot challenge.
            Decision::Challenge { .. } => Refused {
                reason: None,
                retry: Retry::Never,
            },
            _ => return None,
        };
        let report = decision.report();
        let recent = self.recent.load();
        // A refusal is told at once; only seven reloads in between could have let its policy go.
        let engine = self.engine.load();
        let told = recent.get(report.generation()).unwrap_or(&engine.told);
        let mut refusal = Refusal::new(&refused, report, &told.announcer, Wire::of(request.headers));
        let route = told.routes.find(request.method, request.host, request.path);
        if let Some(announcement) = told.announcer.announcement(route, report) {
            announcement.add_to(&mut refusal.headers);
        }
        Some(refusal)
    }
}
