//! What every store keeps to, as far as a caller can see it: the same for the model in memory and for any other.
//!
//! Nothing here waits for time to pass: limits give back a unit in a quarter of an hour, and answers may differ by a
//! hundredth of a unit.

use sluicegate_core::sharing::{Ask, Heal, Kind, Reply, Settled, Terms, permits};
use sluicegate_state::store::{
    Answer, Call, Exchanged, ITEMS_MAX, Item, Presence, Question, Store, StoreError, StoreGeneration, StoreKey,
};

/// Puts a store through everything, on keys that nobody has used; `wipe` makes it forget all it holds.
///
/// # Errors
///
/// The first sentence that is not true of it, with what was found; or that it did not answer.
pub async fn check<S: Store>(store: &S, wipe: impl FnOnce()) -> Result<(), Broken> {
    let mut bench = Bench {
        store,
        next: 0,
        generation: None,
    };
    for kind in [Kind::Bucket, Kind::SlidingWindow, Kind::FixedWindow] {
        bench.units(kind).await?;
    }
    bench.outstanding_units_block_refill().await?;
    bench.permits().await?;
    bench.whole_batches().await?;
    bench.nodes_are_counted().await?;
    bench.wiped(wipe).await
}

/// What a store did otherwise than all stores do.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A sentence that is not true of it.
    #[error("not so: {sentence}; found {found}")]
    NotSo {
        /// What all stores do.
        sentence: &'static str,
        /// What this one did.
        found: String,
    },
    /// It did not answer.
    #[error("the store did not answer")]
    NoAnswer(#[from] StoreError),
}

struct Bench<'s, S> {
    store: &'s S,
    next: u8,
    generation: Option<StoreGeneration>,
}

