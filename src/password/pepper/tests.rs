//! Tests of `pepper`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use hmac::{Hmac, KeyInit};
use sha2::Sha256;

use super::*;
use crate::password::{Context, Policy};

const RAW: &str = "seven quiet owls at noon";
const SECRET: [u8; 32] = *b"a secret that only this test has";

fn key(id: u32, secret: &[u8]) -> Key {
    Key::new(KeyId(id), secret).unwrap()
}

/// The cheapest that is allowed.
fn argon2id() -> Argon2id {
    Argon2id::new(12_288, 3, 1).unwrap()
}

fn peppered(id: u32, secret: &[u8]) -> Peppered {
    Peppered::new(argon2id(), Keyring::new(key(id, secret)))
}

fn hash(hasher: &impl PasswordHasher) -> PasswordHash {
    let password = Policy::default().parse(RAW, &Context::default()).unwrap();
    hasher.hash(&password, &mut Scratch::new()).unwrap()
}

fn verify(
    hasher: &impl PasswordHasher,
    raw: &str,
    stored: &PasswordHash,
) -> Result<bool, HasherError> {
    let candidate = Candidate::parse(raw).unwrap();
    hasher.verify(&candidate, stored, &mut Scratch::new())
}

#[test]
fn the_right_password_under_the_right_key_verifies() {
    // R59.
    let hasher = peppered(7, &SECRET);
    let stored = hash(&hasher);
    assert!(stored.expose().starts_with("$hmac-sha256$keyid=AAAAB"));
    assert!(stored.expose().len() <= 140, "{}", stored.expose().len());
    assert!(verify(&hasher, RAW, &stored).unwrap());
    assert!(!verify(&hasher, "Seven quiet owls at noon", &stored).unwrap());
    assert!(!hasher.needs_rehash(&stored));
}

#[test]
fn without_its_key_nothing_is_said_about_the_password() {
    // R59.
    let stored = hash(&peppered(7, &SECRET));
    for other in [peppered(8, &SECRET), peppered(7, &[9; 32])] {
        for raw in [RAW, "wrong"] {
            let answer = verify(&other, raw, &stored);
            assert!(matches!(answer, Err(HasherError::UnknownKey)), "{answer:?}");
        }
        assert!(other.needs_rehash(&stored));
    }
}

#[test]
fn a_rotated_key_verifies_and_is_replaced() {
    // R57, R59.
    let old = peppered(1, &SECRET);
    let ring = Keyring::new(key(2, &[2; 32])).with_older(key(1, &SECRET));
    let both = Peppered::new(argon2id(), ring.unwrap());
    let stored = hash(&old);
    assert!(verify(&both, RAW, &stored).unwrap() && both.needs_rehash(&stored));
    let renewed = hash(&both);
    assert!(verify(&both, RAW, &renewed).unwrap() && !both.needs_rehash(&renewed));
    assert!(matches!(
        verify(&old, RAW, &renewed),
        Err(HasherError::UnknownKey)
    ));
}

#[test]
fn hashes_from_before_the_key_are_read_only_where_that_is_said() {
    let plain = hash(&argon2id());
    let strict = peppered(1, &SECRET);
    assert!(matches!(
        verify(&strict, RAW, &plain),
        Err(HasherError::Unsupported)
    ));
    let lenient = strict.clone().accept_plain();
    assert!(verify(&lenient, RAW, &plain).unwrap());
    assert!(strict.needs_rehash(&plain) && lenient.needs_rehash(&plain));
    // And plain Argon2id takes no sealed hash for one of its own.
    assert!(matches!(
        verify(&argon2id(), RAW, &hash(&strict)),
        Err(HasherError::Unsupported)
    ));
}

#[test]
fn a_weaker_cost_needs_a_rehash_under_the_same_key() {
    let weak = hash(&peppered(1, &SECRET));
    let ring = Keyring::new(key(1, &SECRET));
    let strong = Peppered::new(Argon2id::default(), ring);
    assert!(strong.needs_rehash(&weak));
    assert!(verify(&strong, RAW, &weak).unwrap());
}

#[test]
fn the_documented_construction_gives_the_same_string() {
    let mac = |key: &[u8], data: &[u8]| -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(data);
        mac.finalize().into_bytes().into()
    };
    let stored = hash(&peppered(0x0102_0304, &SECRET));
    let (keyid, argon2id) = stored.expose()[PREFIX.len()..].split_once('$').unwrap();
    let check = mac(&SECRET, b"password-reset v1 pepper check");
    let mut id = vec![1, 2, 3, 4];
    id.extend_from_slice(&mac(&check, b"")[..4]);
    assert_eq!(keyid, Base64Unpadded::encode_string(&id));

    let (head, sealed) = argon2id.rsplit_once('$').unwrap();
    let salt = Base64Unpadded::decode_vec(head.rsplit_once('$').unwrap().1).unwrap();
    let params = argon2::Params::new(12_288, 3, 1, Some(32)).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut tag = [0; 32];
    argon2
        .hash_password_into(RAW.as_bytes(), &salt, &mut tag)
        .unwrap();
    let seal = mac(&SECRET, b"password-reset v1 pepper");
    assert_eq!(sealed, Base64Unpadded::encode_string(&mac(&seal, &tag)));
}

#[test]
fn damage_is_an_error_at_every_place() {
    let hasher = peppered(1, &SECRET).accept_plain();
    let whole = hash(&hasher);
    let whole = whole.expose();
    for end in 1..whole.len() {
        let cut = PasswordHash::parse(&whole[..end]).unwrap();
        let answer = verify(&hasher, RAW, &cut);
        assert!(
            matches!(
                answer,
                Err(HasherError::Malformed | HasherError::Unsupported)
            ),
            "{end}: {answer:?}"
        );
        assert!(hasher.needs_rehash(&cut));
    }
    let inner = &whole[PREFIX.len() + KEYID..];
    for bad in [
        format!("$hmac-sha256{inner}"),
        format!("$hmac-sha256$keyid={inner}"),
        format!("$hmac-sha256$keyid=AAAAAQECAwR{inner}"),
        format!("$hmac-sha256$keyid=\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}x{inner}"),
        format!("$hmac-sha512$keyid=AAAAAQECAwQ{inner}"),
        format!("{PREFIX}AAAAAQECAwQ{whole}"),
    ] {
        let answer = verify(&hasher, RAW, &PasswordHash::parse(&bad).unwrap());
        assert!(
            matches!(
                answer,
                Err(HasherError::Malformed | HasherError::Unsupported)
            ),
            "{bad}: {answer:?}"
        );
    }
}

#[test]
fn a_hostile_cost_is_refused_before_any_work() {
    let hasher = peppered(1, &SECRET);
    let stored = hash(&hasher);
    let hostile = stored.expose().replace("m=12288", "m=4294967295");
    let answer = verify(&hasher, RAW, &PasswordHash::parse(&hostile).unwrap());
    assert!(matches!(answer, Err(HasherError::OverCeiling)));
}

#[test]
fn the_key_is_in_no_debug_and_in_no_stored_string() {
    // R59.
    let hasher = peppered(1, &SECRET);
    let stored = hash(&hasher);
    let printed = format!("{hasher:?} {:?} {stored:?}", hasher.keys);
    let hex: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{SECRET:?}");
    for secret in [
        "only this test",
        &hex,
        list.trim_matches(['[', ']']),
        &Base64Unpadded::encode_string(&SECRET),
    ] {
        assert!(!printed.contains(secret) && !stored.expose().contains(secret));
    }
}
