//! Placeholder.
use secrecy::{ExposeSecret, SecretString};
/// A PHC string.
#[derive(Clone, Debug)]
pub struct PasswordHash(SecretString);
impl PasswordHash {
    /// Parse.
    pub fn parse(t: &str) -> Result<Self, crate::account::InvalidText> {
        Ok(Self(t.into()))
    }
    /// The text.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
