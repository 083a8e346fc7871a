//! Tests of `hasher`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::password::{Context, Policy};

const RAW: &str = "seven quiet owls at noon";

fn password() -> NewPassword {
    Policy::default().parse(RAW, &Context::default()).unwrap()
}

fn candidate(raw: &str) -> Candidate {
    Candidate::parse(raw).unwrap()
}

fn stored(phc: &str) -> PasswordHash {
    PasswordHash::parse(phc).unwrap()
}

fn hashed() -> PasswordHash {
    Argon2id::default()
        .hash(&password(), &mut Scratch::new())
        .unwrap()
}

fn verify(raw: &str, phc: &str) -> Result<bool, HasherError> {
    Argon2id::default().verify(&candidate(raw), &stored(phc), &mut Scratch::new())
}

/// As if made at another cost: same shape, other numbers.
fn with_cost(m: u64, t: u64, p: u64) -> PasswordHash {
    let salt = "c29tZXNhbHRzb21lc2FsdA";
    let tag = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";
    stored(&format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${tag}"))
}

#[test]
fn the_cost_is_written_into_the_hash() {
    // R55, R57.
    let hash = hashed();
    assert!(
        hash.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{}",
        hash.expose()
    );
}

#[test]
fn salts_differ_and_lengths_are_16_and_32() {
    // R56.
    let (first, second) = (hashed(), hashed());
    let parts = |hash: &PasswordHash| -> (Vec<u8>, Vec<u8>) {
        let mut fields = hash.expose().rsplit('$');
        let tag = Base64Unpadded::decode_vec(fields.next().unwrap()).unwrap();
        (
            Base64Unpadded::decode_vec(fields.next().unwrap()).unwrap(),
            tag,
        )
    };
    let ((salt, tag), (other_salt, other_tag)) = (parts(&first), parts(&second));
    assert_eq!((salt.len(), tag.len()), (16, 32));
    assert!(salt != other_salt && tag != other_tag);
}

#[test]
fn the_right_password_verifies_and_no_other() {
    // R48: whole, and case matters.
    let hash = hashed();
    let mut scratch = Scratch::new();
    let mut check = |raw: &str| {
        Argon2id::default()
            .verify(&candidate(raw), &hash, &mut scratch)
            .unwrap()
    };
    assert!(check(RAW));
    for wrong in [
        "Seven quiet owls at noon",
        "seven quiet owls at noo",
        "seven quiet owls at noon ",
        "",
    ] {
        assert!(!check(wrong), "{wrong}");
    }
}

#[test]
fn the_longest_preset_makes_what_it_verifies() {
    let hasher = Argon2id::rfc9106_low_memory();
    let mut scratch = Scratch::new();
    let hash = hasher.hash(&password(), &mut scratch).unwrap();
    assert!(hash.expose().contains("$m=65536,t=3,p=4$"));
    assert!(hash.expose().len() <= PHC_BYTES);
    assert!(hasher.verify(&candidate(RAW), &hash, &mut scratch).unwrap());
    let priciest = Cost {
        m_kib: u32::MAX,
        t: u32::MAX,
        p: u32::MAX,
    };
    let longest = format!("$argon2id$v=19$m={0},t={0},p={0}$", priciest.m_kib).len() + 22 + 1 + 43;
    assert!(longest <= PHC_BYTES);
}

#[test]
fn parameters_below_the_table_are_refused() {
    // R55.
    for (m, t) in [
        (8_192, 1),
        (47_103, 1),
        (19_455, 2),
        (12_287, 3),
        (12_287, 16),
        (65_536, 0),
    ] {
        assert_eq!(
            Argon2id::new(m, t, 1).unwrap_err(),
            WeakParameters::BelowTable,
            "{m} {t}"
        );
    }
    assert_eq!(
        Argon2id::new(19_456, 2, 0).unwrap_err(),
        WeakParameters::BelowTable
    );
    for (m, t) in [(47_104, 1), (19_456, 2), (12_288, 3), (12_288, 16)] {
        assert!(Argon2id::new(m, t, 1).is_ok(), "{m} {t}");
    }
}

#[test]
fn parameters_above_the_ceilings_are_refused() {
    for (m, t, p) in [(1_048_577, 2, 1), (19_456, 17, 1), (19_456, 2, 17)] {
        assert_eq!(
            Argon2id::new(m, t, p).unwrap_err(),
            WeakParameters::AboveCeiling
        );
        assert_eq!(
            Ceilings::new(m, t, p).unwrap_err(),
            WeakParameters::AboveCeiling
        );
    }
    let low = Ceilings::new(19_455, 2, 1).unwrap();
    assert_eq!(
        Argon2id::default().ceilings(low).unwrap_err(),
        WeakParameters::AboveCeiling
    );
}

#[test]
fn a_hostile_stored_cost_is_refused_before_any_work() {
    // A PHC string may ask for 4 TiB, or for a week.
    let mut scratch = Scratch::new();
    let mut check = |hasher: &Argon2id, stored: &PasswordHash| {
        hasher
            .verify(&candidate(RAW), stored, &mut scratch)
            .unwrap_err()
    };
    let hasher = Argon2id::default();
    for (m, t, p) in [
        (4_294_967_295, 1, 1),
        (1_048_577, 1, 1),
        (19_456, 17, 1),
        (19_456, 4_294_967_295, 1),
        (19_456, 2, 17),
        (19_456, 2, 4_294_967_295),
    ] {
        let error = check(&hasher, &with_cost(m, t, p));
        assert!(
            matches!(error, HasherError::OverCeiling),
            "{m} {t} {p}: {error:?}"
        );
    }
    let lower = hasher
        .ceilings(Ceilings::new(19_456, 2, 1).unwrap())
        .unwrap();
    assert!(matches!(
        check(&lower, &with_cost(19_457, 2, 1)),
        HasherError::OverCeiling
    ));
    assert!(scratch.blocks.is_empty(), "nothing was allocated");
}

#[test]
fn other_schemes_are_unsupported_not_malformed() {
    for phc in [
        "$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
        "$argon2d$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
        "$argon2id$v=16$m=19456,t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
        "$argon2id$m=19456,t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
        "$argon2id$v=19$m=19456,t=2,p=1,data=c2FsdA$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        "$scrypt$ln=17,r=8,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
        "pbkdf2_sha256$600000$salt$hash",
        "$argon2idx",
        "plain text",
    ] {
        let answer = verify(RAW, phc);
        assert!(
            matches!(answer, Err(HasherError::Unsupported)),
            "{phc}: {answer:?}"
        );
    }
}

#[test]
fn a_damaged_hash_is_an_error_not_a_wrong_password() {
    let whole = with_cost(19_456, 2, 1);
    let whole = whole.expose();
    for phc in [
        "$argon2id$",
        "$argon2id$v=19$m=19456,t=2,p=1",
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ",
        "$argon2id$v=19$t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
        "$argon2id$v=19$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
        "$argon2id$v=19$m=0,t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
        "$argon2id$v=19$m=8,t=2,p=16$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
        "$argon2id$v=19$m=19456,t=2,p=1$c2Fs$MDEyMzQ1Njc4OTAxMjM0NQ",
        "$argon2id$v=19$m=4294967296,t=2,p=1$c29tZXNhbHQ$MDEyMzQ1Njc4OTAxMjM0NQ",
        &format!("{whole}$x"),
        &format!("{whole}="),
    ] {
        let answer = verify(RAW, phc);
        assert!(
            matches!(
                answer,
                Err(HasherError::Malformed | HasherError::Unsupported)
            ),
            "{phc}: {answer:?}"
        );
        assert!(Argon2id::default().needs_rehash(&stored(phc)), "{phc}");
    }
    // No cut-off hash passes for a whole one.
    for end in 1..whole.len() {
        assert!(Stored::parse(&whole[..end]).is_err(), "{end}");
    }
}

#[test]
fn hashes_of_other_implementations_verify() {
    for (raw, phc) in KNOWN {
        assert!(verify(raw, phc).unwrap(), "{phc}");
        assert!(!verify("password2", phc).unwrap(), "{phc}");
    }
}

#[test]
fn an_old_cost_needs_a_rehash_and_the_present_one_does_not() {
    // R57.
    let hasher = Argon2id::default();
    assert!(!hasher.needs_rehash(&hashed()));
    for (m, t) in [(19_455, 2), (47_104, 1), (8, 1)] {
        assert!(hasher.needs_rehash(&with_cost(m, t, 1)), "{m} {t}");
    }
    for (m, t, p) in [(19_456, 2, 1), (65_536, 3, 4), (19_456, 2, 2)] {
        assert!(!hasher.needs_rehash(&with_cost(m, t, p)), "{m} {t} {p}");
    }
    for phc in [
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        "$argon2i$v=19$m=65536,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$MDEyMzQ1Njc4OTAxMjM0NQ",
        "$argon2id$v=19$m=65536,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$MDEyMzQ1Njc4OTAxMjM0NQ",
    ] {
        assert!(hasher.needs_rehash(&stored(phc)), "{phc}");
    }
}

#[test]
fn memory_is_reused_and_wiped() {
    let hasher = Argon2id::default();
    let mut scratch = Scratch::new();
    hasher.hash(&password(), &mut scratch).unwrap();
    let address = scratch.blocks.as_ptr();
    assert_eq!(scratch.blocks.len(), 19_456);
    for _ in 0..2 {
        hasher.hash(&password(), &mut scratch).unwrap();
        assert_eq!(
            scratch.blocks.as_ptr(),
            address,
            "the second hash allocates nothing"
        );
    }
    // A cheaper one fits into what is there.
    hasher
        .verify(&candidate(RAW), &with_cost(8, 1, 1), &mut scratch)
        .unwrap();
    assert_eq!(scratch.blocks.as_ptr(), address);
    assert!(is_wiped(&scratch));
}

#[test]
fn the_surplus_of_a_costly_stored_hash_is_given_back() {
    let hasher = Argon2id::default();
    let mut scratch = Scratch::new();
    assert!(
        !hasher
            .verify(&candidate(RAW), &with_cost(65_536, 1, 1), &mut scratch)
            .unwrap()
    );
    assert_eq!(scratch.blocks.capacity(), 0);
}

#[test]
fn a_panic_wipes_too() {
    let mut scratch = Scratch::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        scratch.with_blocks(8, 8, |blocks| {
            blocks[3].as_mut()[7] = 0x5ec2e7;
            panic!("in the middle of a hash");
        })
    }));
    assert!(outcome.is_err());
    assert_eq!(scratch.blocks.len(), 8);
    assert!(is_wiped(&scratch));
}

