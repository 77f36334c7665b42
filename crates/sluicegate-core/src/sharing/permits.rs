//! The store's side of permits: how many each node may give out, and until when.
//!
//! Permits do not come back by themselves, so a lost lease would be lost for ever. Each node's part therefore has an end,
//! which the node moves forward while it lives; a node stops giving out permits before that end, and only after it are they
//! anyone's again.
#![expect(clippy::float_cmp, reason = "nodes are told by whole numbers below 2⁵³")]

use alloc::vec::Vec;

use super::exchange::EXTRA_US;

/// What a node asks for, of one key.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ask {
    /// Which node: a whole number from 1 to below 2⁵³ that no other node has.
    pub node: f64,
    /// Permits that are in use at it.
    pub in_use: f64,
    /// Permits that it wants to have in all.
    pub target: f64,
    /// Most permits of the key, over all nodes.
    pub limit: f64,
    /// For how long it wants them, in microseconds.
    pub ttl: f64,
    /// Whether the store may have forgotten what others hold: then nobody gets more than is in use already.
    pub learning: bool,
}

/// What the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reply {
    /// Permits that the node now has in all. Not below what is in use: open streams are a fact.
    pub granted: f64,
    /// How long, in microseconds from the moment the ask was sent.
    pub valid_for: f64,
    /// Permits that nobody has.
    pub free: f64,
    /// Whether what was kept made no sense and was thrown away.
    pub damaged: bool,
}

/// What the store keeps of one node's part: 24 bytes of a value that holds those of all nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Whose it is.
    pub node: f64,
    /// How many permits.
    pub permits: f64,
    /// When it ends, by the store's clock.
    pub ends_at: f64,
}

/// Most nodes that hold permits of one key at a time; beyond them, a node gets none. A value of 48 KiB.
pub const NODES_MAX: usize = 2_000;

/// Does one exchange at the store's time `now`, and says for how long what is kept matters. `kept` is what was kept before,
/// and becomes what is to be kept.
pub fn exchange(kept: &mut Vec<Part>, ask: &Ask, now: f64) -> (Reply, f64) {
    let mut reply = Reply::default();
    let sane = |part: &Part| {
        let values = [part.node, part.permits, part.ends_at];
        values.iter().all(|value| value.is_finite() && *value >= 0.0)
    };
    if !kept.iter().all(sane) {
        kept.clear();
        reply.damaged = true;
    }
    // A part that ends later than any can is from before the clock went back.
    let latest = now + 2.0 * ask.ttl;
    for part in kept.iter_mut() {
        part.ends_at = part.ends_at.min(latest);
    }
    let own = kept.iter().find(|part| part.node == ask.node && part.ends_at > now);
    let own = own.map_or(0.0, |part| part.permits);
    kept.retain(|part| part.ends_at > now && part.node != ask.node);
    let others: f64 = kept.iter().map(|part| part.permits).sum();
    let room = (ask.limit - others).max(0.0);
    let kept_by_node = ask.in_use.max(own.min(ask.target));
    let more = (ask.target - kept_by_node).max(0.0);
    let free = (room - kept_by_node).max(0.0);
    // Half of what is free, so that something is left for whoever comes next; but a single one is not halved.
    let most = libm::ceil(free / 2.0);
    let more = if ask.learning || kept.len() >= NODES_MAX {
        0.0
    } else {
        more.min(most)
    };
    let granted = (kept_by_node + more).min(room.max(ask.in_use));
    if granted > 0.0 && kept.len() < NODES_MAX {
        kept.push(Part {
            node: ask.node,
            permits: granted,
            ends_at: now + ask.ttl,
        });
    }
    reply.granted = granted;
    reply.valid_for = ask.ttl;
    reply.free = (room - granted).max(0.0);
    let last = kept.iter().map(|part| part.ends_at - now).fold(0.0, f64::max);
    (reply, last + EXTRA_US)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "permits are whole numbers")]
mod tests {
    use super::*;

    const NOW: f64 = 91_000_000_000_000.0;
    const TTL: f64 = 3_000_000.0;

    fn ask(node: f64, in_use: f64, target: f64) -> Ask {
        Ask {
            node,
            in_use,
            target,
            limit: 100.0,
            ttl: TTL,
            learning: false,
        }
    }

    fn granted(kept: &mut Vec<Part>, ask: &Ask, now: f64) -> f64 {
        let (reply, matters_for) = exchange(kept, ask, now);
        assert!(reply.granted >= ask.in_use, "open streams are a fact");
        assert!((EXTRA_US..=2.0 * TTL + EXTRA_US).contains(&matters_for));
        reply.granted
    }

