//! What a request takes, which requests count, and what follows: that these fit each other and the limit.

use std::collections::HashSet;

use super::super::checked::{
    Algorithm, CostBy, CostSource, CostSpec, Count, FailedWhen, Failures, KeyPart, OnSuccess, RuleLimit, Step,
};
use super::super::findings::{Findings, Located, Spot};
use super::super::raw::{CostFields, StepFields};
use super::super::scalar::{CountWord, ExpressionText, FailureSign, Truth, Whole};
use super::super::shape::{Field, Named, OneOrMany};
use super::limits::Kept;
use super::routes::Routes;
use super::{classes, conditions};

/// The fields of a rule that are judged together here.
pub(super) struct Raw<const SIGNS: usize, const STEPS: usize> {
    pub(super) cost: Field<CostFields>,
    pub(super) count: Field<CountWord>,
    pub(super) failed_when: Field<OneOrMany<FailureSign, 1, SIGNS>>,
    pub(super) on_success: Field<OnSuccess>,
    pub(super) exceed: Field<OneOrMany<StepFields, 1, STEPS>>,
    pub(super) charge_refused: Field<Truth>,
}

/// What a rule charges, and what follows.
pub(super) struct Charged {
    pub(super) cost: CostSpec,
    pub(super) count: Count,
    pub(super) exceed: Vec<Step>,
    pub(super) charge_refused: bool,
}

/// `None` once a fault is noted. `kept` and `key` are `None` where they are faulty; what depends on them is then not
/// judged.
pub(super) fn check<const SIGNS: usize, const STEPS: usize>(
    raw: Raw<SIGNS, STEPS>,
    kept: Option<&Kept>,
    key: Option<&[KeyPart]>,
    (routes, on): (&Routes, &[usize]),
    findings: &mut Findings<'_>,
) -> Option<Charged> {
    let word = match &raw.count {
        Field::Absent => Some(CountWord::Requests),
        Field::Faulty => None,
        Field::Given(word) => Some(word.value),
    };
    let count_spot = raw.count.as_ref().map(|word| word.spot);
    let failures = match word {
        Some(CountWord::Failures) => count_spot,
        _ => None,
    };
    let charge_refused = check_charge_refused(&raw.charge_refused, failures.is_some(), kept, findings);
    let cost = match raw.cost {
        Field::Absent => Some(CostSpec::default()),
        Field::Faulty => None,
        Field::Given(cost) => check_cost(cost, failures.is_some(), kept, (routes, on), findings),
    };
    if let (Some(spot), Some(kept)) = (failures, kept) {
        check_settles(spot, "count: failures", &kept.algorithm, findings);
    }
    let count = check_count(word, raw.failed_when, raw.on_success, key, findings);
    let exceed = match raw.exceed {
        Field::Absent => Some(Vec::new()),
        Field::Faulty => None,
        Field::Given(steps) => check_steps(steps, kept, findings),
    };
    Some(Charged {
        cost: cost?,
        count: count?,
        exceed: exceed?,
        charge_refused,
    })
}

fn check_charge_refused(
    field: &Field<Truth>,
    counts_failures: bool,
    kept: Option<&Kept>,
    findings: &mut Findings<'_>,
) -> bool {
    let Some(Located {
        value: Truth(true),
        spot,
    }) = field.as_ref()
    else {
        return false;
    };
    if kept.is_some_and(|kept| kept.algorithm == Algorithm::Concurrency) {
        findings.fault(
            *spot,
            "a refused request holds nothing that it could be charged for",
            "remove the field",
        );
    } else if counts_failures {
        findings.fault(
            *spot,
            "a request that was refused has not failed, since nobody answered it",
            "remove the field, or count requests",
        );
    }
    true
}

/// That what is reserved can be put right later with this algorithm.
fn check_settles(spot: Spot, what: &str, algorithm: &Algorithm, findings: &mut Findings<'_>) {
    let why = match algorithm {
        Algorithm::TokenBucket | Algorithm::FixedWindow { .. } | Algorithm::SlidingWindow => return,
        Algorithm::LeakyBucket { .. } => "a request that has left the queue cannot give its place back",
        Algorithm::SlidingLog => "a log keeps what was charged when it was",
        _ => "a permit is given back in any case",
    };
    findings.fault(
        spot,
        format!("{what} does not go with this algorithm: {why}"),
        "use token_bucket, sliding_window or fixed_window",
    );
}