impl<S: Store> Bench<'_, S> {
    async fn units(&mut self, kind: Kind) -> Result<(), Broken> {
        let terms = terms(kind);
        let key = self.key();
        let first = self.ask(key, terms, take(30.0)).await?;
        expect("a key never seen has its whole burst", &first, |reply| {
            near(reply.taken, 30.0) && near(reply.available, 70.0) && near(reply.ready_after, 0.0) && !reply.damaged
        })?;
        let second = self.ask(key, terms, take(90.0)).await?;
        expect("a take gets what is left and no more", &second, |reply| {
            near(reply.taken, 70.0) && near(reply.available, 0.0) && reply.ready_after > 0.0
        })?;
        let refund = Ask {
            refund: 20.0,
            ..Ask::default()
        };
        let third = self.ask(key, terms, refund).await?;
        expect("what did not pass comes back", &third, |reply| {
            near(reply.available, 20.0)
        })?;
        let paid = Ask {
            pay: 25.0,
            ..Ask::default()
        };
        let fourth = self.ask(key, terms, paid).await?;
        expect("what was let through is charged whatever is left", &fourth, |reply| {
            near(reply.available, -5.0)
        })?;
        let fifth = self.ask(key, terms, take(1.0)).await?;
        expect("in debt nothing is taken", &fifth, |reply| near(reply.taken, 0.0))?;

        let key = self.key();
        let leased = self.ask(key, terms, want(10.0)).await?;
        expect("a lease is granted and charged", &leased, |reply| {
            near(reply.granted, 10.0) && near(reply.available, 90.0) && reply.valid_for > 0.0 && reply.epoch > 0.0
        })?;
        let returned = self.ask(key, terms, settle(leased.epoch, 4.0, 6.0)).await?;
        expect(
            "what is returned of a lease is others' again, what is spent is not",
            &returned,
            |reply| near(reply.available, 96.0),
        )?;
        let greedy = self.ask(key, terms, want(1_000.0)).await?;
        expect("a lease leaves something for whoever comes next", &greedy, |reply| {
            reply.granted > 0.0 && reply.available >= 1.0
        })?;
        let foreign = self.ask(key, terms, settle(1.0, 0.0, 50.0)).await?;
        expect("an epoch that is over settles nothing", &foreign, |reply| {
            near(reply.available, greedy.available)
        })?;

        let key = self.key();
        let healed = Ask {
            heal: Some(Heal {
                seen: second.seen,
                seen_epoch: second.epoch,
                held: 0.0,
            }),
            ..Ask::default()
        };
        let healed = self.ask(key, terms, healed).await?;
        expect("a key that was lost is what a node remembers of it", &healed, |reply| {
            near(reply.available, 0.0)
        })
    }

    async fn outstanding_units_block_refill(&mut self) -> Result<(), Broken> {
        let terms = terms(Kind::Bucket);
        let key = self.key();
        let leased = self.ask(key, terms, want(40.0)).await?;
        let refund = Ask {
            refund: 40.0,
            ..Ask::default()
        };
        let refunded = self.ask(key, terms, refund).await?;
        expect(
            "nothing comes back for units that may still be spent",
            &(leased, refunded),
            |(leased, refunded)| near(leased.granted, 40.0) && near(refunded.available, 60.0),
        )
    }

    async fn permits(&mut self) -> Result<(), Broken> {
        let key = self.key();
        let mut given = 0.0;
        for node in [1.0, 2.0, 3.0, 4.0] {
            let reply = self.permit(key, ask_permits(node, 0.0, 10.0)).await?;
            given += reply.granted;
            expect(
                "no more permits are out than there are",
                &(given, reply),
                |(given, reply)| *given <= 10.0 && near(reply.free, 10.0 - given),
            )?;
        }
        let returned = self.permit(key, ask_permits(1.0, 0.0, 0.0)).await?;
        expect("a node that wants none gives back its own", &returned, |reply| {
            near(reply.granted, 0.0) && reply.free >= 5.0
        })?;
        let in_use = self.permit(key, ask_permits(9.0, 12.0, 12.0)).await?;
        expect("what is in use is a fact", &in_use, |reply| {
            near(reply.granted, 12.0) && near(reply.free, 0.0)
        })?;
        let learning = permits::Ask {
            learning: true,
            ..ask_permits(1.0, 0.0, 5.0)
        };
        let key = self.key();
        let learning = self.permit(key, learning).await?;
        expect("while learning nobody gets more than is in use", &learning, |reply| {
            near(reply.granted, 0.0)
        })
    }

    async fn whole_batches(&mut self) -> Result<(), Broken> {
        let first = self.key();
        let items: Vec<_> = (0..ITEMS_MAX)
            .map(|number| {
                let mut key = first;
                key.hash[1] = u8::try_from(number).unwrap_or(u8::MAX);
                #[expect(clippy::cast_precision_loss, reason = "below 128")]
                let count = (number % 90) as f64;
                let kind = [Kind::Bucket, Kind::SlidingWindow, Kind::FixedWindow][number % 3];
                Item {
                    key,
                    question: Question::Units {
                        terms: terms(kind),
                        ask: take(count),
                    },
                }
            })
            .collect();
        let answers = self.call(&items).await?;
        let is_same = answers.len() == items.len()
            && items
                .iter()
                .zip(&answers)
                .all(|(item, answer)| match (item.question, answer) {
                    (Question::Units { ask, .. }, Answer::Units(reply)) => near(reply.taken, ask.take),
                    _ => false,
                });
        expect("answers come in the order of what was asked", &answers, |_| is_same)?;
        let none = self.call(&[]).await?;
        expect("a call about nothing is answered", &none, Vec::is_empty)
    }

    async fn nodes_are_counted(&mut self) -> Result<(), Broken> {
        let mut told = Vec::new();
        for (node, secret) in [(71, 5), (72, 5), (71, 5), (73, 6)] {
            told.push(self.store.heartbeat(Presence { node, secret }).await?);
        }
        expect("each node is counted once", &told, |told| {
            told.iter().map(|told| told.nodes).eq([1, 2, 2, 3])
        })?;
        expect("who has another secret is told so", &told, |told| {
            told.iter().map(|told| told.same_secret).eq([true, true, true, false])
        })
    }

    async fn wiped(&mut self, wipe: impl FnOnce()) -> Result<(), Broken> {
        let key = self.key();
        let items = [item(key, terms(Kind::Bucket), take(60.0))];
        self.call(&items).await?;
        let before = self.generation;
        wipe();
        let call = Call {
            lane: self.store.lane(key.shard),
            generation: before,
            items: &items,
        };
        let changed = self.store.exchange(call).await?;
        let Exchanged::Changed { generation } = changed else {
            return expect("data that was wiped is another generation", &changed, |_| false);
        };
        expect("and another number", &(before, generation), |(before, after)| {
            *before != Some(*after)
        })?;
        self.generation = Some(generation);
        let fresh = self.ask(key, terms(Kind::Bucket), take(60.0)).await?;
        expect("to other data nothing was done", &fresh, |reply| {
            near(reply.available, 40.0)
        })
    }

    /// A key of shard 7 that nobody has asked about.
    fn key(&mut self) -> StoreKey {
        self.next += 1;
        let mut hash = [0xC0; 16];
        hash[0] = self.next;
        StoreKey { shard: 7, hash }
    }

    async fn ask(&mut self, key: StoreKey, terms: Terms, ask: Ask) -> Result<Reply, Broken> {
        let answers = self.call(&[item(key, terms, ask)]).await?;
        match answers[..] {
            [Answer::Units(reply)] => Ok(reply),
            _ => expect("units are answered about units", &answers, |_| false).map(|()| Reply::default()),
        }
    }

    async fn permit(&mut self, key: StoreKey, ask: permits::Ask) -> Result<permits::Reply, Broken> {
        let question = Question::Permits(ask);
        let answers = self.call(&[Item { key, question }]).await?;
        match answers[..] {
            [Answer::Permits(reply)] => Ok(reply),
            _ => expect("permits are answered about permits", &answers, |_| false).map(|()| permits::Reply::default()),
        }
    }

    /// By the generation that the last call told.
    async fn call(&mut self, items: &[Item]) -> Result<Vec<Answer>, Broken> {
        let call = Call {
            lane: self.store.lane(7),
            generation: self.generation,
            items,
        };
        let exchanged = self.store.exchange(call).await?;
        let Exchanged::Done { generation, answers } = exchanged else {
            return expect("what nobody wiped is the same generation", &exchanged, |_| false).map(|()| Vec::new());
        };
        let before = self.generation.replace(generation);
        expect("the generation stays", &(before, generation), |(before, now)| {
            before.is_none_or(|before| before == *now)
        })?;
        Ok(answers)
    }
}

