//! One demo with its default limits, and what can be seen of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use password_reset::Timestamp;
use password_reset::audit::EventKind;
use password_reset::audit::log::{AuditLog, CodePrefix, MAX_ENTRIES, Query, Spans};
use password_reset::error::BoxError;
use password_reset_sqlx::SqliteBackend;
use rustix::process::Signal;
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::client::{Answer, Body, Call};
use crate::demo::{Demo, Recipe, Role};
use crate::post::{Letter, letters};
use crate::siege::work;
use crate::{SECOND, now};

/// Clients are told apart by what a proxy in front says.
const FLAGS: &[&str] = &["--proxies", "1"];
pub(crate) const ACCOUNTS: u32 = 100;

/// A demo that runs.
pub(crate) struct Site {
    demo: Demo,
    address: SocketAddr,
    recipe: Recipe,
    trail: SqliteBackend,
    /// Of all accounts.
    pub(crate) password: String,
    began: i64,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// Taken: the page that everybody gets. A mail follows, or not.
    Accepted,
    /// Not without work.
    Work,
    /// Not now: over a limit, or too much to hash at this moment.
    Later,
    /// The code is not the one, or dead, or for nobody.
    Wrong,
    /// The code was right.
    Through,
    /// Anything else, or no answer.
    Failed,
}

/// What somebody asks for.
#[derive(Clone, Copy)]
pub(crate) enum Method {
    Link,
    Code,
}

/// An alarm in the trail.
#[derive(Clone, Debug)]
pub(crate) struct Rang {
    pub(crate) rule: String,
    /// Seconds after the beginning.
    pub(crate) after: f64,
}

/// What the demo's audit trail says in the end.
pub(crate) struct Trail {
    /// The first of each rule, in the order of time.
    pub(crate) alarms: Vec<Rang>,
    /// How many events of each code.
    pub(crate) counts: BTreeMap<String, u64>,
    /// How many wrong guesses were compared with a code that somebody was mailed. Most requests for
    /// codes are followed by a record of nobody's, which is compared with, too.
    pub(crate) compared: u64,
}

impl Site {
    pub(crate) async fn open(binary: PathBuf, folder: PathBuf) -> Result<Self, BoxError> {
        let database = format!("sqlite:{}", folder.join("siege.db").display());
        let recipe = Recipe {
            binary,
            database: database.clone(),
            folder,
            flags: FLAGS,
        };
        let password = recipe.seed(ACCOUNTS).await?;
        let mut demo = recipe.start(Role::All, 0, &recipe.log("all"))?;
        let (address, _) = demo.ready().await?;
        Ok(Self {
            demo,
            address: address.ok_or("it serves nothing")?,
            trail: SqliteBackend::connect(&database).await?,
            recipe,
            password,
            began: now(),
        })
    }

    /// Seconds since the beginning.
    pub(crate) fn seconds(&self) -> f64 {
        seconds(now().saturating_sub(self.began))
    }

    /// Asks from somewhere. With `works`, the work is done where it is asked for. A taken request
    /// for a code is answered with its handle, known or not.
    pub(crate) async fn ask(
        &self,
        source: &str,
        identifier: &str,
        method: Method,
        works: bool,
    ) -> (Outcome, Option<String>) {
        let method = match method {
            Method::Link => "link",
            Method::Code => "code",
        };
        let fields = [("identifier", identifier), ("method", method)];
        let first = self.post("/forgot-password", source, &fields).await;
        let last = match first {
            Some((403, _)) if works => match self.work(source).await {
                Some(proof) => {
                    let [identifier, method] = fields;
                    let fields = [identifier, method, ("proof", &proof)];
                    self.post("/forgot-password", source, &fields).await
                }
                None => None,
            },
            other => other,
        };
        let handle = last.as_ref().and_then(|(_, body)| body.get("handle"));
        let handle = handle.and_then(Value::as_str).map(str::to_owned);
        let outcome = match last.as_ref().map(|(status, _)| *status) {
            Some(202) => Outcome::Accepted,
            Some(403) => Outcome::Work,
            Some(429) => Outcome::Later,
            _ => Outcome::Failed,
        };
        (outcome, handle)
    }

