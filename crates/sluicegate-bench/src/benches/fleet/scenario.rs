//! What is played: loads and faults.

use sluicegate_core::Limit;
use sluicegate_core::sharing::{Kind, OnStoreLoss, Plan, Sharing, Terms};
use sluicegate_testkit::fleet::{Fault, Keys, Link, Load, Phase, Place, Setup, What};

use super::super::Scale;
use crate::error::BenchError;

/// One setup with a name.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// As the policy writes it.
    pub(super) limit: &'static str,
    pub(super) setup: Setup,
}

/// Nodes of every fleet.
pub(super) const NODES: u32 = 100;

/// One key with a limit of half a million a second, asked for twice that.
pub(super) const HOT_TWICE: &str = "one hot key at 2×";

/// A thousand keys, half a million requests a second.
pub(super) const MANY_KEYS: &str = "1 000 keys at 0.5×";

pub(super) const OUTAGE: &str = "store away for 10 s, at 3×";
pub(super) const WIPED: &str = "store wiped, at 3×";
pub(super) const STEP: &str = "from 0.3× to 5×";
pub(super) const MOVES: &str = "all traffic moves to other nodes, 0.9×";

/// All of them. Smoke tests see less time.
pub(super) fn all(scale: Scale) -> Result<Vec<Scenario>, BenchError> {
    let hot = "500000/s burst 1000000";
    let large = "50000/s burst 100000";
    let medium = "100/s burst 200";
    let seconds = |full: f64| scale.pick(full, full / 60.0);
    let keys = Load {
        keys: Keys::Even(1_000),
        ..Load::constant(500_000.0, seconds(4.0))
    };
    let step = Load {
        phases: vec![Phase::of(30.0, seconds(10.0)), Phase::of(500.0, seconds(20.0))],
        ..Load::constant(0.0, 0.0)
    };
    let moving = Load {
        place: Place::Moves { at: seconds(5.0) * 1e6 },
        ..Load::constant(45_000.0, seconds(10.0))
    };
    let outage = [
        Fault {
            at: seconds(5.0) * 1e6,
            what: What::Stop,
        },
        Fault {
            at: seconds(15.0) * 1e6,
            what: What::Start,
        },
    ];
    let wipe = [Fault {
        at: seconds(5.0) * 1e6,
        what: What::Wipe,
    }];
    let scenario = |name, limit, load, faults: &[Fault]| scenario(name, limit, load, faults);
    [
        scenario(MANY_KEYS, "1000/s burst 2000", keys, &[]),
        scenario("one hot key at 0.9×", hot, Load::constant(450_000.0, seconds(4.0)), &[]),
        scenario(HOT_TWICE, hot, Load::constant(1_000_000.0, seconds(8.0)), &[]),
        scenario(
            "medium limit at 10×",
            medium,
            Load::constant(1_000.0, seconds(30.0)),
            &[],
        ),
        scenario(
            "small limit at 10×",
            "5/min",
            Load::constant(50.0 / 60.0, seconds(600.0)),
            &[],
        ),
        scenario(
            "idle, then 3 bursts in 50 ms",
            medium,
            Load::burst(600.0, seconds(5.0)),
            &[],
        ),
        scenario(STEP, medium, step, &[]),
        scenario(OUTAGE, large, Load::constant(150_000.0, seconds(20.0)), &outage),
        scenario(WIPED, large, Load::constant(150_000.0, seconds(10.0)), &wipe),
        scenario(MOVES, large, moving, &[]),
    ]
    .into_iter()
    .collect()
}

fn scenario(name: &'static str, limit: &'static str, load: Load, faults: &[Fault]) -> Result<Scenario, BenchError> {
    let parsed: Limit = limit.parse().map_err(|error| BenchError::set_up("a limit", &error))?;
    let plan = Plan {
        terms: Terms::new(Kind::Bucket, &parsed, 0.0),
        // Each contestant sets its own.
        sharing: Sharing::Auto,
        on_store_loss: OnStoreLoss::Local,
        cost_max: 1.0,
        fanout: 0.0,
        spacing: None,
    };
    let setup = Setup {
        nodes: NODES,
        plan,
        load,
        link: Link::default(),
        faults: faults.to_vec(),
    };
    Ok(Scenario { name, limit, setup })
}

impl Scenario {
    /// The limit as people write it.
    pub(super) fn limit_in_words(&self) -> String {
        let (rate, burst) = self.limit.split_once(" burst ").unwrap_or((self.limit, ""));
        let (count, period) = rate.split_once('/').unwrap_or((rate, ""));
        let period = match period {
            "s" => " a second",
            "min" => " a minute",
            _ => "",
        };
        let burst = if burst.is_empty() {
            String::new()
        } else {
            format!(" with a burst of {}", in_thousands(burst))
        };
        format!("limit {}{period}{burst}", in_thousands(count))
    }

    /// What asks, in words.
    pub(super) fn keys_in_words(&self) -> String {
        match self.setup.load.key_count() {
            1 => "one key".to_owned(),
            count => format!("{} keys", in_thousands(&count.to_string())),
        }
    }
}

/// Digits in groups of three.
fn in_thousands(digits: &str) -> String {
    let first = digits.len() % 3;
    let mut groups: Vec<_> = (first..digits.len()).step_by(3).map(|at| &digits[at..at + 3]).collect();
    if first > 0 {
        groups.insert(0, &digits[..first]);
    }
    groups.join("\u{a0}")
}
