#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};

use super::*;
use crate::account::{Account, Address, Credential, UserId};
use crate::flow::Parts;
use crate::limit::Unlimited;
use crate::mail::{LinkBase, Mailbox, Site};
use crate::memory::{MemoryQueue, MemoryTokens};
use crate::password::HashPool;
use crate::store::TokenStore;
use crate::testing::{InsecureHasher, ManualClock, MemoryUsers, Outbox, block_on};
use crate::token::{Keyring, Purpose};

/// ASVS 5.0, appendix C: one of the least costs of a password, in KiB, passes and lanes.
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// R4: eight digits are tried in no time where a fast hash keeps them. Computed here with the
/// crate argon2 alone; whatever hashes passwords, codes are stretched.
#[test]
fn r4_codes_are_stretched_with_argon2id() {
    let (users, tokens) = (MemoryUsers::default(), MemoryTokens::default());
    let address = Address::parse("ada@example.com").unwrap();
    let ada = Account::new(
        UserId::parse("1").unwrap(),
        Credential::Stamp("a stamp".into()),
    );
    users.add(ada.verified(address.clone()));
    let (outbox, clock) = (Outbox::default(), ManualClock::default());
    let base = LinkBase::parse("https://app.example.com/reset").unwrap();
    let flow = ResetFlow::builder(Parts {
        site: Site::new("Example", base, "help", Mailbox::new(address)).unwrap(),
        keyring: Keyring::ephemeral().unwrap(),
        users: Arc::new(users),
        tokens: Arc::new(tokens.clone()),
        queue: Arc::new(MemoryQueue::default()),
        mailer: Arc::new(outbox.clone()),
        limiter: Arc::new(Unlimited),
    });
    let flow = flow
        .clock(clock.clone())
        .codes(Codes::default())
        .hashing(HashPool::new(InsecureHasher).unwrap());
    let flow = flow.build().unwrap();

    let record = block_on(async {
        let (ada, client) = (
            Identifier::parse("ada@example.com").unwrap(),
            Client::unknown(),
        );
        let accepted = flow
            .request_code(&ada, Channel::Mail, &client)
            .await
            .unwrap();
        clock.advance(Duration::from_secs(3));
        flow.worker().run_due().await;
        let found = tokens.find(&accepted.handle.selector()).await;
        found.unwrap().unwrap()
    });
    assert_eq!(record.purpose, Purpose::Code);
    let letter = outbox.messages().pop().unwrap().text.replace(' ', "");
    let mut lines = letter.lines();
    let code = lines.find(|line| line.len() == 8 && line.bytes().all(|b| b.is_ascii_digit()));

    let key = flow.core.keyring.active();
    let digest = record.digest_of(key, code.unwrap().as_bytes());
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, Some(32)).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut stretched = [0; 32];
    let salt = record.selector.as_bytes();
    argon2
        .hash_password_into(digest.as_bytes(), salt, &mut stretched)
        .unwrap();
    assert_eq!(*record.digest.as_bytes(), stretched);
    assert_ne!(record.digest.as_bytes(), digest.as_bytes());
}
