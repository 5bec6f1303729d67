//! The wording of the funnel's log lines.
//!
//! Must not know when they are logged. Invariant: what is called durable was covered by a sync that succeeded.

use crate::journal::SyncPolicy;
use crate::notation::many;

/// How many hits were refused: `1 hit was refused`.
pub(super) fn refused(count: u64) -> String {
    let verb = if count == 1 { "was" } else { "were" };
    format!("{} {verb} refused", many(count, "hit"))
}

/// The last line of a run: how many hits it counted, and whether they are durable. `is_synced` is whether the
/// last sync and all before it succeeded.
pub(super) fn log_stop(counted: u64, policy: SyncPolicy, is_synced: bool) {
    let line = stop_line(counted, policy, is_synced);
    if is_synced || counted == 0 || policy == SyncPolicy::Always {
        log::info!("{line}");
    } else {
        log::warn!("{line}");
    }
}

fn stop_line(counted: u64, policy: SyncPolicy, is_synced: bool) -> String {
    let durable = match (policy, counted) {
        (_, 0) => "",
        // What a sync did not cover was refused.
        (SyncPolicy::Always, _) => ", all on stable storage",
        (_, 1) if !is_synced => "; a sync failed, so it may not be on stable storage",
        (_, _) if !is_synced => "; a sync failed, so they may not all be on stable storage",
        (SyncPolicy::Every { .. }, _) => ", all on stable storage",
        // The kernel may have failed to write one back and have told nobody.
        (SyncPolicy::Never, _) => ", handed to the kernel and synced once, at the stop",
    };
    format!(
        "stopped: counted {} in this run{durable}",
        many(counted, "hit")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_syncs_have_covered_is_called_durable() {
        let often = SyncPolicy::Every { period_ns: 1 };
        let all = ", all on stable storage";
        let failed = "; a sync failed, so they may not all be on stable storage";
        for (counted, policy, is_synced, line) in [
            (0, often, true, "0 hits in this run".to_owned()),
            (0, often, false, "0 hits in this run".to_owned()),
            (1, often, true, format!("1 hit in this run{all}")),
            (2, often, false, format!("2 hits in this run{failed}")),
            (
                2,
                SyncPolicy::Always,
                false,
                format!("2 hits in this run{all}"),
            ),
            (
                2,
                SyncPolicy::Never,
                false,
                format!("2 hits in this run{failed}"),
            ),
            (
                2,
                SyncPolicy::Never,
                true,
                "2 hits in this run, handed to the kernel and synced once, at the stop".to_owned(),
            ),
        ] {
            let found = stop_line(counted, policy, is_synced);
            assert_eq!(found, format!("stopped: counted {line}"));
        }
    }
}
