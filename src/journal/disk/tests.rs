//! The real file operations, on real directories.
//!
//! Owns what a simulated disk cannot show. Must not know of segments' contents. Invariant: each test has a
//! directory of its own.

use super::files::unless_gone;
use super::*;

fn root() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn names_are_new_above_all_that_is_missing() {
    let root = root();
    let (root, lower) = (root.path(), root.path().join("a/b"));
    assert_eq!(gaining(root), [""; 0].map(Path::new));
    assert_eq!(gaining(&lower), [&root.join("a"), root]);
    let here = Path::new("no-such-directory-of-tallyd");
    assert_eq!(gaining(here), [Path::new(".")]);
    create_lasting(&lower).expect("a directory");
    assert!(lower.is_dir());
}

#[test]
fn failed_creation_leaves_no_directory_behind() {
    let root = root();
    let too_long = "x".repeat(300);
    for directory in [
        root.path().join("a/b").join(&too_long),
        root.path().join("a").join(&too_long).join("c"),
    ] {
        let error = create_lasting(&directory).expect_err("a name that is too long");
        assert_eq!(error.kind(), ErrorKind::InvalidFilename);
        assert_eq!(list(root.path()).expect("files"), []);
    }
    // What was there before stays.
    fs::create_dir(root.path().join("a")).expect("a directory");
    create_lasting(&root.path().join("a/b").join(&too_long)).expect_err("a name that is too long");
    assert_eq!(list(&root.path().join("a")).expect("files"), []);
}

#[test]
fn what_is_gone_is_nothing_and_what_fails_is_an_error() {
    let failed = |kind: ErrorKind| unless_gone::<u8>(Err(kind.into()));
    assert_eq!(failed(ErrorKind::NotFound).ok(), Some(None));
    let error = failed(ErrorKind::PermissionDenied).expect_err("a failure");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(unless_gone(Ok(7)).ok(), Some(Some(7)));
}

#[test]
fn files_are_listed_with_their_lengths() {
    let root = root();
    fs::write(root.path().join("one"), b"12345").expect("a file");
    let ours = RealDisk::open(&root.path().join("data")).expect("a directory");
    let lock_bytes = format!("{}\n", std::process::id()).len() as u64;
    assert_eq!(
        Disk::list(&ours).expect("files"),
        [("lock".to_owned(), lock_bytes)]
    );
    let mut listed = list(root.path()).expect("files");
    listed.retain(|(name, _)| name != "data");
    assert_eq!(listed, [("one".to_owned(), 5)]);
}

#[test]
fn names_are_given_and_taken_in_our_directory_as_long_as_it_is_ours() {
    let root = root();
    let data = root.path().join("data");
    let disk = RealDisk::open(&data).expect("a directory");
    assert_eq!(disk.path("one"), data.join("one").display().to_string());
    drop(disk.create("one").expect("a file"));
    let error = disk.create("one").expect_err("it is there");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    disk.rename("one", "two").expect("a file");
    assert!(!data.join("one").exists() && data.join("two").exists());
    disk.remove("two").expect("a file");
    assert!(!data.join("two").exists());
    Disk::sync(&disk).expect("a directory");
    // Another one in its place, with a lock of its own.
    fs::rename(&data, root.path().join("away")).expect("a move");
    let _other = RealDisk::open(&data).expect("a directory");
    assert!(disk.is_in_place().is_err() && Disk::sync(&disk).is_err());
}

#[test]
fn bytes_are_written_read_and_cut_off_where_they_are_to_be() {
    let root = root();
    let disk = RealDisk::open(root.path()).expect("a directory");
    let file = disk.create("one").expect("a file");
    assert_eq!(DiskFile::write_at(&file, b"56789", 5).expect("room"), 5);
    let mut bytes = [1; 4];
    assert_eq!(DiskFile::read_at(&file, &mut bytes, 3).expect("bytes"), 4);
    assert_eq!(&bytes, b"\0\x0056");
    for length in [7, 12] {
        DiskFile::set_len(&file, length).expect("room");
        let listed = Disk::list(&disk).expect("files");
        assert!(listed.contains(&("one".to_owned(), length)));
    }
    DiskFile::sync(&file).expect("a file");
}

#[test]
fn file_in_the_place_of_the_directory_is_told_as_what_it_is() {
    let root = root();
    let data = root.path().join("data");
    let disk = RealDisk::open(&data).expect("a directory");
    disk.is_in_place().expect("it is");
    fs::rename(&data, root.path().join("away")).expect("a move");
    let error = disk.is_in_place().expect_err("it is gone");
    assert!(error.to_string().ends_with("moved, removed or replaced"));
    fs::write(&data, b"").expect("a file");
    let error = disk.is_in_place().expect_err("it is no directory");
    assert_eq!(error.kind(), ErrorKind::NotADirectory);
}

