//! Damaged headers that the neighbouring segments determine.
//!
//! Owns what is tried: sequence number and boot of a header are told by the segments before and after it, and
//! the checksum then says whether the rest is sound. A header of which only the checksum is damaged is taken
//! as it stands if it fits its neighbours, in number and in time. Flipped bits and overwritten bytes that the checksum alone
//! determines are corrected in `survey.rs`, when headers are read.
//!
//! Must not know what becomes of a header that cannot be corrected. Invariant: nothing is written.

use super::disk::Disk;
use super::record::Header;
use super::segment::records_in;
use super::survey::{Doubt, Found, Survey, Unreadable};
use crate::error::Result;
use crate::stamp::BootId;

impl<D: Disk> Survey<'_, D> {
    /// Corrects headers by what the neighbouring segments tell: where the damaged one begins, and in which
    /// boot.
    pub fn correct_by_neighbours(
        &mut self,
        found: &mut Vec<Found>,
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<()> {
        let mut index = 0;
        while let Some(damaged) = unreadable.get(index) {
            let place = found.partition_point(|found| found.header.number < damaged.number);
            let Some(corrected) = self.correct_between(damaged, found, place)? else {
                index += 1;
                continue;
            };
            found.insert(place, corrected);
            unreadable.remove(index);
        }
        Ok(())
    }

    /// The segment in a file with a damaged header that belongs before `found[next]`, if its header can be
    /// corrected.
    fn correct_between(
        &mut self,
        damaged: &Unreadable,
        found: &[Found],
        next: usize,
    ) -> Result<Option<Found>> {
        let records = self.scan(&damaged.name, damaged.number, records_in(damaged.bytes))?;
        // Header and first record reach the device together: where there is no record, the header was never
        // whole.
        if damaged.bears.is_some() || records.length == 0 {
            return Ok(None);
        }
        let neighbours = [next.checked_sub(1), Some(next)];
        let neighbours = neighbours.map(|index| found.get(index?));
        let mut sequences = Vec::new();
        // Where the records before it end, within their boot.
        let mut earliest = None;
        match neighbours[0] {
            Some(before) => {
                let records = self.scan(&before.file, before.header.number, before.stored)?;
                sequences.push(before.header.sequence + records.length);
                let ends_ns = before.header.base_ns.saturating_add(records.last_offset_ns);
                earliest = Some((before.header.boot, ends_ns));
            }
            None => sequences.push(0),
        }
        if let Some(after) = neighbours[1] {
            sequences.push(after.header.sequence.saturating_sub(records.length));
        }
        let boots: Vec<BootId> = std::iter::once(self.present.boot)
            .chain(neighbours.iter().flatten().map(|it| it.header.boot))
            .collect();
        let corrected = sequences.iter().find_map(|&sequence| {
            boots.iter().find_map(|&boot| {
                Header::correct_with(&damaged.header, damaged.number, sequence, boot)
            })
        });
        let present = (
            self.present.boot,
            (self.present.now)().at.ns().unsigned_abs(),
        );
        let latest = neighbours[1].map_or(present, |after| {
            (after.header.boot, after.header.base_ns.saturating_add(1))
        });
        // Within one boot the records lie behind those before them, and before those behind them.
        let is_in_order = |header: &Header| {
            let ends_ns = header.base_ns.saturating_add(records.last_offset_ns);
            earliest.is_none_or(|(boot, at)| {
                boot != header.boot || at <= header.base_ns.saturating_add(1)
            }) && (latest.0 != header.boot || ends_ns <= latest.1)
        };
        let plausible = Header::unchecked(&damaged.header, damaged.number)
            .filter(|header| sequences.contains(&header.sequence) && boots.contains(&header.boot))
            .filter(is_in_order);
        let (header, doubt, by) = match (corrected, plausible) {
            (Some(header), _) => (header, Doubt::None, "corrected by its neighbours"),
            (None, Some(header)) => (header, Doubt::UntilNext, "taken as it stands"),
            (None, None) => return Ok(None),
        };
        let path = self.disk.path(&damaged.name);
        self.findings
            .push(format!("{path}: {}; {by}", damaged.cause));
        let (name, bytes) = (damaged.name.clone(), damaged.bytes);
        let segment = Found::new(header, damaged.header, name, bytes);
        Ok(Some(Found { doubt, ..segment }))
    }
}
