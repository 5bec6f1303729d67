//! Open, bind, spawn, shut down, in that order.
//!
//! Owns the life of a server. A journal that is there already is locked first, so that a second server on it is
//! told who holds it. Then both listeners are bound, and only then is anything created or changed on disk: a
//! failed bind leaves nothing behind. A client that connects meanwhile is answered once the journal is
//! recovered. The fronts stop before the funnel, and the funnel before the syncs, so that what was answered is on
//! the device when the process ends.
//!
//! Threads: the workers, the funnel, the syncs, the log's writer, and this one, which waits for a signal or an
//! alarm, and meanwhile asks the funnel as often as a supervisor wants to hear that all is well. One more
//! writes the start line, and ends when standard output has taken it.
//!
//! Must not know how hits are counted. Invariant: however this returns, the journal is closed.

use crate::alarm::Alarm;
use crate::clock::{self, Calendar, Clock, SystemClock};
use crate::error::{Error, Result};
use crate::front;
use crate::front::desk::Desk;
use crate::front::gauges::Gauges;
use crate::funnel::{self, Funnel, Settings};
use crate::hit::{self, Answer, Ask, Inlet, Message};
use crate::journal::disk::{Disk, RealDisk};
use crate::journal::{Limits, Recovered, SyncJob, SyncPolicy, name};
use crate::lives::Lives;
use crate::notation::{duration, instant, many};
use crate::operator::{self, Facts, Operator};
use crate::options::Options;
use crate::report;
use crate::signals;
use crate::stamp::{Anchor, MILLISECOND_NS, Stamp};
use crate::supervise::{Supervisor, take_sockets};
use crossbeam_channel::{Receiver, bounded};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Findings that are logged before the log's writer is waited for.
const FINDINGS_BURST: usize = 32;
const _: () = assert!(operator::LATE_NS_MAX == funnel::LATE_NS_MAX, "one bound");

