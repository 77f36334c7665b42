//! Putting the policy file in force again while the gateway runs, and with it the files that it names of who may call: on SIGHUP, when
//! one of them changes, and when the admin listener is asked.
//!
//! Each read once, checked whole, and put in force between two requests; or refused, and then nothing has changed. In reading order:
//! [`Wishes`] says when the file is read, [`Reader`] does it, [`Told`] keeps the log short, [`watch`] sees the file change.

mod told;
mod watch;
mod wishes;

use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use sluicegate::Limiter;
use sluicegate::policy::checked::{KeysFrom, KeysUrl, SecretSource, State, StoreAddress, StoreTls};
use sluicegate::policy::{FieldFault, Policy, PolicyError, PolicyText, Warning};
use sluicegate_admin::{Reloaded, Reloads};
use sluicegate_gateway::Settings;
use sluicegate_state::unix_nanos;

use self::told::Told;
pub(crate) use self::told::warn;
use self::watch::Watch;
pub(crate) use self::wishes::Wishes;
use crate::check::UNREADABLE_REMEDY;
use crate::key_server;

/// Reads the policy file, and puts it in force.
#[derive(Debug)]
pub(crate) struct Reader {
    file: PathBuf,
    enforcing: Enforcing,
    /// Files that the policy in force names.
    named: Vec<PathBuf>,
    /// Of all contents that are in force.
    fingerprint: [u8; 32],
    fixed: Fixed,
    settings: Settings,
    limiter: Arc<Limiter>,
    reloads: Reloads,
    told: Told,
}

/// Which rules are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enforcing {
    /// Those that the file says, for whom it says.
    WhatTheFileSays,
    /// None: `--shadow`.
    Nothing,
}

impl Enforcing {
    pub(crate) fn apply(self, policy: &mut Policy) {
        if self == Self::Nothing {
            policy.shadow();
        }
    }
}

/// What only a restart can change, besides what the gateway says of itself.
#[derive(Debug)]
struct Fixed {
    state: State,
    admin: Option<SocketAddr>,
    /// Where the keys of tokens are fetched from, if they are.
    keys_url: Option<KeysUrl>,
}

impl Reader {
    /// `policy` is what the file says, and `fingerprint` of all that it was read from; it is in force in `limiter`, and by `settings` in
    /// the gateway.
    pub(crate) fn new(
        (file, fingerprint, policy): (PathBuf, [u8; 32], &Policy),
        enforcing: Enforcing,
        limiter: Arc<Limiter>,
        settings: Settings,
        reloads: Reloads,
    ) -> Self {
        Self {
            file,
            enforcing,
            named: named(policy),
            fingerprint,
            fixed: Fixed {
                state: policy.state.clone(),
                admin: policy.admin.listen,
                keys_url: key_server::url_of(policy).cloned(),
            },
            settings,
            limiter,
            reloads,
            told: Told::default(),
        }
    }

    /// Reads the file whenever `wishes` say so, and when it changes, on a thread of its own until the process ends: a file may be a pipe
    /// that nobody writes to.
    ///
    /// # Errors
    ///
    /// When the system gives us no thread.
    pub(crate) fn start(mut self, wishes: Wishes) -> anyhow::Result<()> {
        let mut watch = Watch::start(self.files(), wishes.clone());
        if let Err(error) = &watch {
            tracing::warn!(%error, "the policy file is not watched; reload it by SIGHUP or by POST /reload");
        }
        let work = move || {
            if self.has_changed_already() {
                wishes.wish();
            }
            loop {
                let waiters = wishes.next();
                // Before the file is read, so that nothing happens to it unseen in between.
                if watch.as_mut().map_or(true, |watch| watch.renew().is_err()) {
                    watch = Watch::start(self.files(), wishes.clone());
                }
                let named = self.named.clone();
                let reloaded = Arc::new(self.read_or_break_off());
                let generation = self.limiter.engine().generation();
                self.reloads.note(Arc::clone(&reloaded), generation, now());
                for waiter in waiters {
                    // It may have gone away.
                    let _ = waiter.send(Arc::clone(&reloaded));
                }
                if self.named != named {
                    watch = Watch::start(self.files(), wishes.clone());
                    // What happened to them between their reading and now was seen by nobody.
                    wishes.wish();
                }
                // Last: whoever reads the log may be slow.
                self.told.tell(&reloaded, generation);
            }
        };
        thread::Builder::new()
            .name("reload".to_owned())
            .spawn(work)
            .context("the reader of the policy file has no thread")?;
        Ok(())
    }

    /// The policy file, and those that it names.
    fn files(&self) -> Vec<PathBuf> {
        [&self.file].into_iter().chain(&self.named).cloned().collect()
    }

    /// Whether a file was written between its first reading and the first look at its folder. A pipe is not asked: it has said what
    /// it had to say.
    fn has_changed_already(&self) -> bool {
        let differs = |(_, _, _, fingerprint)| fingerprint != self.fingerprint;
        self.file.is_file() && self.look().map_or(true, differs)
    }

    /// What the files say now.
    fn look(&self) -> Result<(PolicyText, Policy, Vec<Warning>, [u8; 32]), PolicyError> {
        let text = PolicyText::read(&self.file)?;
        let (mut policy, warnings) = text.policy()?;
        let fingerprint = text.complete(&mut policy)?;
        self.enforcing.apply(&mut policy);
        Ok((text, policy, warnings, fingerprint))
    }

