//! A whole reset with the filter plugged in.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use password_reset::ResetFlow;
use password_reset::account::{Account, Address, Client, Credential, Identifier, UserId};
use password_reset::audit::{EventKind, Step};
use password_reset::error::Backend;
use password_reset::flow::{CompleteError, Parts};
use password_reset::limit::Unlimited;
use password_reset::mail::{LinkBase, Mailbox, Site};
use password_reset::memory::{MemoryQueue, MemoryTokens};
use password_reset::password::{HashPool, PasswordHash, Unanswered, Violation};
use password_reset::testing::{
    InsecureHasher, ManualClock, MemoryUsers, Outbox, Recorder, block_on,
};
use password_reset::token::Keyring;
use password_reset_breach::{BreachFilter, Build, Lines};

const GOOD: &str = "a quiet harbour at dawn";
const LEAKED: &str = "an old harbour in the fog";

struct World {
    flow: ResetFlow,
    recorder: Recorder,
    token: String,
}

fn world(filter: &Path, unanswered: Unanswered) -> World {
    let (users, outbox) = (MemoryUsers::default(), Outbox::default());
    let (clock, recorder) = (ManualClock::default(), Recorder::default());
    let stored = PasswordHash::parse("$insecure$00$before").unwrap();
    let account = Account::new(UserId::parse("1").unwrap(), Credential::Password(stored));
    users.add(account.verified(Address::parse("ada@example.com").unwrap()));
    let site = Site::new(
        "Example",
        LinkBase::parse("https://app.example.com/reset").unwrap(),
        "support@example.com",
        Mailbox::new(Address::parse("noreply@example.com").unwrap()),
    );
    let flow = ResetFlow::builder(Parts {
        site: site.unwrap(),
        keyring: Keyring::ephemeral().unwrap(),
        users: Arc::new(users),
        tokens: Arc::new(MemoryTokens::default()),
        queue: Arc::new(MemoryQueue::default()),
        mailer: Arc::new(outbox.clone()),
        limiter: Arc::new(Unlimited),
    })
    .clock(clock.clone())
    .audit(recorder.clone())
    .hashing(HashPool::new(InsecureHasher).unwrap())
    .breach_check(BreachFilter::open(filter).unwrap(), unanswered)
    .build()
    .unwrap();
    block_on(async {
        let ada = Identifier::parse("ada@example.com").unwrap();
        flow.request(&ada, &client()).await.unwrap();
        clock.advance(Duration::from_secs(3));
        flow.worker().run_due().await;
    });
    let token = outbox.last_token().unwrap();
    World {
        flow,
        recorder,
        token,
    }
}

fn client() -> Client {
    Client::from_ip([192, 0, 2, 7].into())
}

impl World {
    fn set(&self, raw: &str) -> Result<(), CompleteError> {
        block_on(async {
            let verified = self.flow.verify(&self.token, &client()).await.unwrap();
            let password = verified.parse_password(raw).unwrap();
            verified.complete(password).await.map(|_| ())
        })
    }
}

#[test]
fn a_leaked_password_is_refused_and_the_link_stays_good() {
    // R50, R52.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("filter");
    Build::new(Lines::Plain)
        .from(LEAKED.as_bytes(), &path, |_| ())
        .unwrap();
    let world = world(&path, Unanswered::Refuse);
    for _ in 0..3 {
        let refused = world.set(LEAKED).unwrap_err();
        assert!(matches!(
            refused,
            CompleteError::Password(rejected) if rejected.violations() == [Violation::Breached]
        ));
    }
    world.set(GOOD).unwrap();
}

#[test]
fn damage_is_loud_and_does_what_the_builder_said() {
    for (unanswered, accepted) in [(Unanswered::Accept, true), (Unanswered::Refuse, false)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("filter");
        Build::new(Lines::Plain)
            .from(GOOD.as_bytes(), &path, |_| ())
            .unwrap();
        // The one entry is the end of the file.
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();

        let world = world(&path, unanswered);
        assert_eq!(world.set(GOOD).is_ok(), accepted);
        let failed = EventKind::BackendFailed {
            backend: Backend::Breach,
            step: Step::Complete,
        };
        assert!(world.recorder.kinds().contains(&failed));
    }
}
