//! People who forget their passwords, again and again. Each owns its accounts alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::book::{Asked, Attempt, Book, Final, Request, Session, Tried};
use crate::client::{Answer, Body, Call, HangUp};
use crate::facts::{address, spelling};
use crate::fleet::Fleet;
use crate::now;
use crate::post::{Link, hex};

/// How long a mail is waited for before another one is asked for.
const MAIL: Duration = Duration::from_secs(25);
/// The library keeps three live links for an account, and mails no fourth.
const LIVE_LINKS: usize = 3;
const ROUNDS: u32 = 5;

/// One who does nothing else.
pub(crate) struct User {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) book: Arc<Book>,
    pub(crate) chance: fastrand::Rng,
    pub(crate) stop: watch::Receiver<bool>,
}

/// An account, and what its owner knows of it.
pub(crate) struct Account {
    number: u32,
    address: String,
    mailbox: UnboundedReceiver<Link>,
    password: String,
    /// Sent, with an unclear answer: each may be the password by now, or soon.
    unclear: Vec<String>,
    /// The cookies of its sessions, with their places in the book.
    cookies: Vec<(String, usize)>,
    requests: u32,
    /// Requests whose mail has not come yet.
    awaited: usize,
    links: Vec<Link>,
    used: Vec<Link>,
}

enum Login {
    In(String),
    Wrong,
    Unknown,
}

impl Account {
    pub(crate) fn new(number: u32, mailbox: UnboundedReceiver<Link>, password: &str) -> Self {
        Self {
            number,
            address: address(number),
            mailbox,
            password: password.to_owned(),
            unclear: Vec::new(),
            cookies: Vec::new(),
            requests: 0,
            awaited: 0,
            links: Vec::new(),
            used: Vec::new(),
        }
    }

    fn empty_mailbox(&mut self) {
        while let Ok(link) = self.mailbox.try_recv() {
            self.take(link);
        }
    }

    fn take(&mut self, link: Link) {
        self.awaited = self.awaited.saturating_sub(1);
        self.links.push(link);
    }

    /// The password is known again.
    fn settle(&mut self, password: String) {
        self.password = password;
        self.unclear.clear();
    }
}

impl User {
    /// Resets one account after the other until told to stop; answers what is known of them.
    pub(crate) async fn live(mut self, mut accounts: Vec<Account>) -> Vec<Account> {
        // Not all at the same moment.
        self.pause(20_000).await;
        while !self.stopped() {
            for account in &mut accounts {
                if self.stopped() {
                    break;
                }
                self.book.reset_begins();
                self.reset(account).await;
                self.book.reset_ends();
                self.pause(8_000).await;
            }
        }
        accounts
    }

    /// What is true of an account once everything is quiet.
    pub(crate) async fn look_at_the_end(&mut self, account: &mut Account) {
        account.empty_mailbox();
        let found = self.find_password(account).await;
        let number = account.number;
        let password = found.then(|| account.password.clone());
        self.book.open().finals.push(Final {
            account: number,
            password,
        });
        for (cookie, place) in &account.cookies {
            let alive = self.is_logged_in(cookie, &account.address).await;
            if let Some(session) = self.book.open().sessions.get_mut(*place) {
                session.alive_at_end = alive;
            }
        }
    }

    async fn reset(&mut self, account: &mut Account) {
        for _ in 0..self.chance.u8(1..=2) {
            self.log_in(account).await;
        }
        let Some(link) = self.link(account).await else {
            return;
        };
        self.pause(30_000).await;
        self.open(&link).await;
        let before = account.password.clone();
        for _ in 0..ROUNDS {
            let outcomes = self.use_link(account, &link).await;
            if outcomes.contains(&Tried::Done) {
                break;
            }
            if !account.unclear.is_empty() {
                self.find_password(account).await;
            }
            let dead = outcomes.iter().all(|outcome| *outcome == Tried::Dead);
            if dead || account.password != before || self.stopped() {
                if dead {
                    account
                        .links
                        .retain(|known| known.selector != link.selector);
                }
                break;
            }
            // A link in use is free again two minutes later; not everybody waits so long.
            let in_use = outcomes.contains(&Tried::InUse) || !account.unclear.is_empty();
            self.pause(if in_use { 60_000 } else { 6_000 }).await;
        }
        if account.password != before {
            // The other links died with this one.
            account.used.append(&mut account.links);
            account.awaited = 0;
            self.look_at_old_sessions(account).await;
        }
        self.use_an_old_link(account).await;
    }

