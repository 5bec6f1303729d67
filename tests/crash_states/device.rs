//! What a cut of the power may leave on the device, at any event of a tape.
//!
//! Owns the model of the device. A file has what its last sync put there and the changes since, of
//! which each sector of 512 bytes, and the length, may have come any way down the list; the last
//! write may also be torn at any byte. Names come back after any number of the directory's changes
//! since its last sync, in their order, as journaling file systems promise.
//!
//! Must not know of records. Invariant: the first of the states of a file is the one in which nothing
//! came through, the second the one in which everything did; equal states are given once.

use super::support::seed::Chance;
use super::tape::{Change, Content, Event, Files, NameChange};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tallyd::journal::record::RECORD_BYTES;

/// What a device writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// Choices of sectors that are gone through one by one; beyond them chance takes as many.
const CHOICES_MAX: usize = 160;
/// Changes of one file that wait at the most: the kernel writes older ones back by itself.
const CHANGES_MAX: usize = 12;

/// What a failed sync leaves on the device, for good: the two ends of what it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    AsBefore,
    AsWritten,
}

#[derive(Debug, Default)]
struct Inode {
    /// What the operating system holds, also after a sync that failed.
    written: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
    /// What may be on the device, once it has been worked out.
    states: Vec<Arc<Content>>,
}

/// The device and what is on its way to it.
#[derive(Debug)]
pub struct Device {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    settled: Settled,
    /// If the last event was a write: the file, what it held before, and the write.
    changed: Option<(usize, Vec<u8>, Change)>,
}

impl Device {
    /// A device that holds `files`.
    pub fn holding(files: &Files, settled: Settled) -> Self {
        let names = files
            .iter()
            .enumerate()
            .map(|(inode, (name, _))| (name.clone(), inode));
        let inodes = files.iter().map(|(_, content)| Inode {
            written: content.bytes.clone(),
            durable: content.bytes.clone(),
            ..Inode::default()
        });
        Self {
            names: names.collect(),
            inodes: inodes.collect(),
            name_changes: Vec::new(),
            settled,
            changed: None,
        }
    }

    pub fn apply(&mut self, event: &Event) {
        self.changed = None;
        match event {
            Event::Named(change) => {
                if let NameChange::Set(_, inode) = change {
                    self.inodes
                        .resize_with(self.inodes.len().max(inode + 1), Inode::default);
                }
                self.name_changes.push(change.clone());
            }
            Event::NamesSynced => {
                for change in self.name_changes.drain(..) {
                    change.apply(&mut self.names);
                }
            }
            Event::Changed(inode, change) => {
                let it = &mut self.inodes[*inode];
                self.changed = Some((*inode, it.written.clone(), change.clone()));
                it.states.clear();
                change.apply(&mut it.written);
                it.changes.push(change.clone());
                if it.changes.len() > CHANGES_MAX {
                    it.changes.remove(0).apply(&mut it.durable);
                }
            }
            Event::Synced(inode) => self.inodes[*inode].settle(true),
            Event::SyncFailed(inode) => {
                self.inodes[*inode].settle(self.settled == Settled::AsWritten);
            }
        }
    }

    /// What the operating system holds: what a killed process leaves.
    pub fn written(&self) -> Files {
        self.named(self.name_changes.len())
            .into_iter()
            .map(|(name, inode)| (name, Content::new(self.inodes[inode].written.clone())))
            .collect()
    }

    /// What a process leaves that is killed within the write that the last event was, and whether that write
    /// ended within a record.
    pub fn torn_writes(&self) -> Vec<(Files, bool)> {
        let Some((inode, before, change)) = &self.changed else {
            return Vec::new();
        };
        let whole = self.written();
        let names = self.named(self.name_changes.len());
        let Some(place) = names.iter().position(|(_, other)| other == inode) else {
            return Vec::new();
        };
        let Change::Write(offset, _) = change else {
            return Vec::new();
        };
        let torn = (1..).zip(torn(change, before)).map(|(length, content)| {
            let mut files = whole.clone();
            files[place].1 = Content::new(content);
            (files, !(offset + length).is_multiple_of(RECORD_BYTES))
        });
        torn.collect()
    }

    /// Hands every state that a cut of the power may leave to `visit`, and whether nothing of it is missing:
    /// all that was written came through, and what names did not can be told from what is in the files. A
    /// new file whose name is lost is gone; a recycled one behind it still has its old name, and shows the gap.
    pub fn cuts(&mut self, chance: &mut Chance, mut visit: impl FnMut(&Files, bool)) {
        for inode in self
            .inodes
            .iter_mut()
            .filter(|inode| inode.states.is_empty())
        {
            inode.states = inode.states(chance).into_iter().map(Content::new).collect();
        }
        let all: Vec<&[Arc<Content>]> = self.inodes.iter().map(|inode| &*inode.states).collect();
        for reached in 0..=self.name_changes.len() {
            let named = self.named(reached);
            let mut lost = self.name_changes[reached..].iter();
            let has_gap = lost.any(|change| matches!(change, NameChange::Set(..)))
                && lost.any(|change| matches!(change, NameChange::Move(..)));
            // With the others all as they were, or all as they are, each goes through its states.
            for others in 0..2 {
                let state =
                    |inode: usize| Arc::clone(&all[inode][others.min(all[inode].len() - 1)]);
                let mut files: Files = named
                    .iter()
                    .map(|(name, inode)| (name.clone(), state(*inode)))
                    .collect();
                visit(&files, others == 1 && !has_gap);
                for (place, (_, inode)) in named.iter().enumerate() {
                    let kept = Arc::clone(&files[place].1);
                    for content in all[*inode] {
                        files[place].1 = Arc::clone(content);
                        visit(&files, false);
                    }
                    files[place].1 = kept;
                }
            }
            // And several at once, by chance.
            let pending = named
                .iter()
                .filter(|(_, inode)| all[*inode].len() > 1)
                .count();
            for _ in 0..if pending > 1 { CHOICES_MAX } else { 0 } {
                let files: Files = named
                    .iter()
                    .map(|(name, inode)| {
                        let most = all[*inode].len() as u64 - 1;
                        (
                            name.clone(),
                            Arc::clone(&all[*inode][chance.upto(most) as usize]),
                        )
                    })
                    .collect();
                visit(&files, false);
            }
        }
    }

