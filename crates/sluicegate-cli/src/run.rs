//! `sluicegate run`: the gateway that a policy file describes, until it is told to stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sluicegate::policy::{Fault, Policy, PolicyError, PolicyText, Warning};
use sluicegate_admin::{PolicyFile, Reloads};
use tracing::level_filters::LevelFilter;

use crate::arguments::Run;
use crate::check::UNREADABLE_REMEDY;
use crate::doors::Doors;
use crate::environment::Environment;
use crate::excerpt::{Excerpt, Shown};
use crate::exit::Exit;
use crate::logging::{self, Form};
use crate::output;
use crate::reload::{self, Enforcing, Reader, Wishes};
use crate::signals::{Hangups, Stops};
use crate::worker;

/// Runs until a signal, then drains.
///
/// # Errors
///
/// When something outside refuses, such as an address in use. A policy with faults is no error but [`Exit::Faulty`].
pub(crate) fn run(arguments: &Run, environment: &dyn Environment) -> anyhow::Result<Exit> {
    let Some(file) = &arguments.config else {
        output::tell(&WITHOUT_FILE);
        return Ok(Exit::Usage);
    };
    let form = if arguments.json { Form::Json } else { Form::Text };
    logging::start(form, LevelFilter::INFO, environment)?;
    let enforcing = if arguments.shadow {
        Enforcing::Nothing
    } else {
        Enforcing::WhatTheFileSays
    };
    match (run_file(file, enforcing, form, environment), form) {
        (Err(error), Form::Json) => {
            tracing::error!("{error:#}");
            Ok(Exit::Failed)
        }
        (outcome, _) => outcome,
    }
}

fn run_file(file: &Path, enforcing: Enforcing, form: Form, environment: &dyn Environment) -> anyhow::Result<Exit> {
    worker::runtime()?.block_on(async {
        // Before anything else, since SIGHUP would end the process: whoever sends it early may have written the file just now.
        let hangups = Hangups::listen()?;
        let (fingerprint, policy, warnings) = match read(file, enforcing) {
            Ok(read) => read,
            Err(error) => {
                tell(error, form);
                return Ok(Exit::Faulty);
            }
        };
        if policy.gateway.is_none() {
            tell_whole(
                &format!("{} has no gateway, so there is nothing to run", file.display()),
                NO_GATEWAY_REMEDY,
                form,
            );
            return Ok(Exit::Faulty);
        }
        reload::warn(&warnings);
        if enforcing == Enforcing::Nothing {
            tracing::warn!("no rule is enforced: --shadow evaluates and reports all of them, and refuses nobody");
        }
        serve((file, fingerprint, &policy), enforcing, hangups, form, environment).await
    })
}

/// The file, with all that it names of who may call.
fn read(file: &Path, enforcing: Enforcing) -> Result<([u8; 32], Policy, Vec<Warning>), PolicyError> {
    let text = PolicyText::read(file)?;
    let (mut policy, warnings) = text.policy()?;
    let fingerprint = text.complete(&mut policy)?;
    enforcing.apply(&mut policy);
    Ok((fingerprint, policy, warnings))
}

async fn serve(
    (file, fingerprint, policy): (&Path, [u8; 32], &Policy),
    enforcing: Enforcing,
    mut hangups: Hangups,
    form: Form,
    environment: &dyn Environment,
) -> anyhow::Result<Exit> {
    // Before the doors open: a signal that comes early drains them like any other.
    let mut stops = Stops::listen()?;
    let (wishes, reloads) = (Wishes::default(), Reloads::new(FIRST_GENERATION, reload::now()));
    let policy_file = PolicyFile {
        reloads: reloads.clone(),
        reload: Arc::new(wishes.clone()),
    };
    let mut doors = Doors::open(policy, Some(policy_file), environment)?;
    let (settings, limiter) = doors.replaceable();
    let certificates = settings.clone();
    Reader::new(
        (file.to_owned(), fingerprint, policy),
        enforcing,
        limiter,
        settings,
        reloads,
    )
    .start(wishes.clone())?;
    for (door, scheme, address) in doors.listeners() {
        match form {
            Form::Text => output::tell(&format_args!("{door} listens on {scheme}://{address}")),
            Form::Json => tracing::info!(door, %scheme, %address, "listening"),
        }
    }
    // Until the end, also while draining: who hangs up does not ask us to stop.
    let hearing = async {
        loop {
            hangups.next().await;
            wishes.wish();
        }
    };
    let warning = async {
        loop {
            tokio::time::sleep(A_DAY).await;
            certificates.warn_of_expiry();
        }
    };
    tokio::select! {
        exit = until_stopped(&mut doors, &mut stops) => exit,
        exit = hearing => exit,
        exit = warning => exit,
    }
}

