//! Rivals as small clients over the library that ours uses, each node with a connection of its own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sluicegate::{AnyClock, Clock as _};
use sluicegate_core::sharing::Terms;
use sluicegate_testkit::fleet::Chance;
use tokio::time::timeout;

use super::super::super::store::{GCRA, Link, Setting};
use super::super::rivals::{Allowed, Bucket};
use super::load::Load;
use super::nodes::Verdict;
use crate::error::BenchError;
use crate::spread::number;

/// Each request asks the store, by a script of one key, many on their way at once.
pub(super) struct Exact {
    nodes: Vec<ExactNode>,
    allowed: Allowed,
    operations: Rc<Cell<u64>>,
}

struct ExactNode {
    link: Link,
    under_way: Rc<Cell<usize>>,
}

/// Requests that one node has under way; what comes beyond is refused.
const UNDER_WAY_MAX: usize = 64;

/// How long a node waits for the store.
const DEADLINE: Duration = Duration::from_millis(50);

impl Exact {
    pub(super) async fn start(setting: &Setting, load: &Load, terms: &Terms) -> Result<Self, BenchError> {
        let mut nodes = Vec::new();
        for _ in 0..load.nodes {
            nodes.push(ExactNode {
                link: Link::open(setting, GCRA).await?,
                under_way: Rc::default(),
            });
        }
        Ok(Self {
            nodes,
            allowed: Allowed::of(terms),
            operations: Rc::default(),
        })
    }

    pub(super) fn decide(&self, node: u32, key: u32) -> Verdict {
        let ExactNode { link, under_way } = &self.nodes[node as usize];
        if under_way.get() >= UNDER_WAY_MAX {
            return Verdict::Now(false);
        }
        under_way.set(under_way.get() + 1);
        self.operations.set(self.operations.get() + 1);
        let (mut link, under_way, allowed) = (link.clone(), Rc::clone(under_way), self.allowed);
        Verdict::Later(Box::pin(async move {
            let mut call = link.call();
            call.arg(1).arg(key).arg(allowed.interval).arg(allowed.burst);
            let said = timeout(DEADLINE, link.ask::<u8>(&call)).await;
            under_way.set(under_way.get() - 1);
            matches!(said, Ok(Ok(1)))
        }))
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations.get()
    }
}

/// Each node decides by its own view, and pushes and pulls once a period.
pub(super) struct PushPull {
    nodes: Vec<Rc<RefCell<PushNode>>>,
    clock: AnyClock,
    allowed: Allowed,
    operations: Rc<Cell<u64>>,
}

struct PushNode {
    views: Vec<Viewed>,
    touched: Vec<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Viewed {
    bucket: Bucket,
    unpushed: f64,
    is_touched: bool,
}

/// Most keys of one call.
const KEYS_MAX: usize = 128;

/// Adds to each key what passed, and says what is owed, in units.
const PUSH: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local kept = redis.call('MGET', unpack(KEYS))
local owed = {}
for i = 1, #KEYS do
  local tat = tonumber(kept[i] or 0)
  if tat < now then tat = now end
  local passed = tonumber(ARGV[i + 1])
  if passed > 0 then
    tat = tat + passed * interval
    redis.call('SET', KEYS[i], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000))
  end
  owed[i] = string.format('%.3f', (tat - now) / interval)
end
return owed
";

impl PushPull {
    pub(super) async fn start(
        setting: &Setting,
        load: &Load,
        terms: &Terms,
        clock: &AnyClock,
        millis: u64,
    ) -> Result<Self, BenchError> {
        let operations = Rc::<Cell<u64>>::default();
        let mut nodes = Vec::new();
        for number in 0..load.nodes {
            let link = Link::open(setting, PUSH).await?;
            let node = Rc::new(RefCell::new(PushNode {
                views: vec![Viewed::default(); load.keys as usize],
                touched: Vec::new(),
            }));
            let pusher = Pusher {
                node: Rc::clone(&node),
                link,
                clock: clock.clone(),
                allowed: Allowed::of(terms),
                operations: Rc::clone(&operations),
            };
            let period = Duration::from_millis(millis);
            tokio::task::spawn_local(pusher.run(period, Chance::new(number.into()).part()));
            nodes.push(node);
        }
        Ok(Self {
            nodes,
            clock: clock.clone(),
            allowed: Allowed::of(terms),
            operations,
        })
    }

    pub(super) fn decide(&self, node: u32, key: u32) -> bool {
        let now = micros(&self.clock);
        let mut node = self.nodes[node as usize].borrow_mut();
        let view = &mut node.views[key as usize];
        let passes = view.bucket.take(self.allowed, now, 1.0);
        if passes {
            view.unpushed += 1.0;
        }
        if !std::mem::replace(&mut view.is_touched, true) {
            node.touched.push(key);
        }
        passes
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations.get()
    }
}

/// What pushes a node's keys.
struct Pusher {
    node: Rc<RefCell<PushNode>>,
    link: Link,
    clock: AnyClock,
    allowed: Allowed,
    operations: Rc<Cell<u64>>,
}

impl Pusher {
    /// Pushes once a period, from a part of the first one on.
    async fn run(mut self, period: Duration, part: f64) {
        let mut ticks = tokio::time::interval(period);
        ticks.reset_after(period.mul_f64(part));
        loop {
            ticks.tick().await;
            let touched = std::mem::take(&mut self.node.borrow_mut().touched);
            for keys in touched.chunks(KEYS_MAX) {
                self.push(keys).await;
            }
        }
    }

    async fn push(&mut self, keys: &[u32]) {
        let mut call = self.link.call();
        call.arg(keys.len());
        for key in keys {
            call.arg(*key);
        }
        call.arg(self.allowed.interval);
        let mut pushed = Vec::with_capacity(keys.len());
        for key in keys {
            let view = &mut self.node.borrow_mut().views[*key as usize];
            view.is_touched = false;
            let passed = std::mem::take(&mut view.unpushed);
            call.arg(passed);
            pushed.push(passed);
        }
        self.operations.set(self.operations.get() + keys.len() as u64);
        let said = self.link.ask::<Vec<f64>>(&call).await;
        let now = micros(&self.clock);
        let mut node = self.node.borrow_mut();
        for (at, (key, passed)) in keys.iter().zip(pushed).enumerate() {
            let view = &mut node.views[*key as usize];
            match &said {
                Ok(owed) => {
                    let owed = owed.get(at).copied().unwrap_or_default();
                    view.bucket = Bucket::owing(owed + view.unpushed, now);
                }
                Err(_) => view.unpushed += passed,
            }
        }
    }
}

fn micros(clock: &AnyClock) -> f64 {
    number(clock.now().as_nanos()) / 1e3
}
