//! Several measurements of one thing, told as their median and their ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The middle of several measurements, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// The median: half of the rounds lie on either side.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The most.
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of `rounds`; not a number where there are none.
    pub(crate) fn of(rounds: impl IntoIterator<Item = f64>) -> Self {
        let mut rounds: Vec<f64> = rounds.into_iter().collect();
        rounds.sort_unstable_by(f64::total_cmp);
        let middle = rounds.len() / 2;
        let median = match (rounds.len() % 2, rounds.get(middle), rounds.get(middle.wrapping_sub(1))) {
            (0, Some(upper), Some(lower)) => f64::midpoint(*lower, *upper),
            (_, Some(middle), _) => *middle,
            (_, None, _) => f64::NAN,
        };
        Self {
            median,
            min: rounds.first().copied().unwrap_or(f64::NAN),
            max: rounds.last().copied().unwrap_or(f64::NAN),
        }
    }

    /// A thing that was measured once.
    pub(crate) const fn once(value: f64) -> Self {
        Self {
            median: value,
            min: value,
            max: value,
        }
    }

    /// Whether all of it are numbers.
    pub(crate) const fn is_finite(self) -> bool {
        self.median.is_finite() && self.min.is_finite() && self.max.is_finite()
    }
}

/// A count as a number to divide by: exact below 2⁵³, which no bench counts to.
#[expect(clippy::cast_precision_loss, reason = "counts and bytes of a bench are below 2⁵³")]
pub(crate) const fn number(count: u64) -> f64 {
    count as f64
}

/// Nanoseconds that each of `count` took.
pub(crate) fn nanos_each(taken: Duration, count: u64) -> f64 {
    taken.as_secs_f64() * 1e9 / number(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_rounds_lies_between_the_two_in_the_middle() {
        assert_eq!(
            Spread::of([4.0, 1.0, 2.0, 9.0]),
            Spread {
                median: 3.0,
                min: 1.0,
                max: 9.0
            }
        );
    }

    #[test]
    fn one_outlier_does_not_move_the_median_of_three() {
        let spread = Spread::of([7.0, 5.0, 1_000.0]);
        assert_eq!((spread.median, spread.max), (7.0, 1_000.0));
    }

    #[test]
    fn no_rounds_are_not_a_number() {
        assert!(!Spread::of([]).is_finite());
    }
}
