//! Old hashes: what other software made verifies, and nothing else does. (`tests/vectors` has the
//! hashes and how they were made.)

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests may panic")]

use password_reset::password::legacy::{Argon2, Bcrypt, Pbkdf2, Scrypt};
use password_reset::password::{
    Argon2id, Candidate, HashPool, HasherError, Login, LoginVerifier, MigratingHasher,
    PasswordHash, PasswordHasher, Scratch,
};
use password_reset::testing::block_on;
use unicode_normalization::UnicodeNormalization;

struct Vector {
    password: String,
    stored: &'static str,
}

impl Vector {
    /// One of each kind.
    fn is_plain(&self) -> bool {
        self.password == "correct horse battery staple"
    }
}

fn vectors() -> Vec<Vector> {
    let lines = include_str!("vectors/hashes.tsv").lines();
    let vectors: Vec<_> = lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let [_, _, hex, stored] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let bytes = (0..hex.len()).step_by(2).map(byte).collect();
            let password = String::from_utf8(bytes).unwrap();
            Vector { password, stored }
        })
        .collect();
    assert!(vectors.len() > 110, "the file is not whole");
    vectors
}

/// Those that cost nothing, to be hashed many times.
fn cheap() -> impl Iterator<Item = Vector> {
    let dear = [
        "m=65536", "m=19456", "m=102400", "$12$", "00000$", "ln=1", "$25000$", "$29000$",
    ];
    let mut vectors = vectors();
    vectors.retain(|v| !dear.iter().any(|part| v.stored.contains(part)));
    vectors.retain(|v| !v.stored.starts_with("scrypt$16384"));
    vectors.into_iter()
}

fn hasher() -> MigratingHasher {
    MigratingHasher::new(Argon2id::default())
        .accept(Argon2::default())
        .accept(Bcrypt::default())
        .accept(Pbkdf2::default())
        .accept(Scrypt::default())
}

fn verify(password: &str, stored: &str) -> Result<bool, HasherError> {
    let stored = PasswordHash::parse(stored).map_err(|_| HasherError::Malformed)?;
    let candidate = Candidate::parse(password).unwrap();
    hasher().verify(&candidate, &stored, &mut Scratch::new())
}

/// R58, W61: hashes of argon2-cffi, bcrypt, libcrypt, passlib, Django, hashlib and OpenSSL, with
/// 72 bytes, long, empty and non-ASCII passwords, in either normalisation form.
#[test]
fn every_right_password_verifies() {
    for Vector { password, stored } in vectors() {
        assert!(matches!(verify(&password, stored), Ok(true)), "{stored}");
        if !password.is_ascii() {
            let decomposed: String = password.nfd().collect();
            assert_ne!(password, decomposed);
            assert!(matches!(verify(&decomposed, stored), Ok(true)), "{stored}");
        }
    }
}

/// R48: whole, in its case, and not by its beginning.
#[test]
fn every_wrong_password_is_refused() {
    for Vector { password, stored } in cheap() {
        let mut shorter = password.clone();
        shorter.pop();
        let swapped = match password.chars().next() {
            Some(first) if first.is_lowercase() => first.to_uppercase().to_string(),
            Some(first) => format!("{first}{first}"),
            None => "x".into(),
        } + password.get(1..).unwrap_or_default();
        let longer = format!("{password}x");
        let nul = format!("{password}\0");
        for wrong in [&swapped, &longer, &nul] {
            let answer = verify(wrong, stored);
            let refused = [HasherError::Nul, HasherError::TooManyBytes { max: 72 }];
            let typed = |e: &HasherError| refused.iter().any(|r| r.to_string() == e.to_string());
            assert!(
                matches!(&answer, Ok(false)) || answer.as_ref().is_err_and(typed),
                "{stored}"
            );
        }
        if !password.is_empty() {
            assert!(matches!(verify(&shorter, stored), Ok(false)), "{stored}");
        }
    }
}

