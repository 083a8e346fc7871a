#![doc = include_str!("../README.md")]

mod api;
mod captcha;
mod endpoint;
mod error;
mod get;
mod mail;
mod mailbox;
mod post;
mod pwned;
#[cfg(feature = "reqwest")]
mod reqwest;
mod sigv4;
mod sms;

pub use captcha::{HCaptcha, Recaptcha, SiteVerifyError, Turnstile};
pub use error::{ApiError, ConfigError};
pub use get::{Get, HttpGet, MAX_PAGE_BYTES, Page};
pub use mail::{
    AmazonSes, AwsCredentialSource, AwsCredentials, Mailgun, Postmark, Resend, SendGrid, Tracking,
};
pub use post::{Answer, ERROR_TYPE, HttpPost, MAX_ANSWER_BYTES, Post, PostError};
pub use pwned::{PwnedPasswords, RangeError};
#[cfg(feature = "reqwest")]
pub use reqwest::{ClientError, ReqwestPost};
pub use sms::{Twilio, TwilioSender, Vonage};
