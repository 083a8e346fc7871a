//! What happened: [`Event`], [`AuditSink`], and a sink for `tracing`.
//!
//! The public answers of a reset are deliberately silent. Everything they leave out is here: one
//! closed set of events, each with time, correlation, subject and cause (R74, R75). No event holds
//! a token, a password, a hash, an address or anything that a person typed (R76); identifiers
//! appear as keyed pseudonyms.
//!
//! A sink takes events, a [`log`] gives them back. `docs/audit.md` lists every kind with its name
//! and how severe it is, and says what to watch and how events go away.

mod code;
mod lines;
pub mod log;
#[cfg(feature = "metrics")]
pub(crate) mod meter;
pub mod monitor;
mod trace;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::account::{Tenant, UserId, text_id};
use crate::clock::Timestamp;
use crate::error::{Backend, BoxError, words};
use crate::human::Flaw;
use crate::queue::JobId;
use crate::token::Selector;

pub use code::RuleName;
pub use lines::{JsonLines, LinesError};
pub use log::AuditLog;
#[cfg(feature = "metrics")]
pub use meter::MetricsSink;
pub use trace::TracingSink;

/// A keyed digest of the canonical identifier: equal for equal identifiers, and nothing can be
/// read out of it without the key.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Pseudonym([u8; 16]);

impl Pseudonym {
    /// A pseudonym read back from a trail.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads what [`Display`](fmt::Display) writes: 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        crate::token::unhex(text).map(Self)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::token::hex(f, &self.0)
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pseudonym({self})")
    }
}

text_id! {
    /// Who acts for others, as the audit trail names them: an operator's account, a ticket, a
    /// program. The application's own words; no address, please.
    Actor
}

/// One thing that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// When, in UTC.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// The tenant.
    pub tenant: Option<Tenant>,
    /// The account, where it is known.
    pub user: Option<UserId>,
    /// What was typed, as a pseudonym.
    pub identifier: Option<Pseudonym>,
    /// Where the request came from: an IPv4 address or an IPv6 /64.
    pub source: Option<IpAddr>,
    /// The job: the same from the request to the mail.
    pub job: Option<JobId>,
    /// The token: the same from the mail to the new password.
    pub token: Option<Selector>,
    /// The code that the token was exchanged for, where it was.
    pub parent: Option<Selector>,
    /// Who did it, where it was an operator.
    pub actor: Option<Actor>,
}

impl Event {
    /// An event that names nobody yet. The flow makes its own; this is for what an operator's
    /// program does beside it, and for tests of a sink.
    pub fn new(at: Timestamp, kind: EventKind) -> Self {
        Self {
            at,
            kind,
            tenant: None,
            user: None,
            identifier: None,
            source: None,
            job: None,
            token: None,
            parent: None,
            actor: None,
        }
    }
}

words! {
    /// How much attention an event asks for.
    #[derive(Ord, PartialOrd)]
    Severity {
        /// The ordinary course of things.
        Info = "info",
        /// A limit was reached or a part failed; worth a look when it repeats.
        Warn = "warn",
        /// What an attack, or a defect of the application, looks like.
        Critical = "critical",
    }
}

words! {
    /// Why no link was mailed although one was asked for.
    Withheld {
        /// No such account.
        Unknown = "unknown",
        /// The account is disabled.
        Disabled = "disabled",
        /// The account has no verified address, or the identifier names an unverified or former one.
        Unverified = "unverified",
        /// The account has no local password.
        External = "external",
        /// An operator invited somebody to choose a first password, and the account has one by now.
        HasPassword = "has_password",
        /// The identifier was over its limit when it was asked for.
        IdentifierLimit = "identifier_limit",
        /// The account has had its mails for now.
        MailLimit = "mail_limit",
        /// The account's live tokens fill its places; its owner holds them already.
        LiveTokens = "live_tokens",
        /// The account belongs to another tenant.
        WrongTenant = "wrong_tenant",
        /// Its owner said that it was not them who asked; nothing is sent for a while.
        Paused = "paused",
        /// Too many codes were tried for this account; links still work.
        CodesLocked = "codes_locked",
        /// A text message was asked for, and the account has no confirmed number.
        NoPhone = "no_phone",
        /// The number, its country or the source has had its text messages for now.
        SmsLimit = "sms_limit",
    }
}

