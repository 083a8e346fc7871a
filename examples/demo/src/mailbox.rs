//! Everybody's mail, to look into. The one part of the demo that no application has.

mod folder;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::middleware::from_fn;
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use password_reset::async_trait;
use password_reset::error::BoxError;
use password_reset::mail::{Kind, LinkBase, Mailer, Message, SendError};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::mailbox::folder::Folder;
use crate::problem::Problem;
use crate::{origin, pages};

const CAPACITY: usize = 10_000;
/// How many mails the page shows.
const PAGE: usize = 100;

/// A mail server that keeps its mails: the last 10,000 in memory, or all in a folder.
///
/// It holds live links, which a mailer must never keep. So its pages exist on a loopback address
/// only, for requests that name this machine.
#[derive(Clone)]
pub(crate) struct Mailbox {
    link_start: Arc<str>,
    cancel_start: Arc<str>,
    kept: Kept,
}

#[derive(Clone)]
enum Kept {
    InMemory(Arc<Mutex<VecDeque<Arc<Mail>>>>),
    In(Arc<Folder>),
}

/// One mail, as `/dev/mailbox.json` and the files of `--mail-dir` show it.
#[derive(Deserialize, Serialize)]
pub(crate) struct Mail {
    /// The Message-ID.
    id: String,
    kind: String,
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    html: String,
    /// As they are written in the text, with a space for the eye.
    #[serde(default)]
    codes: Vec<String>,
    /// Those of "this wasn't me".
    #[serde(default)]
    pub(crate) cancel_links: Vec<String>,
    /// Those that lead to the form for a new password.
    pub(crate) links: Vec<String>,
}

impl Mailbox {
    /// For links to these two pages.
    pub(crate) fn new(
        base: &LinkBase,
        not_me: &LinkBase,
        folder: Option<PathBuf>,
    ) -> Result<Self, BoxError> {
        Ok(Self {
            link_start: format!("{}?", base.as_str()).into(),
            cancel_start: format!("{}?", not_me.as_str()).into(),
            kept: match folder {
                Some(path) => Kept::In(Arc::new(Folder::open(path)?)),
                None => Kept::InMemory(Arc::default()),
            },
        })
    }

    fn mail(&self, message: &Message) -> Mail {
        let words = message.text().split_whitespace();
        let links = |start: &str| {
            let links = words.clone().filter(|word| word.starts_with(start));
            links.map(str::to_owned).collect()
        };
        let lines = message.text().lines();
        let codes = lines.filter(|line| message.kind() == Kind::ResetCode && is_code(line));
        Mail {
            id: message.id().to_owned(),
            kind: match message.kind() {
                Kind::ResetLink => "reset_link",
                Kind::ResetCode => "reset_code",
                Kind::PasswordChanged => "password_changed",
                Kind::NoAccount => "no_account",
                Kind::UseProvider => "use_provider",
                _ => "other",
            }
            .to_owned(),
            to: message.to().as_str().to_owned(),
            subject: message.subject().to_owned(),
            text: message.text().to_owned(),
            html: message.html().to_owned(),
            codes: codes.map(str::to_owned).collect(),
            cancel_links: links(&self.cancel_start),
            links: links(&self.link_start),
        }
    }

    /// The newest mails, up to so many, the oldest of them first.
    async fn newest(&self, count: usize) -> Result<Vec<Arc<Mail>>, BoxError> {
        match &self.kept {
            Kept::InMemory(mails) => {
                let mails = mails.lock().unwrap_or_else(PoisonError::into_inner);
                let older = mails.len().saturating_sub(count);
                Ok(mails.iter().skip(older).cloned().collect())
            }
            Kept::In(folder) => {
                let folder = Arc::clone(folder);
                Ok(spawn_blocking(move || folder.newest(count)).await??)
            }
        }
    }
}

#[async_trait]
impl Mailer for Mailbox {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mail = self.mail(message);
        match &self.kept {
            Kept::InMemory(mails) => {
                let mut mails = mails.lock().unwrap_or_else(PoisonError::into_inner);
                if mails.len() >= CAPACITY {
                    mails.pop_front();
                }
                mails.push_back(Arc::new(mail));
                Ok(())
            }
            Kept::In(folder) => {
                let folder = Arc::clone(folder);
                let put = spawn_blocking(move || folder.put(&mail)).await;
                put.map_err(SendError::uncertain)?
            }
        }
    }
}

/// A line of its own, of digits and the spaces between them.
fn is_code(line: &str) -> bool {
    let digit = |c: char| c.is_ascii_digit();
    line.starts_with(digit) && line.chars().all(|c| digit(c) || c == ' ')
}

pub(crate) fn router(mailbox: Mailbox) -> Router {
    Router::new()
        .route("/dev/mailbox", get(page))
        .route("/dev/mailbox.json", get(json))
        .layer(from_fn(origin::refuse_other_hosts))
        .with_state(mailbox)
}

/// For people: the newest first.
async fn page(State(mailbox): State<Mailbox>) -> Result<Html<String>, Problem> {
    let mut mails = mailbox.newest(PAGE).await?;
    mails.reverse();
    Ok(pages::mailbox(&mails))
}

/// For programs: the oldest first.
async fn json(State(mailbox): State<Mailbox>) -> Result<Json<Vec<Arc<Mail>>>, Problem> {
    Ok(Json(mailbox.newest(CAPACITY).await?))
}
