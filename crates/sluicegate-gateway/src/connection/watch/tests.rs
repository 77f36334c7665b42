use std::time::Duration;

use super::*;
use crate::pulse::{Attendance, Beat};

fn beating() -> (Rc<Pulse<Watch>>, Spans) {
    let deadlines = Deadlines::default();
    let pulse = Rc::new(Pulse::new(deadlines.upstream_idle));
    let spans = Spans::new(&deadlines, &pulse);
    let beating = Rc::clone(&pulse);
    tokio::task::spawn_local(async move { beating.beat(|_| Beat::Rest).await });
    (pulse, spans)
}

async fn after(span: Duration) {
    tokio::time::sleep(span).await;
    // The beat and this test wake at the same moment; let the beat go first.
    tokio::task::yield_now().await;
}

fn attend(pulse: &Rc<Pulse<Watch>>, spans: Spans) -> Attendance<Watch> {
    let attendance = pulse.attend(Watch::new(Rc::clone(pulse), spans));
    attendance.open();
    attendance
}

/// The deadline was once counted from where the clock stood while nobody was connected, so that the first client
/// after a quiet time was closed upon at once.
#[tokio::test(start_paused = true, flavor = "local")]
async fn the_first_client_after_a_quiet_time_has_all_its_time() {
    let deadlines = Deadlines::default();
    let (pulse, spans) = beating();
    drop(attend(&pulse, spans));
    after(Duration::from_hours(1)).await;
    let watch = attend(&pulse, spans);
    after(deadlines.request_head.saturating_sub(Duration::from_millis(1))).await;
    assert!(!watch.turn().has_rung());
    after(Duration::from_secs(1)).await;
    assert!(watch.turn().has_rung());
}

/// Its first byte once gave a client the whole time again.
#[tokio::test(start_paused = true, flavor = "local")]
async fn the_first_head_is_timed_from_the_connections_start() {
    let deadlines = Deadlines::default();
    let (pulse, spans) = beating();
    let watch = attend(&pulse, spans);
    after(deadlines.request_head / 2).await;
    watch.heard();
    after(deadlines.request_head / 2 + Duration::from_secs(1)).await;
    assert!(watch.turn().has_rung());
}

#[tokio::test(start_paused = true, flavor = "local")]
async fn a_head_that_begins_within_the_grace_of_a_drain_has_all_its_time() {
    let deadlines = Deadlines::default();
    let (pulse, spans) = beating();
    let watch = attend(&pulse, spans);
    watch.drain();
    watch.heard();
    after(deadlines.request_head.saturating_sub(Duration::from_millis(1))).await;
    assert!(!watch.turn().has_rung());
}

/// Keep-alive once ran from when the answer's last frame was handed over, and the connection was closed with hundreds
/// of kilobytes that a client had not taken yet.
#[tokio::test(start_paused = true, flavor = "local")]
async fn no_client_is_idle_before_it_has_taken_its_whole_answer() {
    let deadlines = Deadlines::default();
    let (pulse, spans) = beating();
    let waker = std::task::Waker::noop();
    for blocked_before_the_end in [true, false] {
        let watch = attend(&pulse, spans);
        watch.heard();
        watch.begin_turn(false);
        if blocked_before_the_end {
            assert!(watch.write_blocked(waker).is_ok());
            watch.end_turn();
        } else {
            watch.end_turn();
            assert!(watch.write_blocked(waker).is_ok());
        }
        // The order to stop does not make it idle either.
        watch.drain();
        after(deadlines.write_stall.saturating_sub(Duration::from_millis(1))).await;
        assert!(watch.is_busy() && !watch.turn().has_rung());
        assert!(watch.write_blocked(waker).is_ok());
        watch.wrote();
        assert!(!watch.is_busy() && !watch.turn().has_rung());
        after(Duration::from_secs(1)).await;
        assert!(watch.turn().has_rung(), "the grace runs from the last byte");
    }
}

#[tokio::test(start_paused = true, flavor = "local")]
async fn a_client_that_never_takes_the_rest_of_its_answer_is_given_up() {
    let deadlines = Deadlines::default();
    let (pulse, spans) = beating();
    let waker = std::task::Waker::noop();
    let watch = attend(&pulse, spans);
    watch.begin_turn(false);
    watch.end_turn();
    assert!(watch.write_blocked(waker).is_ok());
    after(deadlines.write_stall + Duration::from_secs(1)).await;
    assert!(watch.write_blocked(waker).is_err());
}
