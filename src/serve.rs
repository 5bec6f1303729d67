//! Open, bind, spawn, shut down, in that order.
//!
//! Owns the life of a server: the journal is recovered before the port is bound, so that whoever can
//! connect gets a right answer; the fronts stop before the funnel, and the funnel before the syncs,
//! so that what was answered is on the device when the process ends.
//!
//! Threads: the workers, the funnel, the syncs, and this one, which waits for a signal or an alarm, and
//! meanwhile asks the funnel as often as a supervisor wants to hear that all is well.
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
use crate::journal::{Limits, Recovered, SyncJob, SyncPolicy};
use crate::lives::Lives;
use crate::notation::duration;
use crate::operator::{self, Facts, Operator};
use crate::options::Options;
use crate::stamp::MILLISECOND_NS;
use crate::supervise::{Supervisor, take_sockets};
use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::low_level::pipe;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const _: () = assert!(operator::LATE_NS_MAX == funnel::LATE_NS_MAX, "one bound");

/// Serves until TERM or INT.
///
/// # Errors
/// Something could not be opened, bound or started; a thread could not go on; or the last sync
/// failed.
pub fn serve(options: &Options) -> Result<()> {
    let began = SystemClock.now();
    let sockets = take_sockets()?;
    let supervisor = Supervisor::from_environment();
    let (mut woken, waker) = catch_signals()?;
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
    let disk = RealDisk::open(&options.data)?;
    let boot = clock::boot_id()?;
    let mut lives = Lives::open(&options.data, boot);
    let (funnel, recovered) = Funnel::open(disk, SystemClock, boot, settings, job_sender)?;
    for finding in &recovered.findings {
        log::warn!("{finding}");
    }
    let calendar = Calendar::new(lives.anchor().unwrap_or_else(|| SystemClock.anchor()));
    let newest = recovered.segments.last().map(|segment| segment.last);
    let started = calendar.now(&SystemClock);
    let doubt = lives.begin(started, recovered.end, newest);
    if let Some(doubt) = &doubt {
        log::warn!("{}: {doubt}", options.data.display());
    }
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
    // What the device takes for a line is not waited for.
    let noting = alarm.spawn("lives", move || {
        lives.write();
        lives
    })?;
    let plan = front::Plan {
        listener,
        workers: options.workers,
        inlet: inlet.clone(),
        clock: SystemClock,
        alarm,
        stamping: options.stamping,
        limits: options.limits,
        desk,
        gauges,
    };
    let front = front::start(options.front, plan);
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
        // Nobody may be listening to standard output; that keeps no server from serving.
        let _unheard = writeln!(std::io::stdout(), "{line}, in {took_ms:.1} ms");
        supervisor.tell(&format!("READY=1\nSTATUS={line}"));
        while is_quiet(&mut woken, supervisor.period()) {
            give_sign_of_life(&supervisor, &inlet, options.window_ns);
        }
        supervisor.tell("STOPPING=1\nSTATUS=answering what is under way");
    }

    let started = front.map(|front| front.stop());
    let last = inlet.ask(Ask::Status);
    let _gone = inlet.send(Message::Stop);
    let closed = counting.join().ok().flatten().unwrap_or(Ok(()));
    drop(inlet);
    let _alarm_was_raised = syncing.join();
    started?;
    closed?;
    if let (Ok(Answer::Status(status)), Ok(Some(mut lives))) = (last, noting.join()) {
        lives.end(life_calendar.now(&SystemClock), status.total);
        lives.write();
    }
    alarms
        .try_recv()
        .map_or(Ok(()), |cause| Err(Error::found("stopped", cause)))
}

/// Tells the supervisor that hits are counted, and how many there were; but only when the funnel says so,
/// which is waited for: a funnel that is stuck is a server that has to be started again.
pub fn give_sign_of_life(supervisor: &Supervisor, inlet: &Inlet, window_ns: u64) {
    if let Ok(Answer::Status(status)) = inlet.ask(Ask::Status) {
        let said = match (status.tally, status.unreadable) {
            (Some(tally), _) => format!("{tally} hits in the last {}", duration(window_ns)),
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

/// A pipe that TERM and INT write to, and its other end for whoever else has to wake its reader. The
/// first signal is waited for, a second ends the process at once.
fn catch_signals() -> Result<(UnixStream, UnixStream)> {
    let failed = |cause| Error::io("catch", "signals", cause);
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&stopping)).map_err(failed)?;
        flag::register(signal, Arc::clone(&stopping)).map_err(failed)?;
    }
    // A file at its size limit is to be an error of that write and not the end of the process.
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map_err(failed)?;
    let (woken, waker) = UnixStream::pair().map_err(failed)?;
    for signal in [SIGTERM, SIGINT] {
        let waker = waker.try_clone().map_err(failed)?;
        pipe::register(signal, waker).map_err(failed)?;
    }
    // An alarm must not block.
    waker.set_nonblocking(true).map_err(failed)?;
    Ok((woken, waker))
}

/// The one place where anything waits for the device while hits are served.
fn run_syncs<D: Disk>(jobs: &Receiver<SyncJob<D>>, inlet: &Inlet) {
    for job in jobs {
        let covers = job.covers();
        // The funnel waits for an answer to every job, whatever becomes of it.
        let outcome = catch_unwind(AssertUnwindSafe(|| job.run()))
            .unwrap_or_else(|_| Err(Error::found("sync", "its thread panicked")))
            .map_err(|error| error.to_string());
        if inlet.send(Message::Synced(covers, outcome)).is_err() {
            return;
        }
    }
}

fn start_line(options: &Options, place: &str, recovered: &Recovered, inlet: &Inlet) -> String {
    let window = duration(options.window_ns);
    let hit_count = recovered.hit_count();
    let mut line = format!(
        "listening on {place}, data in {}, recovered {hit_count} hit{}",
        options.data.display(),
        if hit_count == 1 { "" } else { "s" }
    );
    if let Ok(Answer::Status(status)) = inlet.ask(Ask::Status)
        && let Some(tally) = status.tally
    {
        let estimated = if status.estimated { ", estimated" } else { "" };
        line.push_str(&format!(" ({tally} in the last {window}{estimated})"));
    }
    if recovered.trimmed_bytes > 0 {
        line.push_str(&format!(", trimmed {} torn bytes", recovered.trimmed_bytes));
    }
    line
}
