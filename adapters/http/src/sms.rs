//! Text messages over the providers' HTTP APIs.

mod twilio;
mod vonage;

pub use twilio::{Twilio, TwilioSender};
pub use vonage::Vonage;

use crate::error::ConfigError;

const MAX_SENDER_BYTES: usize = 32;

/// A number, a short code, or a name that phones show.
fn check_sender(sender: &str) -> Result<(), ConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" +&-._".contains(&byte);
    let fits = (1..=MAX_SENDER_BYTES).contains(&sender.len());
    if !fits || !sender.bytes().all(plain) || sender.trim() != sender {
        return Err(ConfigError::Name { what: "sender" });
    }
    Ok(())
}