#[test]
fn memory_that_cannot_be_had_is_a_transient_error() {
    let error = Scratch::new()
        .with_blocks(usize::MAX / 1024, 0, |_| ())
        .unwrap_err();
    assert!(matches!(error, HasherError::OutOfMemory) && error.is_transient());
    assert!(!HasherError::Unsupported.is_transient());
}

#[test]
fn a_pointer_to_a_hasher_is_a_hasher() {
    fn takes(hasher: impl PasswordHasher) -> bool {
        hasher.needs_rehash(&stored("x")) && hasher.max_bytes().is_none()
    }
    let shared: Arc<dyn PasswordHasher> = Arc::new(Argon2id::default());
    let boxed: Box<dyn PasswordHasher> = Box::new(Argon2id::default());
    assert!(takes(Arc::clone(&shared)) && takes(boxed) && takes(Box::new(shared)));
}

fn is_wiped(scratch: &Scratch) -> bool {
    scratch
        .blocks
        .iter()
        .all(|block| block.as_ref().iter().all(|word| *word == 0))
}

/// One of the reference implementation's own vectors, and one made with the crate argon2 0.5.3,
/// as many tables hold them.
const KNOWN: [(&str, &str); 2] = [
    (
        "password",
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
         $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    ),
    (
        "password",
        "$argon2id$v=19$m=19456,t=2,p=1$c2l4dGVlbiBieXRlIHNhbA\
         $l4p/ZrdyMFYcwAD0z12OQANgSLUoKsJeRf0Hq1mAD3s",
    ),
];
