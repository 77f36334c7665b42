//! Three withdrawals in any 24 hours for each account, to the nanosecond: a sliding log, since money is worth its memory.
//!
//! ```text
//! cargo run -p sluicegate --example withdrawals
//! ```
#![forbid(unsafe_code)]

use std::error::Error;

use sluicegate::{Algorithm, AskError, Builder, Limiter, Rule};

/// The limits of this program. A token bucket would let a fourth withdrawal pass after eight hours, and a window of the calendar's
/// day two times three around midnight.
fn limits() -> Builder {
    Limiter::builder().rule(Rule::named("withdrawals").limit("3/d").algorithm(Algorithm::SlidingLog))
}

/// Whether the account's owner may withdraw now. The bank and the account make one key.
fn may_withdraw(limiter: &Limiter, bank: &str, account: u64) -> Result<bool, AskError> {
    Ok(limiter.check("withdrawals", (bank, account))?.passes())
}

fn main() -> Result<(), Box<dyn Error>> {
    let limiter = limits().build()?;
    for number in 1..=4 {
        let word = if may_withdraw(&limiter, "acme", 4711)? {
            "paid"
        } else {
            "refused"
        };
        println!("withdrawal {number}: {word}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use sluicegate::ManualClock;

    use super::*;

    #[test]
    fn no_day_has_a_fourth_withdrawal_wherever_it_begins() {
        let clock = Arc::new(ManualClock::default());
        let limiter = limits().clock(Arc::clone(&clock)).build().expect("sound limits");
        let pays = || may_withdraw(&limiter, "acme", 4711).expect("the rule");
        let mut paid_at = Vec::new();
        for minute in 0..3 * 24 * 60u64 {
            if pays() {
                paid_at.push(minute);
            }
            clock.advance(Duration::from_mins(1));
        }
        assert!(
            paid_at.windows(4).all(|four| four[3] - four[0] >= 24 * 60),
            "{paid_at:?}"
        );
        assert_eq!(paid_at.len(), 9);
        assert!(may_withdraw(&limiter, "acme", 4712).expect("the rule"));
    }
}