fn check_cost(
    raw: Located<CostFields>,
    counts_failures: bool,
    kept: Option<&Kept>,
    (routes, on): (&Routes, &[usize]),
    findings: &mut Findings<'_>,
) -> Option<CostSpec> {
    let spot = raw.spot;
    let CostFields {
        reserve,
        by,
        values,
        expression,
        default,
        max,
        settle,
    } = raw.value;
    if let (Some(settle), Some(kept)) = (settle.as_ref(), kept) {
        check_settles(settle.spot, "a cost that is put right later", &kept.algorithm, findings);
    }
    if let (Some(settle), true) = (settle.as_ref(), counts_failures) {
        findings.fault(
            settle.spot,
            "whether it failed already says what becomes of the cost",
            "remove `settle`, or count requests",
        );
    }
    let is_said = !(reserve.is_absent() && by.is_absent() && expression.is_absent());
    if !is_said {
        findings.missing(
            spot,
            "reserve",
            "add `reserve:` with a number, header.NAME or body./MEMBER, or `by:` or `expression:`",
        );
    }
    for spot in [spot_of(&reserve), spot_of(&by), spot_of(&expression)]
        .into_iter()
        .flatten()
        .skip(1)
    {
        findings.fault_in_name(
            spot,
            "the cost is said in two ways",
            "keep one of `reserve`, `by` and `expression`",
        );
    }
    if let (Some(values), true) = (spot_of(&values), by.is_absent()) {
        findings.fault_in_name(
            values,
            "nothing says what the values are by",
            "add `by: route` or `by: sensitivity`",
        );
    }
    let burst = kept.map(|kept| kept.limit);
    let said = Said {
        reserve,
        by,
        values,
        expression,
    };
    if let (Some(max), false) = (spot_of(&max), said.by.is_absent()) {
        findings.fault_in_name(max, "the file says what each class costs", "remove the field");
    }
    let source = source(said, default.as_ref(), (routes, on), burst, findings)?;
    match source.value {
        CostSource::Fixed(units) => {
            check_fixed(units, source.spot, !settle.is_absent(), burst, findings);
            for spot in [spot_of(&default), spot_of(&max)].into_iter().flatten() {
                findings.fault_in_name(spot, format!("every request costs {units}"), "remove the field");
            }
        }
        CostSource::ByClass(_) => {}
        _ if kept.is_some_and(|kept| kept.algorithm == Algorithm::Concurrency) => findings.fault(
            source.spot,
            "what a client claims is no measure of what is under way",
            "write a number of permits, or leave `cost` out",
        ),
        CostSource::Amount(_) => {
            if let Some(spot) = spot_of(&default) {
                findings.fault_in_name(
                    spot,
                    "the expression says what every request costs",
                    "say it there, as in has(query.limit) ? int(query.limit) : 1",
                );
            }
            check_claims(None::<&Located<Whole<0, { u64::MAX }>>>, max.as_ref(), burst, findings);
        }
        _ => check_claims(default.as_ref(), max.as_ref(), burst, findings),
    }
    Some(match source.value {
        CostSource::Fixed(units) => CostSpec {
            settle: settle.value(),
            ..CostSpec::fixed(units)
        },
        reserve => CostSpec {
            reserve,
            default: default.value().map_or(1, |units| units.0),
            max: max.value().map(|units| units.0),
            settle: settle.value(),
        },
    })
}

/// That a cost the file says can pass.
pub(super) fn check_most(cost: Option<(u64, Spot)>, burst: Option<RuleLimit>, findings: &mut Findings<'_>) {
    if let (Some((units, spot)), Some(limit)) = (cost, burst)
        && units > limit.at_once().get()
    {
        findings.fault(
            spot,
            format!("\"{units}\" never passes: at most {} do at once", limit.at_once()),
            format!("write {} or less, or raise the limit", limit.at_once()),
        );
    }
}

/// The ways in which a cost can be said.
struct Said<const MOST: u64, const MAX: usize> {
    reserve: Field<CostSource>,
    by: Field<CostBy>,
    values: Field<Named<Whole<1, MOST>, MAX>>,
    expression: Field<ExpressionText>,
}

/// Where a request's cost is read; `None` once a fault is noted.
fn source<const MOST: u64, const MAX: usize>(
    said: Said<MOST, MAX>,
    default: Option<&Located<Whole<0, { u64::MAX }>>>,
    (routes, on): (&Routes, &[usize]),
    burst: Option<RuleLimit>,
    findings: &mut Findings<'_>,
) -> Option<Located<CostSource>> {
    if matches!(said.reserve, Field::Faulty) || matches!(said.expression, Field::Faulty) {
        return None;
    }
    if let Some(reserve) = said.reserve.given() {
        return Some(reserve);
    }
    if let Some(by) = said.by.given() {
        check_most(default.map(|units| (units.value.0, units.spot)), burst, findings);
        let others = default.map_or(1, |units| units.value.0);
        let costs = classes::check(&by, said.values, others, routes, burst, findings)?;
        return Some(Located {
            value: CostSource::ByClass(costs),
            spot: by.spot,
        });
    }
    let text = said.expression.given()?;
    Some(Located {
        value: CostSource::Amount(conditions::amount(&text, routes, on, findings)?),
        spot: text.spot,
    })
}

