//! The shortest front there can be: workers on `tiny_http::Server::recv`, one hit a batch.
//!
//! Owns everything that touches `tiny_http`, and mends what can be mended from outside:
//!
//! * `unblock` wakes one thread, so stopping and every change of state unblocks each worker once;
//! * its accept thread ends at the first error of `accept`, which one `recv` reports, or by a panic
//!   when a descriptor or a thread is lacking, which only the panic hook sees: a new server is then
//!   built on a clone of the listener, and the workers look after the old connections as well. After
//!   [`SERVERS_MAX`] such servers the front gives up and raises the alarm;
//! * HTTP/1.0 with `keep-alive` is told that its connection stays;
//! * a response is flushed before `tiny_http` drains the body behind it;
//! * `TCP_NODELAY` and a write timeout are set on the listener and inherited by every connection.
//!
//! What cannot be mended from outside, and is why the `pool` front exists: a thread for each
//! connection and no timeout on reading; bodies are drained on the worker, and a declared length is
//! allocated in one piece, so that `Content-Length: 99999999999999` aborts the process, and a body that
//! never comes holds a worker for as long as its client likes; an HTTP/2.0
//! request line loses two descriptors and a thread; heads have no bound; an unread chunked body is
//! taken for the next request; a connection accepted while stopping is closed without an answer.
//!
//! Must not know what becomes of a batch. Invariant: a worker has one hit under way at the most.

use super::{ESTIMATED, EVERY_ANSWER, Front, Plan, REFUSED_TEXT};
use crate::alarm::Alarm;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::hit::{Gone, Line, Verdict};
use crate::stamp::{MILLISECOND_NS, SECOND_NS, Stamp};
use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::net::sockopt;
use std::io::{self, Write};
use std::net::TcpListener;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tiny_http::{Header, Method, Request, Response, Server, StatusCode};

/// Servers that may be built in the life of a front, the first included.
const SERVERS_MAX: usize = 8;
/// How long a client may refuse to read its response.
const WRITE_STALL: Duration = Duration::from_secs(10);
/// How long stopping waits for a worker whose client holds it up; its hit has been answered.
const STOP_PATIENCE_NS: u64 = 5 * SECOND_NS;
/// How long a worker waits in one place while it has several to look after.
const PATROL: Duration = Duration::from_millis(5);
/// How long to wait between two tries to build a server.
const RETRY_NS: u64 = 100 * MILLISECOND_NS;
/// Descriptors that must be free before a server is built: a connection takes two, and one to spare.
const DESCRIPTORS_MIN: usize = 3;

/// Header lines of every answer besides [`EVERY_ANSWER`].
const COMMON: &str = "Server: tallyd\r\nContent-Type: text/plain; charset=utf-8\r\n";

fn headers_of(lines: &str) -> impl Iterator<Item = Header> {
    lines
        .lines()
        .map(|line| line.parse().expect("a legal header"))
}

struct TinyFront {
    shared: Arc<Shared>,
    servers: Receiver<Arc<Server>>,
    workers: Vec<JoinHandle<Option<()>>>,
}

/// What all workers see.
struct Shared {
    listener: TcpListener,
    stopping: AtomicBool,
    /// Set by whoever saw an accept thread end, taken by the one who replaces its server.
    deaf: AtomicBool,
    /// To each worker, and to the front itself: servers to look after.
    announce: Vec<Sender<Arc<Server>>>,
    alarm: Alarm,
}

impl Shared {
    fn build(&self) -> Result<Arc<Server>> {
        let failed = |cause| Error::io("serve", "tiny_http", cause);
        let probes: io::Result<Vec<_>> = (0..DESCRIPTORS_MIN)
            .map(|_| self.listener.try_clone())
            .collect();
        drop(probes.map_err(failed)?);
        let listener = self.listener.try_clone().map_err(failed)?;
        let server = Server::from_listener(listener, None)
            .map_err(|cause| Error::found("tiny_http", cause.to_string()))?;
        let server = Arc::new(server);
        for worker in &self.announce {
            let _gone = worker.try_send(Arc::clone(&server));
        }
        Ok(server)
    }
}

