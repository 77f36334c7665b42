//! `sluicegate demo`: good clients pass, a bad one is refused, on real sockets and in one process.
//!
//! ```text
//!  clients (127.0.0.2, .3, .4) ──► gateway ──► toy upstream
//!       └─ tallies ──► table, summary            └─ count
//! ```

mod cast;
mod client;
mod screen;
mod summary;
mod table;
mod tally;
mod upstream;

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context;
use sluicegate::policy::Policy;
use sluicegate_core::Limit;
use sluicegate_state::{Clock, SystemClock};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::level_filters::LevelFilter;

use self::cast::{CAST, LIMIT};
use self::screen::Screen;
use self::summary::Summary;
use self::table::Row;
use self::tally::Tally;
use self::upstream::Upstream;
use crate::arguments::Demo;
use crate::doors::Doors;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::logging::{self, Form};
use crate::output;
use crate::signals::Stops;
use crate::worker::{self, Worker};

/// Plays the demo until its time is over, a key or a signal.
///
/// # Errors
///
/// When something outside refuses, such as a loopback address that is not there.
pub(crate) fn demo(arguments: &Demo, environment: &dyn Environment) -> anyhow::Result<Exit> {
    if arguments.print_policy {
        let gateway = loopback(arguments.port.unwrap_or(GATEWAY_PORT));
        output::print(&cast::policy(gateway, loopback(ADMIN_PORT), loopback(UPSTREAM_PORT)))?;
        return Ok(Exit::Success);
    }
    // Log lines would tear the table; what goes wrong shows in the counts, and SLUICEGATE_LOG says more.
    logging::start(Form::Text, LevelFilter::ERROR, environment)?;
    client::addresses_are_usable(CAST)?;
    let limit: Limit = LIMIT
        .parse()
        .context("the demo's limit is malformed; please report this")?;

    worker::runtime()?.block_on(play(arguments, limit, environment))
}

async fn play(arguments: &Demo, limit: Limit, environment: &dyn Environment) -> anyhow::Result<Exit> {
    let mut stops = Stops::listen()?;
    let upstream = Upstream::start()?;
    let mut doors = open(arguments.port, upstream.address(), environment)?;
    let gateway = doors
        .gateway_address()
        .context("the demo's gateway has no address; please report this")?;
    announce(arguments, gateway, doors.admin_address())?;

    let clock = Arc::new(SystemClock::new());
    let started_at = clock.now();
    let players = Players::start(gateway, &clock)?;
    let mut screen = Screen::open(arguments.json)?;
    let mut frames = interval(screen.every());
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut over = std::pin::pin!(async {
        match arguments.length {
            Some(length) => sleep(length).await,
            None => pending().await,
        }
    });
    loop {
        tokio::select! {
            biased;
            () = &mut over => break,
            _ = stops.next() => break,
            () = screen.quit() => break,
            _ = frames.tick() => {
                let length = clock.now().saturating_since(started_at);
                screen.show(length, &players.rows(&limit))?;
            }
        }
    }
    drop(screen);

    let tallies = players.stop()?;
    let length = clock.now().saturating_since(started_at);
    doors.drain();
    // The clients have all their answers, so nothing of theirs can be cut off.
    let _ = doors.closed().await?;
    let received = upstream.stop()?;

    let played: Vec<_> = CAST.iter().zip(tallies.iter().map(|tally| tally.counts())).collect();
    let summary = Summary::new(&played, &limit, received, length);
    if arguments.json {
        output::print_json(&summary)?;
    } else {
        output::print(&format!("\n{}", summary.text()))?;
    }
    Ok(summary.exit())
}

/// Opens the gateway at `port` and the admin listener near its own. What is not asked for by number may be elsewhere.
fn open(port: Option<u16>, upstream: SocketAddr, environment: &dyn Environment) -> anyhow::Result<Doors> {
    let gateway = |otherwise| port.map_or(otherwise, loopback);
    let open_at = |gateway, admin| open_at(gateway, admin, upstream, environment);
    match open_at(gateway(free_near(GATEWAY_PORT)), free_near(ADMIN_PORT)) {
        // Somebody else took a port that was free a moment ago: another demo, most likely.
        Err(error) if is_taken(&error) => open_at(gateway(loopback(0)), loopback(0)),
        opened => opened,
    }
}

