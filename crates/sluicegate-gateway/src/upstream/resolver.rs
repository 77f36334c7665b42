//! Finds a server's addresses by its name.
//!
//! The system's resolver blocks its thread, and one that hangs does so for as long as it likes. So a server's name is asked
//! for once at a time, by whoever needs a connection first; everybody else waits for the same answer, each for no longer
//! than its own `connect`. What was found serves for a moment, so that a burst of connections is one question.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::pulse::{Pulse, Tick, Timed};

/// One name's resolver, shared by all who connect to it from one worker.
pub(super) struct Resolver<T> {
    lookup: Arc<dyn Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync>,
    pulse: Rc<Pulse<T>>,
    state: RefCell<State>,
    answered: Notify,
}

enum State {
    Unasked,
    Asked,
    Answered { answer: Answer, until: Tick },
}

/// An error can be told only once, so that its kind and number are kept.
type Answer = Result<Rc<[SocketAddr]>, (io::ErrorKind, Option<i32>)>;

impl<T: Timed + 'static> Resolver<T> {
    /// `lookup` may block.
    pub(super) fn new(
        pulse: &Rc<Pulse<T>>,
        lookup: impl Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Rc<Self> {
        Rc::new(Self {
            lookup: Arc::new(lookup),
            pulse: Rc::clone(pulse),
            state: RefCell::new(State::Unasked),
            answered: Notify::new(),
        })
    }

    /// At least one address, in the order in which they are to be tried. Waits for as long as the lookup takes.
    pub(super) async fn addresses(self: &Rc<Self>) -> io::Result<Rc<[SocketAddr]>> {
        loop {
            if let State::Answered { answer, until } = &*self.state.borrow()
                && *until > self.pulse.now()
            {
                return told(answer);
            }
            if !matches!(self.state.replace(State::Asked), State::Asked) {
                tokio::task::spawn_local(Rc::clone(self).ask());
            }
            // Nobody else has run since the look above, so that the answer cannot have been missed.
            self.answered.notified().await;
        }
    }

    /// Goes on when nobody waits for the answer any more: the next to come may use it.
    async fn ask(self: Rc<Self>) {
        let lookup = Arc::clone(&self.lookup);
        let found = tokio::task::spawn_blocking(move || lookup()).await;
        let answer = match found.map_err(io::Error::other).flatten() {
            Ok(addresses) if addresses.is_empty() => Err((io::ErrorKind::NotFound, None)),
            Ok(addresses) => Ok(addresses.into()),
            Err(error) => Err((error.kind(), error.raw_os_error())),
        };
        let until = self.pulse.now().after(self.pulse.ticks(ANSWER_SERVES));
        self.state.replace(State::Answered { answer, until });
        self.answered.notify_waiters();
    }
}

fn told(answer: &Answer) -> io::Result<Rc<[SocketAddr]>> {
    answer
        .clone()
        .map_err(|(kind, number)| number.map_or_else(|| kind.into(), io::Error::from_raw_os_error))
}

/// How long an answer serves, be it addresses or none. A burst of connections is then one question; a name that moves is
/// followed within a second, less than any record's time to live says.
const ANSWER_SERVES: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;
    use crate::pulse::{Alarm, Beat};

    const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    /// A resolver whose lookups are counted, and each wait for a word.
    struct Waiting {
        resolver: Rc<Resolver<Alarm>>,
        pulse: Rc<Pulse<Alarm>>,
        asked: Arc<AtomicUsize>,
        go: mpsc::Sender<()>,
    }

    impl Waiting {
        fn new() -> Self {
            let pulse = Rc::new(Pulse::new(Duration::from_secs(4)));
            let (asked, (go, gone_on)) = (Arc::new(AtomicUsize::new(0)), mpsc::channel());
            let (counter, gone_on) = (Arc::clone(&asked), Mutex::new(gone_on));
            let resolver = Resolver::new(&pulse, move || {
                counter.fetch_add(1, Ordering::SeqCst);
                gone_on.lock().unwrap().recv().map_err(io::Error::other)?;
                Ok(vec![HERE])
            });
            Self {
                resolver,
                pulse,
                asked,
                go,
            }
        }
    }

    /// Each request once asked for itself, so that a resolver that hung filled a queue without bound.
    #[tokio::test(flavor = "local")]
    async fn a_name_is_asked_for_once_however_many_wait() {
        let Waiting {
            resolver, asked, go, ..
        } = Waiting::new();
        let waiters: Vec<_> = (0..100)
            .map(|_| {
                let resolver = Rc::clone(&resolver);
                tokio::task::spawn_local(async move { resolver.addresses().await })
            })
            .collect();
        // One that loses its patience takes nothing from the others.
        waiters[0].abort();
        tokio::task::yield_now().await;
        go.send(()).unwrap();
        for waiter in waiters.into_iter().skip(1) {
            assert_eq!(&*waiter.await.unwrap().unwrap(), [HERE]);
        }
        // It serves those who come a moment later, too.
        assert_eq!(&*resolver.addresses().await.unwrap(), [HERE]);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(flavor = "local")]
    async fn a_failure_is_told_to_all_and_not_asked_for_at_once_again() {
        let Waiting {
            resolver, asked, go, ..
        } = Waiting::new();
        drop(go);
        for _ in 0..3 {
            assert!(resolver.addresses().await.is_err());
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true, flavor = "local")]
    async fn an_old_answer_is_not_believed() {
        let Waiting {
            resolver,
            pulse,
            asked,
            go,
        } = Waiting::new();
        let beating = Rc::clone(&pulse);
        let _somebody = pulse.attend(Alarm::default());
        tokio::task::spawn_local(async move { beating.beat(|_| Beat::Go).await });
        for times in 1..4 {
            go.send(()).unwrap();
            resolver.addresses().await.unwrap();
            assert_eq!(asked.load(Ordering::SeqCst), times);
            tokio::time::sleep(2 * ANSWER_SERVES).await;
            tokio::task::yield_now().await;
        }
    }
}
