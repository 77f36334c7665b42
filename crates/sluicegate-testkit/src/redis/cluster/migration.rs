//! A slot on its way from one master to another.

use super::view::View;
use super::{PATIENCE, RedisCluster};
use crate::poll;
use crate::redis::{RedisError, RedisServer};

/// A slot that is on its way. Until it is [finished](Migration::finish), its master serves the keys that it still has and answers
/// for the others with `ASK`; the new one serves whoever says `ASKING`.
#[derive(Debug)]
pub struct Migration<'a> {
    cluster: &'a RedisCluster,
    slot: u16,
    from: &'a RedisServer,
    to: &'a RedisServer,
}

impl RedisCluster {
    /// Begins to move a slot to another master, and moves no key yet.
    ///
    /// # Errors
    ///
    /// If no node serves the slot, or one of the two refuses.
    pub fn begin_migration<'a>(&'a self, slot: u16, to: &'a RedisServer) -> Result<Migration<'a>, RedisError> {
        let from = self.master_of(slot)?;
        let migration = Migration {
            cluster: self,
            slot,
            from,
            to,
        };
        // The new master first: before, it would send away whom the old one sends there.
        migration.set(to, "IMPORTING", self.id_of(from)?)?;
        migration.set(from, "MIGRATING", self.id_of(to)?)?;
        Ok(migration)
    }

    /// Moves a slot and its keys to another master, and waits until all nodes know.
    ///
    /// # Errors
    ///
    /// As [`RedisCluster::begin_migration`] and [`Migration::finish`].
    pub fn migrate_slot(&self, slot: u16, to: &RedisServer) -> Result<(), RedisError> {
        self.begin_migration(slot, to)?.finish()
    }
}

impl Migration<'_> {
    /// Moves at most so many keys and returns how many it moved; 0 if none is left.
    ///
    /// # Errors
    ///
    /// If one of the two refuses.
    pub fn move_keys(&self, keys_max: usize) -> Result<usize, RedisError> {
        let (slot, most) = (self.slot.to_string(), keys_max.to_string());
        let keys = self.from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, &most])?;
        let keys: Vec<_> = keys.elements().iter().filter_map(|key| key.bytes()).collect();
        if keys.is_empty() {
            return Ok(0);
        }
        let port = self.to.port().to_string();
        let mut command: Vec<&[u8]> = vec![b"MIGRATE", b"127.0.0.1", port.as_bytes(), b"", b"0", MOVE_WITHIN_MS];
        if let Some(password) = self.to.password() {
            command.extend([b"AUTH".as_slice(), password.as_bytes()]);
        }
        command.push(b"KEYS");
        command.extend(&keys);
        self.from.command(&command)?;
        Ok(keys.len())
    }

    /// Moves the keys that are left, gives the slot to its new master, and waits until all nodes know.
    ///
    /// # Errors
    ///
    /// If one of the two refuses, or a node does not know after thirty seconds.
    pub fn finish(self) -> Result<(), RedisError> {
        while self.move_keys(KEYS_AT_ONCE)? > 0 {}
        let id = self.cluster.id_of(self.to)?;
        // Its new master first, so that at no time nobody has it.
        self.set(self.to, "NODE", id)?;
        self.set(self.from, "NODE", id)?;
        let knows = |server: &RedisServer| View::of(server).is_ok_and(|view| view.owner(self.slot) == Some(id));
        let all_know = || self.cluster.answering().all(|node| knows(&node.server));
        poll::until_true("all nodes know the slot's new master", PATIENCE, all_know)?;
        self.cluster.wait_until_whole()
    }

    fn set(&self, server: &RedisServer, state: &str, node: &str) -> Result<(), RedisError> {
        let slot = self.slot.to_string();
        server.command(&["CLUSTER", "SETSLOT", &slot, state, node]).map(drop)
    }
}

/// The longest silence between the two servers while keys move.
const MOVE_WITHIN_MS: &[u8] = b"5000";

const KEYS_AT_ONCE: usize = 100;
