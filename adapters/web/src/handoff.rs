//! Between the link and the form: the token waits in a cookie, out of sight of scripts, histories
//! and other sites (R81, R82).
//!
//! What is promised of it (W66), each with a test of `tests/http/handoff.rs` or `refused.rs`:
//!
//! - A form is taken with the cookie of its own link only ([`seal`]): not with that of a link that
//!   was opened since, nor with that of another browser. Nothing is changed then, and both links
//!   stay good.
//! - A cookie from elsewhere is not read: browsers take one of the `__Host-` name over https from
//!   this host alone, and the plain name counts on this machine only.
//! - Two of them are none.
//! - It ends with its link: spent, expired or voided, whoever has kept it.
//!
//! What is not promised: that it is tied to a browser. It carries the token itself, and nothing is
//! stored here that it could be compared with, so whoever copies it out of a browser holds the link,
//! as who copies the link out of the mail does: until it is used, once, or its time is over. That is
//! why it is out of reach of scripts and of plain http, and goes as soon as it is of no use.

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use http::HeaderMap;
use http::header;
use password_reset::recovery::StepUpProof;
use password_reset::token::{CodeHandle, PresentedToken};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// `__Host-`: browsers take it over https only, for this host only, and from nobody but this host.
const COOKIE: &str = "__Host-password-reset";
/// Over plain http, on this machine only, browsers refuse the prefix.
const LOOPBACK_COOKIE: &str = "password-reset";
/// Of "this wasn't me": a cookie of its own, so that neither page ever sees the other's token.
const CANCEL_COOKIE: &str = "__Host-password-reset-cancel";
const LOOPBACK_CANCEL_COOKIE: &str = "password-reset-cancel";

/// Of the proof of a second factor.
const PROOF_COOKIE: &str = "__Host-password-reset-factor";
const LOOPBACK_PROOF_COOKIE: &str = "password-reset-factor";

const CODE_COOKIE: &str = "__Host-password-reset-code";
const LOOPBACK_CODE_COOKIE: &str = "password-reset-code";

/// What is looked at of the cookie header.
const MAX_COOKIES_BYTES: usize = 16 * 1024;

/// The cookie that carries the token, or the handle of a code.
#[derive(Clone, Debug)]
pub(crate) struct Handoff {
    name: &'static str,
    https: bool,
}

impl Handoff {
    /// For the token that sets a password.
    pub(crate) fn new(https: bool) -> Self {
        let name = if https { COOKIE } else { LOOPBACK_COOKIE };
        Self { name, https }
    }

    /// For the handle of a code.
    pub(crate) fn of_code(https: bool) -> Self {
        let name = if https {
            CODE_COOKIE
        } else {
            LOOPBACK_CODE_COOKIE
        };
        Self { name, https }
    }

    /// For the proof of a second factor.
    pub(crate) fn of_proof(https: bool) -> Self {
        let name = if https {
            PROOF_COOKIE
        } else {
            LOOPBACK_PROOF_COOKIE
        };
        Self { name, https }
    }

    /// Keeps a proof for as long as one can be good.
    pub(crate) fn keep_proof(&self, proof: &StepUpProof, life: Duration) -> String {
        self.cookie(proof.expose(), life)
    }

    /// The handle in the request's cookie.
    pub(crate) fn handle(&self, headers: &HeaderMap) -> Option<CodeHandle> {
        CodeHandle::parse(&self.token(headers)?).ok()
    }

    /// Keeps a handle for as long as its code can be good.
    pub(crate) fn keep_handle(&self, handle: &CodeHandle, life: Duration) -> String {
        self.cookie(&handle.to_string(), life)
    }

    /// For "this wasn't me".
    pub(crate) fn of_cancel(https: bool) -> Self {
        let name = if https {
            CANCEL_COOKIE
        } else {
            LOOPBACK_CANCEL_COOKIE
        };
        Self { name, https }
    }

    /// The token in the request's cookie. Two such cookies are none: nobody knows whose is whose.
    pub(crate) fn token(&self, headers: &HeaderMap) -> Option<Zeroizing<String>> {
        let mut found = None;
        let mut bytes = 0;
        for line in headers.get_all(header::COOKIE) {
            bytes += line.len();
            if bytes > MAX_COOKIES_BYTES {
                return None;
            }
            // Not as text: other cookies of the site may hold anything.
            for pair in line.as_bytes().split(|byte| *byte == b';') {
                let named = pair.trim_ascii().strip_prefix(self.name.as_bytes());
                let Some(value) = named.and_then(|rest| rest.strip_prefix(b"=")) else {
                    continue;
                };
                let token = std::str::from_utf8(value).unwrap_or_default().to_owned();
                if found.replace(Zeroizing::new(token)).is_some() {
                    return None;
                }
            }
        }
        found
    }

