//! A cluster of six servers.

mod migration;
mod view;

use std::net::SocketAddr;
use std::time::Duration;

pub use migration::Migration;
use view::{View, named};

use super::{RedisError, RedisOptions, RedisServer};
use crate::poll;
use crate::proxy::FaultProxy;

/// Three masters, which hold a third of the slots each, with a replica each: six processes of this machine.
///
/// A master that does not answer for [`NODE_TIMEOUT`] is replaced by its replica, which takes a second or two in all.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    server: RedisServer,
    /// What the cluster calls it, also after a restart.
    id: String,
    /// What clients are told to connect to instead of the server.
    proxy: Option<FaultProxy>,
}

/// After how long without an answer a node is believed to have failed. Shorter, and a loaded machine makes nodes fail.
pub const NODE_TIMEOUT: Duration = Duration::from_millis(700);

/// Every key belongs to one of these.
const SLOTS: u16 = 16_384;
const MASTERS: usize = 3;
const NODES: usize = 2 * MASTERS;

/// A bound for what hangs: a cluster forms in two seconds and fails over in two.
const PATIENCE: Duration = Duration::from_secs(30);

impl RedisCluster {
    /// Starts a cluster and waits until each node says that it is whole.
    ///
    /// # Errors
    ///
    /// As [`RedisOptions::start`]; if it is not whole after thirty seconds.
    pub fn start() -> Result<Self, RedisError> {
        Self::with(&RedisOptions::new())
    }

    /// Starts a cluster of servers with these options.
    ///
    /// # Errors
    ///
    /// As [`RedisCluster::start`].
    pub fn with(options: &RedisOptions) -> Result<Self, RedisError> {
        Self::form(options, |_| Ok(None))
    }

    /// Starts a cluster whose nodes tell everybody to come to a proxy before them. A replica copies through its master's proxy;
    /// what nodes tell one another of slots and failures goes past the proxies.
    ///
    /// # Errors
    ///
    /// As [`RedisCluster::start`]; if no port can be had.
    pub fn behind_proxies() -> Result<Self, RedisError> {
        Self::form(&RedisOptions::new(), |server| {
            let proxy = FaultProxy::before(server.address()).map_err(RedisError::system("no proxy before a node"))?;
            let port = proxy.address().port().to_string();
            server.command(&["CONFIG", "SET", "cluster-announce-port", &port])?;
            Ok(Some(proxy))
        })
    }

    fn form(
        options: &RedisOptions,
        proxy: impl Fn(&RedisServer) -> Result<Option<FaultProxy>, RedisError>,
    ) -> Result<Self, RedisError> {
        let options = options
            .clone()
            .line("cluster-enabled yes")
            .line("cluster-config-file nodes.conf")
            .line(&format!("cluster-node-timeout {}", NODE_TIMEOUT.as_millis()))
            // A replica takes over however old its copy is, and none is moved to another master.
            .line("cluster-replica-validity-factor 0")
            .line("cluster-migration-barrier 999");
        let start = |_| {
            let server = options.clone().start()?;
            let id = server.command(&["CLUSTER", "MYID"])?.text().unwrap_or_default();
            let proxy = proxy(&server)?;
            Ok(Node { server, id, proxy })
        };
        let cluster = Self {
            nodes: (0..NODES).map(start).collect::<Result<_, RedisError>>()?,
        };
        cluster.share_slots()?;
        cluster.introduce()?;
        cluster.replicate()?;
        cluster.wait_until_whole()?;
        Ok(cluster)
    }

