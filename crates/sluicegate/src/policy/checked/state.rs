//! What a node remembers.

use std::path::PathBuf;

/// What the node remembers.
#[derive(Debug, Clone)]
pub struct State {
    /// Hard bound of the local table, in bytes, 1 MiB to 1 TiB; 256 MiB unless said.
    pub memory: usize,
    /// Where the installation secret is kept; `None` keeps a secret for this process only.
    pub directory: Option<PathBuf>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            directory: None,
        }
    }
}
