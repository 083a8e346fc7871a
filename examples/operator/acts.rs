//! What an operator does for the owner of an account. Each act names who did it.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::{Args, Subcommand};
use password_reset::ResetFlow;
use password_reset::account::{Address, UserId, UserStore};
use password_reset::audit::Actor;
use password_reset::error::BoxError;
use password_reset::flow::Parts;
use password_reset::limit::Unlimited;
use password_reset::mail::{LinkBase, Mailbox, Mailer, Message, SendError, Site};
use password_reset::queue::JobQueue;
use password_reset::store::TokenStore;
use password_reset::token::{Key, KeyId, Keyring};
use password_reset_sqlx::sqlx::Pool;
use password_reset_sqlx::{Driver, EndSessions, Flag, SqlAudit, SqlUserStore, UserTable};
use secrecy::ExposeSecret;

const WARNING: &str = "
  ************************************************************************
  *  WHOEVER SEES THIS LINK OWNS THE ACCOUNT.                            *
  *  Hand it to its owner, whose identity you have checked, and to       *
  *  nobody else. Not by chat, not in a ticket, not on a shared screen.  *
  *  It is in the audit trail under your name.                           *
  ************************************************************************
";

#[derive(Subcommand)]
pub(crate) enum Act {
    /// Has a link mailed to the owner, who chooses a new password.
    Reset(Link),
    /// Has a link mailed to the owner of an account without a password, who chooses the first one.
    Invite {
        #[command(flatten)]
        who: Who,
        /// How long the link works, in minutes; at most 7 days.
        #[arg(long, value_name = "MINUTES", default_value_t = 4_320)]
        life: u32,
    },
    /// Ends all sessions of an account.
    EndSessions(Who),
    /// Revokes all links, ends all sessions, and has a new link mailed. The old password stays good
    /// until the owner has chosen a new one.
    ForceReset(Link),
    /// Answers an account's requests again, whose owner said "this wasn't me".
    Resume {
        #[command(flatten)]
        who: Who,
        /// The application's active key: at least 32 bytes. Another key does nothing, and says
        /// nothing.
        #[arg(long, value_name = "PATH")]
        key_file: PathBuf,
        /// The number of that key.
        #[arg(long, value_name = "N", default_value_t = 1)]
        key_id: u32,
    },
    /// Prints a link that is not mailed. Whoever sees it owns the account.
    DangerLink {
        #[command(flatten)]
        link: Link,
        /// Where the application's page is, such as https://app.example.com/reset.
        #[arg(long, value_name = "URL", value_parser = LinkBase::parse)]
        link_base: LinkBase,
        /// The application's active key: at least 32 bytes. Another key does nothing, and says
        /// nothing.
        #[arg(long, value_name = "PATH")]
        key_file: PathBuf,
        /// The number of that key.
        #[arg(long, value_name = "N", default_value_t = 1)]
        key_id: u32,
        /// For an account without a password.
        #[arg(long)]
        first: bool,
    },
}

#[derive(Args)]
pub(crate) struct Link {
    #[command(flatten)]
    who: Who,
    /// How long the link works, in minutes; at most 24 hours.
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    life: u32,
}

#[derive(Args)]
pub(crate) struct Who {
    /// The application's own key of the account.
    #[arg(value_name = "USER", value_parser = UserId::parse)]
    pub(crate) user: UserId,
    /// Who does it, as the audit trail will say: you, and the ticket.
    #[arg(long, value_name = "NAME", value_parser = Actor::parse)]
    pub(crate) actor: Actor,
}

/// What the acts need of the databases.
pub(crate) struct Stores<D: Driver> {
    pub(crate) tokens: Arc<dyn TokenStore>,
    pub(crate) queue: Arc<dyn JobQueue>,
    pub(crate) users: Pool<D>,
    pub(crate) audit: SqlAudit<D>,
}

/// The application's users: here, as the demo keeps them. Put in your own description, or your own
/// [`UserStore`].
fn users<D: Driver>(pool: Pool<D>) -> SqlUserStore<D> {
    let table = UserTable::new("users", Flag::Truth("verified")).disabled(Flag::Truth("disabled"));
    let sessions = EndSessions::statement("DELETE FROM sessions WHERE user_id = ?1");
    SqlUserStore::new(pool, table, sessions)
}

