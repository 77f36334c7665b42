//! The doors that a policy opens, shared by `run` and `demo`: the gateway on threads of its own, the admin listener on
//! another, and the limiter behind them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use sluicegate::policy::Policy;
use sluicegate::{Cleaner, Limiter, secret};
use sluicegate_admin::{Admin, AdminError, BuildSource, Console, LimiterSource, PolicyFile, Readiness, Source};
use sluicegate_gateway::{Drained, Gateway, RunError, Settings, Trigger, shutdown};
use sluicegate_state::SystemClock;
use tokio::sync::oneshot;

use crate::descriptors;
use crate::directory::OnlyUser;
use crate::environment::Environment;
use crate::key_server::KeyServer;
use crate::snapshot::Keeper;
use crate::store::Sharing;
use crate::traffic::TrafficSource;
use crate::version::VERSION;
use crate::worker::Worker;

/// Everything that a policy opens, open. Dropping it orders the gateway to drain and waits for nothing.
#[derive(Debug)]
pub(crate) struct Doors {
    gateway: Vec<(Scheme, SocketAddr)>,
    admin: Option<OpenAdmin>,
    readiness: Readiness,
    settings: Settings,
    limiter: Arc<Limiter>,
    drain: Trigger,
    end: End,
    keeper: Keeper,
    /// `None` where the policy shares nothing.
    sharing: Option<Sharing>,
    /// `None` where no keys of tokens come from a server.
    _key_server: Option<KeyServer>,
    _directory: Option<OnlyUser>,
    _cleaner: Cleaner,
}

/// How a listener is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

#[derive(Debug)]
struct OpenAdmin {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    worker: Worker<Result<(), AdminError>>,
}

/// How the gateway ended, once it has.
#[derive(Debug)]
enum End {
    Awaited(oneshot::Receiver<Result<Drained, RunError>>),
    /// `None` where its thread broke off, or somebody has asked before.
    Come(Option<Result<Drained, RunError>>),
}

impl Doors {
    /// Binds every listener, and serves on all of them once all are bound. `file` is the policy file, where there is one that may be
    /// read again.
    ///
    /// # Errors
    ///
    /// When an address cannot be had, the secret cannot be kept, what the store asks for is not there, or the table's memory is not.
    pub(crate) fn open(
        policy: &Policy,
        file: Option<PolicyFile>,
        environment: &dyn Environment,
    ) -> anyhow::Result<Self> {
        let secret = match (&policy.state.secret, &policy.state.directory) {
            (Some(source), _) => secret::given(source, |name| environment.variable(name)),
            (None, Some(directory)) => secret::load_or_generate(directory),
            (None, None) => secret::generate(),
        }?;
        // Before anything is read that another process may still write.
        let directory = state_directory(policy)?;
        let limiter = Limiter::new(policy, &secret, SystemClock::new()).context("the policy cannot be put to work")?;
        let limiter = Arc::new(limiter);
        let keeper = Keeper::start(&limiter, &policy.state)?;
        let share = policy.state.share.as_ref();
        let sharing = share
            .map(|share| Sharing::start(&limiter, share, environment))
            .transpose()?;
        let key_server = KeyServer::start(policy, &limiter)?;
        let readiness = Readiness::new();

        // Before the gateway looks how many clients it has descriptors for.
        descriptors::raise();
        let gateway = Gateway::bind(policy, Arc::clone(&limiter))?;
        let schemes = policy
            .gateway
            .iter()
            .flat_map(|gateway| &gateway.listen)
            .map(|listen| match listen.tls {
                Some(_) => Scheme::Https,
                None => Scheme::Http,
            });
        let addresses = schemes.zip(gateway.addresses().iter().copied()).collect();
        let settings = gateway.settings();
        let mut sources: Vec<Arc<dyn Source>> = vec![
            Arc::new(BuildSource::new(VERSION)),
            Arc::new(TrafficSource::new(gateway.traffic(), settings.clone())),
            keeper.source(),
        ];
        if let Some(file) = &file {
            sources.push(Arc::new(file.reloads.clone()));
        }
        let view = sharing.as_ref().map(|sharing| sharing.view(&limiter));
        if let Some(view) = &view {
            sources.push(Arc::new(view.clone()));
        }
        // Last, since it is the one that a large policy overruns the bound of a scrape with.
        sources.push(Arc::new(LimiterSource::new(Arc::clone(&limiter))));
        let console = Console::new(sources, readiness.clone(), file, view);
        let admin = policy
            .admin
            .listen
            .map(|address| OpenAdmin::open(address, console))
            .transpose()?;

        let cleaner =
            Cleaner::start_telling(Arc::clone(&limiter), tell_of_overflow).context("the cleaner has no thread")?;
        let (drain, ordered) = shutdown();
        let (tell, told) = oneshot::channel();
        thread::Builder::new()
            .name("gateway".to_owned())
            // Nobody may wait for it any more: then nobody needs to know.
            .spawn(move || drop(tell.send(gateway.run(ordered))))
            .context("the gateway has no thread")?;
        readiness.ready();
        Ok(Self {
            gateway: addresses,
            admin,
            readiness,
            settings,
            limiter,
            drain,
            end: End::Awaited(told),
            keeper,
            sharing,
            _cleaner: cleaner,
            _key_server: key_server,
            _directory: directory,
        })
    }

