//! Fetching the keys of tokens from where their issuer has them, beside the traffic.
//!
//! When is for [`Refresh`] to say; here is how: one request on a connection of its own, within a deadline and a bound, whose answer is
//! the keys or a failure. No redirection is followed, and nothing that a token says is ever part of it.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use sluicegate::jwt::{KEY_SET_BYTES_MAX, KeySet, Refresh, Verifier};
use sluicegate::policy::checked::{KeysFrom, KeysUrl, Policy};
use sluicegate::{Clock as _, Limiter, SystemClock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::worker;

/// Fetches keys until it is dropped.
#[derive(Debug)]
pub(crate) struct KeyServer {
    /// Says by its end that nobody wants any more.
    _wanted: Sender<()>,
}

/// How often it is looked whether keys are to be fetched: what a new key may wait beside the cool-down, and nothing to a processor.
const TICK: Duration = Duration::from_secs(1);

/// How long one fetch may take. Issuers answer within a second; ten leave room for one that has to wake up.
const DEADLINE: Duration = Duration::from_secs(10);

impl KeyServer {
    /// Begins to fetch, if the policy says that keys come from a server; `None` where they do not.
    ///
    /// # Errors
    ///
    /// When the system gives us no thread.
    pub(crate) fn start(policy: &Policy, limiter: &Arc<Limiter>) -> anyhow::Result<Option<Self>> {
        let Some(url) = url_of(policy).cloned() else {
            return Ok(None);
        };
        let (wanted, unwanted) = mpsc::channel();
        let mut fetcher = Fetcher {
            runtime: worker::runtime()?,
            clock: SystemClock::new(),
            limiter: Arc::downgrade(limiter),
            tls: tls(),
            url,
            refresh: Refresh::default(),
            former: None,
            is_failing: false,
        };
        let work = move || {
            loop {
                fetcher.turn();
                match unwanted.recv_timeout(TICK) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        thread::Builder::new()
            .name("token-keys".to_owned())
            .spawn(work)
            .context("whoever fetches the keys of tokens has no thread")?;
        Ok(Some(Self { _wanted: wanted }))
    }
}

/// Where a policy has its keys fetched from; `None` where it has them in a file, or reads no tokens.
pub(crate) fn url_of(policy: &Policy) -> Option<&KeysUrl> {
    match &policy.identity.jwt.as_ref()?.keys_from {
        KeysFrom::Url(url) => Some(url),
        KeysFrom::File(_) => None,
    }
}

struct Fetcher {
    runtime: Runtime,
    clock: SystemClock,
    limiter: Weak<Limiter>,
    tls: TlsConnector,
    url: KeysUrl,
    refresh: Refresh,
    /// Whose keys were fetched last: another one, after a change of the policy, has none yet.
    former: Option<Arc<Verifier>>,
    is_failing: bool,
}

impl Fetcher {
    fn turn(&mut self) {
        let Some(verifier) = self.limiter.upgrade().and_then(|limiter| limiter.verifier()) else {
            return;
        };
        if self
            .former
            .as_ref()
            .is_none_or(|former| !Arc::ptr_eq(former, &verifier))
        {
            self.refresh = Refresh::default();
            self.former = Some(Arc::clone(&verifier));
        }
        if !self.refresh.poll_fetch(self.clock.now(), verifier.take_unknown()) {
            return;
        }
        let fetched = self.runtime.block_on(async {
            let fetched = timeout(DEADLINE, fetch(&self.url, &self.tls)).await;
            fetched.context("there was no whole answer within 10 s")?
        });
        let read =
            |text: Bytes| KeySet::parse(&text, &verifier.terms().algorithms).context("the answer is no set of keys");
        let keys = fetched.and_then(read);
        let now = self.clock.now();
        let host = self.url.host.as_str();
        match keys {
            Ok(keys) => {
                let unusable = keys.unusable();
                verifier.replace_keys(keys);
                self.refresh.handle_fetched(now);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(host, unusable, "the keys of tokens have come again");
                } else {
                    tracing::debug!(host, unusable, "the keys of tokens have come");
                }
            }
            Err(error) => {
                self.refresh.handle_failed(now);
                // Once for each spell: it is tried again every few seconds.
                if !std::mem::replace(&mut self.is_failing, true) {
                    let stale = verifier.has_keys();
                    tracing::warn!(
                        host,
                        stale,
                        "the keys of tokens cannot be fetched; those that are known stay so: {error:#}"
                    );
                }
            }
        }
    }
}

async fn fetch(url: &KeysUrl, tls: &TlsConnector) -> anyhow::Result<Bytes> {
    let address = (url.host.as_str(), url.port);
    let stream = TcpStream::connect(address).await.context("no connection")?;
    if !url.tls {
        return exchange(url, stream).await;
    }
    let name = ServerName::try_from(url.host.clone()).context("no certificate could have the name of the server")?;
    let stream = tls.connect(name, stream).await.context("no connection")?;
    exchange(url, stream).await
}

async fn exchange<S>(url: &KeysUrl, stream: S) -> anyhow::Result<Bytes>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .context("the exchange broke off")?;
    let host = if url.host.contains(':') {
        format!("[{}]:{}", url.host, url.port)
    } else {
        format!("{}:{}", url.host, url.port)
    };
    let request = Request::get(url.path.as_str())
        .header(header::HOST, host)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .context("no request can be made of the URL")?;
    let answer = async {
        let response = sender.send_request(request).await.context("the exchange broke off")?;
        let status = response.status().as_u16();
        if status != 200 {
            anyhow::bail!("the answer's status is {status}, where 200 is wanted");
        }
        let body = Limited::new(response.into_body(), KEY_SET_BYTES_MAX).collect().await;
        let body =
            body.map_err(|_| anyhow::anyhow!("the answer has more than {KEY_SET_BYTES_MAX} bytes, or broke off"))?;
        Ok(body.to_bytes())
    };
    tokio::pin!(answer);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut answer => answer,
        // What has come by its end is still to be read.
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error).context("the exchange broke off"),
        },
    }
}

/// By the public authorities, as Mozilla lists them.
fn tls() -> TlsConnector {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
