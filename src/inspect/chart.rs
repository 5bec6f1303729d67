//! Counts as a chart for the terminal.
//!
//! Owns the picture: a bar for each step, or for several steps together where there are more than
//! columns; the highest bar fills the height, and no bar that counts a hit is empty.
//!
//! Must not know where counts come from. Invariant: no line is wider than the columns given, from
//! [`COLUMNS_MIN`] on, and the words below the chart say what one bar is.

use crate::notation::{duration, many};
use std::fmt::Write;

/// Narrower than this is no chart.
pub const COLUMNS_MIN: usize = 40;
/// Wider than this no terminal is.
const COLUMNS_MAX: usize = 1000;
/// Rows of the bars.
const ROWS: usize = 10;
const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
const ASCII: [&str; 9] = [" ", ".", ".", ".", ":", ":", ":", "#", "#"];

/// What is drawn.
pub struct Chart<'a> {
    /// Hits of each step, oldest first.
    pub counts: &'a [u64],
    /// A step, in nanoseconds.
    pub step_ns: u64,
    /// The instant at which the last step ends.
    pub end: &'a str,
    /// How wide.
    pub columns: usize,
    /// Whether to use more than ASCII.
    pub unicode: bool,
}

/// Draws.
#[must_use]
pub fn draw(chart: &Chart<'_>) -> String {
    let columns = chart.columns.clamp(COLUMNS_MIN, COLUMNS_MAX);
    let cells = if chart.unicode { EIGHTHS } else { ASCII };
    let (axis, corner, floor) = if chart.unicode {
        ("│", "└", "─")
    } else {
        ("|", "+", "-")
    };
    let sum = sum_of(chart.counts);
    // The width of the scale depends on the bars, and how many steps are one bar on that width.
    let widest = sum.to_string().len();
    let room = columns - widest - 2;
    let merged = chart.counts.len().div_ceil(room).max(1);
    // The oldest bar may hold fewer steps, so that the newest ends now.
    let bars: Vec<u64> = chart.counts.rchunks(merged).map(sum_of).collect();
    let highest = bars.iter().copied().max().unwrap_or(0);
    let label_width = highest.to_string().len();
    let room = columns - label_width - 2;
    let bar_width = (room / bars.len().max(1)).max(1);

    let mut text = String::new();
    for row in (0..ROWS).rev() {
        let label = if row == ROWS - 1 {
            highest.to_string()
        } else {
            String::new()
        };
        let mut line = format!("{label:>label_width$} {axis}");
        for &bar in bars.iter().rev() {
            let cell = cells[eighths(bar, highest).saturating_sub(row * 8).min(8)];
            line.push_str(&cell.repeat(bar_width));
        }
        let _infallible = writeln!(text, "{}", line.trim_end());
    }
    let width = bars.len() * bar_width;
    let _infallible = writeln!(text, "{:>label_width$} {corner}{}", 0, floor.repeat(width));
    let window = duration(chart.step_ns.saturating_mul(chart.counts.len() as u64));
    let ago = format!("{window} ago");
    let gap = width.saturating_sub(ago.len() + 3).max(1);
    let _infallible = writeln!(text, "{:label_width$}  {ago}{:gap$}now", "", "");
    let bar = duration(chart.step_ns.saturating_mul(merged as u64));
    let (of_all, of_bars) = (
        format!("{} in {window}", many(sum, "hit")),
        format!("a bar is {bar}, {highest} at most"),
    );
    let joint = if of_all.len() + 2 + of_bars.len() > columns {
        "\n"
    } else {
        "; "
    };
    let _infallible = writeln!(text, "{of_all}{joint}{of_bars}\nup to {}", chart.end);
    text
}

/// Counts together; what a server makes up may be beyond all numbers.
#[must_use]
pub fn sum_of(counts: &[u64]) -> u64 {
    counts
        .iter()
        .fold(0, |sum, &count| sum.saturating_add(count))
}

/// How high a bar is, in eighths of a row: a single hit shows, and only the highest is full.
fn eighths(count: u64, highest: u64) -> usize {
    let full = (ROWS * 8) as u128;
    (u128::from(count) * full).div_ceil(u128::from(highest.max(1))) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(counts: &[u64], columns: usize, unicode: bool) -> String {
        draw(&Chart {
            counts,
            step_ns: 1_000_000_000,
            end: "2026-11-23T20:08:59.739840268Z",
            columns,
            unicode,
        })
    }

    #[test]
    fn every_step_is_in_some_bar_and_no_line_is_too_wide() {
        for steps in [1, 2, 37, 38, 39, 60, 999, 10_000] {
            for columns in [0, 40, 80, 81, 200] {
                let counts: Vec<u64> = (0..steps).map(|step| step % 7).collect();
                let sum: u64 = counts.iter().sum();
                let text = drawn(&counts, columns, true);
                assert!(
                    text.contains(&format!("\n{} in {steps}s", many(sum, "hit"))),
                    "{text}"
                );
                let widest = text.lines().map(|line| line.chars().count()).max();
                assert!(
                    widest <= Some(columns.max(COLUMNS_MIN)),
                    "{steps} in {columns}:\n{text}"
                );
                assert!((ROWS + 4..=ROWS + 5).contains(&text.lines().count()));
            }
        }
    }

    #[test]
    fn a_bar_is_as_high_as_its_count_and_a_single_hit_shows() {
        let text = drawn(&[0, 1, 4000, 8000], 40, true);
        let rows: Vec<Vec<char>> = text
            .lines()
            .take(ROWS)
            .map(|line| line.chars().collect())
            .collect();
        let bar_width = (40 - 6) / 4;
        let bar = |step: usize| {
            let at = |row: &Vec<char>| row.get(6 + step * bar_width).copied().unwrap_or(' ');
            rows.iter().rev().map(at).collect::<String>()
        };
        assert_eq!(bar(0), "          ");
        assert_eq!(bar(1), "▁         ");
        assert_eq!(bar(2), "█████     ");
        assert_eq!(bar(3), "██████████");
        assert!(text.starts_with("8000 │"), "{text}");
    }

    #[test]
    fn no_hits_and_the_most_hits_are_drawn_too() {
        assert!(drawn(&[0; 60], 80, false).contains("\n0 hits in 60s; a bar is 1s, 0 at most\n"));
        let most = drawn(&[u64::MAX / 2; 2], 40, false);
        assert!(
            most.is_ascii() && most.contains(&(u64::MAX / 2).to_string()),
            "{most}"
        );
    }
}
