#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;

use super::*;
use crate::account::{Account, Address, Credential};
use crate::flow::Parts;
use crate::limit::Unlimited;
use crate::mail::{LinkBase, Mailbox, Site};
use crate::memory::{MemoryQueue, MemoryTokens};
use crate::store::TokenStore;
use crate::testing::{ManualClock, MemoryUsers, Outbox, block_on, issue};
use crate::token::Keyring;

fn flow() -> (ResetFlow, MemoryTokens, Account) {
    let (users, tokens) = (MemoryUsers::default(), MemoryTokens::default());
    let address = Address::parse("ada@example.com").unwrap();
    let credential = Credential::Stamp("1".into());
    let account = Account::new(UserId::parse("the-id-of-ada").unwrap(), credential);
    let account = account.verified(address.clone());
    users.add(account.clone());
    let page = |path: &str| LinkBase::parse(&format!("https://app.example.com{path}")).unwrap();
    let site = Site::new("Example", page("/reset"), "help", Mailbox::new(address)).unwrap();
    let flow = ResetFlow::builder(Parts {
        site: site.cancel_page(page("/reset/not-me")),
        keyring: Keyring::ephemeral().unwrap(),
        users: Arc::new(users),
        tokens: Arc::new(tokens.clone()),
        queue: Arc::new(MemoryQueue::default()),
        mailer: Arc::new(Outbox::default()),
        limiter: Arc::new(Unlimited),
    });
    (
        flow.clock(ManualClock::default()).build().unwrap(),
        tokens,
        account,
    )
}

/// What a store holds of a pause names nobody, is of one purpose, and is matched by no token.
#[test]
fn a_pause_names_nobody_and_is_no_token() {
    let (flow, tokens, account) = flow();
    let client = Client::unknown();
    block_on(async {
        let now = flow.now();
        let until = now + Cancelable::LONGEST_PAUSE;
        flow.pause(&account.id, now, until).await.unwrap();
        let (today, key) = (day(now), flow.core.keyring.active());
        let mut owners = Vec::new();
        for day in today - 1..today + 10 {
            let selector = flow.pause_selector(key, &account.id, day, 0);
            let found = tokens.find(&selector).await.unwrap();
            // The day before as well: it is midnight, and other clocks may be late.
            assert_eq!(found.is_some(), (today - 1..today + 7).contains(&day));
            let Some(record) = found else { continue };
            assert_eq!((record.purpose, record.expires_at), (Purpose::Pause, until));
            for half in [record.digest.as_bytes(), record.epoch.as_bytes()] {
                let token = PresentedToken {
                    selector,
                    verifier: crate::token::Verifier::take(&mut half.clone()),
                };
                let token = token.spell().unwrap();
                let text = secrecy::ExposeSecret::expose_secret(&token);
                assert!(flow.verify(text, &client).await.is_err());
                assert!(flow.look_at_cancel(text, &client).await.is_err());
            }
            owners.push(record.user);
        }
        owners.dedup();
        assert_eq!(owners, [flow.pause_owner(key, &account.id).unwrap()]);
        assert!(!owners.contains(&account.id));
    });
}

/// A proof that is right for a record which is no token's: even then nothing is cancelled.
#[test]
fn a_pause_or_a_counter_cannot_be_disowned() {
    let (flow, tokens, account) = flow();
    let address = account.verified.first().unwrap();
    block_on(async {
        let token = issue(&flow, &account, address).await.unwrap();
        let selector = PresentedToken::parse(token.expose()).unwrap().selector;
        let record = tokens.find(&selector).await.unwrap().unwrap();
        for (number, purpose) in (1..).zip(Purpose::ALL) {
            let mut record = record.clone();
            record.selector = Selector::from_bytes([number; 16]);
            record.purpose = *purpose;
            let live = Live::at_most(NonZeroU32::MAX);
            let inserted = tokens.insert(&record, live).await;
            assert_eq!(inserted.unwrap(), Insert::Done);
            let link = flow
                .cancel_link(Beside::Token, record.key, record.selector, &account.id)
                .unwrap();
            let link = secrecy::ExposeSecret::expose_secret(&link);
            let text = link.split_once("?token=").unwrap().1;
            let looked = flow.look_at_cancel(text, &Client::unknown()).await;
            let cancels = !matches!(purpose, Purpose::CodeTries | Purpose::Pause);
            assert_eq!(looked.is_ok(), cancels, "{purpose:?}");
        }
    });
}

#[test]
fn a_pause_ends_on_a_full_hour_and_days_begin_at_midnight() {
    let at = Timestamp::from_unix_micros;
    assert_eq!(full_hour(at(HOUR_MICROS)), at(HOUR_MICROS));
    assert_eq!(full_hour(at(HOUR_MICROS + 1)), at(2 * HOUR_MICROS));
    assert_eq!(full_hour(at(2 * HOUR_MICROS - 1)), at(2 * HOUR_MICROS));
    assert_eq!(full_hour(at(-1)), at(0));
    assert_eq!(
        (day(at(-1)), day(at(0)), day(at(DAY_MICROS - 1))),
        (-1, 0, 0)
    );
    assert_eq!(day(midnight(20_454)), 20_454);
    assert_eq!(midnight(1) - Duration::from_micros(1), at(DAY_MICROS - 1));
}
