//! What one call to the store carries.

mod node;

use std::collections::HashMap;
use std::sync::Arc;

use sluicegate_core::sharing::{OnStoreLoss, PermitPlan, Sharing};
use sluicegate_state::leases::{Batch, COLLECT_MAX, SharedBucket, SharedBucketSpec, SharedLimit, SharedTaken, Waiting};
use sluicegate_state::store::{Lane, StoreKey};
use sluicegate_state::{BucketIdentity, Clock as _};

use node::Node;

fn permits() -> Arc<SharedBucket> {
    Arc::new(SharedBucket::new(SharedBucketSpec {
        identity: BucketIdentity(78),
        limit: SharedLimit::Permits(PermitPlan {
            limit: 20.0,
            on_store_loss: OnStoreLoss::Local,
            fanout: 0.0,
        }),
        overflow: None,
    }))
}

/// Asks about so many keys, each of which then waits for the store.
fn ask(node: &Node, bucket: &Arc<SharedBucket>, keys: u64) -> Vec<Waiting> {
    let asked = (0..keys).map(|key| node.ask(&[bucket], key, 1));
    let waiting = asked.filter_map(|taken| match taken {
        SharedTaken::Waits(waiting) => Some(*waiting),
        SharedTaken::All | SharedTaken::Nothing => None,
    });
    waiting.collect()
}

/// The keys of each call until nothing is due any more. No answer comes, so that none is asked about again.
fn calls(node: &Node) -> Vec<Vec<StoreKey>> {
    let mut calls = Vec::new();
    let mut batch = Batch::new();
    while node.leases.collect(Lane(0), node.clock.now(), &mut batch) > 0 {
        calls.push(batch.call().items.iter().map(|item| item.key).collect());
    }
    calls
}

#[test]
fn permits_that_a_hundred_nodes_hold_go_in_calls_of_a_tenth_as_many_keys() {
    for (nodes, most) in [(1, 118), (12, 64), (100, 13), (2_000, 1)] {
        let node = Node::alone();
        node.leases.surroundings().count_nodes(nodes);
        let waiting = ask(&node, &permits(), 128);
        assert_eq!(waiting.len(), 128);
        let calls = calls(&node);
        let largest = calls.iter().map(Vec::len).max();
        assert_eq!(largest, Some(most), "of {nodes} nodes");
        assert_eq!(calls.len(), 128_usize.div_ceil(most), "of {nodes} nodes");
        let mut asked: HashMap<StoreKey, u32> = HashMap::new();
        for key in calls.iter().flatten() {
            *asked.entry(*key).or_default() += 1;
        }
        assert!(asked.len() == 128 && asked.values().all(|times| *times == 1));
    }
}

#[test]
fn a_call_carries_128_keys_of_buckets_however_many_nodes_there_are() {
    let node = Node::alone();
    node.leases.surroundings().count_nodes(2_000);
    let bucket = Node::bucket("5/min", Sharing::Leased, OnStoreLoss::Local);
    let _waiting = ask(&node, &bucket, 300);
    let lengths: Vec<_> = calls(&node).iter().map(Vec::len).collect();
    assert_eq!(lengths, [COLLECT_MAX, COLLECT_MAX, 300 - 2 * COLLECT_MAX]);
}

/// One key of permits of two thousand nodes is heavier than a call may be, and light ones are there all the time.
#[test]
fn a_key_too_heavy_for_any_call_with_others_has_one_for_itself_before_long() {
    let node = Node::alone();
    node.leases.surroundings().count_nodes(2_000);
    let buckets = Node::bucket("5/min", Sharing::Leased, OnStoreLoss::Local);
    let _light = ask(&node, &buckets, 1_000);
    let _heavy = ask(&node, &permits(), 3);
    let lengths: Vec<_> = calls(&node).iter().map(Vec::len).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 1_003);
    assert!(
        lengths.iter().filter(|length| **length == 1).count() >= 3,
        "{lengths:?}"
    );
    assert!(lengths.len() <= 3 + 3 + 8, "{lengths:?}");
}