    fn named(&self, reached: usize) -> Vec<(String, usize)> {
        let mut names = self.names.clone();
        for change in &self.name_changes[..reached] {
            change.apply(&mut names);
        }
        names.into_iter().collect()
    }
}

impl Inode {
    fn settle(&mut self, as_written: bool) {
        self.states.clear();
        for change in self.changes.drain(..) {
            if as_written {
                change.apply(&mut self.durable);
            }
        }
    }

    /// The content after each number of changes.
    fn versions(&self) -> Vec<Vec<u8>> {
        let mut versions = vec![self.durable.clone()];
        for change in &self.changes {
            let mut next = versions[versions.len() - 1].clone();
            change.apply(&mut next);
            versions.push(next);
        }
        versions
    }

    /// Everything that may be on the device, each once.
    fn states(&self, chance: &mut Chance) -> Vec<Vec<u8>> {
        let versions = self.versions();
        if versions.len() == 1 {
            return versions;
        }
        let mut lengths: Vec<usize> = versions.iter().map(Vec::len).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let longest = lengths[lengths.len() - 1];
        let mut states = vec![versions[0].clone(), versions[versions.len() - 1].clone()];
        states.extend_from_slice(&versions);
        states.extend(torn(
            &self.changes[self.changes.len() - 1],
            &versions[versions.len() - 2],
        ));
        // The length has come through and the content has not, or the other way round.
        for version in &versions {
            for &length in &lengths {
                let mut content = version.clone();
                content.resize(length, 0);
                states.push(content);
            }
        }
        for sectors in choices(&versions, longest, chance) {
            for &length in &lengths {
                let mut content = sectors.clone();
                content.resize(length, 0);
                states.push(content);
            }
        }
        let mut seen = HashSet::new();
        states.retain(|content| seen.insert(content.clone()));
        states
    }
}

/// A write torn at every byte, over what was there before.
fn torn(change: &Change, before: &[u8]) -> Vec<Vec<u8>> {
    let Change::Write(offset, bytes) = change else {
        return Vec::new();
    };
    let torn = (1..bytes.len()).map(|length| {
        let mut content = before.to_vec();
        Change::Write(*offset, bytes[..length].to_vec()).apply(&mut content);
        content
    });
    torn.collect()
}

/// Every choice of a version for each sector, up to a bound; beyond it each sector alone and all but
/// each, and then what chance picks.
fn choices(versions: &[Vec<u8>], longest: usize, chance: &mut Chance) -> Vec<Vec<u8>> {
    let padded: Vec<Vec<u8>> = versions
        .iter()
        .map(|version| {
            let mut version = version.clone();
            version.resize(longest, 0);
            version
        })
        .collect();
    let mut base = padded[0].clone();
    // Where sectors differ, and what they may hold.
    let open: Vec<(usize, Vec<&[u8]>)> = (0..longest.div_ceil(SECTOR_BYTES))
        .filter_map(|sector| {
            let from = sector * SECTOR_BYTES;
            let to = longest.min(from + SECTOR_BYTES);
            let mut held: Vec<&[u8]> = padded.iter().map(|version| &version[from..to]).collect();
            let mut seen = HashSet::new();
            held.retain(|bytes| seen.insert(*bytes));
            (held.len() > 1).then_some((from, held))
        })
        .collect();
    let put = |content: &mut Vec<u8>, which: &dyn Fn(usize) -> usize| {
        for (index, (from, held)) in open.iter().enumerate() {
            let bytes = held[which(index).min(held.len() - 1)];
            content[*from..from + bytes.len()].copy_from_slice(bytes);
        }
    };
    let total = open
        .iter()
        .try_fold(1_usize, |total, (_, held)| total.checked_mul(held.len()));
    let mut chosen = Vec::new();
    if let Some(total) = total.filter(|total| *total <= CHOICES_MAX) {
        for choice in 0..total {
            let digit = |index: usize| {
                let below: usize = open[..index].iter().map(|(_, held)| held.len()).product();
                choice / below % open[index].1.len()
            };
            put(&mut base, &digit);
            chosen.push(base.clone());
        }
        return chosen;
    }
    for alone in 0..open.len() {
        for (inside, outside) in [(usize::MAX, 0), (0, usize::MAX)] {
            put(&mut base, &|index| {
                if index == alone { inside } else { outside }
            });
            chosen.push(base.clone());
        }
    }
    while chosen.len() < CHOICES_MAX {
        let picks: Vec<usize> = open
            .iter()
            .map(|(_, held)| chance.upto(held.len() as u64 - 1) as usize)
            .collect();
        put(&mut base, &|index| picks[index]);
        chosen.push(base.clone());
    }
    chosen
}
