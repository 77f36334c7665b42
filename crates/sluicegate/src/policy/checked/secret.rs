//! Where a secret is kept that the policy needs and must not hold.

use std::path::PathBuf;

/// Where a secret is read when it is needed. The policy itself never holds one, so that neither a copy of the file nor a
/// message about it can give it away.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretSource {
    /// A variable of the environment, by its name: `${NAME}` in the file.
    Variable(String),
    /// A file that holds it alone.
    File(PathBuf),
}

impl SecretSource {
    pub(in crate::policy) fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Variable(_) => None,
            Self::File(path) => Some(path),
        }
    }
}
