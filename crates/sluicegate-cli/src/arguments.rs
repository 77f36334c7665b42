//! The command line.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use sluicegate_core::{Limit, ParseLimitError};

use crate::draw::{Arrivals, Subject, time};
use crate::exit::EXIT_CODES;

/// Decides for every request that reaches an API whether it passes now.
///
/// Reads one policy file: who is limited, to how much, and where requests go. `sluicegate demo` shows it at work
/// without one.
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, after_help = after_help())]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the gateway that a policy file describes
    Run(Run),
    /// Check a policy file and say what its rules allow
    Check(Check),
    /// Issue, revoke and list the API keys that callers are known by
    Keys(Keys),
    /// Watch good clients pass and a bad one be refused, without a policy file
    Demo(Demo),
    /// Draw what each algorithm says to the same requests
    Draw(Draw),
    /// Print the JSON Schema of the policy file, for editors
    Schema,
    /// Print the version
    Version(Version),
    /// Print completions for a shell
    Completions(Completions),
}

/// Start the gateway that a policy file describes.
///
/// The first SIGTERM or Ctrl-C drains: listeners close, requests under way are finished within the policy's drain
/// deadline. A second one ends the process at once.
///
/// A changed policy file takes effect by itself within a second or so, on SIGHUP and on POST /reload to the admin listener at once: all
/// of it, or, where it has a fault, nothing.
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct Run {
    /// The policy file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Enforce no rule, whatever the file says: all are evaluated, counted and reported only
    #[arg(long)]
    pub(crate) shadow: bool,
    /// Log in JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Check a policy file and say what its rules allow.
///
/// Every fault is shown at once, with its place and its remedy.
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(crate) struct Check {
    /// The policy file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Take warnings for faults
    #[arg(long)]
    pub(crate) strict: bool,
    /// Reckon what limits allow on so many nodes; without it for as many as the file expects (`fanout`), else one
    #[arg(long, value_name = "N", value_parser = nodes)]
    pub(crate) nodes: Option<NonZeroU32>,
    /// Say what changes for whom if the policy takes the place of this one
    #[arg(long, value_name = "OLD")]
    pub(crate) against: Option<PathBuf>,
    /// Answer with one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Issue, revoke and list the API keys that callers are known by.
///
/// The file that `identity.api_keys` of a policy names has their hashes alone: a key is shown once, when it is issued. What else stands in
/// the file stays as it is. A running node takes a change over by itself.
#[derive(Debug, Args)]
#[command(after_help = KEYS_EXAMPLES)]
pub(crate) struct Keys {
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Issue a new random key, and print it this once
    Add(AddKey),
    /// Take a key back
    Revoke(RevokeKey),
    /// List the keys, without anything that they could be made from
    List(ListKeys),
}

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct KeyFile {
    /// The file of keys; made where it is not there
    #[arg(long, value_name = "FILE", default_value = "keys.yaml")]
    pub(crate) file: PathBuf,
}

/// Issue a new random key, and print it this once.
#[derive(Debug, Args)]
pub(crate) struct AddKey {
    #[command(flatten)]
    pub(crate) file: KeyFile,
    /// By what it is known and revoked; made up where it is left out
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// The tenant that it is issued to
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<String>,
    /// The tier whose limits apply to it
    #[arg(long, value_name = "NAME")]
    pub(crate) tier: Option<String>,
    /// From when on it is no key any more, such as 2027-12-31 or 2027-12-31T23:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) not_after: Option<String>,
    /// What a reader should know
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Answer with one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Take a key back.
#[derive(Debug, Args)]
pub(crate) struct RevokeKey {
    #[command(flatten)]
    pub(crate) file: KeyFile,
    /// The key's id
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Answer with one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// List the keys, without anything that they could be made from.
#[derive(Debug, Args)]
pub(crate) struct ListKeys {
    #[command(flatten)]
    pub(crate) file: KeyFile,
    /// Answer with one JSON list
    #[arg(long)]
    pub(crate) json: bool,
}

/// Watch good clients pass and a bad one be refused, without a policy file.
///
/// Starts a small upstream, the gateway with a built-in policy, and three clients, each with a loopback address of its
/// own: one stays below its limit, one sends bursts, one asks as fast as it can. Ends with who asked, passed and was
/// refused, beside what the limit allowed.
#[derive(Debug, Args)]
#[command(after_help = DEMO_EXAMPLES)]
pub(crate) struct Demo {
    /// End by itself after this long, such as 10s or 2min; without it, on q or Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub(crate) length: Option<Duration>,
    /// The gateway's port; without it 8080, or a free one where that is taken
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Print the built-in policy and end
    #[arg(long)]
    pub(crate) print_policy: bool,
    /// Answer with one JSON object at the end
    #[arg(long)]
    pub(crate) json: bool,
}

/// Draw what each algorithm says to the same requests.
///
/// Lets requests arrive in simulated time, decides them by the code that a gateway decides by, and prints an SVG: of
/// one algorithm its verdicts and what was left, of several their verdicts one above the other.
#[derive(Debug, Args)]
#[command(after_help = DRAW_EXAMPLES)]
pub(crate) struct Draw {
    /// Draw this one; give it again for another. Without it all are drawn
    #[arg(long = "algorithm", value_name = "NAME")]
    pub(crate) algorithms: Vec<Subject>,
    /// The limit, in the policy file's words; of a concurrency limit its count
    #[arg(long, value_name = "LIMIT", default_value = "6/s", value_parser = limit)]
    pub(crate) limit: Limit,
    /// When requests arrive: `[COUNT@]START[+EVERY]`, several of them between blanks
    #[arg(long, value_name = "TIMES", default_value = ARRIVALS, value_parser = Arrivals::parse)]
    pub(crate) arrivals: Arrivals,
    /// How long a request lasts; of use for permits, and for what is settled at its end
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = time)]
    pub(crate) hold: Duration,
    /// Write a picture of each, and one of all, into this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "json")]
    pub(crate) into: Option<PathBuf>,
    /// Answer with one JSON object that has every verdict
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Version {
    /// Answer with one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub(crate) struct Completions {
    /// For which shell
    pub(crate) shell: Shell,
}

/// A whole number and a unit, from a second to a day.
fn span(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let count: u64 = count
        .parse()
        .map_err(|_| format!("needs a whole number and a unit, such as 10s; {SPAN_UNITS}"))?;
    let seconds = match unit.trim_start() {
        "s" => count,
        "min" => count.saturating_mul(60),
        "h" => count.saturating_mul(3600),
        _ => return Err(format!("has the unit {unit:?}; {SPAN_UNITS}")),
    };
    let length = Duration::from_secs(seconds);
    if length < LENGTH_MIN || length > LENGTH_MAX {
        return Err("is out of range; the least is 1s, the most 24h".to_owned());
    }
    Ok(length)
}

/// A number of nodes.
fn nodes(text: &str) -> Result<NonZeroU32, String> {
    let nodes = text.parse::<NonZeroU32>().ok();
    nodes
        .filter(|nodes| nodes.get() <= NODES_MAX)
        .ok_or_else(|| format!("is no number of nodes; write one from 1 to {NODES_MAX}"))
}

/// As many as `fanout` may say.
const NODES_MAX: u32 = 100_000;

/// A limit in the policy file's words.
fn limit(text: &str) -> Result<Limit, String> {
    text.parse()
        .map_err(|error: ParseLimitError| format!("{error}; {}", error.remedy()))
}

const SPAN_UNITS: &str = "units are s, min and h";

/// Below a second the clients have hardly begun.
const LENGTH_MIN: Duration = Duration::from_secs(1);
/// What runs longer is no demo; leave `--for` out.
const LENGTH_MAX: Duration = Duration::from_hours(24);

/// What the documentation draws: a trickle, a burst on both sides of a whole second, a trickle, and two bursts in one
/// second.
const ARRIVALS: &str = "4@200ms+400ms 6@1900ms 6@2100ms 2@2500ms+400ms 6@3300ms 6@3600ms";

fn after_help() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}

const EXAMPLES: &str = "\
Examples:
  sluicegate demo --for 10s           good clients pass, a bad one is refused
  sluicegate check policy.yaml        every fault with its place and remedy
  sluicegate run -c policy.yaml       start the gateway

Logs go to standard error; SLUICEGATE_LOG sets what is logged (error, warn, info, debug or
per module, such as warn,sluicegate_gateway=debug).";

const RUN_EXAMPLES: &str = "\
Examples:
  sluicegate run -c policy.yaml
  sluicegate run -c policy.yaml --json 2>> sluicegate.log
  sluicegate run -c policy.yaml --shadow   see what would be refused, and refuse nothing
  kill -HUP PID                       read the policy file again
  curl -X POST 127.0.0.1:9900/reload  the same, and be told what came of it
  kill -TERM PID                      drain, then end with 0";

const CHECK_EXAMPLES: &str = "\
Examples:
  sluicegate check policy.yaml
  sluicegate check --nodes 100 policy.yaml      what a hundred nodes let pass together
  sluicegate check --strict policy.yaml && systemctl restart sluicegate
  sluicegate check --against running.yaml policy.yaml    what changes for whom
  sluicegate check --json policy.yaml | jq .faults";

const KEYS_EXAMPLES: &str = "\
Examples:
  sluicegate keys add --tenant acme --tier premium
  sluicegate keys add --file /etc/sluicegate/keys.yaml --id ci --not-after 2027-12-31
  sluicegate keys revoke ci
  sluicegate keys list --json | jq '.[].id'";

const DEMO_EXAMPLES: &str = "\
Examples:
  sluicegate demo                     watch until q
  sluicegate demo --for 10s           end by itself; 0 if every limit was held
  sluicegate demo --for 10s --json | jq .clients
  sluicegate demo --print-policy > policy.yaml";

const DRAW_EXAMPLES: &str = "\
Examples:
  sluicegate draw > all.svg           every algorithm on the same requests
  sluicegate draw --algorithm leaky_bucket --limit '4/s burst 8' > leaky.svg
  sluicegate draw --algorithm token_bucket --arrivals '20@1s 1@2s+100ms' > burst.svg
  sluicegate draw --json | jq '.algorithms[] | {name, most_in_a_period}'
  sluicegate draw --into docs/algorithms";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  sluicegate completions bash > /etc/bash_completion.d/sluicegate
  sluicegate completions zsh  > ~/.zfunc/_sluicegate
  sluicegate completions fish > ~/.config/fish/completions/sluicegate.fish";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_span_is_a_whole_number_and_a_unit_within_bounds() {
        for (text, seconds) in [("1s", 1), ("10s", 10), ("10 s", 10), ("2min", 120), ("24h", 86_400)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "0s",
            "25h",
            "-1s",
            "1.5s",
            "10m",
            "10ms",
            "99999999999999999999s",
            "18446744073709551615h",
            "١s",
        ] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
