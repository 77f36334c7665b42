//! Ten e-mails an hour for each user: the least that a program has to write.
//!
//! ```text
//! cargo run -p sluicegate --example emails
//! ```
#![forbid(unsafe_code)]

use std::error::Error;

use sluicegate::{AskError, Builder, Limiter, Retry};

/// The limits of this program.
fn limits() -> Builder {
    Limiter::builder().limit("emails", "10/h")
}

/// Sends a mail, or says why not.
fn send(limiter: &Limiter, user: &str) -> Result<String, AskError> {
    let check = limiter.check("emails", user)?;
    Ok(match check.retry() {
        None => format!("sent; {} more in this hour", check.remaining()),
        Some(Retry::After(wait)) => format!("not sent; try again in {} s", wait.as_secs() + 1),
        Some(Retry::Never) => "not sent".to_owned(),
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let limiter = limits().build()?;
    for _ in 0..12 {
        println!("ann: {}", send(&limiter, "ann")?);
    }
    println!("bob: {}", send(&limiter, "bob")?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use sluicegate::ManualClock;

    use super::*;

    #[test]
    fn the_eleventh_mail_waits_six_minutes_and_other_users_do_not() {
        let clock = Arc::new(ManualClock::default());
        let limiter = limits().clock(Arc::clone(&clock)).build().expect("sound limits");
        let send = |user| send(&limiter, user).expect("the rule");
        for left in (0..10).rev() {
            assert_eq!(send("ann"), format!("sent; {left} more in this hour"));
        }
        assert_eq!(send("ann"), "not sent; try again in 361 s");
        assert_eq!(send("bob"), "sent; 9 more in this hour");
        clock.advance(Duration::from_mins(6) + Duration::from_nanos(2));
        assert_eq!(send("ann"), "sent; 0 more in this hour");
    }
}
