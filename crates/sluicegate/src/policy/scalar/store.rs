//! Servers of a store, whose they are asked as, and where their secrets are.

use std::net::Ipv6Addr;

use serde_json::{Value, json};

use super::super::checked::{Credentials, SecretSource, StoreUrl};
use super::{Scalar, Wrong, is_plain_digits, wrong};

impl Scalar for StoreUrl {
    const EXPECTED: &'static str = "a server such as redis://127.0.0.1:6379";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("has no scheme", format!("write redis://{text}, or rediss:// for TLS"));
        };
        let tls = match scheme {
            "redis" => false,
            "rediss" => true,
            "unix" | "redis+unix" | "redis-socket" => {
                return wrong(
                    "is a socket of this machine, which other nodes do not reach",
                    "write redis://HOST:PORT",
                );
            }
            _ => {
                return wrong(
                    "has a scheme that is not known here",
                    "write redis://HOST:PORT, or rediss://HOST:PORT for TLS",
                );
            }
        };
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (read_credentials(credentials)?, place),
            None => (Credentials::default(), rest),
        };
        let (address, database) = match place.split_once('/') {
            Some((address, "")) => (address, 0),
            Some((address, database)) => (address, read_database(database)?),
            None => (place, 0),
        };
        let (host, port) = read_address(address, tls)?;
        Ok(Self {
            host,
            port,
            tls,
            database,
            credentials,
        })
    }

    fn grammar() -> Value {
        json!({
            "type": "string",
            "pattern": "^rediss?://([A-Za-z0-9._~-]*(:\\$\\{[A-Za-z_][A-Za-z0-9_]*\\})?@)?(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9._-]+):[0-9]{1,5}(/[0-9]{0,5})?$",
            "examples": ["redis://127.0.0.1:6379", "rediss://gate:${REDIS_PASSWORD}@redis.internal:6379"],
        })
    }
}

fn read_credentials(text: &str) -> Result<Credentials, Wrong> {
    let (username, password) = match text.split_once(':') {
        Some((username, password)) => (username, Some(password)),
        None => (text, None),
    };
    if let Some(sign) = username
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.' | '_' | '~'))
    {
        return wrong(
            format!("has {sign:?} in its user name"),
            "write the name in `username`, where any sign may stand",
        );
    }
    let Some(password) = password else {
        return wrong(
            "has a user name and no password",
            "add :${REDIS_PASSWORD} to it, or write `username` and `password_file` instead",
        );
    };
    let Some(variable) = variable(password) else {
        return wrong("has a password in plain text", PASSWORD_REMEDY);
    };
    Ok(Credentials {
        username: (!username.is_empty()).then(|| username.to_owned()),
        password: Some(SecretSource::Variable(variable.to_owned())),
    })
}

/// Whoever reads the file, its copies or its history would have it.
const PASSWORD_REMEDY: &str = "keep it in a file that `password_file` names, or in the environment, as in ${REDIS_PASSWORD}; \
                               whoever has seen this file knows it now, so change it";

fn read_address(text: &str, tls: bool) -> Result<(String, u16), Wrong> {
    let example = if tls { "rediss" } else { "redis" };
    let without_port = || wrong("has no port", format!("add it, as in {example}://{text}:6379"));
    let (host, port) = match text.rsplit_once(':') {
        // Within brackets it is a part of the address.
        Some((_, port)) if port.ends_with(']') => return without_port(),
        Some((host, port)) => (host, port),
        None if text.is_empty() => return wrong("names no host", format!("write {example}://HOST:PORT")),
        None => return without_port(),
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) if address.parse::<Ipv6Addr>().is_ok() => address,
        Some(_) => return wrong("is no address", format!("write {example}://[::1]:6379")),
        None if host.contains(':') => {
            return wrong(
                "has an address of IPv6 without brackets",
                format!("write {example}://[{host}]:{port}"),
            );
        }
        None if !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) => host,
        None => return wrong("is no server", format!("write {example}://HOST:PORT")),
    };
    match port.parse() {
        Ok(number @ 1..) if is_plain_digits(port) => Ok((host.to_ascii_lowercase(), number)),
        _ => wrong("has no port that can be", format!("write one from 1 to {}", u16::MAX)),
    }
}

fn read_database(text: &str) -> Result<u16, Wrong> {
    match text.parse() {
        Ok(number) if is_plain_digits(text) => Ok(number),
        _ => wrong(
            "has something other than a database's number behind the slash",
            "write it as in redis://127.0.0.1:6379/2, or leave it out",
        ),
    }
}

/// A variable of the environment that holds a secret, `${NAME}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Variable(pub(in crate::policy) String);

impl Scalar for Variable {
    const EXPECTED: &'static str = "a variable of the environment such as ${REDIS_PASSWORD}";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Wrong> {
        match variable(text) {
            Some(name) => Ok(Self(name.to_owned())),
            None => wrong(
                "is no variable of the environment, and a secret in plain text is everybody's who sees this file",
                "write ${NAME} and put it there, or name a file instead (`secret_file`, `password_file`); change it if it was one",
            ),
        }
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}$" })
    }
}

/// The name in `${NAME}`, as the shell allows it.
fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    let is_sound = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_sound.then_some(name)
}

/// What a server calls one of its users, or a sentinel its server: any text without blanks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Username(pub(in crate::policy) String);

impl Scalar for Username {
    const EXPECTED: &'static str = "a name without blanks";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || text.len() > USERNAME_MAX || text.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return wrong(
                "is no name that a server knows",
                format!("write 1 to {USERNAME_MAX} signs without blanks"),
            );
        }
        Ok(Self(text.to_owned()))
    }

    fn grammar() -> Value {
        json!({ "type": "string", "pattern": "^\\S+$", "minLength": 1, "maxLength": USERNAME_MAX })
    }
}

/// Bytes of a user's name: far above what anybody types.
const USERNAME_MAX: usize = 128;