/// Serves until a signal that drains.
///
/// # Errors
/// Something could not be opened, bound or started; a thread could not go on; or the last sync
/// failed.
pub fn serve(options: &Options) -> Result<()> {
    let began = SystemClock.now();
    let sockets = take_sockets()?;
    let supervisor = Supervisor::from_environment();
    let (mut woken, waker) = signals::catch()?;
    let (causes, alarms) = bounded(1);
    let alarm = Alarm::new(move |cause| {
        // The first cause is the one that matters.
        let _later = causes.try_send(cause);
        // A pipe that is full wakes as well.
        let _full = (&waker).write(&[0]);
    });

    let (job_sender, jobs) = bounded(1);
    let settings = Settings {
        window_ns: options.window_ns,
        retain_ns: options.retain_ns,
        policy: options.sync,
        limits: Limits::for_window(options.window_ns),
    };
    // Limits that cannot be had end the start before anything is created.
    let pool_workers = match options.front {
        front::Kind::Pool => options.workers,
        front::Kind::TinyHttp => 1,
    };
    options.limits.raise_descriptors(pool_workers)?;
    // The lock file of a journal says whose it is, whatever else may be wrong.
    let is_there = options.data.join(name::LOCK).exists();
    let locked = is_there
        .then(|| RealDisk::open(&options.data))
        .transpose()?;
    let is_handed_over = sockets.hits.is_some();
    let (listener, address) = open_door(sockets.hits, &options.listen)?;
    let door = match (sockets.operator, &options.operator) {
        (Some(_), None) => {
            let cause = "none, but a socket for operators was handed over";
            return Err(Error::found("--operator", cause));
        }
        (handed, Some(place)) => Some(open_door(handed, place)?),
        (None, None) => None,
    };
    let operator_address = door.as_ref().map(|(_, address)| *address);
    let disk = locked.map_or_else(|| RealDisk::open(&options.data), Ok)?;
    let boot = clock::boot_id()?;
    let mut lives = Lives::open(&options.data, boot);
    let (mut funnel, recovered) = Funnel::open(disk, SystemClock, boot, settings, job_sender)?;
    log_findings(&recovered.findings);
    let calendar = Calendar::new(lives.anchor().unwrap_or_else(|| SystemClock.anchor()));
    let started = calendar.now(&SystemClock);
    let (damaged_until, doubt) = doubts(&mut lives, &recovered, started, options.retain_ns);
    funnel.doubt_until(damaged_until);
    if let Some(doubt) = &doubt {
        log::warn!("{}: {doubt}", options.data.display());
    }

    let (inlet, messages) = hit::channel();
    let sync_inlet = inlet.clone();
    let syncing = alarm.spawn("sync", move || run_syncs(&jobs, &sync_inlet))?;
    let counting = alarm.spawn("funnel", move || funnel.run(&messages))?;
    let gauges = Arc::<Gauges>::default();
    let gaps = lives.gaps(started);
    let life_calendar = calendar.clone();
    let desk = door.map(|(listener, _)| {
        let facts = Facts {
            window_ns: options.window_ns,
            retain_ns: options.retain_ns,
            sync: match options.sync {
                SyncPolicy::Always => "always".to_owned(),
                SyncPolicy::Every { period_ns } => duration(period_ns),
                SyncPolicy::Never => "never".to_owned(),
            },
            began,
            hosts: admin_hosts(options),
            gaps,
            doubt,
        };
        let operator = Operator::new(facts, calendar, inlet.clone(), Arc::clone(&gauges));
        Desk {
            listener,
            operator: Arc::new(operator),
        }
    });
    let plan = front::Plan {
        listener,
        workers: options.workers,
        inlet: inlet.clone(),
        clock: SystemClock,
        alarm: alarm.clone(),
        stamping: options.stamping,
        limits: options.limits,
        desk,
        gauges,
    };
    let front = front::start(options.front, plan);
    // What the device takes for a line is not waited for.
    let noting = alarm.spawn("lives", move || {
        lives.write();
        lives
    });
    if let Err(error) = &noting {
        log::warn!("{error}; it will not be known that this server ran");
    }
    if front.is_ok() {
        let mut place = address.to_string();
        if let Some(operator) = operator_address {
            place.push_str(&format!(", operator on {operator}"));
        }
        if is_handed_over {
            place.push_str(", socket handed over");
        }
        let line = start_line(options, &place, &recovered, &inlet);
        let took_ms = SystemClock.now().since(began) as f64 / MILLISECOND_NS as f64;
        let printed = format!("{line}, in {took_ms:.1} ms");
        let printing = alarm.spawn("stdout", {
            let printed = printed.clone();
            move || report::print(&printed)
        });
        if printing.is_err() {
            // Without a thread for it, a reader that does not read is waited for.
            report::print(&printed);
        }
        supervisor.tell(&format!("READY=1\nSTATUS={line}"));
        while is_quiet(&mut woken, supervisor.period()) {
            give_sign_of_life(&supervisor, &inlet, options.window_ns);
        }
        supervisor.tell("STOPPING=1\nSTATUS=answering what is under way");
        if let Ok(printing) = printing {
            // A reader of the start line that is slow has it before the process is gone.
            report::within_limit(|| printing.is_finished());
        }
    }

    let started = front.map(|front| front.stop());
    let last = inlet.ask(Ask::Status);
    let _gone = inlet.send(Message::Stop);
    let closed = counting.join().ok().flatten();
    drop(inlet);
    let _alarm_was_raised = syncing.join();
    let noted = noting.ok().and_then(|noting| noting.join().ok().flatten());
    if let (Ok(Answer::Status(status)), Some(mut lives)) = (last, noted) {
        // What was answered is known also where its files are gone: the next start says what is missing.
        lives.end(life_calendar.now(&SystemClock), status.total);
        lives.write();
    }
    started?;
    // A worker may have found the funnel gone before the funnel's own alarm: the cause is the panic.
    let cause = match closed {
        Some(closed) => closed.map(|()| alarms.try_recv().ok())?,
        None => Some("thread funnel panicked".to_owned()),
    };
    cause.map_or(Ok(()), |cause| Err(Error::found("stopped", cause)))
}

/// Tells the supervisor that hits are counted, and how many there were; but only when the funnel says so,
/// which is waited for: a funnel that is stuck is a server that has to be started again.
pub fn give_sign_of_life(supervisor: &Supervisor, inlet: &Inlet, window_ns: u64) {
    if let Ok(Answer::Status(status)) = inlet.ask(Ask::Status) {
        let said = match (status.tally, status.unreadable) {
            (Some(tally), _) => {
                format!("{} in the last {}", many(tally, "hit"), duration(window_ns))
            }
            (None, cause) => cause.unwrap_or_default(),
        };
        supervisor.tell(&format!("WATCHDOG=1\nSTATUS={said}"));
    }
}