fn open_at(
    gateway: SocketAddr,
    admin: SocketAddr,
    upstream: SocketAddr,
    environment: &dyn Environment,
) -> anyhow::Result<Doors> {
    let text = cast::policy(gateway, admin, upstream);
    let (policy, _) =
        Policy::parse("the demo's policy", &text).context("the demo's policy has faults; please report this")?;
    Doors::open(&policy, None, environment)
}

fn is_taken(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::AddrInUse)
}

/// `port`, or where that is taken, 0 for a free one.
fn free_near(port: u16) -> SocketAddr {
    let free = TcpListener::bind(loopback(port)).is_ok();
    loopback(if free { port } else { 0 })
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The synthetic clients at play, on a thread of their own.
struct Players {
    tallies: Vec<Arc<Tally>>,
    stop: watch::Sender<bool>,
    worker: Worker<()>,
}

impl Players {
    fn start(gateway: SocketAddr, clock: &Arc<SystemClock>) -> anyhow::Result<Self> {
        let tallies: Vec<_> = CAST.iter().map(|_| Arc::new(Tally::new())).collect();
        let (stop, stopped) = watch::channel(false);
        let (clock, shared) = (Arc::clone(clock), tallies.clone());
        let worker = Worker::start("clients", move || async move {
            let mut players = JoinSet::new();
            for (client, tally) in CAST.iter().zip(shared) {
                players.spawn(client::play(
                    client,
                    gateway,
                    Arc::clone(&clock),
                    tally,
                    stopped.clone(),
                ));
            }
            while players.join_next().await.is_some() {}
        })?;
        Ok(Self { tallies, stop, worker })
    }

    fn rows(&self, limit: &Limit) -> Vec<Row> {
        let row = |(client, tally): (&cast::Client, &Arc<Tally>)| Row::new(client, &tally.counts(), limit);
        CAST.iter().zip(&self.tallies).map(row).collect()
    }

    /// Lets each finish the request it waits for, which takes at most the clients' own deadline.
    fn stop(self) -> anyhow::Result<Vec<Arc<Tally>>> {
        self.stop.send_replace(true);
        self.worker.join()?;
        Ok(self.tallies)
    }
}

/// Says where everything is. On standard error where a program reads the output.
fn announce(arguments: &Demo, gateway: SocketAddr, admin: Option<SocketAddr>) -> anyhow::Result<()> {
    let admin = admin
        .map(|admin| format!("  metrics   http://{admin}/metrics\n"))
        .unwrap_or_default();
    let end = match arguments.length {
        Some(length) => format!("Ends after {} s.", length.as_secs()),
        None => "Ends with Ctrl-C.".to_owned(),
    };
    let text = format!(
        "\
Three clients ask one gateway; each address is limited to {LIMIT}. {end}

  gateway   http://{gateway}/
{admin}  policy    sluicegate demo --print-policy

Be the fourth client, and go over your burst:

  for i in $(seq 60); do curl -so /dev/null -w '%{{http_code}} ' http://{gateway}/; done
  curl -i http://{gateway}/

"
    );
    if arguments.json {
        output::tell(&text.trim_end());
        return Ok(());
    }
    output::print(&text)
}

/// As in the documentation's examples.
const GATEWAY_PORT: u16 = 8080;
/// The port that a policy without `admin` gets.
const ADMIN_PORT: u16 = 9900;
/// In the printed policy only: the demo's own upstream takes a free port.
const UPSTREAM_PORT: u16 = 9001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_policy_has_neither_faults_nor_warnings() {
        let text = cast::policy(loopback(1), loopback(2), loopback(3));
        let (policy, warnings) = Policy::parse("demo", &text).expect("no faults");
        assert_eq!(policy.rules.len(), 2);
        assert_eq!(warnings, Vec::new());
    }

    #[test]
    fn a_taken_port_is_replaced_by_a_free_one() {
        let taken = TcpListener::bind(loopback(0)).expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        assert_eq!(free_near(port).port(), 0);
    }
}
