//! One small service, whole, in memory, behind one front: [`World`].

use std::sync::Arc;
use std::time::Duration;

use password_reset::ResetFlow;
use password_reset::account::{
    Account, Address, Client, Credential, Identifier, Status, UserId, UserStore,
};
use password_reset::flow::{Builder as FlowBuilder, Parts};
use password_reset::limit::{RateLimiter, Unlimited};
use password_reset::mail::{LinkBase, Mailbox, Mailer, Site};
use password_reset::memory::{MemoryLimiter, MemoryQueue, MemoryTokens};
use password_reset::password::{Candidate, HashPool, PasswordHash, PasswordHasher, Scratch};
use password_reset::queue::JobQueue;
use password_reset::recovery::SecondFactor;
use password_reset::store::TokenStore;
use password_reset::testing::{
    Faults, Faulty, InsecureHasher, ManualClock, MemoryUsers, Outbox, block_on,
};
use password_reset::token::{Key, KeyId, Keyring};
use password_reset_web::{Builder, ResetWeb};

use crate::client::{Browser, Reply};
use crate::server::{Front, Server};

pub(crate) const ADA: &str = "ada@example.com";
pub(crate) const NEW: &str = "a quiet harbour at dawn";
/// Where the pages are on [`HTTPS`] and [`LOOPBACK`].
pub(crate) const ASK: &str = "/forgot-password";
pub(crate) const SENT: &str = "/forgot-password/sent";
pub(crate) const CHOOSE: &str = "/reset";
pub(crate) const DONE: &str = "/reset/done";
pub(crate) const CANCEL: &str = "/reset/not-me";
pub(crate) const CANCELLED: &str = "/reset/not-me/done";
pub(crate) const HTTPS: &str = "https://app.example.com/reset";
pub(crate) const LOOPBACK: &str = "http://localhost:3000/reset";
pub(crate) const JSON: [(&str, &str); 2] = [
    ("Content-Type", "application/json"),
    ("Accept", "application/json"),
];
const OLD_HASH: &str = "$insecure$00$the-hash-before";
/// Longer than the spread of a job's start.
const SPREAD: Duration = Duration::from_secs(3);

type Change<T> = Box<dyn FnOnce(T) -> T>;

/// What differs from the defaults.
pub(crate) struct Setup {
    base: &'static str,
    nested: Option<&'static str>,
    limited: bool,
    flow: Change<FlowBuilder>,
    web: Change<Builder>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            base: HTTPS,
            nested: None,
            limited: true,
            flow: Box::new(|flow| flow),
            web: Box::new(|web| web),
        }
    }
}

impl Setup {
    pub(crate) fn base(mut self, base: &'static str) -> Self {
        self.base = base;
        self
    }

    pub(crate) fn nested(mut self, path: &'static str) -> Self {
        self.nested = Some(path);
        self
    }

    pub(crate) fn unlimited(mut self) -> Self {
        self.limited = false;
        self
    }

    pub(crate) fn flow(
        mut self,
        change: impl FnOnce(FlowBuilder) -> FlowBuilder + 'static,
    ) -> Self {
        self.flow = Box::new(change);
        self
    }

    pub(crate) fn web(mut self, change: impl FnOnce(Builder) -> Builder + 'static) -> Self {
        self.web = Box::new(change);
        self
    }

    pub(crate) fn start(self, front: Front) -> World {
        let users = accounts();
        let not_me = format!("{}/not-me", self.base.trim_end_matches('/'));
        let (outbox, clock) = (Outbox::default(), ManualClock::default());
        let faults = Plans::default();
        let limiter: Arc<dyn RateLimiter> = if self.limited {
            Arc::new(MemoryLimiter::default())
        } else {
            Arc::new(Unlimited)
        };
        let users_seam: Arc<dyn UserStore> = Arc::new(users.clone());
        let tokens: Arc<dyn TokenStore> = Arc::new(MemoryTokens::default());
        let queue: Arc<dyn JobQueue> = Arc::new(MemoryQueue::default());
        let mailer: Arc<dyn Mailer> = Arc::new(outbox.clone());
        let flow = ResetFlow::builder(Parts {
            site: Site::new(
                "Example",
                LinkBase::parse(self.base).unwrap(),
                "support@example.com",
                Mailbox::new(Address::parse("noreply@example.com").unwrap()),
            )
            .unwrap()
            .cancel_page(LinkBase::parse(&not_me).unwrap()),
            keyring: Keyring::new(Key::new(KeyId(1), &[7; 32]).unwrap()),
            users: Arc::new(Faulty::sharing(users_seam, &faults.users)),
            tokens: Arc::new(Faulty::sharing(tokens, &faults.tokens)),
            queue: Arc::new(Faulty::sharing(queue, &faults.queue)),
            mailer: Arc::new(Faulty::sharing(mailer, &faults.mailer)),
            limiter: Arc::new(Faulty::sharing(limiter, &faults.limiter)),
        })
        .clock(clock.clone())
        .hashing(HashPool::new(InsecureHasher).unwrap());
        let flow = (self.flow)(flow).build().unwrap();
        let web = (self.web)(ResetWeb::builder(flow.clone())).build().unwrap();
        World {
            server: front.serve(web.clone(), self.nested),
            web,
            flow,
            users,
            outbox,
            clock,
            faults,
        }
    }
}