#[test]
fn sync_that_the_system_refuses_is_an_error() {
    let no_device = File::open("/dev/null").expect("it is everywhere");
    let error = DiskFile::sync(&no_device).expect_err("it cannot be synced");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn directory_of_somebody_else_is_only_read() {
    let root = root();
    let path = root.path();
    fs::write(path.join("foreign"), b"123").expect("a file");
    let refused = || {
        let error = ReadDisk::open(path).expect_err("nothing in it is ours");
        assert!(error.to_string().contains("not a tallyd data directory"));
    };
    refused();
    // Many programs call a file so.
    fs::write(path.join(name::LOCK), b"1").expect("a file");
    refused();
    fs::remove_file(path.join("foreign")).expect("a removal");
    ReadDisk::open(path).expect("a journal without a hit");
    fs::write(path.join("foreign"), b"123").expect("a file");
    fs::remove_file(path.join(name::LOCK)).expect("a removal");
    for ours in [&name::segment(2), &name::segment(3)] {
        fs::write(path.join(ours), b"1234").expect("a file");
        let disk = ReadDisk::open(path).expect("a journal");
        let mut listed = Disk::list(&disk).expect("files");
        listed.sort();
        let mut expected = [(ours.to_owned(), 4), ("foreign".to_owned(), 3)];
        expected.sort();
        assert_eq!(listed, expected);
        let refused = [
            disk.create("new").err(),
            disk.rename(ours, "new").err(),
            disk.remove(ours).err(),
            Disk::sync(&disk).err(),
        ];
        for error in refused {
            let kind = error.map(|error| error.kind());
            assert_eq!(kind, Some(ErrorKind::ReadOnlyFilesystem));
        }
        let file = disk.open(ours).expect("a file");
        let mut bytes = [0; 9];
        let length = DiskFile::read_at(&file, &mut bytes, 1).expect("bytes");
        assert_eq!(&bytes[..length], b"234");
        assert!(DiskFile::write_at(&file, b"5", 0).is_err());
        assert_eq!(disk.path(ours), path.join(ours).display().to_string());
        fs::remove_file(path.join(ours)).expect("a removal");
    }
}

#[test]
fn trial_is_in_the_data_directory_or_above_it_and_goes_with_all_that_is_in_it() {
    let root = root();
    let data = root.path().join("data");
    for place in [root.path(), &data] {
        let scratch = Scratch::open(&data).expect("a place");
        let at = scratch.path().to_owned();
        assert_eq!(at.parent(), Some(place));
        fs::write(at.join("file"), b"1").expect("a file");
        drop(scratch);
        assert!(!at.exists());
        let scratch = Scratch::open(&data).expect("a place");
        let next = scratch.path().to_owned();
        assert!(next.is_dir() && next != at, "each has a name of its own");
        scratch.remove().expect("a removal");
        assert!(!next.exists());
        // What is put in its place is somebody else's.
        let scratch = Scratch::open(&data).expect("a place");
        let replaced = scratch.path().to_owned();
        fs::rename(&replaced, &at).expect("a move");
        fs::create_dir(&replaced).expect("a directory");
        scratch
            .remove()
            .expect_err("it is not the one that was created");
        assert!(replaced.exists());
        fs::remove_dir(&replaced).expect("a removal");
        fs::remove_dir(&at).expect("a removal");
        fs::create_dir_all(&data).expect("a directory");
    }
    let file = data.join("file");
    fs::write(&file, b"1").expect("a file");
    for unusable in [file.clone(), file.join("below"), data.join("no/no")] {
        assert!(Scratch::open(&unusable).is_err(), "{}", unusable.display());
    }
}

#[test]
fn trial_removes_nothing_that_it_has_not_created() {
    let root = root();
    let others = ["tallyd-clock-1", "tallyd-clock-notes", "clock-3"];
    let others = others.map(|name| root.path().join(name));
    for other in &others {
        drop(RealDisk::open(&other.join("always")).expect("a directory"));
    }
    drop(Scratch::open(root.path()).expect("a place"));
    for other in &others {
        assert!(other.join("always/lock").exists(), "{}", other.display());
    }
    assert_eq!(list(root.path()).expect("files").len(), others.len());
}

#[test]
fn directory_that_cannot_be_synced_is_told_from_one_that_fails() {
    for errno in [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP] {
        assert!(cannot_sync_names(&errno.into()), "{errno:?}");
    }
    for errno in [Errno::IO, Errno::NOSPC, Errno::ACCESS, Errno::ROFS] {
        assert!(!cannot_sync_names(&errno.into()), "{errno:?}");
    }
}