    pub(crate) async fn try_code(&self, source: &str, handle: &str, code: &str) -> Outcome {
        let fields = [("handle", handle), ("code", code)];
        let answer = self.post("/forgot-password/code", source, &fields).await;
        match answer.map(|(status, _)| status) {
            Some(200) => Outcome::Through,
            Some(422) => Outcome::Wrong,
            Some(429 | 503) => Outcome::Later,
            _ => Outcome::Failed,
        }
    }

    /// Whether it was changed.
    pub(crate) async fn set_password(&self, source: &str, token: &str, password: &str) -> bool {
        let fields = [("token", token), ("password", password)];
        let answer = self.post("/reset-password", source, &fields).await;
        answer.is_some_and(|(status, _)| status == 200)
    }

    pub(crate) async fn logs_in(&self, source: &str, address: &str, password: &str) -> bool {
        let fields = [("identifier", address), ("password", password)];
        let mut call = Call::post("/login", Body::Form(&fields));
        call.forwarded_for = Some(source);
        let answer = call.send(self.address).await;
        matches!(answer, Answer::Reply(reply) if reply.leads_to("/"))
    }

    /// All that was mailed by now.
    pub(crate) async fn letters(&self) -> Result<Vec<Letter>, BoxError> {
        letters(&self.recipe.mails()).await
    }

    pub(crate) async fn trail(&self) -> Result<Trail, BoxError> {
        let page = Query::oldest(MAX_ENTRIES).code(code("alarm")?);
        let mut alarms: Vec<Rang> = Vec::new();
        for entry in self.trail.read(&page).await?.entries {
            let EventKind::Alarm { rule, .. } = entry.event.kind else {
                continue;
            };
            if alarms.iter().all(|known| known.rule != rule.as_str()) {
                let after = entry.event.at.unix_micros().saturating_sub(self.began);
                alarms.push(Rang {
                    rule: rule.as_str().to_owned(),
                    after: seconds(after),
                });
            }
        }
        let day = Duration::from_secs(86_400);
        let all = Spans::new(Timestamp::from_unix_micros(self.began), day, 1);
        let counts = self.trail.count(&Query::newest(0), &all).await?;
        let counts = counts.into_iter().map(|count| (count.code, count.events));
        let mut compared = 0;
        let mailed = Query::oldest(1).code(code("code_sent")?);
        for entry in self.trail.read(&mailed).await?.entries {
            let wrong = Query::newest(0).code(code("refused.wrong_code")?);
            let wrong = entry
                .event
                .user
                .map_or(wrong.clone(), |user| wrong.user(user));
            let wrong = self.trail.count(&wrong, &all).await?;
            compared += wrong.iter().map(|count| count.events).sum::<u64>();
        }
        Ok(Trail {
            alarms,
            counts: counts.collect(),
            compared,
        })
    }

    pub(crate) async fn close(mut self) -> Result<(), BoxError> {
        self.demo.signal(Signal::TERM)?;
        self.trail.close().await;
        match self.demo.ended().await {
            true => Ok(()),
            false => Err("the demo did not end well".into()),
        }
    }

    async fn work(&self, source: &str) -> Option<String> {
        let mut call = Call::get("/forgot-password/challenge");
        call.forwarded_for = Some(source);
        let (_, challenge) = json(call.send(self.address).await)?;
        spawn_blocking(move || work::solve(&challenge)).await.ok()?
    }

    async fn post(
        &self,
        path: &str,
        source: &str,
        fields: &[(&str, &str)],
    ) -> Option<(u16, Value)> {
        let mut call = Call::post(path, Body::Json(fields));
        call.forwarded_for = Some(source);
        json(call.send(self.address).await)
    }
}

fn code(words: &str) -> Result<CodePrefix, BoxError> {
    CodePrefix::parse(words).ok_or_else(|| format!("{words} is no code of an event").into())
}

fn json(answer: Answer) -> Option<(u16, Value)> {
    match answer {
        Answer::Reply(reply) => {
            let body = serde_json::from_str(&reply.body).unwrap_or_default();
            Some((reply.status, body))
        }
        Answer::NotSent | Answer::Lost => None,
    }
}

/// Of microseconds.
fn seconds(micros: i64) -> f64 {
    // A siege lasts minutes.
    f64::from(i32::try_from(micros / (SECOND / 1_000)).unwrap_or(i32::MAX)) / 1_000.0
}
