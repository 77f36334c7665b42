//! The script of an exchange in full batches, as fast as one server does them.

use std::time::Duration;

use sluicegate::{Limit, SystemClock};
use sluicegate_core::sharing::{Ask, Kind, Settled, Terms};
use sluicegate_redis::RedisStore;
use sluicegate_state::store::{
    Answer, Call, Exchanged, ITEMS_MAX, Item, Lane, Question, Store as _, StoreError, StoreKey,
};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::{Load, Setting};
use crate::error::BenchError;
use crate::spread::number;
use crate::stopwatch::Stopwatch;

/// Batches that take turns; no key is in two of them.
const BATCHES: u16 = 100;

/// Calls under way: one is done while the next waits and another is made.
const UNDER_WAY: usize = 3;

/// Keys of a full call.
pub(super) const FULL: usize = ITEMS_MAX;

/// Asks one server as fast as it answers, about so many keys in each call.
pub(super) fn measure(setting: &Setting, keys: usize, span: Duration) -> Result<Load, BenchError> {
    let store = setting.store(1, SystemClock::new().into())?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut waiting: Vec<Vec<Item>> = (0..BATCHES)
        .map(|number| batch(number, keys))
        .collect::<Result<_, _>>()?;
    // Once for each key, so that all are known.
    runtime.block_on(run(&store, &mut waiting, |calls| calls < BATCHES.into()))?;

    setting.reset()?;
    let before = setting.server_time()?;
    let watch = Stopwatch::start();
    let calls = runtime.block_on(run(&store, &mut waiting, |_| watch.read().wall < span))?;
    let taken = watch.read();
    let server = setting.server_time()?.saturating_sub(before);
    let scripts = setting.scripts()?;
    Ok(Load {
        done: number(calls * keys as u64),
        wall: taken.wall,
        server,
        sharing: Duration::ZERO,
        asking: taken.cpu,
        scripts: scripts.took.as_secs_f64() * 1e6,
        calls: number(scripts.calls),
        slow: setting.slow()?,
    })
}

/// Makes calls while `goes_on`, and tells how many were answered.
async fn run(
    store: &RedisStore,
    waiting: &mut Vec<Vec<Item>>,
    goes_on: impl Fn(u64) -> bool,
) -> Result<u64, BenchError> {
    let mut under_way = JoinSet::new();
    let mut calls = 0;
    loop {
        while under_way.len() < UNDER_WAY && goes_on(calls) {
            // The first that waits: those that came back last wait longest.
            let items = waiting.remove(0);
            let store = store.clone();
            under_way.spawn(async move {
                let call = Call {
                    lane: Lane(0),
                    generation: None,
                    items: &items,
                };
                let said = store.exchange(call).await;
                (items, said)
            });
        }
        let Some(ended) = under_way.join_next().await else {
            return Ok(calls);
        };
        let (mut items, said) = ended.map_err(|_| BenchError::panicked("a call"))?;
        learn(&mut items, said)?;
        waiting.push(items);
        calls += 1;
    }
}

/// The next ask of each key: that the lease which it got is spent, and for the next.
fn learn(items: &mut [Item], said: Result<Exchanged, StoreError>) -> Result<(), BenchError> {
    let said = said.map_err(|error| BenchError::set_up("a store", &error))?;
    let Exchanged::Done { answers, .. } = said else {
        return Err(BenchError::Strayed {
            who: "the store".to_owned(),
            what: "it lost its data".to_owned(),
        });
    };
    for (item, answer) in items.iter_mut().zip(&answers) {
        if let (Question::Units { ask, .. }, Answer::Units(reply)) = (&mut item.question, answer) {
            ask.settled[0] = Settled {
                epoch: reply.epoch,
                spent: reply.granted,
                ..Settled::default()
            };
        }
    }
    Ok(())
}

fn batch(number: u16, keys: usize) -> Result<Vec<Item>, BenchError> {
    let limit: Limit = "1000/s burst 2000"
        .parse()
        .map_err(|error| BenchError::set_up("a limit", &error))?;
    let terms = Terms::new(Kind::Bucket, &limit, 0.0);
    let item = |index: u8| {
        let mut hash = [0; 16];
        hash[..2].copy_from_slice(&number.to_le_bytes());
        hash[2] = index;
        Item {
            key: StoreKey { shard: index, hash },
            question: Question::Units {
                terms,
                ask: Ask {
                    want: 4.0,
                    demand: 3.0,
                    own: 20.0,
                    chance: 0.5,
                    ..Ask::default()
                },
            },
        }
    };
    Ok((0..=u8::MAX).take(keys).map(item).collect())
}
