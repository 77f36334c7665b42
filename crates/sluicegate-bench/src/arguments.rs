//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures Sluicegate beside its peers, in the same run, on this machine.
///
/// Without a name every bench runs, one after the other. Nothing here passes or fails by time: the goals are printed with
/// what was reached.
#[derive(Debug, Parser)]
#[command(name = "sluicegate-bench")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Print one JSON object instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Tiny sizes, which show only that every bench works
    #[arg(long, global = true)]
    pub(crate) smoke: bool,
    /// How often everything is measured, ours and the peers' in turn; each bench has a number of its own otherwise
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: Option<u32>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Every bench
    All,
    /// Every bench with tiny sizes, which show only that it works
    Smoke,
    /// Nanoseconds a decision: one hot key, a million keys, ten million keys
    Decide,
    /// Each algorithm: nanoseconds a decision, and bytes a key
    Algorithms,
    /// A request under a whole policy: three rules, none to eight, and a thousand that do not apply
    Policy,
    /// Many keys decided in one call, over ten million keys
    Batch,
    /// The slowest decisions while ten million keys come, and while they go
    Tail,
    /// Two threads: on keys of their own, and on one key
    Threads,
    /// Bytes a key, when the table first has no room
    Memory,
    /// Ten million fresh keys at full speed: memory, slow decisions, and a client that was limited before
    Flood,
    /// Ten million keys written down and read back, and decisions beside the writing
    Snapshot,
    /// Processor time of a proxied and of a refused request
    Gateway,
    /// The laboratory: what a hundred nodes make of one limit, beside rivals; in simulated time, then on a real Redis
    Fleet(FleetArguments),
    /// What sharing limits costs a real Redis, and the node
    Store(StoreArguments),
    /// A part of a bench that needs a process of its own
    #[command(subcommand, hide = true)]
    Part(Part),
}

/// How the laboratory runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct FleetArguments {
    /// What all random numbers come from
    #[arg(long, default_value_t = crate::benches::FLEET_SEED)]
    pub(crate) seed: u64,
    /// Write the pictures into this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) into: Option<PathBuf>,
    /// Only this half
    #[arg(long)]
    pub(crate) only: Option<Half>,
}

impl Default for FleetArguments {
    fn default() -> Self {
        Self {
            seed: crate::benches::FLEET_SEED,
            into: None,
            only: None,
        }
    }
}

/// A half of the laboratory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Half {
    /// In simulated time, at full scale
    Simulated,
    /// On a real Redis, at a tenth of the scale
    Real,
}

/// What of a store's costs is measured.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct StoreArguments {
    /// Only this part
    #[arg(long)]
    pub(crate) only: Option<StorePart>,
}

/// A part of the bench of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StorePart {
    /// The script in calls of 128 keys, and of one
    Batches,
    /// Exact mode, beside a script for each request
    Exact,
    /// The node's own work
    Node,
}

/// What a bench starts this program again for.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Part {
    /// Fill a limiter with keys
    Fill(Fill),
    /// Flood a limiter with keys
    Flood(FloodPart),
    /// Decide so often that instructions can be counted from outside
    Repeat(Repeat),
    /// The minimal proxy
    Proxy(ProxyPart),
    /// The minimal refuser
    Refuser(RefuserPart),
}

/// Fills one limiter with keys.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Fill {
    pub(crate) who: Filled,
    /// Most keys
    pub(crate) keys: u32,
    /// Bytes of our table
    pub(crate) memory: usize,
}

/// Floods one limiter with keys.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct FloodPart {
    pub(crate) who: Filled,
    /// How many keys
    pub(crate) keys: u32,
    /// Bytes of our table
    pub(crate) memory: usize,
}

/// Who is filled or flooded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Filled {
    Sluicegate,
    Governor,
    Quota,
    Throttlecrab,
    Limitador,
}

/// Asks one policy for one client, again and again.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Repeat {
    pub(crate) who: Repeated,
    /// How often
    pub(crate) decisions: u64,
}

/// What is decided again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Repeated {
    /// Nothing: the loop alone.
    Nothing,
    /// `Limiter::check` of a token bucket.
    Check,
    /// The policy of an API.
    Api,
    /// Three token buckets.
    Buckets,
    /// The policy of an API beside a thousand rules for other routes.
    ApiBesideOthers,
}

/// Listens on 127.0.0.1:`listen` and forwards to 127.0.0.1:`upstream`.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ProxyPart {
    pub(crate) listen: u16,
    pub(crate) upstream: u16,
}

/// Listens on 127.0.0.1:`listen` and refuses all.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct RefuserPart {
    pub(crate) listen: u16,
}