fn spot_of<T>(field: &Field<T>) -> Option<Spot> {
    field.as_ref().map(|field| field.spot)
}

fn check_fixed(units: u64, spot: Spot, settles: bool, burst: Option<RuleLimit>, findings: &mut Findings<'_>) {
    if units == 0 && !settles {
        findings.fault(
            spot,
            "\"0\" would let every request pass",
            "write 1 or more, or say what puts it right, as in {reserve: 0, settle: response.header.x-cost}",
        );
    }
    check_most(Some((units, spot)), burst, findings);
}

/// The default and the most of a cost that the request itself names.
fn check_claims<const LEAST: u64, const LEAST_MAX: u64, const MOST: u64>(
    default: Option<&Located<Whole<LEAST, MOST>>>,
    max: Option<&Located<Whole<LEAST_MAX, MOST>>>,
    burst: Option<RuleLimit>,
    findings: &mut Findings<'_>,
) {
    check_most(default.map(|default| (default.value.0, default.spot)), burst, findings);
    if let (Some(default), Some(max)) = (default, max)
        && default.value.0 > max.value.0
    {
        findings.fault(
            default.spot,
            format!(
                "\"{}\" is more than the most that a request may claim, {}",
                default.value.0, max.value.0
            ),
            "lower it, or raise `max`",
        );
    }
    if let (Some(max), Some(limit)) = (max, burst)
        && max.value.0 > limit.at_once().get()
    {
        findings.warning(
            max.spot,
            format!(
                "a claim above {} never passes, and is not cut down to it",
                limit.at_once()
            ),
            format!("write max: {}, or raise the limit's burst", limit.at_once()),
        );
    }
}

fn check_count<const SIGNS: usize>(
    word: Option<CountWord>,
    failed_when: Field<OneOrMany<FailureSign, 1, SIGNS>>,
    on_success: Field<OnSuccess>,
    key: Option<&[KeyPart]>,
    findings: &mut Findings<'_>,
) -> Option<Count> {
    if let Some(CountWord::Requests) = word {
        for spot in [spot_of(&failed_when), spot_of(&on_success)].into_iter().flatten() {
            findings.fault_in_name(
                spot,
                "every request counts here, whatever comes of it",
                "write count: failures, or remove the field",
            );
        }
        return Some(Count::Requests);
    }
    let failed_when = match failed_when {
        Field::Absent => FailedWhen::default(),
        Field::Faulty => return None,
        Field::Given(signs) => check_signs(signs.value.0, findings),
    };
    let on_success = match on_success {
        Field::Absent if is_account_like(key?) => OnSuccess::Clear,
        Field::Absent => OnSuccess::Return,
        Field::Faulty => return None,
        Field::Given(word) => word.value,
    };
    word.map(|_| {
        Count::Failures(Failures {
            failed_when,
            on_success,
        })
    })
}

/// Whether a key names what one person owns: a success then shows that the owner has come. An address or a header is
/// shared, or made up.
fn is_account_like(key: &[KeyPart]) -> bool {
    !key.is_empty() && key.iter().all(|part| matches!(part, KeyPart::Body { .. }))
}

fn check_signs(signs: Vec<Located<FailureSign>>, findings: &mut Findings<'_>) -> FailedWhen {
    let mut failed_when = FailedWhen {
        statuses: Vec::new(),
        members: Vec::new(),
        headers: Vec::new(),
    };
    let mut seen = HashSet::new();
    for sign in signs {
        if !seen.insert(sign.value.clone()) {
            findings.fault(sign.spot, "this sign is listed twice", "remove one of the two");
        }
        match sign.value {
            FailureSign::Status(status) => failed_when.statuses.push(status),
            FailureSign::Member(pointer) => failed_when.members.push(pointer),
            FailureSign::Header(name) => failed_when.headers.push(name),
        }
    }
    failed_when
}

fn check_steps<const STEPS: usize>(
    steps: Located<OneOrMany<StepFields, 1, STEPS>>,
    kept: Option<&Kept>,
    findings: &mut Findings<'_>,
) -> Option<Vec<Step>> {
    if kept.is_some_and(|kept| kept.algorithm != Algorithm::TokenBucket) {
        findings.fault(
            steps.spot,
            "only a token bucket can be locked",
            "write algorithm: token_bucket, or leave `exceed` out",
        );
    }
    let mut checked = Vec::new();
    for Located { value, spot } in steps.value.0 {
        match value.lock {
            Field::Absent => findings.fault(
                spot,
                "this step says nothing",
                "write what it does, as in {lock: 15min}",
            ),
            Field::Faulty => return None,
            Field::Given(_) if !checked.is_empty() => {
                findings.fault(spot, "a second lock is never reached", "keep the longer of the two");
            }
            Field::Given(lock) => checked.push(Step::Lock(lock.value.0)),
        }
    }
    Some(checked)
}
