//! An API key that a company's users share, and beneath it a limit for each of them: two rules, charged together or not at all.
//!
//! ```text
//! cargo run -p sluicegate --example shared_key
//! ```
#![forbid(unsafe_code)]

use std::error::Error;

use sluicegate::{AskError, Builder, Limiter};

/// The limits of this program.
fn limits() -> Builder {
    Limiter::builder()
        .limit("per-key", "100/min")
        .limit("per-user", "20/min")
}

/// The name of the rule that refuses the request; `None` if it passes. Whoever meets the own limit takes nothing of what the
/// others share.
fn refused_by(limiter: &Limiter, api_key: &str, user: &str) -> Result<Option<&'static str>, AskError> {
    const RULES: [&str; 2] = ["per-key", "per-user"];
    let decision = limiter.check_all(&[(RULES[0], &api_key, 1), (RULES[1], &(api_key, user), 1)])?;
    // The report has the rules in the order of the question.
    let states = decision.report().states().iter();
    let refusing = states.zip(RULES).find(|(state, _)| state.refuses());
    Ok(refusing.map(|(_, name)| name))
}

fn main() -> Result<(), Box<dyn Error>> {
    let limiter = limits().build()?;
    for user in ["ann", "bob", "cem", "dan", "eve", "fay"] {
        let mut passed = 0;
        let refusal = loop {
            match refused_by(&limiter, "acme", user)? {
                None => passed += 1,
                Some(rule) => break rule,
            }
        };
        println!("{user}: {passed} pass, then {refusal} refuses");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sluicegate::ManualClock;

    use super::*;

    #[test]
    fn a_greedy_user_leaves_the_others_their_share() {
        let clock = Arc::new(ManualClock::default());
        let limiter = limits().clock(clock).build().expect("sound limits");
        let ask = |user| refused_by(&limiter, "acme", user).expect("the rules");
        let passing = |user| (0..1_000).filter(|_| ask(user).is_none()).count();
        assert_eq!(["ann", "bob", "cem", "dan", "eve"].map(passing), [20; 5]);
        assert_eq!(ask("ann"), Some("per-key"));
        assert_eq!(passing("fay"), 0);
        let report = limiter.check_cost("per-user", ("acme", "fay"), 0).expect("the rule");
        assert_eq!(report.remaining(), 20, "what the key refused was not charged to her");
    }
}