/// Names by which the admin listener may be addressed: those that were given, and its own address, which may
/// be a name.
fn admin_hosts(options: &Options) -> Vec<String> {
    let own = options
        .operator
        .as_deref()
        .and_then(|place| place.rsplit_once(':'));
    let own = own.map(|(host, _)| host.to_owned());
    options.admin_hosts.iter().cloned().chain(own).collect()
}

/// The listener that was handed over, or else one on `HOST:PORT`; and where it really is.
fn open_door(handed: Option<TcpListener>, place: &str) -> Result<(TcpListener, SocketAddr)> {
    let failed = |cause| Error::io("bind", place, cause);
    let listener = handed
        .map_or_else(|| TcpListener::bind(place), Ok)
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Waits for as long as `period`, or for ever without one; whether neither signal nor alarm came.
fn is_quiet(woken: &mut UnixStream, period: Option<Duration>) -> bool {
    // The period was made by halving and is never zero, which alone would be refused.
    let _never_refused = woken.set_read_timeout(period);
    loop {
        match woken.read(&mut [0]) {
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) => {
                return matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            }
            Ok(_) => return false,
        }
    }
}

/// Logs what recovery has found, no faster than it is written, unless nothing is.
fn log_findings(findings: &[String]) {
    let mut is_read = true;
    for burst in findings.chunks(FINDINGS_BURST) {
        for finding in burst {
            log::warn!("{finding}");
        }
        is_read = is_read && report::flush();
    }
}

/// Begins the life of this server: until when numbers are in doubt because hits are damaged or lost, whether
/// this start found that or an earlier one, and what there is to say of it.
fn doubts(
    lives: &mut Lives,
    recovered: &Recovered,
    started: Anchor,
    retain_ns: u64,
) -> (Stamp, Option<String>) {
    let newest = recovered.segments.last().map(|segment| segment.last);
    let noted_until = lives.doubtful_until(started);
    let (until, doubt) = match lives.begin(started, recovered.end, newest) {
        Some(doubt) => (started.at, Some(doubt)),
        None => {
            let noted = (noted_until > started.at.before(retain_ns)).then(|| {
                let until = instant(started.wall_at(noted_until));
                format!(
                    "an earlier start found hits damaged or lost: numbers of spans that begin before \
                     {until} are estimated"
                )
            });
            (recovered.damaged_until.max(noted_until), noted)
        }
    };
    lives.doubt_until(until);
    (until, doubt)
}

/// The one place where anything waits for the device while hits are served.
pub fn run_syncs<D: Disk>(jobs: &Receiver<SyncJob<D>>, inlet: &Inlet) {
    for job in jobs {
        let covers = job.covers();
        let outcome = outcome(|| job.run());
        if inlet.send(Message::Synced(covers, outcome)).is_err() {
            return;
        }
    }
}

/// What became of a sync. The funnel waits for an answer to every job: one that panics has failed.
fn outcome(sync: impl FnOnce() -> Result<()>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(sync))
        .unwrap_or_else(|_| Err(Error::found("sync", "its thread panicked")))
        .map_err(|error| error.to_string())
}

fn start_line(options: &Options, place: &str, recovered: &Recovered, inlet: &Inlet) -> String {
    let window = duration(options.window_ns);
    let mut line = format!(
        "listening on {place}, data in {}, recovered {}",
        options.data.display(),
        many(recovered.hit_count(), "hit")
    );
    if let Ok(Answer::Status(status)) = inlet.ask(Ask::Status)
        && let Some(tally) = status.tally
    {
        let estimated = if status.estimated { ", estimated" } else { "" };
        line.push_str(&format!(" ({tally} in the last {window}{estimated})"));
    }
    if recovered.trimmed_bytes > 0 {
        let torn = many(recovered.trimmed_bytes, "torn byte");
        line.push_str(&format!(", trimmed {torn}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_fails_or_panics_is_no_success() {
        let failed = || Err(Error::found("7.seg", "no room"));
        assert_eq!(outcome(|| Ok(())), Ok(()));
        assert_eq!(outcome(failed), Err("7.seg: no room".to_owned()));
        let panicked = outcome(|| std::panic::resume_unwind(Box::new(())));
        assert_eq!(panicked, Err("sync: its thread panicked".to_owned()));
    }
}
