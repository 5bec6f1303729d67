//! What a supervisor such as systemd hands over, and what it is told.
//!
//! Owns both sides of the protocol: sockets that were bound before this process began, so that nobody is
//! turned away while one process follows another (`LISTEN_FDS`, `LISTEN_FDNAMES`); and datagrams that say
//! when hits are served, when that ends, and that counting still goes on (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).
//! Without a supervisor all of it is nothing.
//!
//! Must not know how hits are served. Invariant: what cannot be told is logged and harms nobody; a socket
//! whose purpose is not clear ends the start.

use crate::error::{Error, Result, io_text};
use crate::notation::many;
use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long a supervisor that does not listen may hold up its own notice.
const TELL_MAX: Duration = Duration::from_secs(1);

/// Sockets that were handed over.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Where hits come in.
    pub hits: Option<TcpListener>,
    /// Where operators ask.
    pub operator: Option<TcpListener>,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Hits,
    Operator,
}

/// Takes over the sockets that the environment speaks of. It has to be the first thing that a process
/// does: later their numbers may be those of something else.
///
/// # Errors
/// One of them is no listening TCP socket, or it is not clear what it is for.
pub fn take_sockets() -> Result<Sockets> {
    let mut handed = ListenFd::from_env();
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut sockets = Sockets::default();
    for (index, purpose) in purposes(&names, handed.len())?.into_iter().enumerate() {
        let failed = |cause: io::Error| {
            Error::found(format!("LISTEN_FDS: socket {index}"), cause.to_string())
        };
        let taken = handed.take_tcp_listener(index).map_err(failed)?;
        let listener = taken.expect("each index is taken once");
        if !socket_acceptconn(&listener).map_err(|cause| failed(cause.into()))? {
            return Err(failed(io::Error::other("it does not listen")));
        }
        match purpose {
            Purpose::Hits => sockets.hits = Some(listener),
            Purpose::Operator => sockets.operator = Some(listener),
        }
    }
    Ok(sockets)
}

/// What each of `count` sockets is for: as their names say, separated by colons; where none of them is a
/// name of ours, hits come in by the first and operators by the second.
fn purposes(names: &str, count: usize) -> Result<Vec<Purpose>> {
    const IN_ORDER: [(&str, Purpose); 2] =
        [("hits", Purpose::Hits), ("operator", Purpose::Operator)];
    if count > IN_ORDER.len() {
        let cause = format!("{count} sockets are too many, at most 2 are of use");
        return Err(Error::found("LISTEN_FDS", cause));
    }
    let names: Vec<&str> = names.split(':').take(count).collect();
    let ours = |name: &str| IN_ORDER.iter().find(|(ours, _)| *ours == name);
    if !names.iter().any(|name| ours(name).is_some()) {
        return Ok(IN_ORDER.iter().take(count).map(|(_, it)| *it).collect());
    }
    let mut found = Vec::with_capacity(count);
    for name in &names {
        match ours(name) {
            Some((_, purpose)) if !found.contains(purpose) => found.push(*purpose),
            _ => {
                let cause = format!("'{name}' is not one of hits and operator, each once");
                return Err(Error::found("LISTEN_FDNAMES", cause));
            }
        }
    }
    if found.len() < count {
        let cause = format!("{} for {count} sockets", many(found.len() as u64, "name"));
        return Err(Error::found("LISTEN_FDNAMES", cause));
    }
    Ok(found)
}

/// The supervisor of this process, if it has one that wants to be told.
#[derive(Debug, Default)]
pub struct Supervisor {
    line: Option<(UnixDatagram, SocketAddr)>,
    period: Option<Duration>,
}

