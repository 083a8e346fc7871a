//! A service in memory, with accounts whose links are on their way.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use password_reset::ResetFlow;
use password_reset::account::{Account, Address, Client, Credential, Identifier, UserId};
use password_reset::flow::{Codes, Limits, Parts, TextLimits};
use password_reset::human::{Demand, ProofOfWork, When};
use password_reset::limit::RateLimiter;
use password_reset::mail::{Kind, LinkBase, Mailbox, Site};
use password_reset::memory::{MemoryQueue, MemoryTokens};
use password_reset::password::{HashPool, PasswordHash};
use password_reset::queue::Channel;
use password_reset::recovery::{
    FactorResponse, Recovery, RecoveryAttempt, RecoveryPolicy, SecondFactor, SecondFactorCheck,
};
use password_reset::sms::{SendError, SmsSender, TextMessage};
use password_reset::testing::{
    Faults, Faulty, InsecureHasher, ManualClock, MemoryUsers, Outbox, SeededRandom, issue,
};
use password_reset::token::{Key, KeyId, Keyring};
use password_reset_web::ResetWeb;

pub(crate) struct World {
    pub(crate) flow: ResetFlow,
    pub(crate) web: ResetWeb,
    pub(crate) clock: ManualClock,
    /// Around the tokens.
    pub(crate) faults: Faults,
    outbox: Outbox,
    users: MemoryUsers,
}

/// The account whose password is not set with a mail.
pub(crate) const DENIED: &str = "denied";
/// The account that needs a second factor first.
pub(crate) const GUARDED: &str = "guarded";

/// A password that no policy minds.
pub(crate) const GOOD: &str = "a quiet harbour at dawn";

/// The account with a second factor.
pub(crate) const FACTOR: &str = "factor";
/// The account whose second factor comes by mail, as its links do.
pub(crate) const MAILED: &str = "mailed";
/// What proves the second factor, whenever it is asked for.
pub(crate) const SHOWN: &str = "123 456";

struct ByName;

#[password_reset::async_trait]
impl SecondFactorCheck for ByName {
    async fn check(
        &self,
        _: &RecoveryAttempt<'_>,
        response: &FactorResponse,
    ) -> Result<Option<SecondFactor>, password_reset::error::BoxError> {
        Ok((response.expose() == SHOWN).then_some(SecondFactor::Device))
    }
}

#[password_reset::async_trait]
impl RecoveryPolicy for ByName {
    async fn decide(
        &self,
        attempt: &RecoveryAttempt<'_>,
    ) -> Result<Recovery, password_reset::error::BoxError> {
        Ok(match attempt.account.id.as_str() {
            DENIED => Recovery::Deny,
            GUARDED => Recovery::StepUp,
            _ => Recovery::Allow,
        })
    }
}

/// Takes every text message.
struct Swallow;

#[password_reset::async_trait]
impl SmsSender for Swallow {
    async fn send(&self, _: &TextMessage) -> Result<(), SendError> {
        Ok(())
    }
}

impl World {
    pub(crate) fn new(limiter: impl RateLimiter, limits: Limits) -> Self {
        let (users, clock, faults, outbox) = Default::default();
        let page = |path: &str| LinkBase::parse(&format!("https://app.example.com{path}")).unwrap();
        let tokens = Faulty::sharing(MemoryTokens::default(), &faults);
        let flow = ResetFlow::builder(Parts {
            // On https, as the document says, whatever the tests come by.
            site: Site::new(
                "Example",
                page("/reset-password"),
                "support@example.com",
                Mailbox::new(Address::parse("noreply@example.com").unwrap()),
            )
            .unwrap()
            .cancel_page(page("/reset-password/not-me")),
            keyring: Keyring::new(Key::new(KeyId(1), &[7; 32]).unwrap()),
            users: Arc::new(MemoryUsers::clone(&users)),
            tokens: Arc::new(tokens),
            queue: Arc::new(MemoryQueue::default()),
            mailer: Arc::new(Outbox::clone(&outbox)),
            limiter: Arc::new(limiter),
        })
        .hashing(HashPool::new(InsecureHasher).unwrap())
        .recovery(ByName)
        .second_factor(ByName)
        .codes(Codes::default())
        .proof_of_work(ProofOfWork::default(), When::Demanded(Demand::default()))
        .sms(Swallow, TextLimits::default())
        .limits(limits)
        .clock(ManualClock::clone(&clock))
        .random(SeededRandom::new(1))
        .build()
        .unwrap();
        let web = ResetWeb::builder(flow.clone()).build().unwrap();
        Self {
            flow,
            web,
            clock,
            faults,
            outbox,
            users,
        }
    }

