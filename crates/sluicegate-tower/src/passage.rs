//! An admitted request from its admission to the end of its answer.

use http::response::Parts;
use http::{Method, StatusCode};
use sluicegate::{Admitted, RouteId};

/// What an admitted request holds until its answer has ended: permits, and reservations that are still to be settled.
///
/// It travels with the request: in the layer's future until the answer's head is here, then in the answer's
/// [`LimitBody`](crate::LimitBody). Wherever the request's way ends, it is dropped there, which gives every permit back and
/// settles what is open: by the answer if that came to its end, and otherwise as cut off.
#[derive(Debug)]
#[must_use]
pub struct Passage {
    /// `None` once the end was told, and for a request that holds nothing. Apart, since few requests do, and a passage is handed on
    /// with each answer.
    admitted: Option<Box<Admitted>>,
    route: Option<RouteId>,
    answer: Answer,
    reads_body: bool,
}

/// How far the answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Its head is not here yet. `bodiless` if it will have no body, whatever it says.
    Awaited { bodiless: bool },
    /// More of its body may come.
    Under,
    /// Nothing more will come.
    Whole,
}

impl Passage {
    pub(crate) fn new(admitted: Admitted, method: &Method) -> Self {
        Self {
            route: admitted.route(),
            admitted: admitted.holds().then(|| Box::new(admitted)),
            answer: Answer::Awaited {
                bodiless: *method == Method::HEAD,
            },
            reads_body: false,
        }
    }

    /// The request's route; `None` if no route takes it in.
    pub(crate) const fn route(&self) -> Option<RouteId> {
        self.route
    }

    /// The answer's head is here. `empty` if its body has nothing to give.
    pub(crate) fn answered(&mut self, head: &Parts, empty: bool) {
        if let Some(admitted) = &mut self.admitted {
            admitted.answered(head);
            self.reads_body = admitted.reads_body();
        }
        let bodiless = matches!(self.answer, Answer::Awaited { bodiless: true }) || is_bodiless(head.status);
        self.answer = if empty || bodiless {
            Answer::Whole
        } else {
            Answer::Under
        };
    }

    /// A part of the answer's body passes; `last` if nothing is left behind it.
    #[inline]
    pub(crate) fn passes(&mut self, part: Option<&[u8]>, last: bool) {
        if self.reads_body
            && let (Some(admitted), Some(part)) = (&mut self.admitted, part)
        {
            admitted.feed(part);
        }
        if last {
            // Whoever sends a body whose end it can see drops it without asking for the end.
            self.answer = Answer::Whole;
        }
    }

    /// The answer's body came to its end.
    pub(crate) fn ended(&mut self) {
        self.answer = Answer::Whole;
        self.part();
    }

    /// The answer's body broke off.
    pub(crate) fn broke(&mut self) {
        self.answer = Answer::Under;
        self.part();
    }

    fn part(&mut self) {
        if let Some(admitted) = self.admitted.take()
            && self.answer == Answer::Whole
        {
            admitted.finish();
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.part();
    }
}

/// Answers that end with their head (RFC 9112, section 6.3): a server sends no body with them, and never asks for it.
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}