/// The same at the costs that other software uses, one wrong password each.
#[test]
fn every_dear_hash_refuses_a_wrong_password() {
    let cheap: Vec<_> = cheap().map(|vector| vector.stored).collect();
    let mut dear = 0;
    for Vector { password, stored } in vectors() {
        if cheap.contains(&stored) {
            continue;
        }
        let mut wrong = password.clone();
        // As many bytes, so that bcrypt's limit is not what refuses it.
        wrong.replace_range(..usize::from(!wrong.is_empty()), "~");
        assert!(matches!(verify(&wrong, stored), Ok(false)), "{stored}");
        dear += 1;
    }
    assert!(dear >= 10, "{dear}");
}

/// A hash that its column cut off is damage, and not a wrong password.
#[test]
fn every_truncated_hash_is_an_error() {
    for Vector { password, stored } in vectors() {
        for end in 0..stored.len() {
            let answer = verify(&password, &stored[..end]);
            let typed = matches!(
                answer,
                Err(HasherError::Malformed | HasherError::Unsupported)
            );
            // Argon2 has tags of this length too. Nobody's password makes this one.
            let sixteen = stored[..end].contains("argon2") && answer.as_ref().is_ok_and(|ok| !ok);
            let sixteen = sixteen && end - stored.rfind('$').unwrap_or(end) == 23;
            assert!(typed || sixteen, "{}: {answer:?}", &stored[..end]);
        }
    }
}

/// One character more or less, anywhere, opens nothing; and where it makes the string another one
/// than software writes, it is an error.
#[test]
fn every_edited_hash_opens_nothing() {
    for Vector { password, stored } in cheap().filter(Vector::is_plain) {
        let fields = stored.rfind('$').unwrap();
        for at in 0..=stored.len() {
            let (head, tail) = stored.split_at(at);
            for more in ["$", ",", " ", "=", "-", "\u{e9}", "9"] {
                let answer = verify(&password, &format!("{head}{more}{tail}"));
                assert!(!matches!(answer, Ok(true)), "{head}{more}{tail}");
                let salt_of_django = !stored.starts_with('$') && at <= fields;
                if more != "9" && !salt_of_django {
                    assert!(answer.is_err(), "{head}{more}{tail}");
                }
            }
            if let Some(less) = tail.get(1..) {
                let answer = verify(&password, &format!("{head}{less}"));
                assert!(!matches!(answer, Ok(true)), "{head}{less}");
                assert!(at <= fields || answer.is_err(), "{head}{less}");
            }
        }
    }
}

/// Terabytes, and years: whoever writes a row chooses these. That this test ends is the proof that
/// no work was begun.
#[test]
fn costs_over_the_ceilings_are_refused_before_any_work() {
    let (salt, tag) = (
        "c2l4dGVlbiBieXRlcyBvaw",
        "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE",
    );
    let wide = format!("{}==", "A".repeat(86));
    for stored in [
        format!("$argon2i$v=19$m=4294967295,t=1,p=1${salt}${tag}"),
        format!("$argon2d$v=16$m=8192,t=4294967295,p=1${salt}${tag}"),
        format!("$argon2id$m=8192,t=2,p=17${salt}${tag}"),
        format!("argon2$argon2id$v=19$m=1048577,t=2,p=1${salt}${tag}"),
        "$2b$31$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy".into(),
        "bcrypt_sha256$$2b$17$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy".into(),
        format!("$scrypt$ln=63,r=8,p=1${salt}${tag}"),
        format!("$scrypt$ln=19,r=8,p=1${salt}${tag}"),
        format!("$scrypt$ln=17,r=8,p=9${salt}${tag}"),
        format!("$scrypt$ln=1,r=4294967295,p=4294967295${salt}${tag}"),
        // A small table, and lanes that are not.
        format!("$scrypt$ln=1,r=1048576,p=4${salt}${tag}"),
        format!("scrypt$2147483648$salt$8$1${wide}"),
        format!("$pbkdf2-sha256$i=10000001${salt}${tag}"),
        format!("$pbkdf2-sha512$4294967295${salt}${}", "A".repeat(86)),
        format!("pbkdf2_sha256$4294967295$salt${tag}="),
    ] {
        let answer = verify("correct horse battery staple", &stored);
        assert!(
            matches!(answer, Err(HasherError::OverCeiling)),
            "{stored}: {answer:?}"
        );
    }
}

