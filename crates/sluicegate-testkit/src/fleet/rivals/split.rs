//! Each node has an even part of the limit, and they never speak: a division, as gateways without a store do it.

use std::collections::HashMap;

use super::Bucket;
use crate::fleet::{Call, Net, Request, Scheme, Timer, What};

/// The limit divided by the number of nodes.
#[derive(Debug, Default)]
pub struct Split {
    buckets: HashMap<(u32, u32), Bucket>,
}

impl Scheme for Split {
    type Batch = ();

    fn request(&mut self, net: &mut Net<()>, request: Request) {
        let part = 1.0 / f64::from(net.setup.nodes);
        let bucket = self.buckets.entry((request.node, request.key)).or_default();
        if bucket.take(&net.setup.plan.terms, net.now, request.cost, part) {
            net.admit(&request);
        } else {
            net.refuse(&request);
        }
    }

    fn timer(&mut self, _: &mut Net<()>, _: Timer) {}

    fn serve(&mut self, _: f64, (): &mut ()) {}

    fn reply(&mut self, _: &mut Net<()>, _: &mut Call<()>) {}

    fn lost(&mut self, _: &mut Net<()>, _: &mut Call<()>) {}

    fn fault(&mut self, _: &mut Net<()>, _: What) {}
}