fn expect<T: std::fmt::Debug>(sentence: &'static str, found: &T, is_so: impl FnOnce(&T) -> bool) -> Result<(), Broken> {
    if is_so(found) {
        return Ok(());
    }
    Err(Broken::NotSo {
        sentence,
        found: format!("{found:?}"),
    })
}

fn terms(kind: Kind) -> Terms {
    // A window of 25 years, the third since 1970: none ends while a test runs.
    let (interval, ttl) = match kind {
        Kind::Bucket => (864e6, 10e6),
        Kind::SlidingWindow | Kind::FixedWindow => (8e12, 8e14),
    };
    Terms {
        kind,
        interval,
        burst: 100.0,
        ttl,
        theta: 10e6,
        overdraft: 20.0,
        holds: false,
        lock: 0.0,
    }
}

fn item(key: StoreKey, terms: Terms, ask: Ask) -> Item {
    Item {
        key,
        question: Question::Units { terms, ask },
    }
}

fn take(take: f64) -> Ask {
    Ask { take, ..Ask::default() }
}

fn want(want: f64) -> Ask {
    Ask { want, ..Ask::default() }
}

fn settle(epoch: f64, spent: f64, returned: f64) -> Ask {
    let mut ask = Ask::default();
    ask.settled[0] = Settled {
        epoch,
        spent,
        returned,
        reserved: 0.0,
    };
    ask
}

fn ask_permits(node: f64, in_use: f64, target: f64) -> permits::Ask {
    permits::Ask {
        node,
        in_use,
        target,
        limit: 10.0,
        ttl: 60e6,
        learning: false,
    }
}

/// What comes back in nine seconds is a hundredth of a unit.
fn near(one: f64, other: f64) -> bool {
    (one - other).abs() < 0.01
}
