//! DKIM signatures (RFC 6376, RFC 8463): [`Dkim`]. No I/O but the operating system's generator.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64ct::{Base64, Encoding};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use crate::error::DkimError;
use crate::url::is_host_name;

/// Every line that says whose mail it is, what it is, and how it is read.
const SIGNED: [&str; 9] = [
    "from",
    "reply-to",
    "to",
    "subject",
    "date",
    "message-id",
    "auto-submitted",
    "mime-version",
    "content-type",
];
/// Base64 of a signature, per line.
const SIGNATURE_COLUMNS: usize = 72;

/// Signs mails with the key that a domain publishes in its DNS.
///
/// Needed when mails go to the recipient's server, or over a relay that does not sign. The public
/// half stands at `<selector>._domainkey.<domain>`. Signs the body and the lines From, Reply-To, To,
/// Subject, Date, Message-ID, Auto-Submitted, MIME-Version and Content-Type, relaxed, and each of
/// them so that none can be added.
///
/// ```
/// use password_reset_lettre::{Dkim, DkimError};
///
/// let no_key = Dkim::new("2026a", "app.example.org", "not a key");
/// assert_eq!(no_key.unwrap_err(), DkimError::Key);
/// ```
#[derive(Clone)]
pub struct Dkim {
    selector: String,
    domain: String,
    key: Arc<Key>,
}

enum Key {
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Dkim {
    /// The name under which the key is published, the domain that vouches for the mail, and the
    /// private key as PEM: Ed25519 in PKCS#8, or RSA of 2048 to 4096 bits in PKCS#8 or PKCS#1.
    ///
    /// The domain has to be the sender's, or above it, for DMARC to count the signature. Not every
    /// receiver knows Ed25519 yet: RSA is understood everywhere.
    ///
    /// # Errors
    ///
    /// - [`DkimError::Selector`] or [`DkimError::Domain`] when these are not DNS names.
    /// - [`DkimError::Key`] when the key cannot be read, or is too short.
    pub fn new(selector: &str, domain: &str, private_key_pem: &str) -> Result<Self, DkimError> {
        if !is_host_name(selector) {
            return Err(DkimError::Selector);
        }
        if !is_host_name(domain) {
            return Err(DkimError::Domain);
        }
        let der = PrivateKeyDer::from_pem_slice(private_key_pem.as_bytes());
        let key = match der.map_err(|_| DkimError::Key)? {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der())
                .map(Key::Rsa)
                .ok(),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                // openssl writes the first version of PKCS#8, without the public half.
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                    .map(Key::Ed25519)
                    .or_else(|_| RsaKeyPair::from_pkcs8(der).map(Key::Rsa))
                    .ok()
            }
            _ => None,
        };
        Ok(Self {
            selector: selector.to_owned(),
            domain: domain.to_owned(),
            key: Arc::new(key.ok_or(DkimError::Key)?),
        })
    }

    /// The `DKIM-Signature` lines for a mail with CRLF line ends. `None` when it has no body, or
    /// the generator failed.
    pub(crate) fn sign(&self, mail: &[u8]) -> Option<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        self.sign_at(mail, now)
    }

    fn sign_at(&self, mail: &[u8], now: u64) -> Option<String> {
        let split = mail.windows(4).position(|four| four == b"\r\n\r\n")?;
        let (header, body) = mail.split_at_checked(split + 4)?;
        let header = fields(std::str::from_utf8(header).ok()?);
        let body_hash = Base64::encode_string(digest(&SHA256, &relaxed_body(body)).as_ref());

        let mut names = Vec::new();
        let mut signed = String::new();
        for name in SIGNED {
            // From the last one up, and once more than it is there: then none can be added.
            for (_, line) in header.iter().rev().filter(|(field, _)| field == name) {
                names.push(name);
                signed += line;
                signed += "\r\n";
            }
            names.push(name);
        }
        let algorithm = match *self.key {
            Key::Ed25519(_) => "ed25519-sha256",
            Key::Rsa(_) => "rsa-sha256",
        };
        let unsigned = format!(
            "v=1; a={algorithm}; c=relaxed/relaxed; d={};\r\n\ts={}; t={now};\r\n\th={};\
             \r\n\tbh={body_hash};\r\n\tb=",
            self.domain,
            self.selector,
            names.join(":"),
        );
        signed += "dkim-signature:";
        signed += &relaxed_value(&unsigned);
        let signature = Base64::encode_string(&self.key.sign(signed.as_bytes())?);
        let mut out = format!("DKIM-Signature: {unsigned}");
        for (index, c) in signature.chars().enumerate() {
            if index > 0 && index % SIGNATURE_COLUMNS == 0 {
                out += "\r\n\t ";
            }
            out.push(c);
        }
        out += "\r\n";
        Some(out)
    }
}

