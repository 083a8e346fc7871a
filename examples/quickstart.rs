//! The whole journey in one process and in memory: `cargo run --example quickstart`.
//!
//! Users, mailbox and clock are the fakes of feature `testing`, so that nothing has to be set up.
//! `examples/demo` is the same with a real database and a real web framework.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use password_reset::ResetFlow;
use password_reset::account::{Account, Address, Client, Credential, Identifier, UserId};
use password_reset::flow::Parts;
use password_reset::mail::{Kind, LinkBase, Mailbox, Site};
use password_reset::memory::{MemoryLimiter, MemoryQueue, MemoryTokens};
use password_reset::password::{Argon2id, Candidate, Context, HashPool, PasswordHash, Policy};
use password_reset::testing::{ManualClock, MemoryUsers, Outbox};
use password_reset::token::Keyring;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A user with a password, hashed in the pool that the flow will share.
    let hashing = HashPool::new(Argon2id::default())?;
    let forgotten = Policy::default().parse("the one she forgot", &Context::default())?;
    let credential = Credential::Password(hashing.hash(forgotten).await?);
    let ada = Account::new(UserId::parse("1")?, credential);
    let users = MemoryUsers::default();
    users.add(ada.verified(Address::parse("ada@example.com")?));

    let (outbox, clock) = (Outbox::default(), ManualClock::default());
    let flow = ResetFlow::builder(Parts {
        site: Site::new(
            "Example",
            LinkBase::parse("https://app.example.com/reset-password")?,
            "support@example.com",
            Mailbox::new(Address::parse("noreply@example.com")?),
        )?,
        keyring: Keyring::ephemeral()?,
        users: Arc::new(users.clone()),
        tokens: Arc::new(MemoryTokens::default()),
        queue: Arc::new(MemoryQueue::default()),
        mailer: Arc::new(outbox.clone()),
        limiter: Arc::new(MemoryLimiter::default()),
    })
    .hashing(hashing.clone())
    .clock(clock.clone())
    .build()?;
    let client = Client::from_ip([192, 0, 2, 7].into());

    for typed in ["nobody@example.com", "ada@example.com"] {
        let answer = flow.request(&Identifier::parse(typed)?, &client).await?;
        println!("{typed} asks for a link: {answer:?}");
    }
    clock.advance(Duration::from_secs(2));
    println!("the worker works: {:?}", flow.worker().run_due().await);
    println!("mails sent: {:?}", outbox.messages());

    let token = outbox.last_token().ok_or("no mail came")?;
    let verified = flow.verify(&token, &client).await?;
    println!("the link is good: {verified:?}");
    let refused = verified.parse_password("secret").err();
    println!("\"secret\" is refused: {refused:?}");
    let password = verified.parse_password("a quiet harbour at dawn")?;
    let completed = verified.complete(password).await?;
    println!("the password is changed: {completed:?}");
    let again = flow.verify(&token, &client).await.err();
    println!("the link again: {again:?}");

    let stored = users.hash_of(&completed.user).ok_or("no such user")?;
    let typed = Candidate::parse("a quiet harbour at dawn")?;
    let same = hashing.verify(typed, PasswordHash::parse(&stored)?).await?;
    println!("she logs in with it: {same}");
    clock.advance(Duration::from_secs(2));
    flow.worker().run_due().await;
    let notice = outbox.messages().pop().ok_or("no notice came")?;
    assert_eq!(notice.kind, Kind::PasswordChanged);
    println!("and she is told: {notice:?}");
    Ok(())
}