    /// Keeps a token that has the form of one for as long as it can be good.
    pub(crate) fn keep(&self, token: &str, life: Duration) -> Option<String> {
        PresentedToken::parse(token).ok()?;
        Some(self.cookie(token, life))
    }

    /// Ends what [`keep`](Self::keep) began.
    pub(crate) fn forget(&self) -> String {
        self.cookie("", Duration::ZERO)
    }

    /// `Lax`, not `Strict`: the way here begins in a mail, and browsers send no `Strict` cookie
    /// along a way that begins elsewhere.
    fn cookie(&self, token: &str, life: Duration) -> String {
        let (name, life) = (self.name, life.as_secs());
        let secure = if self.https { "Secure; " } else { "" };
        format!("{name}={token}; HttpOnly; SameSite=Lax; {secure}Path=/; Max-Age={life}")
    }
}

/// The hidden field of a form: it goes with one link, and says nothing about its token.
///
/// Any page can send a browser to a link of its own and so replace the cookie. Without this value a
/// form that was opened for one account would then set the password of another (W66).
pub(crate) fn seal(token: &str) -> String {
    let digest = Sha256::new()
        .chain_update(b"password-reset-web form\0")
        .chain_update(token)
        .finalize();
    let half: [u8; 16] = std::array::from_fn(|at| digest.get(at).copied().unwrap_or_default());
    Base64UrlUnpadded::encode_string(&half)
}

/// Whether the form was made for this link.
pub(crate) fn is_sealed(token: &str, seal_of_form: &str) -> bool {
    seal(token).as_bytes().ct_eq(seal_of_form.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    const LIFE: Duration = Duration::from_secs(1_800);

    fn cookies(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, line.parse().unwrap());
        }
        headers
    }

    #[test]
    fn r82_over_https_the_cookie_is_the_hosts_own() {
        let token = "A".repeat(64);
        let kept = Handoff::new(true).keep(&token, LIFE).unwrap();
        assert_eq!(
            kept,
            format!(
                "__Host-password-reset={token}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=1800"
            )
        );
        assert!(Handoff::new(true).forget().contains("Max-Age=0"));
        let plain = Handoff::new(false).keep(&token, LIFE).unwrap();
        assert!(plain.starts_with("password-reset=") && !plain.contains("Secure"));
        for not_a_token in ["", "x", "A=B; Path=/", &"A".repeat(65)] {
            assert!(Handoff::new(true).keep(not_a_token, LIFE).is_none());
        }
    }

    /// W41: neither page reads the cookie of the other.
    #[test]
    fn w41_each_page_has_a_cookie_of_its_own() {
        let (reset, cancel) = (Handoff::new(true), Handoff::of_cancel(true));
        let both = "__Host-password-reset=abc; __Host-password-reset-cancel=xyz";
        let token = |handoff: &Handoff| handoff.token(&cookies(&[both])).unwrap().to_string();
        assert_eq!(
            (token(&reset).as_str(), token(&cancel).as_str()),
            ("abc", "xyz")
        );
        assert!(
            Handoff::of_cancel(false)
                .forget()
                .starts_with("password-reset-cancel=;")
        );
    }

    #[test]
    fn two_cookies_are_none() {
        let handoff = Handoff::new(true);
        let token = |lines: &[&str]| {
            handoff
                .token(&cookies(lines))
                .map(|token| token.to_string())
        };
        let one = "__Host-password-reset=abc";
        assert_eq!(token(&[one]).as_deref(), Some("abc"));
        assert_eq!(
            token(&["a=b; __Host-password-reset=abc; c=d"]).as_deref(),
            Some("abc")
        );
        assert_eq!(token(&["a=b", one]).as_deref(), Some("abc"));
        assert_eq!(token(&[one, one]), None);
        assert_eq!(
            token(&["__Host-password-reset=abc; __Host-password-reset=abd"]),
            None
        );
        // The plain name is another cookie, which any page on the same host name could have set.
        assert_eq!(token(&["password-reset=abc"]), None);
        assert_eq!(token(&[&format!("a={}; {one}", "x".repeat(20_000))]), None);
        let beside = "a=\u{e9}; __Host-password-reset=abc";
        assert_eq!(token(&[beside]).as_deref(), Some("abc"));
        assert_eq!(token(&["x__Host-password-reset=abc"]), None);
        assert_eq!(token(&[]), None);
    }

    #[test]
    fn w66_a_form_goes_with_one_link() {
        let (one, other) = ("A".repeat(64), "B".repeat(64));
        assert!(is_sealed(&one, &seal(&one)));
        assert!(!is_sealed(&other, &seal(&one)));
        assert!(!is_sealed(&one, ""));
        assert_eq!(seal(&one).len(), 22);
    }
}