/// What goes wrong, each backend by itself.
#[derive(Default)]
pub(crate) struct Plans {
    pub(crate) users: Faults,
    pub(crate) tokens: Faults,
    pub(crate) queue: Faults,
    pub(crate) mailer: Faults,
    pub(crate) limiter: Faults,
}

pub(crate) struct World {
    pub(crate) web: ResetWeb,
    pub(crate) flow: ResetFlow,
    pub(crate) users: MemoryUsers,
    pub(crate) outbox: Outbox,
    pub(crate) clock: ManualClock,
    pub(crate) faults: Plans,
    server: Server,
}

impl World {
    pub(crate) fn new(front: Front) -> Self {
        Setup::default().start(front)
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.server.address)
    }

    /// Lets the worker do everything that the spread holds back.
    pub(crate) fn work(&self) {
        self.clock.advance(SPREAD);
        block_on(self.flow.worker().run_due());
    }

    /// The token of a new link for this account.
    pub(crate) fn token(&self, identifier: &str) -> String {
        let before = self.outbox.links().len();
        let typed = Identifier::parse(identifier).unwrap();
        block_on(self.flow.request(&typed, &Client::unknown())).unwrap();
        self.work();
        assert_eq!(self.outbox.links().len(), before + 1, "no link was mailed");
        self.outbox.last_token().unwrap()
    }

    /// A browser that has opened this link.
    pub(crate) fn opened(&self, token: &str) -> Browser {
        let mut browser = self.browser();
        browser
            .get(&format!("{CHOOSE}?token={token}"))
            .leads_to(CHOOSE);
        browser
    }

    /// A browser that has opened a new link of this account, and the hidden field of its form.
    pub(crate) fn at_the_form(&self, identifier: &str) -> (Browser, String) {
        let mut browser = self.opened(&self.token(identifier));
        let page = browser.get(CHOOSE);
        assert_eq!(page.status, 200, "{page:?}");
        (browser, page.hidden())
    }

    pub(crate) fn logs_in(&self, id: &str, password: &str) -> bool {
        let stored = PasswordHash::parse(&self.hash(id)).unwrap();
        let candidate = Candidate::parse(password).unwrap();
        InsecureHasher
            .verify(&candidate, &stored, &mut Scratch::new())
            .unwrap_or(false)
    }

    pub(crate) fn hash(&self, id: &str) -> String {
        self.users.hash_of(&user(id)).unwrap()
    }

    /// Whether the account still has the password of the beginning.
    pub(crate) fn is_unchanged(&self, id: &str) -> bool {
        self.hash(id) == OLD_HASH
    }
}

/// Posts the form behind a link.
pub(crate) fn choose(browser: &mut Browser, form: &str, password: &str) -> Reply {
    browser.post(CHOOSE, &[("form", form), ("password", password)])
}

pub(crate) fn post_json(browser: &mut Browser, path: &str, body: &serde_json::Value) -> Reply {
    browser.send("POST", path, &JSON, body.to_string().as_bytes())
}

pub(crate) fn json(reply: &Reply) -> serde_json::Value {
    serde_json::from_str(&reply.body).unwrap_or_else(|_| panic!("not JSON: {reply:?}"))
}

/// Status, header lines and body without the `Date`, in an order that no server chooses.
pub(crate) fn bytes_of(reply: &Reply) -> (u16, Vec<(String, String)>, String) {
    let mut headers = reply.headers.clone();
    headers.retain(|(name, _)| name != "date");
    headers.sort();
    (reply.status, headers, reply.body.clone())
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn account(id: &str, mail: &str) -> Account {
    let hash = PasswordHash::parse(OLD_HASH).unwrap();
    let account = Account::new(user(id), Credential::Password(hash));
    account.verified(Address::parse(mail).unwrap())
}

/// One account of every kind.
fn accounts() -> MemoryUsers {
    let users = MemoryUsers::default();
    users.add(account("1", ADA));
    let mut disabled = account("2", "disabled@example.com");
    disabled.status = Status::Disabled;
    users.add(disabled);
    let mut unverified = account("3", "unverified@example.com");
    unverified.unverified = std::mem::take(&mut unverified.verified);
    users.add(unverified);
    let mut external = account("4", "external@example.com");
    external.credential = Credential::External;
    users.add(external);
    let guarded = account("5", "guarded@example.com");
    users.add(guarded.second_factor(SecondFactor::Device));
    users.add(account("6", "eve@example.com"));
    users
}
