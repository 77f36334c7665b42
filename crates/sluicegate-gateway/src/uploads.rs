//! Uploads whose answers have begun: a client that reads nothing before it has sent everything must not be waited for by
//! itself, so that from the answer's head on its connection drives them apart from the answer.
//!
//! They live and die with the client's connection: they hold its place under the cap, a drain waits for them, and a
//! server that takes nothing for `write_stall` is given up, as a client is that takes nothing of its answer.

use std::cell::RefCell;
use std::task::{Context, Poll};

use crate::pulse::{Alarm, Tick, Ticks};
use crate::upstream::Link;

/// What one client connection is still sending to servers that have begun to answer.
#[derive(Default)]
pub(crate) struct Uploads {
    list: RefCell<Vec<Upload>>,
    /// For the first of them that is given up if its server goes on to take nothing.
    stall: Alarm,
}

struct Upload {
    link: Box<Link>,
    stall: Option<Stall>,
}

/// A server takes nothing.
#[derive(Debug, Clone, Copy)]
struct Stall {
    /// Bytes it had taken.
    at: u64,
    until: Tick,
}

impl Uploads {
    /// Takes over the driving of a link. If there are too many, the oldest is given up.
    pub(crate) fn take_on(&self, link: Box<Link>) {
        let mut list = self.list.borrow_mut();
        if list.len() == UPLOADS_MAX {
            list.remove(0);
        }
        list.push(Upload { link, stall: None });
    }

    /// Drives all of them. Ready when none is left. `span` is how long a server may take nothing.
    #[inline]
    pub(crate) fn poll(&self, cx: &mut Context<'_>, now: Tick, span: Ticks) -> Poll<()> {
        if self.is_empty() {
            return Poll::Ready(());
        }
        self.drive(cx, now, span)
    }

    fn drive(&self, cx: &mut Context<'_>, now: Tick, span: Ticks) -> Poll<()> {
        let mut list = self.list.borrow_mut();
        list.retain_mut(|upload| upload.drive(cx, now, span).is_pending());
        match list
            .iter()
            .filter_map(|upload| upload.stall)
            .map(|stall| stall.until)
            .min()
        {
            Some(until) => {
                self.stall.wakes(cx.waker());
                self.stall.set_at(until);
            }
            None => self.stall.clear(),
        }
        if list.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Gives up what is left. To be called at the connection's end: a link holds its request's body, which holds the
    /// watch, which holds this.
    pub(crate) fn give_up(&self) {
        // Not within the loan: what is dropped may look back here.
        let left = std::mem::take(&mut *self.list.borrow_mut());
        drop(left);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// For the pulse.
    pub(crate) fn look(&self, now: Tick) {
        self.stall.look(now);
    }
}

impl Upload {
    /// Ready when it is over, or its server has taken nothing for `span`.
    fn drive(&mut self, cx: &mut Context<'_>, now: Tick, span: Ticks) -> Poll<()> {
        if self.link.drive(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(at) = self.link.blocked_at() else {
            self.stall = None;
            // Done both ways. It is not kept for another request: the server may not have read this one, and the other
            // would stand behind it.
            return if self.link.is_ready() {
                Poll::Ready(())
            } else {
                Poll::Pending
            };
        };
        let until = match self.stall {
            Some(stall) if stall.at == at => stall.until,
            _ => now.after(span),
        };
        self.stall = Some(Stall { at, until });
        if until <= now { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Most uploads that one client connection leaves behind. It can begin the next only when we have read the former to its
/// end, and its server has answered that one and not taken the end: a fifth means servers that take nothing, and its
/// client could otherwise collect connections to them.
const UPLOADS_MAX: usize = 4;