words! {
    /// Why a token was refused.
    Refused {
        /// Not the shape of a token.
        Malformed = "malformed",
        /// No such selector.
        Unknown = "unknown",
        /// The verifier is not the one, the record was edited, or its key left the ring.
        WrongVerifier = "wrong_verifier",
        /// The token is of another tenant.
        WrongTenant = "wrong_tenant",
        /// The code is not the one.
        WrongCode = "wrong_code",
        /// The code was tried too often; it is dead.
        CodeTries = "code_tries",
        /// Too many codes were tried for this account, right ones included; no code works for it until
        /// its password is changed.
        CodesLocked = "codes_locked",
        /// Its life is over.
        Expired = "expired",
        /// It changed a password before.
        Spent = "spent",
        /// It was revoked.
        Revoked = "revoked",
        /// Another caller is using it.
        InProgress = "in_progress",
        /// The account is gone.
        AccountGone = "account_gone",
        /// The account is disabled.
        AccountDisabled = "account_disabled",
        /// The account's password was changed since.
        CredentialChanged = "credential_changed",
        /// The address that it went to is no longer a verified address of the account.
        AddressGone = "address_gone",
        /// The new password was refused.
        Password = "password",
        /// The recovery policy said no.
        Denied = "denied",
        /// A second factor is needed, and this very reset has no good proof of one.
        StepUp = "step_up",
        /// The account's second factors all travel the way that the token came, or are of another kind
        /// than the one that was shown, so none of them counts.
        SameChannel = "same_channel",
        /// The second factor was not the one, or was used before.
        WrongFactor = "wrong_factor",
        /// The second factor was tried too often with this token, which proves none any more.
        FactorTries = "factor_tries",
        /// The hashing pool is full.
        Busy = "busy",
    }
}

words! {
    /// What is sent to people.
    Mailing {
        /// A link.
        Link = "link",
        /// A code, by mail.
        Code = "code",
        /// A code, by text message.
        Text = "text",
        /// A letter without a secret.
        Hint = "hint",
        /// The notice of a changed password.
        Notice = "notice",
    }
}

