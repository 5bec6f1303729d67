//! The house rules, read from the sources: the arrows between rooms, and what may stand where.
//!
//! Owns no rule itself: the arrows are the table at the head of `src/lib.rs`, which is compared with
//! what the files really use, both ways, so that the map is the truth. The rest is the list in
//! DESIGN section 7 of what may stand in one place only.
//!
//! Must not know what the code does. Invariant: a rule that is broken names file and line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path below `src` without the ending, and its lines of code with their numbers.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Lines that are no comment, before the unit tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim_start()))
            .filter(|(_, line)| !line.starts_with("//"))
    }

    /// The room it belongs to.
    fn room(&self) -> &str {
        self.path.split('/').next().expect("a name")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                let path = path
                    .strip_prefix(&root)
                    .expect("below the root")
                    .with_extension("");
                if path.components().any(|part| part.as_os_str() == "tests")
                    || path.ends_with("tests.rs")
                {
                    continue;
                }
                found.push(Source {
                    path: path.to_str().expect("text").to_owned(),
                    text,
                });
            }
        }
    }
    assert!(found.len() > 15, "the sources were found");
    found
}

/// The table in `lib.rs`: each room, and what it may use.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let lib = sources()
        .into_iter()
        .find(|source| source.path == "lib")
        .expect("lib.rs");
    let (_, table) = lib
        .text
        .split_once("//! | room | may use |")
        .expect("the table");
    let rows = table
        .lines()
        .skip(2)
        .map_while(|line| line.strip_prefix("//! |"));
    rows.map(|row| {
        let mut cells = row.split('|').map(str::trim);
        let room = cells.next().expect("a room").to_owned();
        let uses = cells.next().expect("what it may use").split(", ");
        (
            room,
            uses.filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    })
    .collect()
}

/// The names behind each `from` in the code, as in `crate::hit::Line` or `crate::{error, report}`.
fn names_behind(source: &Source, from: &str) -> BTreeSet<String> {
    let code: String = source
        .code()
        .map(|(_, line)| line.to_owned() + "\n")
        .collect();
    let mut names = BTreeSet::new();
    for (place, _) in code.match_indices(from) {
        let rest = &code[place + from.len()..];
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().expect("a list"),
            None => rest,
        };
        let many = rest.starts_with('{');
        for part in list.split(',').take(if many { usize::MAX } else { 1 }) {
            let name: String = part
                .trim_start()
                .chars()
                .take_while(|letter| letter.is_ascii_lowercase() || *letter == '_')
                .collect();
            names.insert(name);
        }
    }
    names
}

#[test]
fn every_room_uses_just_what_the_map_says() {
    let allowed = allowed();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let rooms: BTreeSet<String> = sources()
        .iter()
        .map(|source| source.room().to_owned())
        .filter(|r| r != "lib")
        .collect();
    for source in sources().iter().filter(|source| source.path != "lib") {
        let from = if source.path == "main" {
            "tallyd::"
        } else {
            "crate::"
        };
        let outside = names_behind(source, from);
        let uses = used.entry(source.room().to_owned()).or_default();
        uses.extend(outside.into_iter().filter(|name| rooms.contains(name)));
    }
    let inside: Vec<Source> = sources()
        .into_iter()
        .filter(|source| source.room() == "journal")
        .collect();
    let names: BTreeSet<&str> = inside
        .iter()
        .filter_map(|source| source.path.strip_prefix("journal/"))
        .collect();
    for source in &inside {
        let mut uses = names_behind(source, "super::");
        if source.path == "journal/mod" {
            let declared = source.code().filter_map(|(_, line)| {
                line.trim_start_matches("pub ")
                    .strip_prefix("mod ")?
                    .strip_suffix(';')
            });
            uses.extend(declared.map(str::to_owned));
        }
        uses.retain(|name| names.contains(&**name));
        used.insert(source.path.clone(), uses);
    }
    for (room, uses) in &mut used {
        uses.remove(room);
    }
    assert_eq!(
        used, allowed,
        "left: what the files use; right: the table in src/lib.rs"
    );
}

#[test]
fn what_may_stand_in_one_place_only_stands_nowhere_else() {
    let rules: [(&[&str], &[&str]); 11] = [
        (&["tiny_http"], &["front/tiny"]),
        (&["mio::", "Slab"], &["front/pool/"]),
        (&["httparse"], &["front/pool/", "inspect/remote"]),
        (&["byteorder"], &["journal/record"]),
        (
            &["std::fs", "fs::File", "File::open"],
            &["journal/disk", "journal/disk/"],
        ),
        (&["Instant", "SystemTime", "clock_gettime"], &["clock"]),
        (
            &["Mutex", "RwLock", "static mut", "thread_local", "Condvar"],
            &[],
        ),
        // Not every machine can add to 64 bits at once.
        (&["AtomicU64", "AtomicI64", "target_has_atomic"], &[]),
        (&["unsafe "], &[]),
        (&["println!", "print!", "dbg!", "process::exit"], &[]),
        (&["todo!", "unimplemented!", "#[ignore", "#[allow"], &[]),
    ];
    let mut broken = Vec::new();
    let mut kept = 0;
    for source in sources() {
        for (number, line) in source.code() {
            for (needles, places) in &rules {
                for needle in needles.iter().filter(|needle| line.contains(*needle)) {
                    let is_kept = |place: &&str| match place.strip_suffix('/') {
                        Some(folder) => source.path.starts_with(folder),
                        None => source.path == *place,
                    };
                    if places.iter().any(is_kept) {
                        kept += 1;
                    } else {
                        broken.push(format!("src/{}.rs:{number}: {needle}", source.path));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(kept > 10, "the rules match what they are about");
}

#[test]
fn every_file_opens_with_what_it_owns_and_fits_its_room() {
    let mut broken = Vec::new();
    for source in sources() {
        let head = source
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .count();
        let words: String = source.text.lines().take(head).collect();
        let tells = words.contains("Must not know") && words.contains("nvariant");
        if !tells && !["lib", "main", "error"].contains(&&*source.path) {
            broken.push(format!(
                "src/{}.rs does not say what it must keep",
                source.path
            ));
        }
        let lines = source.code().count();
        if head == 0 || lines > 420 {
            broken.push(format!(
                "src/{}.rs: {head} lines of head, {lines} of code",
                source.path
            ));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn unsafe_code_is_forbidden_in_every_crate_of_ours() {
    for path in ["src/lib.rs", "src/main.rs"] {
        let text = fs::read_to_string(path).expect("a source file");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{path}");
    }
}

#[test]
fn every_direct_dependency_says_why_it_is_here() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let text = fs::read_to_string(manifest).expect("the manifest");
    let mut found = 0;
    for section in ["[dependencies]", "[dev-dependencies]"] {
        let (_, rest) = text.split_once(section).expect(section);
        for line in rest.lines().skip(1).take_while(|line| !line.is_empty()) {
            let reason = line.rsplit_once("# ").map_or("", |(_, reason)| reason);
            assert!(reason.len() > 4, "{section} gives no reason: {line}");
            found += 1;
        }
    }
    assert!(found > 15, "the dependencies were found");
}
