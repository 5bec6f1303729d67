//! What is forced to the device, when, and on which thread: never on the one that answers.
//!
//! Owns the policy's words and the job that is handed over. A job names the files that hold
//! records not yet on the device and the sequence number it covers; when it has run, every hit below
//! that number survives a power cut. A failed sync is never tried again as if it could succeed: the
//! kernel may have dropped the pages and would then report success for nothing.
//!
//! Must not know who waits. Invariant: a job covers nothing it has not synced.

use super::disk::{Disk, DiskFile, cannot_sync_names};
use super::segment::offset_of;
use super::{Journal, Segment, name};
use crate::error::{Error, Result, io_text};
use crate::stamp::Stamp;
use std::io::ErrorKind;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// When records are forced to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before a hit is answered; one sync serves all that wait.
    Always,
    /// At the most `period_ns` nanoseconds after a hit was answered.
    Every {
        /// Nanoseconds between two syncs.
        period_ns: u64,
    },
    /// When the kernel likes.
    Never,
}

/// One sync to be done.
#[derive(Debug)]
pub struct SyncJob<D: Disk> {
    pub(super) disk: Arc<D>,
    /// Files with unsynced records, what people call them, and how many bytes they have at least.
    pub(super) files: Vec<(String, Arc<D::File>, u64)>,
    /// Names of files that were not kept open.
    pub(super) closed: Vec<String>,
    /// Whether names changed since the last sync.
    pub(super) names: bool,
    /// Whether it was said that this file system cannot sync names.
    pub(super) names_unsynced: Arc<AtomicBool>,
    pub(super) covers: u64,
}

impl<D: Disk> SyncJob<D> {
    /// Every hit with a sequence number below this is on the device once the job has run.
    #[must_use]
    pub const fn covers(&self) -> u64 {
        self.covers
    }

    /// Does it. This blocks for as long as the device takes.
    ///
    /// # Errors
    /// The first that failed; nothing may then be taken as covered.
    pub fn run(self) -> Result<()> {
        let failed = |name: &str| {
            let path = self.disk.path(name);
            move |cause| Error::io("sync", path, cause)
        };
        // What is on the device and cannot be found there is not safe.
        self.disk.is_in_place().map_err(failed(""))?;
        for (name, file, bytes) in &self.files {
            let checked = file
                .id()
                .and_then(|id| self.disk.check(name, Some(id), *bytes));
            checked.map_err(failed(name))?;
            file.sync().map_err(failed(name))?;
        }
        for name in &self.closed {
            match self.disk.open(name) {
                // Retired meanwhile, for which its successor had to be on the device.
                Err(cause) if cause.kind() == ErrorKind::NotFound => {}
                opened => opened.and_then(|file| file.sync()).map_err(failed(name))?,
            }
        }
        if self.names {
            self.sync_names()?;
        }
        Ok(())
    }

    /// Forces names to the device, where the file system can do that. Some network and shared ones
    /// cannot, and what they do is then all that there is: the files themselves are synced.
    fn sync_names(&self) -> Result<()> {
        let path = || self.disk.path("");
        match self.disk.sync() {
            Err(cause) if cannot_sync_names(&cause) => {
                if !self.names_unsynced.swap(true, Ordering::Relaxed) {
                    log::warn!(
                        "{}: this file system cannot sync a directory ({}): files are synced, but a \
                         power cut may take new ones away",
                        path(),
                        io_text(&cause)
                    );
                }
                Ok(())
            }
            synced => synced.map_err(|cause| Error::io("sync", path(), cause)),
        }
    }
}

impl<D: Disk> Journal<D> {
    /// Whether there is anything a sync would force to the device.
    #[must_use]
    pub fn is_unsynced(&self) -> bool {
        self.synced_end < self.end || self.closed.start < self.closed.end.min(self.end)
    }

    /// Hits below this position are on the device, as far as it says so.
    #[must_use]
    pub const fn synced_end(&self) -> u64 {
        self.synced_end
    }

    /// Everything unsynced, as a job for the sync thread; nothing if there is nothing to do.
    pub fn sync_job(&mut self) -> Option<SyncJob<D>> {
        if !self.is_unsynced() {
            return None;
        }
        let closed = self.closed_unsynced();
        let mut files = std::mem::take(&mut self.unsynced);
        if let Some(active) = self.active.as_ref().filter(|active| active.at.count > 0) {
            let name = name::segment(active.at.number);
            files.push((name, Arc::clone(&active.file), offset_of(active.at.stored)));
        }
        let names = std::mem::take(&mut self.names_changed);
        Some(SyncJob {
            disk: Arc::clone(&self.disk),
            files,
            closed,
            names,
            names_unsynced: Arc::clone(&self.names_unsynced),
            covers: self.end,
        })
    }

    /// What has yet to be synced and was not kept open.
    fn closed_unsynced(&mut self) -> Vec<String> {
        let Range { start, end } = self.closed;
        self.closed.start = end.min(self.end).max(start);
        // What is given up is found by the next start as long as its file is there.
        let unsynced = self
            .retired
            .iter()
            .chain(&self.sealed)
            .filter(|segment| start < segment.end() && segment.sequence < end);
        unsynced
            .map(|segment| name::segment(segment.number))
            .collect()
    }

    /// A job has run: hits below `covers` are on the device.
    pub fn synced(&mut self, covers: u64) {
        self.synced_end = self.synced_end.max(covers.min(self.end));
        self.pinned_end = self.pinned_end.max(self.synced_end);
    }

    /// A job has failed, and its hits were answered: everything written so far is suspect and is
    /// never synced again, its segment is sealed, and the next turn begins a new one, if it finds the
    /// files in their places.
    pub fn suspect(&mut self) {
        self.look_due = Stamp::MIN;
        self.seal();
        self.unsynced.clear();
        self.synced_end = self.end;
    }

    /// A job has failed, and nobody was answered since `synced_end`: everything behind it is
    /// refused. The next header's sequence number cuts it off.
    pub fn refuse_unsynced(&mut self) {
        self.look_due = Stamp::MIN;
        self.seal();
        self.unsynced.clear();
        self.end = self.synced_end;
        // What an earlier life has left is never refused, and a header of its may tell the count.
        let (end, own_from) = (self.end, self.own_from);
        let is_refused = |it: &&Segment| it.sequence >= end && it.number >= own_from;
        while let Some(newest) = self.sealed.back().filter(is_refused) {
            let number = newest.number;
            self.sealed.pop_back();
            // Recovery would cut it off by the next header, while that is there.
            self.remove_or_remember(number);
        }
        if let Some(newest) = self.sealed.back_mut().or_else(|| self.retired.back_mut()) {
            // Its last stamp may stay: an upper limit is all that searches need.
            newest.count = newest.count.min(self.end - newest.sequence);
            newest.stored = newest.stored.min(newest.count);
            // Also what could not be cut off before, since the header that did so goes with the rest.
            let (number, kept_bytes) = (newest.number, offset_of(newest.stored));
            self.cut_or_remember(number, kept_bytes);
        }
    }
}