    #[test]
    fn a_node_gets_half_of_what_is_free_and_the_last_permit_whole() {
        let mut kept = Vec::new();
        assert_eq!(granted(&mut kept, &ask(1.0, 0.0, 10.0), NOW), 10.0);
        assert_eq!(granted(&mut kept, &ask(2.0, 0.0, 100.0), NOW), 45.0);
        assert_eq!(granted(&mut kept, &ask(3.0, 0.0, 100.0), NOW), 23.0);
        let mut more = 23.0;
        while more < 45.0 {
            more = granted(&mut kept, &ask(3.0, more, 100.0), NOW);
        }
        assert_eq!(kept.iter().map(|part| part.permits).sum::<f64>(), 100.0);
        assert_eq!(granted(&mut kept, &ask(4.0, 0.0, 1.0), NOW), 0.0);
    }

    #[test]
    fn a_part_is_kept_by_renewal_given_back_by_a_smaller_target_and_anyones_after_its_end() {
        let mut kept = Vec::new();
        let _ = granted(&mut kept, &ask(1.0, 0.0, 40.0), NOW);
        assert_eq!(granted(&mut kept, &ask(1.0, 10.0, 40.0), NOW + TTL / 2.0), 40.0);
        assert_eq!(granted(&mut kept, &ask(1.0, 10.0, 20.0), NOW + TTL), 20.0);
        let (reply, _) = exchange(&mut kept, &ask(2.0, 0.0, 100.0), NOW + 2.0 * TTL - 1.0);
        assert_eq!((reply.granted, reply.free), (40.0, 40.0));
        let (reply, _) = exchange(&mut kept, &ask(3.0, 0.0, 100.0), NOW + 2.0 * TTL);
        assert_eq!((reply.granted, reply.free), (30.0, 30.0));
        assert_eq!(granted(&mut kept, &ask(3.0, 0.0, 0.0), NOW + 2.0 * TTL), 0.0);
        assert!(kept.iter().all(|part| part.node == 2.0));
    }

    #[test]
    fn who_learns_is_told_what_is_in_use_already() {
        let learns = |node: f64, in_use: f64| Ask {
            learning: true,
            ..ask(node, in_use, 100.0)
        };
        let mut kept = Vec::new();
        assert_eq!(granted(&mut kept, &learns(1.0, 0.0), NOW), 0.0);
        assert_eq!(granted(&mut kept, &learns(2.0, 70.0), NOW), 70.0);
        assert_eq!(granted(&mut kept, &learns(3.0, 30.0), NOW), 30.0);
        // Told too late: others had it, and it is a fact all the same.
        assert_eq!(granted(&mut kept, &learns(4.0, 5.0), NOW), 5.0);
        assert_eq!(granted(&mut kept, &ask(2.0, 70.0, 100.0), NOW), 70.0);
    }

    #[test]
    fn a_lowered_limit_takes_nothing_that_is_in_use() {
        let mut kept = Vec::new();
        let _ = granted(&mut kept, &ask(1.0, 0.0, 40.0), NOW);
        let lower = |in_use: f64| Ask {
            limit: 10.0,
            ..ask(1.0, in_use, 40.0)
        };
        assert_eq!(granted(&mut kept, &lower(30.0), NOW), 30.0);
        assert_eq!(granted(&mut kept, &lower(5.0), NOW), 10.0);
    }

    #[test]
    fn what_makes_no_sense_is_thrown_away_and_a_clock_that_went_back_frees_in_time() {
        for value in [f64::NAN, f64::INFINITY, -1.0] {
            for spoil in [0, 1, 2] {
                let mut values = [2.0, 50.0, NOW + TTL];
                values[spoil] = value;
                let [node, permits, ends_at] = values;
                let mut kept = alloc::vec![Part { node, permits, ends_at }];
                let (reply, _) = exchange(&mut kept, &ask(1.0, 0.0, 100.0), NOW);
                assert_eq!((reply.granted, reply.damaged), (50.0, true), "{value} at {spoil}");
            }
        }
        let mut kept = Vec::new();
        let _ = granted(&mut kept, &ask(1.0, 0.0, 40.0), NOW);
        let earlier = NOW - 3_600e6;
        assert_eq!(granted(&mut kept, &ask(2.0, 0.0, 100.0), earlier), 30.0);
        assert_eq!(
            granted(&mut kept, &ask(2.0, 0.0, 30.0), earlier + 2.0 * TTL - 1.0),
            30.0
        );
        assert_eq!(granted(&mut kept, &ask(2.0, 0.0, 100.0), earlier + 2.0 * TTL), 65.0);
    }
}
