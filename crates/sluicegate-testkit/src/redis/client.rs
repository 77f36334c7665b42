//! A blocking connection with one command at a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::RedisError;
use super::resp::{self, Framer, Reply};

/// A connection to a server, in version 2 of the protocol. No word of it is shared with the client that the product uses.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    address: SocketAddr,
    /// What came beyond the last answer.
    unread: Vec<u8>,
}

impl Client {
    /// Connects, and gives the password if there is one.
    ///
    /// # Errors
    ///
    /// If nobody answers there, or the password is refused.
    pub fn connect(address: SocketAddr, password: Option<&str>) -> Result<Self, RedisError> {
        let disconnected = |source| RedisError::Disconnected { address, source };
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(disconnected)?;
        stream.set_nodelay(true).map_err(disconnected)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(disconnected)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(disconnected)?;
        let mut client = Self {
            stream,
            address,
            unread: Vec::new(),
        };
        if let Some(password) = password {
            client.command(&["AUTH", password])?;
        }
        Ok(client)
    }

    /// Sends a command and reads its answer. Words may be any bytes.
    ///
    /// # Errors
    ///
    /// [`RedisError::Refused`] if the answer is an error; [`RedisError::Disconnected`] if there is none for ten seconds.
    pub fn command<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<Reply, RedisError> {
        let command = words
            .first()
            .map(|word| String::from_utf8_lossy(word.as_ref()).into_owned());
        let command = command.unwrap_or_default();
        match self.exchange(&resp::command(words)) {
            Ok(Reply::Error(said)) => Err(RedisError::Refused { command, said }),
            Ok(reply) => Ok(reply),
            Err(source) => Err(RedisError::Disconnected {
                address: self.address,
                source,
            }),
        }
    }

    /// Writes bytes as they are and reads one message.
    fn exchange(&mut self, bytes: &[u8]) -> io::Result<Reply> {
        self.stream.write_all(bytes)?;
        let (mut framer, mut message, mut piece) = (Framer::default(), Vec::new(), std::mem::take(&mut self.unread));
        loop {
            let end = framer.advance(&piece).map_err(malformed)?;
            message.extend(&piece[..end.unwrap_or(piece.len())]);
            if let Some(end) = end {
                self.unread = piece.split_off(end);
                return Reply::read(&message).map_err(malformed);
            }
            if message.len() > MESSAGE_BYTES_MAX {
                return Err(malformed(resp::Malformed));
            }
            piece.resize(PIECE_BYTES, 0);
            let read = self.stream.read(&mut piece)?;
            piece.truncate(read);
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn malformed(error: resp::Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A bound for what hangs: a server that is alive answers in a millisecond.
const PATIENCE: Duration = Duration::from_secs(10);

const PIECE_BYTES: usize = 1 << 14;

/// Far beyond any answer that a test reads.
const MESSAGE_BYTES_MAX: usize = 1 << 28;
