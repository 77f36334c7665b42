//! What a limit must have let pass, from the times at which a client asked and heard.

use std::time::Instant;

/// The limit of every client on `/`: B + R·t.
pub(crate) const BURST: f64 = 10.0;
pub(crate) const RATE: f64 = 20.0;

/// One request and its answer. The decision fell somewhere between the two times.
pub(crate) struct Exchange {
    pub(crate) sent: Instant,
    pub(crate) received: Instant,
    pub(crate) status: u16,
}

impl Exchange {
    fn is_admitted(&self) -> bool {
        self.status == 200
    }
}

/// B + R·t ± 1 less what overfilled, with t known as closely as the times of asking and hearing allow. The first request
/// found a full bucket, and the last was refused.
#[track_caller]
pub(crate) fn assert_whole_run(exchanges: &[Exchange]) {
    let (first, last) = (exchanges.first().unwrap(), exchanges.last().unwrap());
    let most = BURST + RATE * (last.received - first.sent).as_secs_f64() + 1.0;
    let (least, admitted) = (least(exchanges), admitted(exchanges));
    assert!(
        (least..=most).contains(&admitted),
        "{admitted} admitted; {least:.2} to {most:.2} expected"
    );
}

/// Never more than B + R·Δ + 1, in any window that begins and ends with an admitted request.
#[track_caller]
pub(crate) fn assert_every_window(admitted: &[&Exchange]) {
    for (begin, first) in admitted.iter().enumerate() {
        for (count, last) in admitted[begin..].iter().enumerate() {
            let window = (last.received - first.sent).as_secs_f64();
            let most = BURST + RATE * window + 1.0;
            let count = (count + 1) as f64;
            assert!(
                count <= most,
                "{count} admitted within {window:.3} s; {most:.2} is the most"
            );
        }
    }
}

fn admitted(exchanges: &[Exchange]) -> f64 {
    exchanges.iter().filter(|exchange| exchange.is_admitted()).count() as f64
}

/// What goes in is B + R·t. Out of it go what is admitted, what overfills, and what is left at the end, which is less than
/// the one unit that the last request was refused for want of.
fn least(exchanges: &[Exchange]) -> f64 {
    let (first, last) = (exchanges.first().unwrap(), exchanges.last().unwrap());
    BURST + RATE * (last.sent - first.received).as_secs_f64() - overfilled(exchanges) - 1.0
}

/// The most that a full bucket can have lost, since a client that the machine stalled asks too late to use it.
fn overfilled(exchanges: &[Exchange]) -> f64 {
    // At most so many units are there after each decision.
    let mut level: f64 = BURST;
    let mut lost = 0.0;
    for (at, exchange) in exchanges.iter().enumerate() {
        if let Some(before) = at.checked_sub(1).map(|before| &exchanges[before]) {
            level += RATE * (exchange.received - before.sent).as_secs_f64();
        }
        lost += (level - BURST).max(0.0);
        level = level.min(BURST);
        if exchange.is_admitted() {
            level -= 1.0;
        } else {
            // There was less than the one it asked for: what the times leave open adds up no further than to here.
            level = level.min(1.0);
        }
    }
    lost
}

/// Everything that `least` rests on, played by a bucket whose decisions fall at known times.
mod played {
    use std::time::Duration;

    use super::*;

    /// Between asking and hearing; the decision falls in the middle.
    const TAKES: Duration = Duration::from_millis(2);

    /// Asks every 5 ms for four seconds and until refused, with `stalls` (before which request, how long in ms) between;
    /// the bucket regains `rate` units a second.
    fn exchanges(rate: f64, stalls: &[(usize, u64)]) -> Vec<Exchange> {
        let start = crate::now();
        let (mut asked_at, mut level) = (Duration::ZERO, BURST);
        let mut exchanges: Vec<Exchange> = Vec::new();
        while exchanges.len() < 800 || exchanges.last().is_some_and(Exchange::is_admitted) {
            let stall = stalls.iter().find(|(before, _)| *before == exchanges.len());
            let gap = Duration::from_millis(stall.map_or(5, |(_, millis)| *millis));
            asked_at += gap;
            level = (level + rate * gap.as_secs_f64()).min(BURST);
            let status = if level < 1.0 { 429 } else { 200 };
            level -= if status == 200 { 1.0 } else { 0.0 };
            exchanges.push(Exchange {
                sent: start + asked_at,
                received: start + asked_at + TAKES,
                status,
            });
        }
        exchanges
    }

    const STALLS: [&[(usize, u64)]; 6] = [
        &[],
        &[(400, 549)],
        &[(400, 3000)],
        &[(1, 2000), (2, 700)],
        &[(3, 60), (9, 1000), (15, 480), (16, 480)],
        &[(100, 900), (300, 900), (799, 5000)],
    ];

    /// The bound held only while no stall was longer than the burst takes to refill.
    #[test]
    fn a_bucket_that_keeps_its_word_passes_however_the_client_is_stalled() {
        for stalls in STALLS {
            let exchanges = exchanges(RATE, stalls);
            assert_whole_run(&exchanges);
            // Nearly a unit is left over at the most, and each stall and the ends are known to 2 ms.
            let slack = admitted(&exchanges) - least(&exchanges);
            assert!(
                slack < 1.0 + 0.1 * (stalls.len() + 1) as f64,
                "{slack} after {stalls:?}"
            );
        }
    }

    #[test]
    fn a_bucket_that_refills_a_twentieth_too_slowly_fails_however_the_client_is_stalled() {
        for stalls in STALLS {
            let exchanges = exchanges(RATE * 0.95, stalls);
            assert!(admitted(&exchanges) < least(&exchanges), "{stalls:?}");
        }
    }
}