impl Supervisor {
    /// The one that the environment speaks of.
    #[must_use]
    pub fn from_environment() -> Self {
        let Some(place) = env::var_os("NOTIFY_SOCKET").filter(|place| !place.is_empty()) else {
            return Self::default();
        };
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = env::var_os("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(std::process::id().into());
        Self::at(&place, number("WATCHDOG_USEC").filter(|_| is_ours)).unwrap_or_else(|cause| {
            let place = place.to_string_lossy();
            log::warn!("cannot notify {place}: {}", io_text(&cause));
            Self::default()
        })
    }

    /// One that listens at `place`, a path or an abstract name behind an `@`, and takes a process that is
    /// silent for `watchdog_us` microseconds to be hung.
    ///
    /// # Errors
    /// There can be no socket with that name.
    pub fn at(place: &OsStr, watchdog_us: Option<u64>) -> io::Result<Self> {
        let address = match place.as_bytes() {
            [b'@', name @ ..] => abstract_address(name)?,
            [b'/', ..] => SocketAddr::from_pathname(place)?,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(TELL_MAX))?;
        Ok(Self {
            line: Some((socket, address)),
            // Twice as often as it is asked for, as sd_watchdog_enabled(3) advises.
            period: watchdog_us
                .filter(|&us| us > 1)
                .map(|us| Duration::from_micros(us / 2)),
        })
    }

    /// How often it wants to hear that all is well.
    #[must_use]
    pub const fn period(&self) -> Option<Duration> {
        self.period
    }

    /// Tells it `news`: lines such as `READY=1`.
    pub fn tell(&self, news: &str) {
        let Some((socket, address)) = &self.line else {
            return;
        };
        let send = || socket.send_to_addr(news.as_bytes(), address);
        let sent = send().or_else(|cause| match cause.kind() {
            // By a signal, which a socket with a timeout is not spared.
            io::ErrorKind::Interrupted => send(),
            _ => Err(cause),
        });
        if let Err(cause) = sent {
            log::warn!("cannot notify the supervisor: {}", io_text(&cause));
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Purpose::{Hits, Operator};

    fn said(names: &str, count: usize) -> Result<Vec<Purpose>, String> {
        purposes(names, count).map_err(|error| error.to_string())
    }

    #[test]
    fn sockets_with_names_of_ours_are_what_they_say_in_any_order() {
        assert_eq!(said("operator:hits", 2), Ok(vec![Operator, Hits]));
        assert_eq!(said("operator", 1), Ok(vec![Operator]));
    }

    #[test]
    fn sockets_without_names_of_ours_are_taken_in_order() {
        for names in ["", "tallyd.socket:tallyd.socket", "unknown"] {
            assert_eq!(said(names, 2), Ok(vec![Hits, Operator]), "{names}");
        }
        assert_eq!(said("", 0), Ok(vec![]));
    }

    #[test]
    fn a_socket_whose_purpose_is_not_clear_is_an_error() {
        for (names, count, message) in [
            (
                "",
                3,
                "LISTEN_FDS: 3 sockets are too many, at most 2 are of use",
            ),
            (
                "hits:hits",
                2,
                "LISTEN_FDNAMES: 'hits' is not one of hits and operator, each once",
            ),
            (
                "hits:else",
                2,
                "LISTEN_FDNAMES: 'else' is not one of hits and operator, each once",
            ),
            ("hits", 2, "LISTEN_FDNAMES: 1 name for 2 sockets"),
        ] {
            assert_eq!(said(names, count), Err(message.to_owned()));
        }
    }

    #[test]
    fn a_place_that_is_neither_path_nor_abstract_is_an_error_and_nothing_is_told() {
        assert!(Supervisor::at(OsStr::new("vsock:2:1234"), None).is_err());
        Supervisor::default().tell("READY=1");
    }

    #[test]
    fn a_watchdog_is_served_twice_as_often_as_it_asks_and_not_at_all_below_two_microseconds() {
        let period = |watchdog_us| {
            let supervisor = Supervisor::at(OsStr::new("/nowhere"), watchdog_us);
            supervisor.expect("a path is enough").period()
        };
        let cases = [None, Some(0), Some(1), Some(2), Some(3_000_000)];
        let expected = [
            None,
            None,
            None,
            Some(Duration::from_micros(1)),
            Some(Duration::from_millis(1_500)),
        ];
        assert_eq!(cases.map(period), expected);
        assert_eq!(Supervisor::default().period(), None);
    }

    #[test]
    fn news_arrive_unchanged_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("notify");
        let name = format!("@tallyd-news-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).expect("a free path");
        let address = abstract_address(&name.as_bytes()[1..]).expect("a valid name");
        let by_name = UnixDatagram::bind_addr(&address).expect("a free name");
        for (place, heard) in [
            (path.as_os_str(), by_path),
            (OsStr::new(name.as_str()), by_name),
        ] {
            heard.set_nonblocking(true).expect("a socket of ours");
            let supervisor = Supervisor::at(place, None).expect("a valid place");
            supervisor.tell("READY=1\nSTATUS=serving");
            let mut news = [0; 64];
            let length = heard.recv(&mut news).expect("a datagram is there at once");
            assert_eq!(&news[..length], b"READY=1\nSTATUS=serving", "{place:?}");
        }
    }
}