async fn until_stopped(doors: &mut Doors, stops: &mut Stops) -> anyhow::Result<Exit> {
    let signal = tokio::select! {
        signal = stops.next() => Some(signal),
        // Nobody told it to, so it failed; closing says why.
        () = doors.ended() => None,
    };
    // Before it is told: whoever reads the log may be slow.
    doors.drain();
    if let Some(signal) = signal {
        tracing::info!(signal, "draining; a second signal ends at once");
    }
    tokio::select! {
        drained = doors.closed() => match drained?.cut {
            0 => Ok(Exit::Success),
            requests => {
                tracing::warn!(requests, "cut off at the drain deadline");
                Ok(Exit::CutShort)
            }
        },
        signal = stops.next() => {
            tracing::warn!(signal, "ended at once; requests under way were cut off");
            Ok(Exit::CutShort)
        }
    }
}

/// Says on standard error why a file gives no policy: as a compiler does, or as log lines.
fn tell(error: PolicyError, form: Form) {
    match (error, form) {
        (PolicyError::Faulty(faults), Form::Text) => {
            for fault in &faults {
                output::tell(&Excerpt::from(fault));
            }
            if faults.omitted() > 0 {
                output::tell(&format_args!("and {} more faults", faults.omitted()));
            }
        }
        (PolicyError::Faulty(faults), Form::Json) => {
            for Fault {
                file,
                line,
                column,
                place,
                problem,
                remedy,
                ..
            } in &faults
            {
                tracing::error!(file, line, column, place, remedy, "{problem}");
            }
        }
        (unreadable, form) => tell_whole(
            &format!("{:#}", anyhow::Error::from(unreadable)),
            UNREADABLE_REMEDY,
            form,
        ),
    }
}

/// Says what is wrong with the file as a whole.
fn tell_whole(problem: &str, remedy: &str, form: Form) {
    match form {
        Form::Text => output::tell(&format_args!("error: {}\n = remedy: {remedy}", Shown(problem))),
        Form::Json => tracing::error!(remedy, "{problem}"),
    }
}

/// How often certificates are warned of that are about to expire.
const A_DAY: Duration = Duration::from_hours(24);

/// Of the policy that a limiter begins with.
const FIRST_GENERATION: u32 = 1;

const NO_GATEWAY_REMEDY: &str = "add `gateway` with an address to listen on and an upstream";

const WITHOUT_FILE: &str = "\
error: `sluicegate run` needs a policy file

To see limits at work without one:
  sluicegate demo

To put the gateway in front of a server on port 9001, save this as policy.yaml:

  version: 1
  gateway:
    listen: [ { address: 127.0.0.1:8080 } ]
    upstreams: { api: { servers: [\"127.0.0.1:9001\"] } }
  routes:
    - { name: everything, path: \"/{*rest}\", upstream: api }
  rules:
    - { name: per-client, key: ip, limit: 5/s burst 10 }

and then:
  sluicegate check policy.yaml
  sluicegate run -c policy.yaml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_shown_to_beginners_has_neither_faults_nor_warnings() {
        let indented = WITHOUT_FILE
            .lines()
            .filter(|line| line.starts_with("  ") && !line.starts_with("  sluicegate"));
        let text: String = indented.flat_map(|line| [&line[2..], "\n"]).collect();
        let (policy, warnings) = Policy::parse("shown", &text).expect("no faults");
        assert_eq!((policy.rules.len(), warnings), (1, Vec::new()));
    }
}
