//! What one node believes of the cluster.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::super::{RedisError, RedisServer, Reply};

/// All nodes, as one of them sees them.
///
/// Source: the Redis documentation of `CLUSTER NODES`.
#[derive(Debug)]
pub(super) struct View {
    nodes: Vec<Seen>,
}

/// A node, as one of them sees it.
#[derive(Debug)]
pub(super) struct Seen {
    id: String,
    flags: Vec<String>,
    /// Whom it copies.
    master: Option<String>,
    /// How late its claim to its slots is.
    epoch: u64,
    slots: Vec<RangeInclusive<u16>>,
}

impl View {
    pub(super) fn of(server: &RedisServer) -> Result<Self, RedisError> {
        let reply = server.command(&["CLUSTER", "NODES"])?;
        let text = reply.text().unwrap_or_default();
        let nodes: Option<Vec<_>> = text.lines().map(Seen::read).collect();
        nodes
            .map(|nodes| Self { nodes })
            .ok_or_else(|| named("CLUSTER NODES", reply))
    }

    pub(super) fn node(&self, id: &str) -> Option<&Seen> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The node whose view this is.
    pub(super) fn own(&self) -> Option<&Seen> {
        self.nodes.iter().find(|node| node.is("myself"))
    }

    /// Whether this node is believed to do its part.
    pub(super) fn serves(&self, id: &str) -> bool {
        let has_part = |node: &Seen| !node.has_failed() && (node.master.is_some() || !node.slots.is_empty());
        self.node(id).is_some_and(has_part)
    }

    /// Who serves a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&str> {
        let owner = self.nodes.iter().find(|node| node.claim(slot).is_some());
        owner.map(|node| node.id.as_str())
    }

    /// Who serves which slots, whoever is down.
    pub(super) fn owners(&self) -> BTreeMap<String, Vec<RangeInclusive<u16>>> {
        let owning = self.nodes.iter().filter(|node| !node.slots.is_empty());
        owning.map(|node| (node.id.clone(), node.slots.clone())).collect()
    }
}

impl Seen {
    /// From `ID ADDRESS FLAGS MASTER PINGED PONGED EPOCH LINK SLOT…`.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let id = words.next()?.to_owned();
        let flags = words.nth(1)?.split(',').map(str::to_owned).collect();
        let master = Some(words.next()?).filter(|master| *master != "-").map(str::to_owned);
        let epoch = words.nth(2)?.parse().ok()?;
        let _link = words.next()?;
        // In brackets are slots on their way.
        let slots = words
            .filter(|slots| !slots.starts_with('['))
            .map(range)
            .collect::<Option<_>>()?;
        Some(Self {
            id,
            flags,
            master,
            epoch,
            slots,
        })
    }

    fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }

    fn has_failed(&self) -> bool {
        self.is("fail") || self.is("fail?")
    }

    /// Whether it has been spoken to.
    pub(super) fn is_met(&self) -> bool {
        !self.is("handshake") && !self.is("noaddr") && !self.has_failed()
    }

    /// How late its claim to a slot is; `None` if it does not serve it.
    pub(super) fn claim(&self, slot: u16) -> Option<u64> {
        self.slots
            .iter()
            .any(|slots| slots.contains(&slot))
            .then_some(self.epoch)
    }

    pub(super) fn copies(&self, master: &str) -> bool {
        self.master.as_deref() == Some(master)
    }
}

/// `5` or `0-5460`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// An answer that is not what the command answers.
pub(super) fn named(command: &str, found: Reply) -> RedisError {
    RedisError::Unexpected {
        command: command.to_owned(),
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_node_its_master_and_its_slots() {
        let line = "07c3 127.0.0.1:12000@22000,host myself,master - 0 1426238317239 4 connected 0-5460 9 [5461-<-e7d1]";
        let seen = Seen::read(line).expect("it is a line");
        assert_eq!(
            (seen.claim(5460), seen.claim(9), seen.claim(5461)),
            (Some(4), Some(4), None)
        );
        assert!(seen.is("myself") && seen.is_met());
        let line = "a4f2 127.0.0.1:12001@22001 slave,fail 07c3 0 1426238316232 2 disconnected";
        let seen = Seen::read(line).expect("it is a line");
        assert!(seen.copies("07c3") && seen.has_failed());
        assert!(Seen::read("vars currentEpoch 6").is_none());
    }
}