    /// A good token of a fresh account.
    pub(crate) async fn token(&self, user: &str) -> String {
        let (account, address) = self.account(user);
        let token = issue(&self.flow, &account, &address).await.unwrap();
        token.expose().to_owned()
    }

    /// A token of a fresh account that cancels.
    pub(crate) async fn not_me(&self, user: &str) -> String {
        let (_, address) = self.account(user);
        let typed = Identifier::parse(address.as_str()).unwrap();
        self.flow.request(&typed, &Client::unknown()).await.unwrap();
        self.clock.advance(Duration::from_secs(3));
        self.flow.worker().run_due().await;
        self.outbox.last_cancel_token().unwrap()
    }

    fn account(&self, user: &str) -> (Account, Address) {
        let address = Address::parse(&format!("{user}@example.com")).unwrap();
        let hash = PasswordHash::parse("$insecure$00$the-hash-before").unwrap();
        let account = Account::new(UserId::parse(user).unwrap(), Credential::Password(hash))
            .verified(address.clone());
        let account = match user {
            FACTOR => account.second_factor(SecondFactor::Device),
            MAILED => account.second_factor(SecondFactor::Mail),
            _ => account,
        };
        self.users.add(account.clone());
        (account, address)
    }

    /// The handle of a code of a fresh account, and the code.
    pub(crate) async fn code(&self, user: &str) -> (String, String) {
        self.token(user).await;
        let typed = Identifier::parse(&format!("{user}@example.com")).unwrap();
        let client = Client::unknown();
        let accepted = self.flow.request_code(&typed, Channel::Mail, &client);
        let handle = accepted.await.unwrap().handle.to_string();
        self.clock.advance(Duration::from_secs(3));
        self.flow.worker().run_due().await;
        let mails = self.outbox.messages();
        let mail = mails
            .iter()
            .rfind(|mail| mail.kind == Kind::ResetCode && mail.to.as_str().starts_with(user));
        let text = &mail.unwrap().text;
        let is_code = |line: &&str| line.chars().all(|c| c.is_ascii_digit() || c == ' ');
        let line = text.lines().filter(|line| line.len() > 7).find(is_code);
        (handle, line.unwrap().to_owned())
    }

    /// The same, opened in a browser: the token in its cookie, and the hidden field of its form.
    pub(crate) async fn opened(&self, user: &str) -> (String, String) {
        let token = self.token(user).await;
        let cookie = format!("__Host-password-reset={token}");
        (token, self.seal("/reset-password", cookie).await)
    }

    /// The same with a token that cancels.
    pub(crate) async fn opened_not_me(&self, user: &str) -> (String, String) {
        let token = self.not_me(user).await;
        let cookie = format!("__Host-password-reset-cancel={token}");
        (token, self.seal("/reset-password/not-me", cookie).await)
    }

    async fn seal(&self, path: &str, cookie: String) -> String {
        let request = Request::get(path)
            .header("cookie", cookie)
            .body("")
            .unwrap();
        let page = self.web.respond(request, None).await.into_body();
        let page = std::str::from_utf8(&page).unwrap();
        let (_, rest) = page.split_once("name=\"form\" value=\"").unwrap();
        let (seal, _) = rest.split_once('"').unwrap();
        seal.to_owned()
    }
}
