//! Counts something other than HTTP: each line of standard input is answered with the number of lines of the
//! previous 60 seconds, itself included, across restarts and kills. usage: embed DIR

use std::io::stdin;
use tallyd::clock::{Clock, SystemClock, boot_id};
use tallyd::journal::{Journal, Limits, SyncPolicy, disk::RealDisk};
use tallyd::window::Window;

const WINDOW_NS: u64 = 60_000_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os().nth(1).ok_or("usage: embed DIR")?;
    let (disk, boot) = (RealDisk::open(directory.as_ref())?, boot_id()?);
    let (limits, now) = (Limits::for_window(WINDOW_NS), SystemClock.anchor());
    let (mut journal, _) = Journal::open(disk, limits, boot, now, SyncPolicy::Never)?;
    let mut window = Window::open(&journal, WINDOW_NS, now.at)?;
    for line in stdin().lines() {
        line?;
        let (now, position) = (SystemClock.anchor(), journal.end());
        let stamp = now.at.max(journal.last().unwrap_or(now.at)); // Stamps never decrease.
        journal.begin(1, stamp, now)?;
        journal.append_all([stamp].into_iter());
        journal.flush()?; // From here on the line survives the process.
        let mut tally = 0;
        window.tally(&journal, position, [(stamp, &mut tally)].into_iter())?;
        println!("{tally}");
        journal.rotate_if_due(stamp)?;
        journal.retire(stamp.before(WINDOW_NS));
    }
    journal.close();
    Ok(())
}