/// Starts the workers.
///
/// # Errors
/// A thread or a descriptor cannot be had.
pub fn start<C: Clock>(plan: Plan<C>) -> Result<Box<dyn Front>> {
    // One that was handed over may have served a pool before.
    let blocks = plan.listener.set_nonblocking(false);
    blocks.map_err(|cause| Error::io("serve", "the listener", cause))?;
    let options = sockopt::set_tcp_nodelay(&plan.listener, true).and_then(|()| {
        sockopt::set_socket_timeout(&plan.listener, sockopt::Timeout::Send, Some(WRITE_STALL))
    });
    options.map_err(|cause| Error::io("set options of", "the listener", cause.into()))?;
    let (announce, mut news): (Vec<_>, Vec<_>) =
        (0..=plan.workers).map(|_| bounded(SERVERS_MAX)).unzip();
    let servers = news.remove(plan.workers);
    let shared = Arc::new(Shared {
        listener: plan.listener,
        stopping: AtomicBool::new(false),
        deaf: AtomicBool::new(false),
        announce,
        alarm: plan.alarm,
    });
    let first = shared.build()?;
    hear_panics(&shared, &first);
    let mut workers = Vec::with_capacity(plan.workers);
    for (index, news) in news.into_iter().enumerate() {
        let worker = Worker {
            shared: Arc::clone(&shared),
            news,
            servers: Vec::with_capacity(SERVERS_MAX),
            line: plan.inlet.line(),
            clock: plan.clock.clone(),
            headers: headers_of(COMMON).chain(headers_of(EVERY_ANSWER)).collect(),
        };
        workers.push(
            shared
                .alarm
                .spawn(&format!("worker-{index}"), move || worker.run())?,
        );
    }
    Ok(Box::new(TinyFront {
        shared,
        servers,
        workers,
    }))
}

impl Front for TinyFront {
    fn stop(self: Box<Self>) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let servers: Vec<_> = self.servers.try_iter().collect();
        let patience = SystemClock.now().after(STOP_PATIENCE_NS);
        for worker in self.workers {
            // Another worker on patrol may have taken the call meant for this one: call again.
            while !worker.is_finished() && SystemClock.now() < patience {
                servers.iter().for_each(|server| server.unblock());
                std::thread::sleep(PATROL);
            }
            if worker.is_finished() {
                let _alarm_was_raised = worker.join();
            } else {
                log::warn!("a worker is held up by its client and is left behind");
            }
        }
    }
}

/// The accept thread is the one without a name that duplicates descriptors and starts threads. When
/// it panics nothing else tells.
fn hear_panics(shared: &Arc<Shared>, first: &Arc<Server>) {
    let (shared, first) = (Arc::downgrade(shared), Arc::downgrade(first));
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        before(panic);
        let place = panic.location().map_or("", |location| location.file());
        let accepting =
            place.ends_with("refined_tcp_stream.rs") || place.contains("std/src/thread");
        if let (true, None, Some(shared), Some(first)) = (
            accepting,
            std::thread::current().name(),
            shared.upgrade(),
            first.upgrade(),
        ) {
            shared.deaf.store(true, Ordering::SeqCst);
            first.unblock();
        }
    }));
}

struct Worker<C> {
    shared: Arc<Shared>,
    news: Receiver<Arc<Server>>,
    servers: Vec<Arc<Server>>,
    line: Line,
    clock: C,
    headers: Vec<Header>,
}

impl<C: Clock> Worker<C> {
    fn run(mut self) {
        let mut rebuild: Option<Stamp> = None;
        loop {
            self.servers.extend(self.news.try_iter());
            match self.next_request(rebuild.is_some()) {
                Ok(Some(request)) => {
                    let stamp = self.clock.now();
                    if self.answer(request, stamp).is_err() {
                        return self.shared.alarm.raise("the funnel is gone".to_owned());
                    }
                }
                // Requests that came before the call to stop have been answered by now.
                Ok(None) if self.shared.stopping.load(Ordering::SeqCst) => return,
                Ok(None) => {}
                Err(cause) => {
                    log::error!(
                        "cannot accept connections: {}",
                        crate::error::io_text(&cause)
                    );
                    self.shared.deaf.store(true, Ordering::SeqCst);
                }
            }
            if self.shared.deaf.swap(false, Ordering::SeqCst) {
                rebuild = Some(self.clock.now());
            }
            if rebuild.is_some_and(|due| due <= self.clock.now()) {
                rebuild = self.rebuild();
            }
        }
    }

