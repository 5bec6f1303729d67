//! The variables `TALLYD_NAME`, one for each flag of the server.
//!
//! An empty variable is unset. One with this prefix that no flag has is reported, with the variable it was
//! probably meant to be.
//!
//! Must not know what the options do. Invariant: a variable that is read anywhere is never reported.

use super::table::{FLAGS, variable};
use std::ffi::{OsStr, OsString};

const PREFIX: &str = "TALLYD_";
/// What the tests of tallyd are told by.
const TESTS: &str = "TALLYD_TEST_";
/// What Kubernetes sets in every container beside a service called `tallyd`.
const SERVICE: [&str; 2] = ["TALLYD_SERVICE_", "TALLYD_PORT_"];

/// `environment` without empty values.
pub(super) fn set(
    environment: impl Fn(&str) -> Option<OsString>,
) -> impl Fn(&str) -> Option<OsString> {
    move |name| environment(name).filter(|value| !value.is_empty())
}

/// A warning for each variable in `environment` that looks like one of tallyd's and is none.
pub fn unknown_variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<String> {
    let known: Vec<String> = FLAGS.iter().map(|flag| variable(flag.name)).collect();
    let is_foreign = |name: &str, value: &OsStr| {
        name.starts_with(TESTS)
            || SERVICE.iter().any(|service| name.starts_with(service))
            || (name == "TALLYD_PORT" && value.to_string_lossy().contains("://"))
    };
    let is_unknown = |name: &str, value: &OsStr| {
        let is_set = name.starts_with(PREFIX) && !value.is_empty();
        is_set && !is_foreign(name, value) && !known.iter().any(|known| known == name)
    };
    let mut unknown: Vec<String> = environment
        .into_iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, value)| is_unknown(name, value))
        .map(|(name, _)| match nearest(&name, &known) {
            Some(meant) => format!("{name}: ignored, no such variable; did you mean {meant}?"),
            None => format!("{name}: ignored, no such variable; tallyd --help lists them"),
        })
        .collect();
    unknown.sort_unstable();
    unknown
}

/// The one of `known` that `name` differs least from, if it is near enough to be a slip.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let word = |name: &str| name.to_ascii_uppercase().replace('-', "_")[PREFIX.len()..].to_owned();
    let given = word(name);
    let distances = known
        .iter()
        .map(|known| (distance(&given, &word(known)), &**known));
    let (least, known) = distances.min_by_key(|(distance, _)| *distance)?;
    // Two slips, but not half of a short word.
    (least <= 2 && 2 * least < given.len().max(2)).then_some(known)
}

/// How many letters have to be inserted, removed, replaced or exchanged with their neighbour to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
