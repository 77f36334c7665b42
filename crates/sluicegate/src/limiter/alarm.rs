//! The alarm: tells once, and then now and again, that a rule's keys find no room.

use std::collections::HashMap;

use sluicegate_core::RuleId;

use super::engine::Engine;

/// Watches the counts of requests that met an overflow.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    by_rule: HashMap<Box<str>, Watched>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Watched {
    /// Requests that were told of.
    told: u64,
    /// Looks that pass before more are told of.
    silent_for: u32,
}

impl Alarm {
    /// Looks between two tellings of one rule: a minute at ten looks a second, so that a flood writes a line a minute.
    const SILENCE: u32 = 600;

    /// Looks at every rule of the policy in force, and tells `say` the name of each that overflowed since it was told of, with how
    /// many requests did.
    pub(super) fn look(&mut self, engine: &Engine, mut say: impl FnMut(&str, u64)) {
        for (id, name) in (0..).map(RuleId::new).zip(engine.rule_names()) {
            let Some(overflowed) = engine.bucket(id).map(sluicegate_state::Bucket::overflowed) else {
                continue;
            };
            if let Some(watched) = self.by_rule.get_mut(name) {
                watched.silent_for = watched.silent_for.saturating_sub(1);
                // A bucket that is made anew under an old name counts from zero.
                watched.told = watched.told.min(overflowed);
                if watched.silent_for == 0 && overflowed > watched.told {
                    say(name, overflowed - watched.told);
                    *watched = Watched {
                        told: overflowed,
                        silent_for: Self::SILENCE,
                    };
                }
            } else if overflowed > 0 {
                say(name, overflowed);
                let watched = Watched {
                    told: overflowed,
                    silent_for: Self::SILENCE,
                };
                self.by_rule.insert(name.into(), watched);
            }
        }
        // Of rules that are gone nothing is kept, or reloads would fill the memory.
        self.by_rule.retain(|name, _| engine.rule(name).is_some());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::Policy;
    use crate::{Limiter, ManualClock, Secret};

    #[test]
    fn a_rule_that_overflows_is_told_of_once_and_again_after_a_while_if_it_goes_on() {
        let text = "version: 1\nstate: {memory: 1MiB}\nrules:\n  - {name: each, key: ip, limit: 1/h}\n  - {name: other, key: ip, limit: 1/h}\n";
        let (policy, _) = Policy::parse("policy.yaml", text).expect("a good policy");
        let secret = Secret::from_bytes([1; 32]);
        let clock = Arc::new(ManualClock::default());
        let limiter = Limiter::new(&policy, &secret, clock).expect("a small table");
        let engine = limiter.engine();
        let mut alarm = Alarm::default();
        let mut look = || {
            let mut told = Vec::new();
            alarm.look(&engine, |rule, requests| told.push((rule.to_owned(), requests)));
            told
        };
        let flood = |keys: std::ops::Range<u64>| {
            let before = engine.bucket(RuleId::new(0)).expect("the rule").overflowed();
            for key in keys {
                let _ = limiter.check("each", key).expect("the rule");
            }
            engine.bucket(RuleId::new(0)).expect("the rule").overflowed() - before
        };
        assert_eq!(look(), []);
        let first = flood(0..100_000);
        assert!(first > 0, "the table has room for all");
        assert_eq!(look(), [("each".to_owned(), first)]);
        let more = flood(100_000..100_100);
        let told: Vec<_> = (1..Alarm::SILENCE).flat_map(|_| look()).collect();
        assert_eq!(told, []);
        assert_eq!(look(), [("each".to_owned(), more)]);
        assert_eq!((0..2 * Alarm::SILENCE).flat_map(|_| look()).count(), 0);
    }
}