#[test]
fn unknown_schemes_are_errors_and_never_wrong_passwords() {
    for stored in [
        // crypt_blowfish with its bug of 2011, and the first bcrypt.
        "$2x$05$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
        "$2$05$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
        "$1$salt$hash",
        "$6$salt$hash",
        "$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D",
        "$pbkdf2$1000$salt$hash",
        "pbkdf2_sha1$1000$salt$hash",
        "md5$salt$hash",
        "!Vd2rY3",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "correct horse battery staple",
    ] {
        let answer = verify("correct horse battery staple", stored);
        assert!(
            matches!(answer, Err(HasherError::Unsupported)),
            "{stored}: {answer:?}"
        );
    }
    // What was not named is not read, whatever the features are.
    let plain = MigratingHasher::new(Argon2id::default());
    for Vector { password, stored } in cheap().filter(|v| !v.stored.starts_with("$argon2id$v=19")) {
        let stored = PasswordHash::parse(stored).unwrap();
        let candidate = Candidate::parse(&password).unwrap();
        let answer = plain.verify(&candidate, &stored, &mut Scratch::new());
        assert!(
            matches!(answer, Err(HasherError::Unsupported)),
            "{stored:?}"
        );
    }
}

/// W59: 72 bytes are all read; one more is refused, and so is a NUL.
#[test]
fn w59_bcrypt_is_given_no_password_that_it_would_cut() {
    let bcrypt = ["$2a$", "$2b$", "$2y$", "bcrypt$$2b$"];
    let all = cheap().filter(|v| bcrypt.iter().any(|prefix| v.stored.starts_with(prefix)));
    let (mut longest, mut empty) = (0, 0);
    for Vector { password, stored } in all {
        if password.len() == 72 {
            longest += 1;
            for end in ["x", "0123456789"] {
                let answer = verify(&format!("{password}{end}"), stored);
                assert!(
                    matches!(answer, Err(HasherError::TooManyBytes { max: 72 })),
                    "{stored}"
                );
            }
            let last = verify(&password.replace('\u{e9}', "\u{e8}"), stored);
            assert!(matches!(last, Ok(false)), "byte 72 counts: {stored}");
        }
        empty += usize::from(password.is_empty());
        for end in ["\0", "\0x"] {
            let answer = verify(&format!("{password}{end}"), stored);
            let refused = matches!(
                answer,
                Err(HasherError::Nul | HasherError::TooManyBytes { .. })
            );
            assert!(refused, "{stored}: {answer:?}");
        }
    }
    assert!(longest >= 6 && empty >= 2);
}

/// R57: the whole table is today's Argon2id when everybody has logged in once.
#[test]
fn a_table_moves_to_argon2id_as_people_log_in() {
    let pool = HashPool::new(hasher()).unwrap();
    block_on(async {
        let logins = LoginVerifier::new(pool.clone()).await.unwrap();
        let table = vectors();
        for Vector { password, stored } in table.iter().filter(|v| v.is_plain()) {
            let old = PasswordHash::parse(stored).unwrap();
            let candidate = || Candidate::parse(password).unwrap();
            let Login::Right { rehashed } = logins.verify(candidate(), Some(&old)).await.unwrap()
            else {
                panic!("{stored}");
            };
            let strong = ["m=19456,t=2", "$argon2id$v=19$m=65536,t=3"];
            if strong.iter().any(|cost| stored.contains(cost)) {
                assert!(rehashed.is_none(), "{stored}");
                continue;
            }
            let new = rehashed.unwrap();
            assert!(
                new.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
                "{stored}"
            );
            let again = logins.verify(candidate(), Some(&new)).await.unwrap();
            assert!(matches!(again, Login::Right { rehashed: None }), "{stored}");
        }
    });
}
