//! Which server is next: smooth weighted round robin.
//!
//! At each turn every server gains its weight, the one with the most goes, and pays the sum of all weights back. With
//! weights 5, 1, 1 the order is a a b a c a a: each server gets its exact share of every cycle, and no server its whole
//! share in a row.
//!
//! Source: nginx's change "smooth weighted round-robin balancing" of 2012 (its 1.3.1), which states the method.

use std::cell::Cell;

/// The turns of servers that share a list, by their place in it.
#[derive(Debug)]
pub(crate) struct Turns {
    seats: Vec<Seat>,
}

#[derive(Debug)]
struct Seat {
    weight: i64,
    credit: Cell<i64>,
}

impl Turns {
    /// `weights` by place, at least one, each at least 1.
    pub(crate) fn new(weights: impl IntoIterator<Item = u16>) -> Self {
        let seats = weights
            .into_iter()
            .map(|weight| Seat {
                weight: weight.into(),
                credit: Cell::new(0),
            })
            .collect();
        Self { seats }
    }

    /// The next place among those that `may` go; `None` if none may.
    #[inline]
    pub(crate) fn next(&self, may: impl Fn(usize) -> bool) -> Option<usize> {
        if self.seats.len() == 1 {
            return may(0).then_some(0);
        }
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (place, seat) in self.seats.iter().enumerate().filter(|(place, _)| may(*place)) {
            // Credits stay within ± the sum of all weights, far from overflow: a thousand servers of weight 1000.
            let credit = seat.credit.get() + seat.weight;
            seat.credit.set(credit);
            total += seat.weight;
            if best.is_none_or(|(_, most)| credit > most) {
                best = Some((place, credit));
            }
        }
        let (place, credit) = best?;
        self.seats[place].credit.set(credit - total);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(weights: &[u16], out: &[usize], expected: &str) {
        let turns = Turns::new(weights.iter().copied());
        let order: String = (0..expected.len())
            .map(|_| {
                turns
                    .next(|place| !out.contains(&place))
                    .map_or('-', |place| char::from(b"abcdefg"[place]))
            })
            .collect();
        assert_eq!(order, expected);
    }

    #[test]
    fn equal_weights_take_turns() {
        check(&[1, 1, 1], &[], "abcabcabc");
    }

    #[test]
    fn a_heavy_server_gets_its_share_spread_out() {
        check(&[5, 1, 1], &[], "aabacaaaabacaa");
    }

    #[test]
    fn who_may_not_go_is_passed_over() {
        check(&[5, 1, 1], &[0], "bcbc");
        check(&[1, 1], &[0, 1], "---");
        check(&[1], &[0], "-");
    }

    #[test]
    fn a_single_server_always_goes() {
        check(&[7], &[], "aaa");
    }
}