    /// What may be replaced while the doors are open, and who decides behind them.
    pub(crate) fn replaceable(&self) -> (Settings, Arc<Limiter>) {
        (self.settings.clone(), Arc::clone(&self.limiter))
    }

    /// Every listener by the name of its door.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = (&'static str, Scheme, SocketAddr)> {
        let gateway = self
            .gateway
            .iter()
            .map(|(scheme, address)| ("gateway", *scheme, *address));
        gateway.chain(self.admin_address().map(|address| ("admin", Scheme::Http, address)))
    }

    /// The gateway's first listener.
    pub(crate) fn gateway_address(&self) -> Option<SocketAddr> {
        self.gateway.first().map(|(_, address)| *address)
    }

    /// `None` where the policy turns it off.
    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Waits until the gateway has ended. May be dropped and called again.
    pub(crate) async fn ended(&mut self) {
        if let End::Awaited(told) = &mut self.end {
            self.end = End::Come(told.await.ok());
        }
    }

    /// Asks for no more traffic, and orders the gateway to finish what is under way.
    pub(crate) fn drain(&self) {
        self.readiness.draining();
        self.drain.fire();
    }

    /// Waits until the gateway has ended, keeps what is remembered, gives back what is held of shared limits, then closes the admin
    /// listener, which tells of the drain to its end.
    ///
    /// # Errors
    ///
    /// When the gateway or the admin listener failed.
    pub(crate) async fn closed(&mut self) -> anyhow::Result<Drained> {
        self.ended().await;
        let drained = match &mut self.end {
            End::Come(outcome) => outcome.take().context("the gateway broke off; please report this")??,
            End::Awaited(_) => anyhow::bail!("the gateway has not ended; please report this"),
        };
        self.keeper.finish().await;
        if let Some(sharing) = &mut self.sharing {
            sharing.finish().await;
        }
        if let Some(OpenAdmin { stop, worker, .. }) = self.admin.take() {
            // It may have ended by an error; joining says which.
            let _ = stop.send(());
            worker.join()??;
        }
        Ok(drained)
    }
}

/// Takes the directory that the policy names, if it names one.
fn state_directory(policy: &Policy) -> anyhow::Result<Option<OnlyUser>> {
    policy.state.directory.as_deref().map(OnlyUser::take).transpose()
}

/// Names the rule and counts requests; whose they were is not known any more.
fn tell_of_overflow(rule: &str, requests: u64) {
    tracing::warn!(
        rule,
        requests,
        "the table is full: new keys share the rule's overflow; is it a flood, or is state.memory too small?"
    );
}

impl OpenAdmin {
    fn open(address: SocketAddr, console: Console) -> anyhow::Result<Self> {
        let admin = Admin::bind(address)?;
        let address = admin.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = Worker::start("admin", move || {
            admin.serve(console, async {
                // Also when the sender is gone.
                let _ = stopped.await;
            })
        })?;
        Ok(Self { address, stop, worker })
    }
}
