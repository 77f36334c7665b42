//! Where a server is now: at its address, or where a sentinel says.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Value};
use tokio::time::timeout;

use super::LinkError;
use super::stream::{self, Unanswered};
use crate::endpoint::Endpoint;

/// Where a server is.
pub(crate) enum Origin {
    /// There.
    Fixed(Endpoint),
    /// Where sentinels say.
    Sentinel {
        /// Each attempt asks the next.
        sentinels: Vec<Endpoint>,
        /// What they call it.
        name: String,
        /// How it is spoken to, wherever it is.
        primary: Endpoint,
    },
}

/// What moves a connection's bytes; it ends when the connection does.
pub(super) type Driver = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Origin {
    /// What it is called in logs and metrics.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Fixed(endpoint) => endpoint.label(),
            Self::Sentinel { name, .. } => name.clone(),
        }
    }

    /// Where it is now. Of several sentinels, each attempt asks another.
    pub(super) async fn find(&self, attempt: usize) -> Result<Endpoint, LinkError> {
        match self {
            Self::Fixed(endpoint) => Ok(endpoint.clone()),
            Self::Sentinel {
                sentinels,
                name,
                primary,
            } => {
                let sentinel = &sentinels[attempt % sentinels.len()];
                let (host, port) = ask(sentinel, name).await?;
                Ok(primary.at(&host, port))
            }
        }
    }
}

/// Opens a connection and says who we are.
pub(super) async fn open(endpoint: &Endpoint) -> Result<(MultiplexedConnection, Driver, Unanswered), LinkError> {
    let stream = stream::connect(endpoint).await?;
    let unanswered = stream.unanswered();
    // Deadlines and their bound on what is under way are ours.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    let (connection, driver) = MultiplexedConnection::new_with_config(&endpoint.login(), stream, config)
        .await
        .map_err(|error| LinkError::of(&error))?;
    Ok((connection, Box::pin(driver), unanswered))
}

/// Asks one thing over a connection of its own.
pub(crate) async fn ask_once(endpoint: &Endpoint, question: &Cmd) -> Result<Value, LinkError> {
    let asked = async {
        let (mut connection, driver, _) = open(endpoint).await?;
        tokio::select! {
            answer = question.query_async::<Value>(&mut connection) => answer.map_err(|error| LinkError::of(&error)),
            () = driver => Err(LinkError::Lost),
        }
    };
    timeout(ASK_DEADLINE, asked)
        .await
        .unwrap_or(Err(LinkError::Silent(ASK_DEADLINE)))
}

async fn ask(sentinel: &Endpoint, name: &str) -> Result<(String, u16), LinkError> {
    let answer = ask_once(
        sentinel,
        redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name),
    )
    .await?;
    let address: Option<(String, u16)> = redis::from_redis_value(answer).map_err(|_| LinkError::Foreign)?;
    address.ok_or(LinkError::NoPrimary)
}

/// How long asking the way may take: half of what a connection may take in all.
const ASK_DEADLINE: Duration = Duration::from_millis(500);
