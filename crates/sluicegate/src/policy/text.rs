//! A policy file as it stood at one moment.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(feature = "jwt")]
use sluicegate_identity::jwt::{KEY_SET_BYTES_MAX, KeySet};

use super::checked::{self, KeysFrom};
use super::fault::{Faults, PolicyError, Warning};
use super::findings::{At, Findings};
use super::keys::{KEYS_FILE_BYTES_MAX, parse_keys};
use super::yaml::{self, Node};
use super::{FILE_BYTES_MAX, Policy, read_bounded};

/// What a policy file said when it was read. Everything that is asked of it is answered by the same bytes, whoever writes to the
/// file meanwhile.
#[derive(Clone)]
pub struct PolicyText {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// A fault that shows only beside something outside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// The names that lead to the field, such as `["gateway", "listen"]`. Where the file leaves it out, the fault stands at the
    /// last of them that is there.
    pub field: &'static [&'static str],
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl FieldFault {
    /// That a running process cannot take over what it now says; `how` it differs, such as "has changed".
    pub fn needs_restart(field: &'static [&'static str], how: &str) -> Self {
        Self {
            field,
            problem: format!("{how}, which needs a restart"),
            remedy: "restart to use it, or put it back as it was; nothing of the file is in force until then"
                .to_owned(),
        }
    }
}

