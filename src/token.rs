//! Tokens: the secret in the mail, what a store keeps of it, and the life it leads.
//!
//! The mailed token is `selector ‖ verifier`. A store sees the selector and a keyed digest, never
//! the verifier (R4, W15). The digest covers everything that the token was made for, so a row that
//! was edited (another user, a later expiry) is worth nothing (W41, W42, W43).

mod cancel;
mod code;
mod digest;
mod keyring;
mod record;
mod secret;
pub mod state;

pub use cancel::CancelToken;
pub use code::{CODE_DIGITS, CODE_HANDLE_CHARS, CodeHandle, PresentedCode};
pub use digest::{Epoch, Freshness, TokenDigest};
pub use keyring::{InvalidKeyring, Key, KeyId, Keyring};
pub use record::{Purpose, TokenRecord};
pub use secret::{LINK_TOKEN_CHARS, LinkToken, Malformed, PresentedToken, Selector, Verifier};

pub(crate) use cancel::{Beside, CancelClaims};
pub(crate) use code::code_of;
pub(crate) use digest::Claims;
#[cfg(any(feature = "proof-of-work", feature = "testing"))]
pub(crate) use keyring::HmacSha256;
pub(crate) use secret::{hex, unhex};