/// What happened, from a closed set.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A reset was asked for and a job was queued.
    Requested {
        /// Whether the identifier was over its limit.
        suppressed: bool,
    },
    /// What was typed cannot be an identifier; it was charged and answered as any other, and nothing
    /// was queued.
    Unreadable,
    /// A source was over its limit and was told so: of requests, where the event names an identifier,
    /// or else of tokens and codes that it presented.
    RateLimited,
    /// All sources of one network together were over their limit, of requests or of codes, and one of
    /// them was told so.
    NetworkLimited,
    /// All requests together were over their limit. Either this one was told so, or it was taken
    /// from the reserve, and the request itself follows as an event of its own.
    GlobalLimited,
    /// A request came without the proof that a human asks, and was told so.
    Challenged,
    /// The proof that came with a request was refused.
    ProofRefused(Flaw),
    /// A token was made for an account.
    Issued,
    /// No mail was sent, and why.
    Withheld(Withheld),
    /// A link was handed to the mailer, which took it.
    LinkSent,
    /// A code was handed to the mailer, which took it.
    CodeSent,
    /// A code was handed to the sender of text messages, which took it.
    TextSent,
    /// A code was right, and was exchanged for a token.
    CodeRedeemed,
    /// A letter without a secret was handed to the mailer, which took it: "you have no account
    /// here", or "use your provider".
    HintSent,
    /// A notice of a changed password was handed to the mailer, which took it.
    NoticeSent,
    /// A mail, or a text message, could not be sent this time.
    MailFailed {
        /// What was to be sent. That a **notice** reached nobody is worth a look: its owner does not
        /// know that the password was changed (R73).
        what: Mailing,
        /// Which try it was.
        attempt: u32,
    },
    /// A job was given up.
    DeadLetter {
        /// How many tries it had.
        attempts: u32,
    },
    /// A token was proven.
    Verified,
    /// A token was refused.
    Refused(Refused),
    /// A second factor was proven, for one token.
    FactorProven,
    /// The password was changed.
    Completed,
    /// Everything after the change is done: siblings revoked, sessions ended, notices queued.
    Settled {
        /// Whether the sweep did it, for a process that did not finish.
        by_sweep: bool,
    },
    /// The change stands, but something after it is left to the sweep.
    SettlePending,
    /// The store of passwords failed while changing one; the sweep will find out what happened.
    ChangeUncertain,
    /// A token was made with a key that this process does not have, so nobody here can tell whether
    /// it changed a password. Give every process every key that is in use.
    KeyMissing,
    /// Tokens were revoked.
    Revoked {
        /// How many.
        count: u64,
    },
    /// The owner of an account said that it was not them who asked, or who changed the password:
    /// open tokens were revoked, and requests for the account are paused. **Look at it now.**
    Disowned {
        /// How many tokens were revoked.
        revoked: u64,
    },
    /// Requests for an account are answered again before the end of their pause.
    Resumed,
    /// An operator had a link or an invitation mailed.
    Started,
    /// An operator ended the sessions of an account.
    SessionsEnded,
    /// An operator was handed a link that was not mailed.
    LinkHandedOver,
    /// A dead letter was made a job again; the event names the new job.
    Revived,
    /// Dead records, or dead letters, were deleted.
    Purged {
        /// How many.
        count: u64,
    },
    /// A plugged-in part failed; nothing was opened by it.
    BackendFailed {
        /// Which part.
        backend: Backend,
        /// In which step.
        step: Step,
    },
    /// A plugged-in part panicked in the worker.
    WorkerPanicked,
    /// A rule that watches the events raised an alarm. The event names the source, the account or
    /// the identifier that it is about, where it is about one.
    Alarm {
        /// Which rule.
        rule: RuleName,
        /// What the rule counted.
        count: u64,
    },
    /// Events of one account were deleted from the trail, at its owner's wish. The account is not
    /// named, or nothing would be forgotten.
    Forgotten {
        /// How many.
        count: u64,
    },
}

words! {
    /// A step of the journey.
    Step {
        /// Asking for a link.
        Request = "request",
        /// Minting and mailing it.
        Deliver = "deliver",
        /// Mailing the notice.
        Notice = "notice",
        /// Proving the token.
        Verify = "verify",
        /// Proving a second factor.
        StepUp = "step_up",
        /// Changing the password.
        Complete = "complete",
        /// What follows the change.
        Settle = "settle",
        /// Finishing what others left.
        Sweep = "sweep",
        /// The worker's own book-keeping.
        Work = "work",
        /// Saying "this wasn't me".
        Cancel = "cancel",
        /// Revoking and purging.
        Operate = "operate",
        /// Judging a new password outside a reset.
        Screen = "screen",
    }
}