impl PolicyText {
    /// Reads a file, once; at most a byte more than [`FILE_BYTES_MAX`].
    ///
    /// # Errors
    ///
    /// [`PolicyError::Unreadable`] if it is not there, is a folder, or may not be opened.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, PolicyError> {
        let path = path.as_ref();
        let bytes = read_bounded(path, FILE_BYTES_MAX).map_err(|source| PolicyError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            bytes,
        })
    }

    /// Equal for the same content, and in practice for no other (BLAKE3).
    pub fn fingerprint(&self) -> [u8; 32] {
        *blake3::hash(&self.bytes).as_bytes()
    }

    /// The policy that it is. Relative paths in it are taken from the folder that the file is in.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn policy(&self) -> Result<(Policy, Vec<Warning>), Faults> {
        self.policy_for(NonZeroU32::MIN)
    }

    /// The same, judged for `nodes` that share its limits: what a limit cannot mean on so many is a fault. A larger
    /// `fanout` in the file goes before.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn policy_for(&self, nodes: NonZeroU32) -> Result<(Policy, Vec<Warning>), Faults> {
        let name = self.path.display().to_string();
        let text = text_of(&name, &self.bytes, FILE_BYTES_MAX)?;
        let (mut policy, warnings) = super::parse(&name, &text, nodes)?;
        if let Some(folder) = self.path.parent() {
            let keys = policy.identity.api_keys.iter_mut().map(|keys| &mut keys.file);
            let tokens = policy
                .identity
                .jwt
                .iter_mut()
                .filter_map(|jwt| match &mut jwt.keys_from {
                    KeysFrom::File(path) => Some(path),
                    KeysFrom::Url(_) => None,
                });
            let of_gateway = policy.gateway.iter_mut().flat_map(checked::Gateway::paths_mut);
            for path in policy.state.paths_mut().chain(keys).chain(tokens).chain(of_gateway) {
                *path = folder.join(&*path);
            }
        }
        Ok((policy, warnings))
    }

    /// Reads the files that a policy of this text names of who may call, and puts into it what they say. Returns what tells all of
    /// their contents and this one's from any other, as [`fingerprint`](Self::fingerprint) does.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read, or everything that is wrong with it; the policy then knows no caller of that file.
    pub fn complete(&self, policy: &mut Policy) -> Result<[u8; 32], Faults> {
        let mut all = blake3::Hasher::new();
        all.update(&self.fingerprint());
        if let Some(keys) = &mut policy.identity.api_keys {
            let read = read_bounded(&keys.file, KEYS_FILE_BYTES_MAX);
            let bytes = read.map_err(|error| self.unreadable(&["identity", "api_keys", "file"], &keys.file, &error))?;
            all.update(blake3::hash(&bytes).as_bytes());
            let name = keys.file.display().to_string();
            let text = text_of(&name, &bytes, KEYS_FILE_BYTES_MAX)?;
            keys.directory = Arc::new(parse_keys(&name, &text)?.directory);
        }
        #[cfg(feature = "jwt")]
        if let Some(jwt) = &mut policy.identity.jwt
            && let KeysFrom::File(path) = &jwt.keys_from
        {
            let field = &["identity", "jwt", "jwks"];
            let read = read_bounded(path, KEY_SET_BYTES_MAX);
            let bytes = read.map_err(|error| self.unreadable(field, path, &error))?;
            all.update(blake3::hash(&bytes).as_bytes());
            let keys = KeySet::parse(&bytes, &jwt.terms.algorithms).map_err(|fault| {
                let problem = format!("{} is no set of keys: {fault}", path.display());
                self.fault_in(
                    field,
                    problem,
                    "write the JSON Web Key Set that the issuer publishes".to_owned(),
                )
            })?;
            jwt.keys = Some(Arc::new(keys));
        }
        Ok(*all.finalize().as_bytes())
    }

    /// That the file which `field` names cannot be read.
    fn unreadable(&self, field: &'static [&'static str], path: &Path, error: &io::Error) -> Faults {
        let problem = format!("{} cannot be read: {error}", path.display());
        let remedy = "name a file that is there and may be read; `sluicegate keys add` makes one of keys".to_owned();
        self.fault_in(field, problem, remedy)
    }

    /// One fault of what a field names.
    fn fault_in(&self, field: &'static [&'static str], problem: String, remedy: String) -> Faults {
        let fault = FieldFault { field, problem, remedy };
        self.faults(vec![fault]).unwrap_or_else(|| {
            // One was given.
            Findings::new("", "").only(
                At::START,
                "a file that the policy names cannot be read",
                "see that it can",
            )
        })
    }

    /// Gives faults that were found by comparing the policy with something else their lines in this file. `None` for none.
    pub fn faults(&self, found: Vec<FieldFault>) -> Option<Faults> {
        if found.is_empty() {
            return None;
        }
        let name = self.path.display().to_string();
        let text = String::from_utf8_lossy(&self.bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut findings = Findings::new(&name, text);
        let root = yaml::read(text, yaml::NODES_MAX, &mut findings);
        for FieldFault { field, problem, remedy } in found {
            let mut at = root.as_ref();
            let mut spot = root.as_ref().map(|root| root.spot);
            for name in field {
                let Some(Node::Map(fields)) = at.map(|located| &located.value) else {
                    break;
                };
                at = fields.iter().find(|(known, _)| known == name).map(|(_, value)| value);
                spot = at.map(|located| located.spot).or(spot);
            }
            findings.fault_in_field(field.join("."), spot, problem, remedy);
        }
        findings.finish(None::<()>).err()
    }
}

/// Without the content, which may be long and is nobody's to read in a log.
impl fmt::Debug for PolicyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyText")
            .field("path", &self.path)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// The text of a file of which at most a byte more than `most` was read.
fn text_of<'b>(name: &str, bytes: &'b [u8], most: usize) -> Result<Cow<'b, str>, Faults> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        // What was not read may have been the end of a character; whoever reads the text says what is wrong.
        Err(_) if bytes.len() > most => Ok(String::from_utf8_lossy(bytes)),
        Err(error) => Err(bad_byte(name, bytes, error)),
    }
}

/// The fault of the first byte that is no part of a UTF-8 text.
fn bad_byte(name: &str, bytes: &[u8], error: std::str::Utf8Error) -> Faults {
    let (sound, _) = bytes.split_at(error.valid_up_to());
    let sound = String::from_utf8_lossy(sound);
    let line = sound.matches('\n').count() + 1;
    let column = sound.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let at = At::new(line as u64, column as u64);
    Findings::new(name, &sound).only(at, "a byte here is not UTF-8", "save the file as UTF-8")
}
