//! Everybody's mail, to look into. The one part of the demo that no application has.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::middleware::from_fn;
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use password_reset::async_trait;
use password_reset::mail::{LinkBase, MailError, Mailer, Message};
use serde::Serialize;

use crate::{origin, pages};

const CAPACITY: usize = 10_000;
/// How many mails the page shows.
const PAGE: usize = 100;

/// A mail server that keeps the last 10,000 mails in memory.
///
/// It holds live links, which a mailer must never keep. So its pages exist on a loopback address
/// only, for requests that name this machine.
#[derive(Clone)]
pub(crate) struct Mailbox {
    link_start: Arc<str>,
    mails: Arc<Mutex<VecDeque<Arc<Mail>>>>,
}

/// One mail, as `/dev/mailbox.json` shows it.
#[derive(Serialize)]
pub(crate) struct Mail {
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    html: String,
    pub(crate) links: Vec<String>,
}

impl Mailbox {
    pub(crate) fn new(base: &LinkBase) -> Self {
        Self {
            link_start: format!("{}?", base.as_str()).into(),
            mails: Arc::default(),
        }
    }

    fn mails(&self) -> MutexGuard<'_, VecDeque<Arc<Mail>>> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Mailer for Mailbox {
    async fn send(&self, message: &Message) -> Result<(), MailError> {
        let words = message.text().split_whitespace();
        let links = words.filter(|word| word.starts_with(&*self.link_start));
        let mail = Mail {
            to: message.to().as_str().to_owned(),
            subject: message.subject().to_owned(),
            text: message.text().to_owned(),
            html: message.html().to_owned(),
            links: links.map(str::to_owned).collect(),
        };
        let mut mails = self.mails();
        if mails.len() >= CAPACITY {
            mails.pop_front();
        }
        mails.push_back(Arc::new(mail));
        Ok(())
    }
}

pub(crate) fn router(mailbox: Mailbox) -> Router {
    Router::new()
        .route("/dev/mailbox", get(page))
        .route("/dev/mailbox.json", get(json))
        .layer(from_fn(origin::refuse_other_hosts))
        .with_state(mailbox)
}

/// For people: the newest first.
async fn page(State(mailbox): State<Mailbox>) -> Html<String> {
    let newest: Vec<_> = mailbox.mails().iter().rev().take(PAGE).cloned().collect();
    pages::mailbox(&newest)
}

/// For programs: all, the oldest first.
async fn json(State(mailbox): State<Mailbox>) -> Json<Vec<Arc<Mail>>> {
    let mails = mailbox.mails().iter().cloned().collect();
    Json(mails)
}
