//! The store's answer: any bytes are an answer to what was asked, in numbers that can be, or none.

use sluicegate_core::sharing::{Ask, Kind, Terms, permits};
use sluicegate_redis::script::{Said, read};
use sluicegate_state::store::{Answer, Item, Question, StoreKey};

/// What answers are made of: how a call ended, and numbers at their edges.
pub const DICTIONARY: &[&str] = &[
    "\0",
    "\u{1}",
    "\u{2}",
    "\0\0\0\0\0\0\0\0",
    "\0\0\0\0\0\0\u{8}@",
    "\0\0\0\0\0\0$@",
    "\0\0\0\0\0\0\u{10}\0",
    "\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}",
];

/// The first byte says how many keys were asked about, and of which kinds in turn; the others are the answer.
///
/// # Panics
///
/// When an answer holds what no store can say, or what was read is also an answer with a byte more.
pub fn target(data: &[u8]) {
    let (first, answer) = data.split_first().unwrap_or((&0, &[]));
    let items = items(*first);
    let Some(said) = read(answer, &items) else {
        return;
    };
    assert_eq!(
        read(&[answer, &[0]].concat(), &items),
        None,
        "an answer with something behind it"
    );
    let (Said::Done { now, .. } | Said::Changed { now, .. } | Said::Late { now }) = said;
    assert!(now.is_finite());
    let Said::Done { answers, .. } = said else {
        return;
    };
    assert_eq!(answers.len(), items.len());
    for (item, answer) in items.iter().zip(&answers) {
        match (&item.question, answer) {
            (Question::Units { ask, .. }, Answer::Units(reply)) => {
                assert!(reply.is_sane(), "{reply:?}");
                assert!(reply.taken <= ask.take && reply.granted < ask.want + 1.0, "{reply:?}");
            }
            (Question::Permits(ask), Answer::Permits(reply)) => {
                assert!(
                    reply.granted >= 0.0 && reply.granted <= ask.target.max(ask.in_use),
                    "{reply:?}"
                );
                assert!(reply.free >= 0.0 && reply.free <= ask.limit, "{reply:?}");
            }
            _ => unreachable!("{answer:?} about {item:?}"),
        }
    }
}

fn items(first: u8) -> Vec<Item> {
    let units = |kind| Question::Units {
        terms: Terms {
            kind,
            interval: 1e5,
            burst: 20.0,
            ttl: 1e6,
            theta: 2e6,
            overdraft: 2.0,
            holds: true,
            lock: 1e6,
        },
        ask: Ask {
            take: 3.0,
            want: 7.5,
            own: 2.0,
            ..Ask::default()
        },
    };
    let permits = Question::Permits(permits::Ask {
        node: 1.0,
        in_use: 1.0,
        target: 4.0,
        limit: 10.0,
        ttl: 1e6,
        learning: false,
    });
    let kinds = [
        units(Kind::Bucket),
        units(Kind::SlidingWindow),
        units(Kind::FixedWindow),
        permits,
    ];
    let (count, start) = (first % 8, usize::from(first / 8));
    (0..count)
        .map(|number| Item {
            key: StoreKey {
                shard: 0,
                hash: [number; 16],
            },
            question: kinds[(start + usize::from(number)) % kinds.len()],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TARGETS, corpus};

    /// Else mutations would begin from nothing that is an answer.
    #[test]
    fn kept_answers_are_answers_but_for_the_infinite_one() {
        let target = TARGETS.iter().find(|target| target.name == "store");
        for (path, bytes) in corpus(target.expect("a target")).expect("kept inputs") {
            let (first, answer) = bytes.split_first().expect("not empty");
            let is_answer = read(answer, &items(*first)).is_some();
            assert_eq!(is_answer, !path.ends_with("infinite"), "{}", path.display());
        }
    }
}