impl EventKind {
    /// The stable name, from OWASP's logging vocabulary where it has one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested { .. } => "password_reset_requested",
            Self::Unreadable => "input_validation_fail",
            Self::RateLimited => "excess_rate_limit_exceeded",
            Self::NetworkLimited => "excess_rate_limit_exceeded_by_network",
            Self::GlobalLimited => "excess_rate_limit_exceeded_by_all",
            Self::Challenged => "password_reset_challenged",
            Self::ProofRefused(_) => "password_reset_proof_refused",
            Self::Issued => "authn_token_created",
            Self::Withheld(_) => "password_reset_withheld",
            Self::LinkSent => "password_reset_link_sent",
            Self::CodeSent => "password_reset_code_sent",
            Self::TextSent => "password_reset_text_sent",
            Self::CodeRedeemed => "password_reset_code_redeemed",
            Self::HintSent => "password_reset_hint_sent",
            Self::NoticeSent => "password_reset_notice_sent",
            Self::MailFailed { .. } => "password_reset_mail_failed",
            Self::DeadLetter { .. } => "password_reset_dead_letter",
            Self::Verified => "password_reset_token_verified",
            Self::Refused(Refused::Spent) => "authn_token_reuse",
            Self::Refused(_) => "authn_password_change_fail",
            Self::FactorProven => "password_reset_second_factor_proven",
            Self::Completed => "authn_password_change",
            Self::Settled { .. } => "password_reset_settled",
            Self::SettlePending => "password_reset_settle_pending",
            Self::ChangeUncertain => "password_reset_change_uncertain",
            Self::KeyMissing => "password_reset_key_missing",
            Self::Revoked { .. } => "authn_token_revoked",
            Self::Disowned { .. } => "password_reset_disowned",
            Self::Resumed => "password_reset_resumed",
            Self::Started => "password_reset_started_by_operator",
            Self::SessionsEnded => "session_ended_by_operator",
            Self::LinkHandedOver => "password_reset_link_handed_over",
            Self::Revived => "password_reset_revived",
            Self::Purged { .. } => "password_reset_purged",
            Self::BackendFailed { .. } => "password_reset_backend_failed",
            Self::WorkerPanicked => "password_reset_worker_panicked",
            Self::Alarm { .. } => "password_reset_alarm",
            Self::Forgotten { .. } => "password_reset_audit_forgotten",
        }
    }

    /// Whether anybody can cause it without a secret, hundreds of times an hour. A sink that falls
    /// behind may refuse it first, to keep room for what matters.
    pub const fn is_noise(self) -> bool {
        matches!(
            self,
            Self::Unreadable
                | Self::RateLimited
                | Self::NetworkLimited
                | Self::GlobalLimited
                | Self::Challenged
                | Self::ProofRefused(_)
                | Self::Withheld(_)
                | Self::Refused(
                    Refused::Malformed
                        | Refused::Unknown
                        | Refused::WrongCode
                        | Refused::CodeTries
                        | Refused::CodesLocked
                        | Refused::Busy
                )
        )
    }

    /// How much attention it asks for.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Refused(
                Refused::Spent
                | Refused::WrongVerifier
                | Refused::WrongTenant
                | Refused::CodesLocked
                | Refused::FactorTries,
            )
            | Self::Disowned { .. }
            | Self::LinkHandedOver
            | Self::DeadLetter { .. }
            | Self::ChangeUncertain
            | Self::KeyMissing
            | Self::WorkerPanicked
            | Self::Alarm { .. } => Severity::Critical,
            Self::RateLimited
            | Self::NetworkLimited
            | Self::GlobalLimited
            | Self::ProofRefused(_)
            | Self::MailFailed { .. }
            | Self::Refused(_)
            | Self::SettlePending
            | Self::Settled { by_sweep: true }
            | Self::BackendFailed { .. } => Severity::Warn,
            _ => Severity::Info,
        }
    }
}

/// Where events go.
///
/// # Contract
///
/// - `record` MUST NOT block or wait: hand the event to a buffer or a queue of your own. It is
///   called on the request path, and the flow never waits for an audit trail (R77).
/// - An error is counted ([`ResetFlow::audit_failures`](crate::ResetFlow::audit_failures)) and
///   stops nothing; answer one when the event is lost.
/// - `lost` MUST count what was taken and then given up. Whoever could flood the trail until events
///   are lost would otherwise be unseen for it.
pub trait AuditSink: Send + Sync + 'static {
    /// Takes one event.
    ///
    /// # Errors
    ///
    /// Any error when the event could not be taken.
    fn record(&self, event: &Event) -> Result<(), BoxError>;

    /// How many events it took and then gave up, since it was made; 0 for one that keeps nothing
    /// back. Must be as quick as `record`.
    fn lost(&self) -> u64;
}

/// Both sinks get every event, whatever the other one does.
impl<A: AuditSink, B: AuditSink> AuditSink for (A, B) {
    fn record(&self, event: &Event) -> Result<(), BoxError> {
        let (first, second) = (self.0.record(event), self.1.record(event));
        first.and(second)
    }

    fn lost(&self) -> u64 {
        self.0.lost().saturating_add(self.1.lost())
    }
}

macro_rules! forward {
    ($($pointer:ident),+) => { $(
        impl<T: AuditSink + ?Sized> AuditSink for $pointer<T> {
            fn record(&self, event: &Event) -> Result<(), BoxError> {
                (**self).record(event)
            }

            fn lost(&self) -> u64 {
                (**self).lost()
            }
        }
    )+ };
}
forward!(Arc, Box);
