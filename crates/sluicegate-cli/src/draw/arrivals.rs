//! When requests arrive, as the command line says it: `4@200ms+400ms 6@1900ms`.

use std::time::Duration;

/// Requests, in the order of their arrival: the time of each since the picture's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrivals(Vec<Duration>);

impl Arrivals {
    /// Reads `[COUNT@]START[+EVERY]`, several of them between blanks. Times are whole numbers with `ms`, `s` or `min`.
    ///
    /// # Errors
    ///
    /// Which part cannot be read, why, and what to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut times = Vec::new();
        for part in text.split_ascii_whitespace() {
            let told = |fault: String| format!("in {part:?}: {fault}");
            add(part, &mut times).map_err(told)?;
        }
        if times.is_empty() {
            return Err(format!("no request arrives; {FORM}"));
        }
        // Stable, so that requests of one moment keep the order in which they were written.
        times.sort();
        Ok(Self(times))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Duration> {
        self.0.iter().copied()
    }

    pub(super) fn last(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

/// Adds the times of one part.
fn add(part: &str, times: &mut Vec<Duration>) -> Result<(), String> {
    let (count, when) = match part.split_once('@') {
        None => (1, part),
        Some((count, when)) => {
            let count = count
                .parse::<usize>()
                .map_err(|_| format!("{count:?} is not how many; {FORM}"))?;
            (count, when)
        }
    };
    if count == 0 {
        return Err("the least count is 1; leave the part out".to_owned());
    }
    if count > ARRIVALS_MAX - times.len() {
        return Err(format!(
            "more than {ARRIVALS_MAX} requests, which nobody could tell apart; draw fewer"
        ));
    }
    let (start, every) = match when.split_once('+') {
        None => (time(when)?, Duration::ZERO),
        Some((start, every)) => (time(start)?, time(every)?),
    };
    for index in 0..count {
        let steps = u32::try_from(index).unwrap_or(u32::MAX);
        let at = start.saturating_add(every.saturating_mul(steps));
        if at > TIME_MAX {
            return Err(format!("the last of them is later than {TIME_MAX:?}; {FORM}"));
        }
        times.push(at);
    }
    Ok(())
}

/// A whole number and a unit, at most a day.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is not a time; {UNITS}"))?;
    let millis = match unit {
        "ms" => number,
        "s" => number.saturating_mul(1_000),
        "min" => number.saturating_mul(60_000),
        _ => return Err(format!("{text:?} has the unit {unit:?}; {UNITS}")),
    };
    let time = Duration::from_millis(millis);
    if time > TIME_MAX {
        return Err(format!("{text:?} is later than {TIME_MAX:?}; draw a shorter time"));
    }
    Ok(time)
}

const FORM: &str = "write [COUNT@]START[+EVERY], as in 300ms, 6@1900ms or 4@200ms+400ms";

const UNITS: &str = "write a whole number and ms, s or min, as in 400ms";

/// More marks than a picture has room for at twelve pixels each.
const ARRIVALS_MAX: usize = 200;

/// A day: on a longer axis a second is less than a hundredth of a pixel.
const TIME_MAX: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected_ms: &[u128]) {
        let arrivals = Arrivals::parse(text).expect(text);
        let millis: Vec<u128> = arrivals.iter().map(|at| at.as_millis()).collect();
        assert_eq!(millis, expected_ms, "{text}");
    }

    #[test]
    fn requests_arrive_at_once_and_one_after_another_in_the_order_of_time() {
        check("300ms", &[300]);
        check("3@2s", &[2_000, 2_000, 2_000]);
        check("2@1s 3@0s+400ms", &[0, 400, 800, 1_000, 1_000]);
        check("1@1min", &[60_000]);
        check("200@0ms", &[0; 200]);
    }

    #[test]
    fn what_is_no_arrival_is_told_with_the_part_and_the_remedy() {
        for (text, part) in [
            ("", "no request"),
            ("6", "unit \"\""),
            ("6@", "\"\" is not a time"),
            ("six@1s", "\"six\""),
            ("0@1s", "least count is 1"),
            ("-1@1s", "\"-1\""),
            ("201@1s", "more than 200"),
            ("200@1s 1s", "more than 200"),
            ("18446744073709551615@1s", "more than 200"),
            ("18446744073709551616@1s", "is not how many"),
            ("1.5s", "unit \".5s\""),
            ("1h", "unit \"h\""),
            ("2@1s+", "\"\" is not a time"),
            ("1441min", "later than"),
            ("99999999999999999999s", "is not a time"),
            ("18446744073709551615min", "later than"),
            ("200@1s+1440min", "later than"),
            ("١s", "is not a time"),
        ] {
            let told = Arrivals::parse(text).expect_err(text);
            assert!(told.contains(part), "no {part:?} in {told:?}");
        }
    }
}
