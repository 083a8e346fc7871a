//! What went wrong, as its visitor may know it: [`Problem`].

use std::time::Duration;

use http::StatusCode;
use password_reset::flow::{CancelError, CompleteError, RequestError, StepUpError, VerifyError};
use password_reset::password::{Context, PasswordRejected, Policy};

/// An answer that is not what was asked for. None depends on whether an account exists: those that
/// speak of an account are for who holds a good token.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// Malformed, unknown, wrong, spent, revoked, or its account has changed: one word for all
    /// (R29).
    Invalid,
    /// The link was right, but its time is over.
    Expired,
    /// This browser has opened no link, or has lost its cookie since: the link itself may be good.
    LinkMissing,
    /// This browser has asked for no code, or has lost its cookie since.
    CodeMissing,
    /// The code is wrong, expired, used, or was tried too often: one word for all (R29).
    CodeInvalid,
    /// The new password was refused. The link is as good as before.
    Rejected(PasswordRejected),
    /// Another request uses the same link at this moment.
    InUse,
    /// The form was made for another link than the one that this browser opened last.
    OtherLink,
    /// The application refuses this account.
    Denied,
    /// A second factor has to be proven first.
    StepUp,
    /// The second factor was not proven: not the one, or used before.
    FactorWrong,
    /// The second factor was tried too often with this link.
    FactorTries,
    /// This source has asked too often.
    RateLimited {
        /// When it may ask again.
        retry_after: Duration,
    },
    /// A proof that a human asks, or work done, is needed first.
    Challenge,
    /// The hashing pool is full. Nothing was changed.
    Busy,
    /// A part of the flow failed. Nothing was changed.
    Unavailable,
    /// A part of the flow failed while a link of "this wasn't me" was at work: perhaps not everything
    /// is cancelled. Doing it again is harmless.
    Unfinished,
    /// Nobody knows yet whether the password was changed.
    Uncertain,
    /// Not a form, or not the JSON, of this page.
    Malformed,
    /// The body is neither a form nor JSON.
    UnsupportedMediaType,
    /// The body is longer than [`MAX_BODY_BYTES`](crate::MAX_BODY_BYTES).
    TooLarge,
    /// The body did not arrive in time.
    Timeout,
    /// Another site's page sent the request.
    CrossSite,
    /// There is no such page.
    NotFound,
    /// There is such a page, but not with this method.
    MethodNotAllowed {
        /// The methods that there are, as in an `Allow` line.
        allow: &'static str,
    },
}

impl Problem {
    /// One word, stable: `code`, and the end of `type`, in JSON; the key of its texts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::LinkMissing => "link_missing",
            Self::CodeMissing => "code_missing",
            Self::CodeInvalid => "code_invalid",
            Self::Rejected(_) => "rejected",
            Self::InUse => "in_use",
            Self::OtherLink => "other_link",
            Self::Denied => "denied",
            Self::StepUp => "step_up",
            Self::FactorWrong => "factor_wrong",
            Self::FactorTries => "factor_tries",
            Self::RateLimited { .. } => "rate_limited",
            Self::Challenge => "challenge",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Unfinished => "unfinished",
            Self::Uncertain => "uncertain",
            Self::Malformed => "malformed",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::CrossSite => "cross_site",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
        }
    }

    /// One of each, to render and to document.
    pub(crate) fn samples() -> Vec<Self> {
        let rejected = Policy::default().parse("", &Context::default());
        let mut samples = vec![
            Self::Invalid,
            Self::Expired,
            Self::LinkMissing,
            Self::CodeMissing,
            Self::CodeInvalid,
            Self::InUse,
            Self::OtherLink,
            Self::Denied,
            Self::StepUp,
            Self::FactorWrong,
            Self::FactorTries,
            Self::RateLimited {
                retry_after: Duration::from_secs(60),
            },
            Self::Challenge,
            Self::Busy,
            Self::Unavailable,
            Self::Unfinished,
            Self::Uncertain,
            Self::Malformed,
            Self::UnsupportedMediaType,
            Self::TooLarge,
            Self::Timeout,
            Self::CrossSite,
            Self::NotFound,
            Self::MethodNotAllowed { allow: "GET" },
        ];
        samples.extend(rejected.err().map(Self::Rejected));
        samples
    }

    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            // An expired capability is as if it had never been (R82).
            Self::Invalid
            | Self::Expired
            | Self::LinkMissing
            | Self::CodeMissing
            | Self::NotFound => StatusCode::NOT_FOUND,
            Self::CodeInvalid | Self::FactorWrong | Self::Rejected(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::InUse | Self::OtherLink => StatusCode::CONFLICT,
            Self::Denied | Self::StepUp | Self::FactorTries | Self::Challenge | Self::CrossSite => {
                StatusCode::FORBIDDEN
            }
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Unavailable | Self::Unfinished | Self::Uncertain => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// Whether it is told on the form that it is about, and on no page of its own.
    pub(crate) const fn is_on_a_form(&self) -> bool {
        matches!(
            self,
            Self::CodeInvalid | Self::FactorWrong | Self::Rejected(_)
        )
    }

    /// When the same request may succeed, for `Retry-After`.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => Some(*retry_after),
            Self::Busy => Some(Duration::from_secs(1)),
            Self::Unavailable | Self::Unfinished => Some(Duration::from_secs(10)),
            // The lease of a claim.
            Self::InUse | Self::Uncertain => Some(Duration::from_secs(120)),
            _ => None,
        }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::RateLimited { retry_after } => Self::RateLimited { retry_after },
            RequestError::Challenge => Self::Challenge,
            // No page offers it; who asks all the same has written a program.
            RequestError::NotOffered => Self::Malformed,
            _ => Self::Unavailable,
        }
    }
}

