//! The filter: what is in the list is found, what is not is not, and a damaged file is an error.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use password_reset::password::{Breach, BreachCheck, Context, NewPassword, Policy};
use password_reset::testing::block_on;
use password_reset_breach::{BreachFilter, Build, BuildError, FilterError, Lines, Progress};
use sha1::{Digest, Sha1};
use tempfile::TempDir;

const MANY: u32 = 20_000;

fn password(raw: &str) -> NewPassword {
    let policy = Policy::with_second_factor_enforced().danger_without_blocklist();
    policy.parse(raw, &Context::default()).unwrap()
}

fn leaked(n: u32) -> String {
    format!("leaked harbour {n}")
}

fn sha1(raw: &str) -> String {
    Sha1::digest(raw)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

fn list(count: u32) -> String {
    (0..count)
        .map(|n| format!("{}:{}\r\n", sha1(&leaked(n)), n % 100 + 1))
        .collect()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn built(folder: &TempDir, lines: Lines, list: &str) -> PathBuf {
    let path = folder.path().join("leaked.filter");
    Build::new(lines)
        .from(list.as_bytes(), &path, |_| ())
        .unwrap();
    path
}

fn found(filter: &BreachFilter, raw: &str) -> bool {
    block_on(filter.look_up(&password(raw))).unwrap() == Breach::Found
}

#[test]
fn everything_in_the_list_is_found_and_nothing_else() {
    let folder = folder();
    let path = built(&folder, Lines::Sha1, &list(MANY));
    let filter = BreachFilter::open(&path).unwrap();
    assert_eq!(filter.entries(), u64::from(MANY));
    assert!(filter.false_positive_rate() < 1e-9);
    for n in 0..MANY {
        assert!(found(&filter, &leaked(n)), "{n}");
        assert!(!found(&filter, &format!("private harbour {n}")), "{n}");
    }
    assert_eq!(BreachFilter::verify(&path).unwrap(), u64::from(MANY));
    // Nothing is left of the parts.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn order_and_repetition_do_not_matter_and_the_same_list_makes_the_same_file() {
    let folders = [folder(), folder(), folder()];
    let mut shuffled: Vec<_> = list(3_000).lines().map(str::to_lowercase).collect();
    shuffled.reverse();
    let twice = format!("{}\n\n{}", shuffled.join("\n"), list(50));
    let plain: String = (0..3_000).map(|n| leaked(n) + "\n").collect();
    let one = fs::read(built(&folders[0], Lines::Sha1, &list(3_000))).unwrap();
    assert_eq!(
        one,
        fs::read(built(&folders[1], Lines::Sha1, &twice)).unwrap()
    );
    assert_eq!(
        one,
        fs::read(built(&folders[2], Lines::Plain, &plain)).unwrap()
    );
}

#[test]
fn plain_lines_are_normalised_like_passwords_and_rubbish_is_skipped() {
    let folder = folder();
    let path = folder.path().join("leaked.filter");
    let mut list = "re\u{301}sume\u{301} of owls\n".as_bytes().to_vec();
    list.extend(b"\xff\xfe no text\n\n");
    list.extend([b'x'; 9_000]);
    list.extend(b"\nthe very last one");
    let built = Build::new(Lines::Plain)
        .from(&*list, &path, |_| ())
        .unwrap();
    assert_eq!((built.lines, built.entries, built.skipped), (5, 2, 3));
    let filter = BreachFilter::open(&path).unwrap();
    assert!(found(&filter, "r\u{e9}sum\u{e9} of owls") && found(&filter, "the very last one"));
}

#[test]
fn rare_passwords_may_be_left_out() {
    let folder = folder();
    let path = folder.path().join("leaked.filter");
    let list = format!(
        "{}:9\n{}:10\n{}\n",
        sha1("seen nine times"),
        sha1("seen ten times"),
        sha1("nobody counted")
    );
    let build = Build::new(Lines::Sha1).min_count(10);
    let built = build.from(list.as_bytes(), &path, |_| ()).unwrap();
    assert_eq!((built.entries, built.skipped), (2, 1));
    let filter = BreachFilter::open(&path).unwrap();
    assert!(!found(&filter, "seen nine times"));
    assert!(found(&filter, "seen ten times") && found(&filter, "nobody counted"));
}

#[test]
fn a_line_that_is_no_digest_stops_the_build_and_leaves_the_old_file() {
    let folder = folder();
    let path = built(&folder, Lines::Sha1, &list(10));
    let before = fs::read(&path).unwrap();
    let good = sha1("good");
    for bad in [
        "password1".to_owned(),
        good.replace(&good[..1], "g"),
        good[..39].to_owned(),
        format!("{good};3"),
        format!("{good}:"),
        format!("{good}:x"),
    ] {
        let list = format!("{good}:1\n{bad}\n");
        let refused = Build::new(Lines::Sha1).from(list.as_bytes(), &path, |_| ());
        assert!(
            matches!(refused, Err(BuildError::Line { line: 2 })),
            "{bad}"
        );
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn every_kind_of_damage_is_a_typed_error() {
    let folder = folder();
    let path = built(&folder, Lines::Sha1, &list(MANY));
    let sound = fs::read(&path).unwrap();
    let index = 64 + 65_536 * 12;
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sound.clone();
        change(&mut bytes);
        let path = folder.path().join("damaged");
        fs::write(&path, bytes).unwrap();
        path
    };
    let what = |path: &Path| match BreachFilter::open(path).unwrap_err() {
        FilterError::Damaged { what } => what,
        FilterError::NotAFilter => "no filter",
        FilterError::Version { found: 2, known: 1 } => "version",
        other => panic!("{other}"),
    };
    assert_eq!(what(&damaged(&|bytes| bytes.clear())), "no filter");
    assert_eq!(what(&damaged(&|bytes| bytes[0] = b'x')), "no filter");
    assert_eq!(what(&damaged(&|bytes| bytes[8] = 2)), "version");
    assert_eq!(what(&damaged(&|bytes| bytes[12] = 5)), "head");
    assert_eq!(what(&damaged(&|bytes| bytes[16] ^= 1)), "head");
    assert_eq!(what(&damaged(&|bytes| bytes.truncate(40))), "head");
    assert_eq!(what(&damaged(&|bytes| bytes[index - 1] ^= 1)), "index");
    assert_eq!(what(&damaged(&|bytes| bytes.truncate(1_000))), "index");
    assert_eq!(
        what(&damaged(&|bytes| bytes.truncate(sound.len() - 1))),
        "length"
    );
    assert_eq!(what(&damaged(&|bytes| bytes.push(0))), "length");
    assert!(matches!(
        BreachFilter::open(folder.path().join("nowhere")),
        Err(FilterError::Read(_))
    ));

    // One bit of an entry: the file opens, and whoever looks there is told.
    let path = damaged(&|bytes| bytes[index] ^= 1);
    let filter = BreachFilter::open(&path).unwrap();
    assert!(matches!(
        BreachFilter::verify(&path),
        Err(FilterError::Damaged { what: "bucket" })
    ));
    let mut errors = 0;
    for n in 0..MANY {
        if let Err(error) = block_on(filter.look_up(&password(&leaked(n)))) {
            let error: &FilterError = error.downcast_ref().unwrap();
            assert!(matches!(error, FilterError::Damaged { what: "bucket" }));
            errors += 1;
        }
    }
    assert!((1..20).contains(&errors), "{errors}");
}

#[test]
fn an_open_file_outlives_its_replacement() {
    let folder = folder();
    let path = built(&folder, Lines::Sha1, &list(10));
    let old = BreachFilter::open(&path).unwrap();
    built(&folder, Lines::Plain, "quite another password\n");
    let new = BreachFilter::open(&path).unwrap();
    assert!(found(&old, &leaked(1)) && !found(&old, "quite another password"));
    assert!(!found(&new, &leaked(1)) && found(&new, "quite another password"));
}

#[test]
fn progress_comes_to_its_end() {
    let folder = folder();
    let path = folder.path().join("leaked.filter");
    let list = list(70_000);
    let mut told = Vec::new();
    let build = Build::new(Lines::Sha1);
    build
        .from(list.as_bytes(), &path, |progress| told.push(progress))
        .unwrap();
    let bytes = list.len() as u64;
    let read = Progress::Reading {
        bytes,
        lines: 70_000,
    };
    let reading = told.iter().position(|progress| *progress == read).unwrap();
    assert_eq!(reading, 1, "one on the way, one at the end");
    assert_eq!(told.last(), Some(&Progress::Writing { done: 256, of: 256 }));
}

#[test]
fn the_command_builds_tells_and_verifies() {
    let folder = folder();
    let (list_path, filter) = (folder.path().join("list.txt"), folder.path().join("filter"));
    fs::write(&list_path, list(1_000)).unwrap();
    let command = || Command::new(env!("CARGO_BIN_EXE_password-reset-breach"));
    let output = command()
        .arg("build")
        .args([&list_path, &filter])
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{err}");
    assert!(
        out.starts_with("1000 passwords of 1000 lines, 0 lines left out"),
        "{out}"
    );
    assert!(
        err.contains("reading: 0 of 0 MiB (100 %), 1000 lines"),
        "{err}"
    );
    assert!(
        err.contains("sorting and writing: 256 of 256 parts"),
        "{err}"
    );

    let output = command().arg("verify").arg(&filter).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "sound: 1000 passwords\n"
    );
    let output = command().arg("verify").arg(&list_path).output().unwrap();
    assert!(!output.status.success());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("not a filter file")
    );
}
