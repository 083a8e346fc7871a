//! Mail over the providers' HTTP APIs.

mod mailgun;
mod postmark;
mod resend;
mod sendgrid;
mod ses;

use password_reset::mail::{Message, SendError};
use serde::Serialize;

use crate::error::ApiError;

pub use mailgun::Mailgun;
pub use postmark::Postmark;
pub use resend::Resend;
pub use sendgrid::SendGrid;
pub use ses::{AmazonSes, AwsCredentialSource, AwsCredentials};

/// Whether the provider leaves links as they are and adds no pixel, where the request cannot say
/// so and only a setting at the provider can (R87).
///
/// With tracking on, the provider holds live links, and so does whoever reads its reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Tracking {
    /// Somebody looked at the provider's settings: click tracking and open tracking are off.
    ConfirmedOff,
    /// Nobody looked. Messages that hold a live link or code are refused for good, with
    /// [`ApiError::Tracking`] as source; others are sent.
    Unconfirmed,
}

impl Tracking {
    fn check(self, message: &Message) -> Result<(), SendError> {
        match self {
            Self::Unconfirmed if message.is_sensitive() => {
                Err(SendError::permanent(ApiError::Tracking))
            }
            _ => Ok(()),
        }
    }
}

/// One header line, as Amazon SES and Postmark want it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HeaderLine<'a> {
    name: &'a str,
    value: &'a str,
}

fn header_lines(message: &Message) -> Vec<HeaderLine<'_>> {
    let lines = message.headers();
    lines
        .map(|(name, value)| HeaderLine { name, value })
        .collect()
}