    /// A defect of ours in one policy must not keep the next one from being read.
    fn read_or_break_off(&mut self) -> Reloaded {
        // What is kept of a policy changes at the end, when it is in force.
        panic::catch_unwind(AssertUnwindSafe(|| self.read())).unwrap_or_else(|_panic| Reloaded::Failed {
            problem: "reading the policy broke off; please report this".to_owned(),
        })
    }

    fn read(&mut self) -> Reloaded {
        let (text, policy, warnings, fingerprint) = match self.look() {
            Ok(read) => read,
            Err(error) => return unreadable(error),
        };
        if fingerprint == self.fingerprint && !self.settings.have_certificates_changed() {
            return Reloaded::Unchanged;
        }
        let mut found = self.settings.needing_restart(&policy);
        found.extend(self.fixed.needing_restart(&policy));
        if let Some(faults) = text.faults(found) {
            return Reloaded::NeedsRestart(faults);
        }
        match self.settings.replace(&policy) {
            Ok(()) => {
                self.fingerprint = fingerprint;
                self.named = named(&policy);
                Reloaded::Applied { warnings }
            }
            Err(error) => Reloaded::Failed {
                problem: format!("{:#}", anyhow::Error::from(error)),
            },
        }
    }
}

/// The files that a policy names of who may call, and of what listeners show.
fn named(policy: &Policy) -> Vec<PathBuf> {
    let keys = policy.identity.api_keys.iter().map(|keys| keys.file.clone());
    let listen = policy.gateway.iter().flat_map(|gateway| &gateway.listen);
    let tls = listen.filter_map(|listen| listen.tls.as_ref());
    let tokens = policy.identity.jwt.iter().filter_map(|jwt| match &jwt.keys_from {
        KeysFrom::File(path) => Some(path.clone()),
        KeysFrom::Url(_) => None,
    });
    let tls = tls.flat_map(|tls| tls.files().map(Path::to_owned));
    keys.chain(tokens).chain(tls).collect()
}

impl Fixed {
    fn needing_restart(&self, policy: &Policy) -> Vec<FieldFault> {
        let (before, now) = (&self.state, &policy.state);
        let secret: &'static [&'static str] = match &now.secret {
            Some(SecretSource::Variable(_)) => &["state", "secret"],
            _ => &["state", "secret_file"],
        };
        let fields: [(&'static [&'static str], bool); 8] = [
            (&["admin", "listen"], policy.admin.listen != self.admin),
            // Whoever fetches is there from the start, or not at all.
            (
                &["identity", "jwt", "jwks"],
                key_server::url_of(policy) != self.keys_url.as_ref(),
            ),
            (&["state", "memory"], now.memory != before.memory),
            (&["state", "split"], now.split != before.split),
            (&["state", "directory"], now.directory != before.directory),
            // Under another secret every key would start anew; another store has to be met first.
            (secret, now.secret != before.secret),
            (&["state", "share"], store(now) != store(before)),
            (
                &["state", "snapshot_every"],
                now.snapshot_every != before.snapshot_every,
            ),
        ];
        let changed = fields.into_iter().filter(|(_, has_changed)| *has_changed);
        changed
            .map(|(field, _)| FieldFault::needs_restart(field, "has changed"))
            .collect()
    }
}

/// What a node is connected to; how many nodes see a key is a matter of the rules.
fn store(state: &State) -> Option<(&StoreAddress, &StoreTls)> {
    state.share.as_ref().map(|share| (&share.store, &share.tls))
}

fn unreadable(error: PolicyError) -> Reloaded {
    match error {
        PolicyError::Faulty(faults) => Reloaded::Faulty(faults),
        error => Reloaded::Unreadable {
            problem: format!("{:#}", anyhow::Error::from(error)),
            remedy: UNREADABLE_REMEDY,
        },
    }
}

/// Since 1970.
pub(crate) fn now() -> Duration {
    Duration::from_nanos(unix_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(state: &str) -> Policy {
        let text = format!("version: 1\nstate: {{ {state} }}\nrules: [{{ name: a, key: ip, limit: 1/s }}]\n");
        Policy::parse("policy.yaml", &text).expect("a good policy").0
    }

    #[test]
    fn another_store_or_secret_needs_a_restart() {
        let before = policy("secret_file: ./secret, share: \"redis://a:6379\"");
        let fixed = Fixed {
            state: before.state.clone(),
            admin: before.admin.listen,
            keys_url: None,
        };
        for (state, fields) in [
            ("secret_file: ./secret, share: \"redis://a:6379\"", &[][..]),
            (
                "secret_file: ./secret, share: { redis: \"redis://a:6379\", fanout: 3 }",
                &[],
            ),
            ("secret_file: ./secret, share: \"redis://b:6379\"", &["share"]),
            ("secret_file: ./other, share: \"redis://a:6379\"", &["secret_file"]),
            ("secret: \"${SECRET}\", share: \"redis://a:6379\"", &["secret"]),
            ("memory: 256MiB", &["secret_file", "share"]),
        ] {
            let found = fixed.needing_restart(&policy(state));
            let found: Vec<_> = found.iter().filter_map(|fault| fault.field.last().copied()).collect();
            assert_eq!(found, fields, "{state}");
        }
    }
}
