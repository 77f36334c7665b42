//! Five wrong passwords for an account in a quarter of an hour, then a lock; right ones cost nothing.
//!
//! ```text
//! cargo run -p sluicegate --example passwords
//! ```
#![forbid(unsafe_code)]

use std::error::Error;
use std::time::Duration;

use sluicegate::{AskError, Builder, Grant, Limiter, OnSuccess, Rule};

/// The limits of this program. The key is an account, so a success, which only its owner has, forgets the failures before it.
fn limits() -> Builder {
    Limiter::builder().rule(
        Rule::named("passwords")
            .limit("5 per 15min")
            .count_failures()
            .on_success(OnSuccess::Clear)
            .lock(Duration::from_mins(15)),
    )
}

/// What becomes of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    Welcome,
    WrongPassword,
    /// The password was not even looked at.
    TooMany,
}

/// Checks a password by `is_right`, which may take its time: the attempt counts from the start, so that guesses sent
/// all at once are at most five too.
fn login(limiter: &Limiter, account: &str, is_right: impl FnOnce() -> bool) -> Result<Login, AskError> {
    let Grant::Granted(attempt) = limiter.attempt("passwords", account)? else {
        return Ok(Login::TooMany);
    };
    if is_right() {
        attempt.succeeded();
        Ok(Login::Welcome)
    } else {
        attempt.failed();
        Ok(Login::WrongPassword)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let limiter = limits().build()?;
    for guess in ["123456", "password", "qwerty", "letmein", "dragon", "correct horse"] {
        let login = login(&limiter, "ann", || guess == "correct horse")?;
        println!("{guess}: {login:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sluicegate::ManualClock;

    use super::*;

    #[test]
    fn the_sixth_guess_is_not_looked_at_even_if_it_is_right() {
        let clock = Arc::new(ManualClock::default());
        let limiter = limits().clock(Arc::clone(&clock)).build().expect("sound limits");
        let guess = |is_right| login(&limiter, "ann", || is_right).expect("the rule");
        for _ in 0..4 {
            assert_eq!(guess(false), Login::WrongPassword);
        }
        assert_eq!(guess(true), Login::Welcome);
        for _ in 0..5 {
            assert_eq!(guess(false), Login::WrongPassword);
        }
        assert_eq!(guess(true), Login::TooMany);
        clock.advance(Duration::from_mins(15) + Duration::from_nanos(2));
        assert_eq!(guess(true), Login::Welcome);
    }
}