    /// A request; or nothing, if there is something else to see to; or why accepting has ended.
    fn next_request(&self, impatient: bool) -> io::Result<Option<Request>> {
        if let ([only], false) = (&self.servers[..], impatient) {
            // What `unblock` causes is an error that no system call made.
            return only
                .recv()
                .map(Some)
                .or_else(|cause| match cause.raw_os_error() {
                    Some(_) => Err(cause),
                    None => Ok(None),
                });
        }
        for server in &self.servers {
            if let Some(request) = server.try_recv()? {
                return Ok(Some(request));
            }
        }
        self.servers
            .last()
            .map_or(Ok(None), |newest| newest.recv_timeout(PATROL))
    }

    fn answer(&mut self, request: Request, stamp: Stamp) -> Result<(), Gone> {
        self.line.next_batch()?.push(stamp);
        let counted = self.line.exchange().map(|batch| match batch.verdict() {
            verdict @ (Verdict::Counted | Verdict::Estimated) => {
                Some((batch.hits()[0].tally, verdict == Verdict::Estimated))
            }
            Verdict::Refused => None,
        });
        let (status, text, further) = match counted {
            Ok(Some((tally, is_estimated))) => {
                let further = if is_estimated { ESTIMATED } else { "" };
                (200, format!("{tally}\n"), further)
            }
            Ok(None) | Err(Gone) => (503, REFUSED_TEXT.to_owned(), ""),
        };
        // A client that is gone needs no answer; its hit was counted all the same.
        let _gone = if asks_to_stay(&request) {
            respond_and_stay(request, status, &text, further)
        } else {
            let body = text.as_bytes();
            let (status, mut headers) = (StatusCode(status), self.headers.clone());
            headers.extend(headers_of(further));
            request.respond(Response::new(status, headers, body, Some(body.len()), None))
        };
        counted.map(|_| ())
    }

    /// Builds another server for new connections; returns when to try again, if need be.
    fn rebuild(&mut self) -> Option<Stamp> {
        if self.servers.len() >= SERVERS_MAX {
            let cause = format!("accepting connections has failed {SERVERS_MAX} times");
            self.shared.alarm.raise(cause);
            return None;
        }
        match self.shared.build() {
            Ok(_) => {
                log::info!("accepting connections again");
                // Whoever waits in the old servers is told to look for the new one.
                for _ in 0..self.shared.announce.len() {
                    self.servers.iter().for_each(|server| server.unblock());
                }
                None
            }
            Err(_) => Some(self.clock.now().after(RETRY_NS)),
        }
    }
}

/// Whether this is HTTP/1.0 with `keep-alive` and without a body, which `tiny_http` keeps open without
/// saying so: its client would wait for the end of the connection.
fn asks_to_stay(request: &Request) -> bool {
    let names = |name: &'static str| move |header: &&Header| header.field.equiv(name);
    let connection = request.headers().iter().find(names("Connection"));
    *request.http_version() == (1, 0)
        && connection.is_some_and(|it| it.value.as_str().eq_ignore_ascii_case("keep-alive"))
        && request.body_length().is_none_or(|length| length == 0)
        && !request
            .headers()
            .iter()
            .any(|it| it.field.equiv("Transfer-Encoding"))
}

/// Answers past `tiny_http`, which does not let us say that the connection stays.
fn respond_and_stay(request: Request, status: u16, text: &str, further: &str) -> io::Result<()> {
    let body = if *request.method() == Method::Head {
        ""
    } else {
        text
    };
    let reason = StatusCode(status).default_reason_phrase();
    let length = text.len();
    let mut writer = request.into_writer();
    write!(
        writer,
        "HTTP/1.0 {status} {reason}\r\nConnection: keep-alive\r\n{COMMON}{EVERY_ANSWER}{further}\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    writer.flush()
}
