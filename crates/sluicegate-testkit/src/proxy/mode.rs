//! What a proxy does.

use std::num::NonZeroU32;
use std::time::Duration;

/// What happens to all connections, to those that are open as well as to new ones.
///
/// TCP loses no bytes without losing the connection. So a connection that has lost some in [`Mode::Blackhole`] or [`Mode::OneWay`]
/// stays silent for as long as its client leaves it open, whatever the mode becomes: only a new one is better.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Everything passes at once.
    Pass,
    /// Everything passes, later by so much in each direction. Order and throughput are as before.
    Delay {
        /// From the client to the server.
        requests: Duration,
        /// From the server to the client.
        replies: Duration,
    },
    /// Chunks count as lost at random and pass by TCP's repetition: 200 ms later, 400 ms more if they are lost again, and so
    /// on; what comes after them waits.
    Lossy {
        /// How many of a thousand chunks are lost at each try; 999 at most.
        permille: u16,
        /// The same seed loses the same chunks, as long as they come in the same order.
        seed: u64,
    },
    /// Replies come one byte at a time, so far apart.
    Drip {
        /// Between two bytes.
        every: Duration,
    },
    /// Nothing passes and nothing is lost: all of it comes when the mode ends, as from a network that was cut for a while.
    Stall,
    /// Connections are accepted, and what they say is swallowed. Nothing is ever said.
    Blackhole,
    /// Requests reach the server, and replies are swallowed.
    OneWay,
    /// The port refuses connections and all open ones are reset, as after the end of the server's process.
    Refuse,
    /// New connections are accepted and reset, and so are all open ones.
    Reset,
    /// The server's picked replies are swallowed, and the connection is then reset: it was done, and nobody knows.
    Lose(Replies),
    /// Of picked replies the first half comes, and the connection is then closed.
    Cut(Replies),
    /// Something comes instead of picked replies that is no message of the protocol, or one that no parser should follow: nested
    /// too deeply, with lengths that are negative or fit no number. Each time another.
    Garble(Replies),
    /// A whole message comes instead of picked replies, of another kind than asked for. Each time another.
    Mistype(Replies),
    /// These bytes come instead of picked replies, such as `-LOADING …` with its line end.
    Replace(Replies, Vec<u8>),
    /// A string of 1 GiB comes instead of picked replies, as long as the client reads it.
    Flood(Replies),
}

impl Mode {
    /// Every reply is late by so much.
    pub const fn late(by: Duration) -> Self {
        Self::Delay {
            requests: Duration::ZERO,
            replies: by,
        }
    }

    /// The replies that the mode picks, if it picks any.
    pub(super) fn picks(&self) -> Option<&Replies> {
        match self {
            Self::Lose(replies)
            | Self::Cut(replies)
            | Self::Garble(replies)
            | Self::Mistype(replies)
            | Self::Replace(replies, _)
            | Self::Flood(replies) => Some(replies),
            _ => None,
        }
    }
}

/// Which replies a mode picks. The others pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replies {
    commands: Vec<String>,
    every: NonZeroU32,
}

impl Replies {
    /// All, also those to what a client says first: `HELLO`, `AUTH`, `CLIENT`.
    pub fn all() -> Self {
        Self::to(&[])
    }

    /// Those to these commands, in whatever case; to all if there are none.
    pub fn to(commands: &[&str]) -> Self {
        Self {
            commands: commands.iter().map(|command| command.to_ascii_uppercase()).collect(),
            every: NonZeroU32::MIN,
        }
    }

    /// Of those the n-th, the 2n-th and so on, counted over all connections since the mode was set. 0 counts as 1.
    #[must_use]
    pub fn every(mut self, nth: u32) -> Self {
        self.every = NonZeroU32::new(nth).unwrap_or(NonZeroU32::MIN);
        self
    }

    /// Whether the reply to this command is among them before `every` counts. `None` where the connection is not in Redis's
    /// protocol, so that only [`Replies::all`] fits.
    pub(super) fn are_to(&self, command: Option<&[u8]>) -> bool {
        let is_it = |name: &String| command.is_some_and(|command| command.eq_ignore_ascii_case(name.as_bytes()));
        self.commands.is_empty() || self.commands.iter().any(is_it)
    }

    /// Whether the reply with this number, counted from 1, is picked.
    pub(super) fn picks_number(&self, number: u64) -> bool {
        number.is_multiple_of(u64::from(self.every.get()))
    }
}
