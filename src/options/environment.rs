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
    environment
        .into_iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, value)| is_unknown(name, value))
        .map(|(name, _)| match nearest(&name, &known) {
            Some(meant) => format!("{name}: ignored, no such variable; did you mean {meant}?"),
            None => format!("{name}: ignored, no such variable; tallyd --help lists them"),
        })
        .collect()
}

/// The one of `known` that `name` differs least from, if it is near enough to be a slip.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    // Two slips, but not half of a short word.
    let letters = name.len() - PREFIX.len();
    let (mut least, mut nearest) = (3.min(letters.div_ceil(2)), None);
    for known in known {
        let distance = distance(name.as_bytes(), known.as_bytes());
        if distance < least {
            (least, nearest) = (distance, Some(&**known));
        }
    }
    nearest
}

/// How many letters have to be inserted, removed, replaced or exchanged with their neighbour to make `b` of `a`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let width = b.len() + 1;
    let is_same = |i: usize, j: usize| a[i].eq_ignore_ascii_case(&b[j]);
    let mut table = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let at = i * width + j;
            table[at] = if i == 0 || j == 0 {
                i + j
            } else {
                let differs = usize::from(!is_same(i - 1, j - 1));
                let removed = table[at - width].min(table[at - 1]) + 1;
                let replaced = table[at - width - 1] + differs;
                let is_exchanged = i > 1 && j > 1 && is_same(i - 1, j - 2) && is_same(i - 2, j - 1);
                let exchanged = if is_exchanged {
                    table[at - 2 * width - 2] + 1
                } else {
                    replaced
                };
                removed.min(replaced).min(exchanged)
            };
        }
    }
    table[a.len() * width + b.len()]
}
