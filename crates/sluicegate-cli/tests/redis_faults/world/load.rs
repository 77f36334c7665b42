//! Requests, as they come.

use std::ops::Range;

/// Requests that come evenly, to the nodes in turn.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Over all nodes and keys.
    pub(crate) per_second: u32,
    /// The first key.
    pub(crate) key: u32,
    /// As many keys from there on, in turn: each for all nodes before the next.
    pub(crate) keys: u32,
    /// Instead, each request for a key of its own, from `key` on.
    pub(crate) is_each_once: bool,
    /// The nodes that it reaches.
    pub(crate) nodes: Range<usize>,
}

impl Load {
    /// On the first `nodes`, for one key.
    pub(crate) const fn new(per_second: u32, nodes: usize) -> Self {
        Self {
            per_second,
            key: 0,
            keys: 1,
            is_each_once: false,
            nodes: 0..nodes,
        }
    }

    /// For this key.
    pub(crate) const fn of_key(self, key: u32) -> Self {
        Self { key, ..self }
    }

    /// Each request for a key of its own.
    pub(crate) const fn each_key_once(self) -> Self {
        Self {
            is_each_once: true,
            ..self
        }
    }

    /// For so many keys.
    pub(crate) const fn keys(self, keys: u32) -> Self {
        Self { keys, ..self }
    }

    /// The node and the key of a request, counted from 0.
    pub(crate) fn request(&self, number: u64) -> (usize, u32) {
        let nodes = self.nodes.len() as u64;
        let node = usize::try_from(number % nodes).unwrap_or_default();
        let key = if self.is_each_once {
            number
        } else {
            number / nodes % u64::from(self.keys)
        };
        let key = u32::try_from(key).unwrap_or_default();
        (self.nodes.start + node, self.key + key)
    }
}