impl Key {
    fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            // RFC 8463, 3: Ed25519 signs the hash.
            Self::Ed25519(key) => Some(key.sign(digest(&SHA256, text).as_ref()).as_ref().to_vec()),
            Self::Rsa(key) => {
                let mut out = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut out)
                    .ok()?;
                Some(out)
            }
        }
    }
}

impl fmt::Debug for Dkim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key is not shown.
        f.debug_struct("Dkim")
            .field("selector", &self.selector)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// The fields of a header: the name in lower case, and the whole as RFC 6376, 3.4.2 wants it.
fn fields(header: &str) -> Vec<(String, String)> {
    let mut unfolded: Vec<String> = Vec::new();
    for line in header.split("\r\n").filter(|line| !line.is_empty()) {
        match unfolded.last_mut() {
            Some(field) if line.starts_with([' ', '\t']) => *field += line,
            _ => unfolded.push(line.to_owned()),
        }
    }
    let field = |line: String| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim_end().to_ascii_lowercase();
        let whole = format!("{name}:{}", relaxed_value(value));
        Some((name, whole))
    };
    unfolded.into_iter().filter_map(field).collect()
}

/// Unfolded, with single spaces and none at either end.
fn relaxed_value(value: &str) -> String {
    let words = value.split([' ', '\t', '\r', '\n']);
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// RFC 6376, 3.4.4: single spaces, none before a line's end, and no empty lines at the end.
fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        let mut pending = false;
        for byte in line {
            match byte {
                b' ' | b'\t' => pending = true,
                _ => {
                    if std::mem::take(&mut pending) {
                        out.push(b' ');
                    }
                    out.push(*byte);
                }
            }
        }
        out.extend_from_slice(b"\r\n");
    }
    while out.ends_with(b"\r\n\r\n") {
        out.truncate(out.len() - 2);
    }
    if out == b"\r\n" {
        out.clear();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_6376() {
        // 3.4.5.
        let header = "A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n";
        let read: Vec<_> = fields(header).into_iter().map(|(_, whole)| whole).collect();
        assert_eq!(read, ["a:X", "b:Y Z"]);
        assert_eq!(relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n"), b" C\r\nD E\r\n");
        // 3.4.4: no body stays none.
        assert_eq!(relaxed_body(b""), b"");
        assert_eq!(relaxed_body(b"\r\n\r\n"), b"");
    }

    #[test]
    fn names_and_keys_are_checked_and_not_shown() {
        let pem = "-----BEGIN PRIVATE KEY-----\nczNjcmV0\n-----END PRIVATE KEY-----\n";
        for (selector, domain, wanted) in [
            ("", "example.org", DkimError::Selector),
            ("a; d=evil.example.org", "example.org", DkimError::Selector),
            ("a", "", DkimError::Domain),
            ("a", "example.org\r\nBcc: x", DkimError::Domain),
            ("a", "example.org", DkimError::Key),
        ] {
            let error = Dkim::new(selector, domain, pem).err();
            assert_eq!(error, Some(wanted), "{selector} {domain}");
        }
    }
}