pub(crate) async fn act<D: Driver>(
    act: Act,
    stores: Stores<D>,
    out: &mut (dyn Write + Send),
) -> Result<(), BoxError> {
    let users = users(stores.users);
    users.check().await?;
    let audit = stores.audit.clone();
    let flow = |base, keyring| {
        let parts = (users, stores.tokens, stores.queue);
        flow(parts, stores.audit, base, keyring)
    };
    // Only a printed link, and a pause, need the application's keys: its worker has them for the rest.
    let unused = || -> Result<_, BoxError> {
        let base = LinkBase::parse("https://unused.example.com/")?;
        Ok((base, Keyring::ephemeral()?))
    };
    let minutes = |life: u32| Duration::from_secs(u64::from(life) * 60);
    match act {
        Act::Reset(Link { who, life }) => {
            let (base, keyring) = unused()?;
            let operator = flow(base, keyring)?.operator(who.actor);
            operator.start_reset(&who.user, minutes(life)).await?;
            writeln!(out, "a link will be mailed to the owner of {}", who.user)?;
        }
        Act::Invite { who, life } => {
            let (base, keyring) = unused()?;
            let operator = flow(base, keyring)?.operator(who.actor);
            operator.invite(&who.user, minutes(life)).await?;
            writeln!(
                out,
                "an invitation will be mailed to the owner of {}",
                who.user
            )?;
        }
        Act::EndSessions(who) => {
            let (base, keyring) = unused()?;
            let operator = flow(base, keyring)?.operator(who.actor);
            operator.end_sessions(&who.user).await?;
            writeln!(out, "the sessions of {} have ended", who.user)?;
        }
        Act::ForceReset(Link { who, life }) => {
            let (base, keyring) = unused()?;
            let operator = flow(base, keyring)?.operator(who.actor);
            operator.force_reset(&who.user, minutes(life)).await?;
            writeln!(
                out,
                "links are dead, sessions have ended, and a link will be mailed to the owner of {}; \
                the old password stays good until then",
                who.user
            )?;
        }
        Act::Resume {
            who,
            key_file,
            key_id,
        } => {
            let key = Key::new(KeyId(key_id), &fs::read(key_file)?)?;
            let operator = flow(unused()?.0, Keyring::new(key))?.operator(who.actor);
            let paused = operator.is_paused(&who.user).await?;
            operator.resume(&who.user).await?;
            let was = if paused { "were" } else { "were not" };
            writeln!(
                out,
                "requests for {} {was} paused under this key, and are answered",
                who.user
            )?;
        }
        Act::DangerLink {
            link: Link { who, life },
            link_base,
            key_file,
            key_id,
            first,
        } => {
            let key = Key::new(KeyId(key_id), &fs::read(key_file)?)?;
            let operator = flow(link_base, Keyring::new(key))?.operator(who.actor);
            let danger = operator.danger();
            let link = match first {
                true => danger.first_link(&who.user, minutes(life)).await?,
                false => danger.link(&who.user, minutes(life)).await?,
            };
            // The trail of this program has a memory of its own: on disk first, then on the screen.
            audit.flush().await?;
            writeln!(io::stderr(), "{WARNING}")?;
            writeln!(out, "{}", link.expose_secret())?;
        }
    }
    Ok(())
}

/// The application's flow, as far as an operator needs it.
fn flow<D: Driver>(
    (users, tokens, queue): (SqlUserStore<D>, Arc<dyn TokenStore>, Arc<dyn JobQueue>),
    audit: SqlAudit<D>,
    base: LinkBase,
    keyring: Keyring,
) -> Result<ResetFlow, BoxError> {
    let nobody = Mailbox::new(Address::parse("nobody@example.com")?);
    let users: Arc<dyn UserStore> = Arc::new(users);
    let flow = ResetFlow::builder(Parts {
        site: Site::new("operator", base, "nobody@example.com", nobody)?,
        keyring,
        users,
        tokens,
        queue,
        mailer: Arc::new(Nothing),
        // Nothing that is limited happens here; the application's worker counts the mails.
        limiter: Arc::new(Unlimited),
    });
    Ok(flow.audit(audit).build()?)
}

/// Mails are the application's worker's.
struct Nothing;

#[async_trait]
impl Mailer for Nothing {
    async fn send(&self, _: &Message) -> Result<(), SendError> {
        Err(SendError::permanent("this program mails nothing"))
    }
}
