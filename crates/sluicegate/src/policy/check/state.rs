//! What a node remembers: its memory, its folder, its secret, and the store beside it.

use super::super::checked::{Needs, SNAPSHOT_EVERY, Split, State};
use super::super::findings::{Findings, Located, Spot};
use super::super::raw::{SplitFields, StateFields};
use super::super::shape::Field;
use super::rules::Rules;
use super::share;

/// What is said of a node's memory; its faults are noted.
pub(super) fn check(raw: StateFields, findings: &mut Findings<'_>) -> State {
    let default = State::default();
    let directory = raw.directory.value();
    if let Field::Given(every) = &raw.snapshot_every
        && every.value.0.is_some()
        && directory.is_none()
    {
        findings.fault(
            every.spot,
            "there is no folder to write to",
            "add `directory: ./state`, or remove the field",
        );
    }
    let secret = share::check_secret(raw.secret, raw.secret_file, findings);
    if let (Some(share), Field::Absent) = (raw.share.as_ref(), &secret) {
        findings.fault(
            share.spot,
            "nodes mean the same key only under the same secret, and none is given",
            "write `openssl rand -hex 32` into a file on every node and name it, as in secret_file: ./secret, or secret: ${SLUICEGATE_SECRET}",
        );
    }
    let share = raw.share.given().and_then(|share| share::check(share, findings));
    let snapshot_every = match raw.snapshot_every {
        Field::Given(every) => every.value.0,
        Field::Absent | Field::Faulty => Some(SNAPSHOT_EVERY),
    };
    State {
        // Only a 32-bit machine has less than what the file allows; the allocation then fails with a message.
        memory: raw
            .memory
            .value()
            .map_or(default.memory, |size| usize::try_from(size.0).unwrap_or(usize::MAX)),
        split: raw.split.given().and_then(|split| check_split(split, findings)),
        snapshot_every: snapshot_every.filter(|_| directory.is_some()),
        directory,
        secret: secret.value(),
        share,
        // Whole<1, 1 000 000> fits in a word of any size.
        waiting: raw
            .waiting
            .value()
            .and_then(|waiting| usize::try_from(waiting.0).ok())
            .unwrap_or(default.waiting),
    }
}

fn check_split(raw: Located<SplitFields>, findings: &mut Findings<'_>) -> Option<Split> {
    let split = Split {
        small: raw.value.small.value()?.0,
        wide: raw.value.wide.value()?.0,
        logs: raw.value.logs.value()?.0,
        leases: match raw.value.leases {
            Field::Absent => 0,
            Field::Faulty => return None,
            Field::Given(leases) => leases.value.0,
        },
    };
    let parts = [split.small, split.wide, split.logs, split.leases];
    let sum: u16 = parts.into_iter().map(u16::from).sum();
    if sum != 100 {
        findings.fault(
            raw.spot,
            format!("the parts make {sum}%"),
            "let `small`, `wide`, `logs` and `leases` make 100% together",
        );
    }
    Some(split)
}

/// That no kind of memory that a rule needs goes without.
pub(super) fn check_needs(state: &State, rules: &Rules, spot: Spot, findings: &mut Findings<'_>) {
    let Some(split) = state.split else { return };
    let needs = Needs::of(rules.sound(), state.share.is_some());
    for (needed, percent, name, what) in [
        (
            needs.small,
            split.small,
            "small",
            "token buckets, leaky buckets or permits",
        ),
        (
            needs.wide,
            split.wide,
            "wide",
            "windows, logs, or token buckets that settle, count failures or lock",
        ),
        (needs.logs, split.logs, "logs", "sliding logs"),
        (needs.leases, split.leases, "leases", "limits that are shared"),
    ] {
        if needed && percent == 0 {
            findings.fault(
                spot,
                format!("`{name}` has no memory, and there are rules with {what}"),
                format!("give `{name}` a share, or leave `split` out"),
            );
        }
    }
}
