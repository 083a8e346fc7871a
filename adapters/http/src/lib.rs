#![doc = include_str!("../README.md")]

mod api;
mod endpoint;
mod error;
mod mail;
mod mailbox;
mod post;
#[cfg(feature = "reqwest")]
mod reqwest;
mod sigv4;
mod sms;

pub use error::{ApiError, ConfigError};
pub use mail::{
    AmazonSes, AwsCredentialSource, AwsCredentials, Mailgun, Postmark, Resend, SendGrid, Tracking,
};
pub use post::{Answer, ERROR_TYPE, HttpPost, MAX_ANSWER_BYTES, Post, PostError};
#[cfg(feature = "reqwest")]
pub use reqwest::{ClientError, ReqwestPost};
pub use sms::{Twilio, TwilioSender, Vonage};