    /// A link that was mailed, or a new one.
    async fn link(&mut self, account: &mut Account) -> Option<Link> {
        account.empty_mailbox();
        if !account.links.is_empty() && self.chance.bool() {
            return self.chance.choice(&account.links).cloned();
        }
        if account.links.len().saturating_add(account.awaited) < LIVE_LINKS {
            self.ask(account).await;
        } else {
            account.awaited = account.awaited.saturating_sub(1);
        }
        let mut stop = self.stop.clone();
        let mail = tokio::select! {
            mail = timeout(MAIL, account.mailbox.recv()) => mail.ok().flatten(),
            _ = stop.wait_for(|stopped| *stopped) => None,
        };
        if let Some(link) = mail {
            account.take(link);
        }
        account.empty_mailbox();
        account.links.last().cloned()
    }

    /// Asks for a link, at another process if one is not there.
    async fn ask(&mut self, account: &mut Account) {
        for _ in 0..3 {
            let Some((to, run)) = self.fleet.any(&mut self.chance).await else {
                return;
            };
            account.requests = account.requests.saturating_add(1);
            let spelling = spelling(&account.address, account.requests);
            let outcome = ask(to, &spelling).await;
            self.book.open().requests.push(Request {
                spelling,
                run,
                outcome,
            });
            match outcome {
                Asked::Accepted | Asked::NoAnswer => {
                    account.awaited = account.awaited.saturating_add(1);
                    return;
                }
                Asked::Refused | Asked::NotSent => self.pause(2_000).await,
            }
        }
    }

    /// As a mail scanner and a browser do before anything is sent.
    async fn open(&mut self, link: &Link) {
        if let Some((to, _)) = self.fleet.any(&mut self.chance).await {
            let path = format!("/reset-password?token={}", link.token);
            let _ = Call::get(&path).send(to).await;
            let mut page = Call::get("/reset-password");
            page.cookie = Some(("__Host-password-reset", &link.token));
            let _ = page.send(to).await;
        }
    }

    /// Once, or from several places at once, or with a hang-up.
    async fn use_link(&mut self, account: &mut Account, link: &Link) -> Vec<Tried> {
        let (times, hang_up) = match self.chance.u8(0..100) {
            0..60 => (1, HangUp::Never),
            60..80 => (self.chance.usize(2..=8), HangUp::Never),
            80..87 => (1, HangUp::InTheForm),
            _ => {
                let after = Duration::from_millis(self.chance.u64(0..150));
                (1, HangUp::After(after))
            }
        };
        let mut tries = JoinSet::new();
        for _ in 0..times {
            let Some((to, _)) = self.fleet.any(&mut self.chance).await else {
                break;
            };
            let password = self.new_password();
            let token = link.token.clone();
            let at = now();
            tries.spawn(async move {
                let outcome = send_password(to, &token, &password, hang_up).await;
                (password, at, outcome)
            });
        }
        let mut outcomes = Vec::new();
        let mut done = None;
        while let Some(Ok((password, at, outcome))) = tries.join_next().await {
            outcomes.push(outcome);
            self.book.open().attempts.push(Attempt {
                account: account.number,
                selector: link.selector.clone(),
                password: password.clone(),
                at,
                outcome,
            });
            match outcome {
                Tried::Done => done = Some(password),
                Tried::NoAnswer | Tried::Uncertain => account.unclear.push(password),
                _ => {}
            }
        }
        if let Some(password) = done {
            account.settle(password);
        }
        outcomes
    }

    /// A link that was used must be dead for good.
    async fn use_an_old_link(&mut self, account: &mut Account) {
        if self.chance.u8(0..4) == 0
            && let Some(link) = self.chance.choice(&account.used).cloned()
        {
            self.use_link(account, &link).await;
        }
    }

    /// Right after a reset; whether they are dead at the end is another question.
    async fn look_at_old_sessions(&mut self, account: &mut Account) {
        for (cookie, place) in &account.cookies {
            let old = {
                let seen = self.book.open();
                let session = seen.sessions.get(*place);
                session.is_some_and(|session| session.password != account.password)
            };
            if !old {
                continue;
            }
            let alive = self.is_logged_in(cookie, &account.address).await;
            let mut seen = self.book.open();
            let count = match alive {
                Some(true) => &mut seen.alive_for_a_while,
                Some(false) => &mut seen.dead_at_once,
                None => continue,
            };
            *count = count.saturating_add(1);
        }
        // Enough of a history; those that are dropped here are in the table all the same.
        let older = account.cookies.len().saturating_sub(40);
        account.cookies.drain(..older);
    }

