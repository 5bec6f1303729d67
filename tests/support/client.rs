//! A raw HTTP client: what is written and what comes back, byte for byte, without a library's help.
//!
//! Owns one connection. Must not know what the answers mean. Invariant: it never retries, so that what
//! a test has sent is what it wrote.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// The shortest request that a browser might send.
pub const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: tallyd\r\n\r\n";
/// How long a test waits for bytes before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The number in a 200.
    pub fn tally(&self) -> u64 {
        assert_eq!(self.status, 200, "{self:?}");
        let digits = self.body.strip_suffix('\n').expect("a newline at the end");
        digits.parse().expect("a tally in decimal")
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Writes `request`.
    pub fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(request)
    }

    /// Says that nothing more will be sent.
    pub fn end(&mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown(Shutdown::Write)
    }

    /// The connection for somebody who writes while this reads.
    pub fn writer(&self) -> io::Result<TcpStream> {
        self.stream.get_ref().try_clone()
    }

    /// Whether nothing has come, not even the end, from a server that had no reason to wait.
    pub fn is_quiet(&mut self) -> io::Result<bool> {
        if !self.stream.buffer().is_empty() {
            return Ok(false);
        }
        let stream = self.stream.get_mut();
        stream.set_nonblocking(true)?;
        let found = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        match found {
            Ok(_) => Ok(false),
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(cause) => Err(cause),
        }
    }

    /// Whether anything comes within `patience`, be it the end.
    pub fn has_within(&mut self, patience: Duration) -> io::Result<bool> {
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(patience))?;
        let found = stream.peek(&mut [0]);
        stream.set_read_timeout(Some(PATIENCE))?;
        match found {
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Ok(false),
            _ => Ok(true),
        }
    }

    /// Reads one answer. After a HEAD there is no body, whatever the head says.
    pub fn receive(&mut self, is_head: bool) -> io::Result<Answer> {
        let mut head = String::new();
        loop {
            let before = head.len();
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if &head[before..] == "\r\n" {
                break;
            }
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {head}")))?;
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, value)| value.parse().expect("a length"));
        let mut body = vec![0; if is_head { 0 } else { length }];
        self.stream.read_exact(&mut body)?;
        let body = String::from_utf8(body).expect("text");
        Ok(Answer { status, head, body })
    }

    /// One request that is no HEAD, and its answer.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.send(request)?;
        self.receive(false)
    }

    /// One hit, and its tally.
    pub fn hit(&mut self) -> io::Result<u64> {
        self.ask(GET).map(|answer| answer.tally())
    }

    /// Whether the server has closed the connection, with nothing more to read.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        matches!(self.stream.read_to_end(&mut rest), Ok(0))
    }
}

/// One hit on a connection of its own.
pub fn hit(address: SocketAddr) -> u64 {
    let mut client = Client::connect(address).expect("the server listens");
    client.hit().expect("an answer")
}
