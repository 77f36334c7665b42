//! The receipt of one request's body: what its reader tells the connection's watch, and which deadline it is under.
//!
//! A body can outlive its turn: an upstream may answer before it has read everything, and the client may bring its next
//! request while the last bytes of the former are still on their way. What the old body tells must not be taken for the
//! new one's, so a receipt knows its turn and falls silent once that is over.

use std::task::Waker;

use super::watch::{SharedWatch, TooLong, Turn, Watch};

/// Held by whoever reads a request's body. Dropping it says that nobody will read the rest.
pub(crate) struct Receipt {
    watch: SharedWatch,
    turn: Turn,
}

impl Receipt {
    /// For the current request. `whole` if its body has no bytes, or all of them are here.
    pub(crate) fn new(watch: SharedWatch, whole: bool) -> Self {
        watch.set_uploading(!whole);
        Self {
            turn: watch.turn_now(),
            watch,
        }
    }

    /// A part of the body came, or its end. The upstream cannot be asked for an answer before it has the whole request.
    #[inline]
    pub(crate) fn progressed(&self) {
        if let Some(watch) = self.current() {
            watch.upload().progressed();
            watch.await_answer();
        }
    }

    /// No part is here yet: waits on, or says that it has lasted too long.
    pub(crate) fn pending(&self, waker: &Waker) -> Result<(), TooLong> {
        // What is left of an earlier request's body is here already, or its connection could not have gone on.
        self.current().map_or(Ok(()), |watch| watch.upload().pending(waker))
    }

    /// The body was read to its end.
    pub(crate) fn ended(&self) {
        if let Some(watch) = self.current() {
            watch.body_ended();
        }
    }

    fn current(&self) -> Option<&Watch> {
        (self.watch.turn_now() == self.turn).then_some(&**self.watch)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(watch) = self.current() {
            watch.upload().progressed();
            watch.set_uploading(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use sluicegate::policy::checked::Deadlines;

    use super::*;
    use crate::connection::{Phase, Spans};
    use crate::pulse::{Pulse, Timed};

    /// An old body's end once cleared what the next request's body had set, its deadline among it.
    #[test]
    fn the_body_of_an_earlier_turn_changes_nothing_in_this_one() {
        let deadlines = Deadlines::default();
        let pulse = Rc::new(Pulse::new(deadlines.request_body_idle));
        let watch = pulse.attend(Watch::new(Rc::clone(&pulse), Spans::new(&deadlines, &pulse)));
        watch.begin_turn(true);
        let old = Receipt::new(watch.share(), false);
        watch.end_turn();
        watch.begin_turn(true);
        let new = Receipt::new(watch.share(), false);
        assert!(new.pending(Waker::noop()).is_ok());
        old.progressed();
        old.ended();
        drop(old);
        assert!(watch.is_uploading() && watch.is_unread());
        // Still under its deadline.
        watch.look(pulse.now().after(pulse.ticks(deadlines.request_body_idle)));
        assert!(new.pending(Waker::noop()).is_err());
    }

    #[test]
    fn a_connection_receives_until_its_body_is_over_or_given_up() {
        let deadlines = Deadlines::default();
        let pulse = Rc::new(Pulse::new(deadlines.request_body_idle));
        let watch = pulse.attend(Watch::new(Rc::clone(&pulse), Spans::new(&deadlines, &pulse)));
        for given_up in [false, true] {
            watch.begin_turn(true);
            let receipt = Receipt::new(watch.share(), false);
            watch.end_turn();
            watch.heard();
            assert_eq!(watch.phase(), Phase::Receiving);
            if given_up {
                drop(receipt);
            } else {
                receipt.ended();
            }
            assert_eq!(watch.phase(), Phase::Idle);
        }
    }

    /// What hyper reads and forgets of a body that nobody wants was once taken for a head's first bytes, and answered as
    /// a head that is late.
    #[test]
    fn the_rest_of_a_body_that_nobody_wants_is_not_taken_for_a_head() {
        let deadlines = Deadlines::default();
        let pulse = Rc::new(Pulse::new(deadlines.request_body_idle));
        let watch = pulse.attend(Watch::new(Rc::clone(&pulse), Spans::new(&deadlines, &pulse)));
        watch.begin_turn(true);
        watch.end_turn();
        watch.heard();
        assert_eq!(watch.phase(), Phase::Idle);
        watch.begin_turn(false);
        watch.end_turn();
        watch.heard();
        assert_eq!(watch.phase(), Phase::Head);
    }
}