    async fn is_logged_in(&mut self, cookie: &str, address: &str) -> Option<bool> {
        for _ in 0..5 {
            let (to, _) = self.fleet.any(&mut self.chance).await?;
            let mut home = Call::get("/");
            home.cookie = Some(("session", cookie));
            match home.send(to).await {
                Answer::Reply(reply) if reply.status == 200 => {
                    return Some(reply.body.contains(address));
                }
                _ => sleep(Duration::from_millis(300)).await,
            }
        }
        None
    }

    /// With the password that is known, or with whichever works.
    async fn log_in(&mut self, account: &mut Account) {
        let password = account.password.clone();
        match self.try_password(account, &password).await {
            Login::In(cookie) => self.keep(account, cookie),
            Login::Wrong => {
                self.find_password(account).await;
            }
            Login::Unknown => {}
        }
    }

    /// Finds out which password logs in; whether one does.
    async fn find_password(&mut self, account: &mut Account) -> bool {
        for round in 0..4 {
            // What is unclear comes first: that it changed something is the question.
            let mut passwords: Vec<_> = account.unclear.iter().rev().cloned().collect();
            passwords.push(account.password.clone());
            if round > 0 {
                // Nothing that is known works: perhaps something that was denied.
                let seen = self.book.open();
                let mine = seen.attempts.iter().rev();
                let mine = mine.filter(|attempt| attempt.account == account.number);
                passwords.extend(mine.map(|attempt| attempt.password.clone()).take(20));
            }
            for password in passwords {
                match self.try_password(account, &password).await {
                    Login::In(cookie) => {
                        if password != account.password {
                            account.settle(password);
                        }
                        self.keep(account, cookie);
                        return true;
                    }
                    Login::Wrong => {}
                    // Nobody is there to tell.
                    Login::Unknown => return false,
                }
            }
            sleep(Duration::from_secs(2)).await;
        }
        false
    }

    async fn try_password(&mut self, account: &Account, password: &str) -> Login {
        for _ in 0..12 {
            let Some((to, _)) = self.fleet.any(&mut self.chance).await else {
                return Login::Unknown;
            };
            let form = [
                ("identifier", account.address.as_str()),
                ("password", password),
            ];
            let call = Call::post("/login", Body::Form(&form));
            match call.send(to).await {
                Answer::Reply(reply) if reply.leads_to("/") => {
                    return reply
                        .cookie("session")
                        .map_or(Login::Unknown, |cookie| Login::In(cookie.to_owned()));
                }
                Answer::Reply(reply) if reply.status == 401 => return Login::Wrong,
                _ => {
                    let millis = self.chance.u64(200..2_500);
                    sleep(Duration::from_millis(millis)).await;
                }
            }
        }
        Login::Unknown
    }

    fn keep(&self, account: &mut Account, cookie: String) {
        let mut seen = self.book.open();
        let place = seen.sessions.len();
        seen.sessions.push(Session {
            account: account.number,
            password: account.password.clone(),
            digest: hex(&Sha256::digest(&cookie)),
            alive_at_end: None,
        });
        account.cookies.push((cookie, place));
    }

    /// Used by nobody before and after.
    fn new_password(&mut self) -> String {
        format!("{:032x}", self.chance.u128(..))
    }

    /// Up to so many milliseconds, or until told to stop.
    async fn pause(&mut self, millis: u64) {
        let pause = Duration::from_millis(self.chance.u64(0..millis));
        let mut stop = self.stop.clone();
        tokio::select! {
            () = sleep(pause) => {}
            _ = stop.wait_for(|stopped| *stopped) => {}
        }
    }

    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }
}

/// Asks one process for a link.
pub(crate) async fn ask(to: SocketAddr, identifier: &str) -> Asked {
    let form = [("identifier", identifier)];
    let call = Call::post("/forgot-password", Body::Form(&form));
    match call.send(to).await {
        Answer::Reply(reply) if reply.leads_to("/forgot-password/sent") => Asked::Accepted,
        Answer::Reply(_) => Asked::Refused,
        Answer::NotSent => Asked::NotSent,
        Answer::Lost => Asked::NoAnswer,
    }
}

async fn send_password(to: SocketAddr, token: &str, password: &str, hang_up: HangUp) -> Tried {
    let fields = [("token", token), ("password", password)];
    let mut call = Call::post("/reset-password", Body::Json(&fields));
    call.hang_up = hang_up;
    match call.send(to).await {
        Answer::Reply(reply) => match reply.status {
            200 => Tried::Done,
            404 => Tried::Dead,
            409 => Tried::InUse,
            503 if !reply.body.contains("\"uncertain\"") => Tried::Unavailable,
            // Any other page is not expected; a wrong guess here would hide a change.
            _ => Tried::Uncertain,
        },
        Answer::NotSent => Tried::NotSent,
        Answer::Lost => Tried::NoAnswer,
    }
}