    /// A third of the slots to each master, and an epoch to each node so that no two claim the same.
    fn share_slots(&self) -> Result<(), RedisError> {
        for (number, node) in self.nodes.iter().enumerate() {
            let epoch = (number + 1).to_string();
            node.server.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch])?;
        }
        let masters = &self.nodes[..MASTERS];
        for (number, master) in masters.iter().enumerate() {
            let slots = (0..SLOTS).filter(|slot| usize::from(*slot) * MASTERS / usize::from(SLOTS) == number);
            let slots: Vec<_> = slots.map(|slot| slot.to_string()).collect();
            let mut command = vec!["CLUSTER", "ADDSLOTS"];
            command.extend(slots.iter().map(String::as_str));
            master.server.command(&command)?;
        }
        Ok(())
    }

    /// Makes each node known to all.
    fn introduce(&self) -> Result<(), RedisError> {
        for node in &self.nodes[1..] {
            let port = node.server.port();
            let (port, bus) = (port.to_string(), (port + 10_000).to_string());
            self.nodes[0]
                .server
                .command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
        let all_know_all = || {
            let knows_all = |node: &Node| {
                let view = View::of(&node.server);
                view.is_ok_and(|view| {
                    self.nodes
                        .iter()
                        .all(|other| view.node(&other.id).is_some_and(view::Seen::is_met))
                })
            };
            self.nodes.iter().all(knows_all)
        };
        Ok(poll::until_true("all nodes know one another", PATIENCE, all_know_all)?)
    }

    fn replicate(&self) -> Result<(), RedisError> {
        let (masters, replicas) = self.nodes.split_at(MASTERS);
        for (master, replica) in masters.iter().zip(replicas) {
            replica.server.command(&["CLUSTER", "REPLICATE", &master.id])?;
        }
        Ok(())
    }

    /// Waits until every node that answers says that all slots are served, and all agree by whom, and each replica that answers
    /// has its master's copy.
    ///
    /// # Errors
    ///
    /// If that is not so after thirty seconds.
    pub fn wait_until_whole(&self) -> Result<(), RedisError> {
        Ok(poll::until_true("the cluster is whole", PATIENCE, || {
            self.is_whole().unwrap_or(false)
        })?)
    }

    fn is_whole(&self) -> Result<bool, RedisError> {
        let mut owners = None;
        for node in self.answering() {
            let mut client = node.server.client()?;
            let info = client.command(&["CLUSTER", "INFO"])?.text().unwrap_or_default();
            let view = View::of(&node.server)?;
            let is_linked = node
                .server
                .info("master_link_status")?
                .is_none_or(|status| status == "up");
            if !info.contains("cluster_state:ok") || !is_linked || !self.answering().all(|node| view.serves(&node.id)) {
                return Ok(false);
            }
            let seen = view.owners();
            if owners.get_or_insert_with(|| seen.clone()) != &seen {
                return Ok(false);
            }
        }
        Ok(owners.is_some())
    }

    /// Where a client may begin: every node, as it is told to clients.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::address).collect()
    }

    /// All nodes, those that began as masters first.
    pub fn servers(&self) -> impl Iterator<Item = &RedisServer> {
        self.nodes.iter().map(|node| &node.server)
    }

    /// The proxy before a node, of a cluster [behind proxies](RedisCluster::behind_proxies).
    pub fn proxy_of(&self, server: &RedisServer) -> Option<&FaultProxy> {
        self.node(server)?.proxy.as_ref()
    }

    /// The slot of a key, as the cluster computes it.
    ///
    /// # Errors
    ///
    /// If no node answers.
    pub fn slot_of(&self, key: &[u8]) -> Result<u16, RedisError> {
        let command = [b"CLUSTER".as_slice(), b"KEYSLOT", key];
        let reply = self.any()?.server.command(&command)?;
        let slot = reply.integer().and_then(|slot| u16::try_from(slot).ok());
        slot.ok_or_else(|| named("CLUSTER KEYSLOT", reply))
    }

    /// The node that serves a slot, by its own word; the one with the latest claim if several say so.
    ///
    /// # Errors
    ///
    /// If no node that answers serves it.
    pub fn master_of(&self, slot: u16) -> Result<&RedisServer, RedisError> {
        let claim = |node: &Node| View::of(&node.server).ok()?.own()?.claim(slot);
        let claims = self.answering().filter_map(|node| Some((claim(node)?, node)));
        let latest = claims.max_by_key(|(epoch, _)| *epoch).map(|(_, node)| &node.server);
        latest.ok_or(RedisError::NoNode {
            what: "serves the slot",
        })
    }

    /// The node that copies the one that serves a slot.
    ///
    /// # Errors
    ///
    /// If no node that answers does.
    pub fn replica_of(&self, slot: u16) -> Result<&RedisServer, RedisError> {
        let master = self.id_of(self.master_of(slot)?)?;
        let copies =
            |node: &&Node| View::of(&node.server).is_ok_and(|view| view.own().is_some_and(|own| own.copies(master)));
        let replica = self.answering().find(copies).map(|node| &node.server);
        replica.ok_or(RedisError::NoNode {
            what: "copies the slot",
        })
    }

    /// Kills the node that serves a slot, as `kill -9` does, and returns it.
    ///
    /// # Errors
    ///
    /// As [`RedisCluster::master_of`].
    pub fn kill_master_of(&self, slot: u16) -> Result<&RedisServer, RedisError> {
        let master = self.master_of(slot)?;
        master.kill()?;
        Ok(master)
    }

    /// Waits until another node than `old` serves a slot, and all nodes that answer know, and returns it.
    ///
    /// # Errors
    ///
    /// If that is not so after thirty seconds.
    pub fn wait_for_new_master(&self, slot: u16, old: &RedisServer) -> Result<&RedisServer, RedisError> {
        let old = self.id_of(old)?;
        let new = || {
            let master = self.master_of(slot).ok()?;
            let id = self.id_of(master).ok()?;
            let knows = |node: &Node| View::of(&node.server).is_ok_and(|view| view.owner(slot) == Some(id));
            (id != old && self.is_whole().ok()? && self.answering().all(knows)).then_some(master)
        };
        Ok(poll::until("another node serves the slot", PATIENCE, new)?)
    }

    fn answering(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.server.is_running())
    }

    fn any(&self) -> Result<&Node, RedisError> {
        self.answering().next().ok_or(RedisError::NoNode { what: "answers" })
    }

    fn node(&self, server: &RedisServer) -> Option<&Node> {
        self.nodes.iter().find(|node| node.server.port() == server.port())
    }

    fn id_of(&self, server: &RedisServer) -> Result<&str, RedisError> {
        let node = self.node(server).ok_or(RedisError::NoNode { what: "is this server" })?;
        Ok(&node.id)
    }
}

impl Node {
    fn address(&self) -> SocketAddr {
        self.proxy.as_ref().map_or(self.server.address(), FaultProxy::address)
    }
}
