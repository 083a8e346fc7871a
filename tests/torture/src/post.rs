//! The mailbox: reads the demo's mail folder and hands each link to its owner.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use password_reset::error::BoxError;
use serde::Deserialize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use crate::book::{Book, Mail};

const EVERY: Duration = Duration::from_millis(300);
const SELECTOR_BYTES: usize = 16;

/// A link, as its owner gets it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) token: String,
    /// In hexadecimal digits.
    pub(crate) selector: String,
}

/// Reads the folder, again and again.
pub(crate) struct Post {
    folder: PathBuf,
    read: BTreeSet<String>,
    owners: BTreeMap<String, UnboundedSender<Link>>,
    book: Arc<Book>,
}

/// One file of the demo's `--mail-dir`.
#[derive(Deserialize)]
pub(crate) struct Letter {
    id: String,
    pub(crate) kind: String,
    pub(crate) to: String,
    links: Vec<String>,
}

impl Letter {
    /// The token of its link.
    pub(crate) fn token(&self) -> Option<&str> {
        let (_, token) = self.links.first()?.split_once("token=")?;
        Some(token)
    }
}

/// All letters that are there by now.
pub(crate) async fn letters(folder: &Path) -> Result<Vec<Letter>, BoxError> {
    let mut letters = Vec::new();
    for name in names(folder).await? {
        letters.push(serde_json::from_slice(
            &tokio::fs::read(folder.join(name)).await?,
        )?);
    }
    Ok(letters)
}

/// The names of all letters that are there by now.
async fn names(folder: &Path) -> Result<Vec<String>, BoxError> {
    let mut names = Vec::new();
    let mut entries = match tokio::fs::read_dir(folder).await {
        Ok(entries) => entries,
        // The first process makes it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        Err(error) => return Err(error.into()),
    };
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name().into_string();
        names.extend(name.ok().filter(|name| is_finished(name)));
    }
    Ok(names)
}

impl Post {
    pub(crate) fn new(folder: PathBuf, book: &Arc<Book>) -> Self {
        Self {
            folder,
            read: BTreeSet::new(),
            owners: BTreeMap::new(),
            book: Arc::clone(book),
        }
    }

    /// Where the links for one address come from now on.
    pub(crate) fn owner(&mut self, address: &str) -> UnboundedReceiver<Link> {
        let (sender, receiver) = unbounded_channel();
        self.owners.insert(address.to_owned(), sender);
        receiver
    }

    pub(crate) async fn deliver(mut self) -> BoxError {
        loop {
            if let Err(error) = self.deliver_new().await {
                return error;
            }
            sleep(EVERY).await;
        }
    }

    async fn deliver_new(&mut self) -> Result<(), BoxError> {
        for name in names(&self.folder).await? {
            if self.read.contains(&name) {
                continue;
            }
            let (mail, link) = read(&name, &tokio::fs::read(self.folder.join(&name)).await?)?;
            if let (Some(owner), Some(link)) = (self.owners.get(&mail.to), link) {
                let _ = owner.send(link);
            }
            self.book.open().mails.push(mail);
            self.read.insert(name);
        }
        Ok(())
    }
}

fn is_finished(name: &str) -> bool {
    !name.starts_with('.') && name.ends_with(".json")
}

fn read(name: &str, json: &[u8]) -> Result<(Mail, Option<Link>), BoxError> {
    let letter: Letter = serde_json::from_slice(json)?;
    let mut parts = name.split('-');
    let mut number = || parts.next().ok_or("a mail's name has a time and a process");
    let at = number()?.parse()?;
    let process = number()?.parse()?;
    // `<job.attempt@site>` of links, `<job@site>` of notices.
    let id = letter.id.trim_start_matches('<').split(['.', '@']).next();
    let link = match letter.kind.as_str() {
        "reset_link" => Some(link(letter.token().ok_or("a mail without its link")?)?),
        _ => None,
    };
    let mail = Mail {
        to: letter.to,
        job: id.unwrap_or_default().to_owned(),
        selector: link.as_ref().map(|link| link.selector.clone()),
        process,
        at,
    };
    Ok((mail, link))
}

fn link(token: &str) -> Result<Link, BoxError> {
    let bytes = Base64UrlUnpadded::decode_vec(token)?;
    let selector = bytes.get(..SELECTOR_BYTES).ok_or("a short token")?;
    Ok(Link {
        token: token.to_owned(),
        selector: hex(selector),
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    #[test]
    fn a_mail_is_read() {
        let token = "AAECAwQFBgcICQoLDA0OD_____________________________________________8";
        let json = format!(
            r#"{{"id": "<0a0b.2@app.example.com>", "kind": "reset_link", "to": "user-1@example.com",
            "subject": "", "text": "", "html": "", "links": ["https://a.example.com/?token={token}"]}}"#
        );
        let (mail, link) = read("0000000000000000017-33-4.json", json.as_bytes()).unwrap();
        assert_eq!((mail.job.as_str(), mail.process, mail.at), ("0a0b", 33, 17));
        let selector = "000102030405060708090a0b0c0d0e0f";
        assert_eq!(mail.selector.as_deref(), Some(selector));
        assert_eq!(link.unwrap().token, token);
        assert!(!is_finished(".1-2-3.json.new"));
    }
}