impl From<VerifyError> for Problem {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Invalid => Self::Invalid,
            VerifyError::Expired => Self::Expired,
            VerifyError::InProgress => Self::InUse,
            VerifyError::RateLimited { retry_after } => Self::RateLimited { retry_after },
            _ => Self::Unavailable,
        }
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::Invalid => Self::Invalid,
            CancelError::PauseTooLong => Self::Malformed,
            CancelError::RateLimited { retry_after } => Self::RateLimited { retry_after },
            _ => Self::Unavailable,
        }
    }
}

impl From<StepUpError> for Problem {
    fn from(error: StepUpError) -> Self {
        match error {
            StepUpError::Wrong => Self::FactorWrong,
            StepUpError::NoFactor => Self::StepUp,
            StepUpError::TooManyTries => Self::FactorTries,
            StepUpError::Expired => Self::Expired,
            StepUpError::RateLimited { retry_after } => Self::RateLimited { retry_after },
            _ => Self::Unavailable,
        }
    }
}

impl From<CompleteError> for Problem {
    fn from(error: CompleteError) -> Self {
        match error {
            CompleteError::Invalid => Self::Invalid,
            CompleteError::Expired => Self::Expired,
            CompleteError::InProgress => Self::InUse,
            CompleteError::Password(rejected) => Self::Rejected(rejected),
            CompleteError::Denied => Self::Denied,
            CompleteError::StepUp => Self::StepUp,
            CompleteError::Busy => Self::Busy,
            CompleteError::Uncertain(_) => Self::Uncertain,
            _ => Self::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        reason = "tests may panic"
    )]

    use std::collections::BTreeSet;

    use password_reset::password::Violation;
    use serde_json::Value;

    use super::*;

    fn components() -> Value {
        let mut document: Value = serde_json::from_str(crate::OPENAPI).unwrap();
        document["components"].take()
    }

    fn words(list: &Value) -> BTreeSet<&str> {
        let list = list.as_array().unwrap();
        let words: BTreeSet<_> = list.iter().map(|word| word.as_str().unwrap()).collect();
        assert_eq!(words.len(), list.len());
        words
    }

    #[test]
    fn every_code_is_documented_with_its_status() {
        let components = components();
        let samples = Problem::samples();
        let codes: BTreeSet<_> = samples.iter().map(Problem::code).collect();
        assert_eq!(samples.len(), codes.len());
        assert_eq!(
            words(&components["schemas"]["Problem"]["properties"]["code"]["enum"]),
            codes
        );

        let given: BTreeSet<_> = samples
            .iter()
            .map(|problem| (u64::from(problem.status().as_u16()), problem.code()))
            .collect();
        let mut documented = BTreeSet::new();
        for answer in components["responses"].as_object().unwrap().values() {
            let content = &answer["content"]["application/problem+json"];
            let Some(status) = content["schema"]["properties"]["status"]["const"].as_u64() else {
                continue;
            };
            let codes = words(&content["schema"]["properties"]["code"]["enum"]);
            assert!(codes.contains(content["example"]["code"].as_str().unwrap()));
            documented.extend(codes.into_iter().map(|code| (status, code)));
        }
        assert_eq!(documented, given);
    }

    #[test]
    fn every_code_is_in_the_readme_with_its_status() {
        let readme = include_str!("../README.md");
        let (_, table) = readme
            .split_once("| code | status | |\n|---|---|---|\n")
            .unwrap();
        let rows = table.lines().take_while(|line| line.starts_with('|'));
        let mut documented = BTreeSet::new();
        for row in rows {
            let mut cells = row.split('|').skip(1).map(str::trim);
            let codes: Vec<_> = cells.next().unwrap().split(", ").collect();
            let statuses: Vec<u16> = cells
                .next()
                .unwrap()
                .split(", ")
                .map(|status| status.parse().unwrap())
                .collect();
            // One for all of the row, or one each.
            assert!(
                statuses.len() == 1 || statuses.len() == codes.len(),
                "{row}"
            );
            for (code, status) in codes.iter().zip(statuses.iter().cycle()) {
                let new = documented.insert((*status, code.trim_matches('`').to_owned()));
                assert!(new, "twice: {row}");
            }
        }
        let samples = Problem::samples();
        let given = samples
            .iter()
            .map(|problem| (problem.status().as_u16(), problem.code().to_owned()));
        assert_eq!(documented, given.collect());
    }

    #[test]
    fn every_violation_is_documented() {
        let all = [
            Violation::TooShort { min: 15 },
            Violation::TooLong { max: 256 },
            Violation::TooManyBytes { max: 1_024 },
            Violation::ContextWord,
            Violation::Predictable,
            Violation::ControlCharacter,
            Violation::Common,
            Violation::Guessable,
            Violation::Breached,
            Violation::Unchanged,
            Violation::Reused,
        ];
        let components = components();
        assert_eq!(
            words(&components["schemas"]["Violation"]["properties"]["code"]["enum"]),
            all.iter().map(Violation::code).collect()
        );
        // The texts know every violation there is, and one for those to come.
        let texts = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/text/en.txt");
        // Not there in a published package.
        let Ok(texts) = std::fs::read_to_string(texts) else {
            return;
        };
        let known = texts
            .lines()
            .filter_map(|line| line.strip_prefix("violation.")?.split_once(" = "));
        let known = known.map(|(code, _)| code).filter(|code| *code != "other");
        assert_eq!(
            known.collect::<BTreeSet<_>>(),
            all.iter().map(Violation::code).collect()
        );
    }
}
