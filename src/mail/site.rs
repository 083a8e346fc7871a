//! What every mail names: [`Site`], [`LinkBase`], [`Mailbox`].

use std::net::{Ipv4Addr, Ipv6Addr};

use secrecy::SecretString;

use crate::account::{Address, InvalidText, bounded};
use crate::token::{CancelToken, LINK_TOKEN_CHARS, LinkToken};

const MAX_LINK_BASE_BYTES: usize = 512;
const MAX_SERVICE_NAME_BYTES: usize = 64;
const MAX_CONTACT_BYTES: usize = 254;
const MAX_DISPLAY_NAME_BYTES: usize = 128;
const QUERY: &str = "?token=";

/// Why a [`Site`], a [`LinkBase`] or a [`Mailbox`] cannot be made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSite {
    /// The link base is longer than 512 bytes.
    #[error("the link base is longer than 512 bytes")]
    LinkTooLong,
    /// The link base does not begin with `https://`, or with `http://` and a loopback host.
    #[error(
        "the link base {0:?} is not https; plain http is for a loopback host, such as \
         http://localhost:3000/reset-password"
    )]
    NotHttps(Box<str>),
    /// The link base holds a user name or an `@` (`https://app.example.org@evil.example.org`).
    #[error("the link base holds user information")]
    UserInfo,
    /// The link base's host is neither a plain ASCII name nor an IP address.
    #[error("the link base has no plain host")]
    Host,
    /// The link base's port is not a number from 1 to 65535.
    #[error("the link base has no valid port")]
    Port,
    /// The link base holds a query or a fragment.
    #[error("the link base holds a query or a fragment")]
    QueryOrFragment,
    /// The link base's path is missing, steps upwards, or holds anything but letters, digits and
    /// `-._~/`.
    #[error("the link base {0:?} has no plain path; add a path such as /reset-password")]
    Path(Box<str>),
    /// The service name is not one short line.
    #[error("the service name is not one line of at most 64 bytes")]
    ServiceName(#[source] InvalidText),
    /// The support contact is not one short line.
    #[error("the support contact is not one line of at most 254 bytes")]
    SupportContact(#[source] InvalidText),
    /// The display name is not one short line.
    #[error("the display name is not one line of at most 128 bytes")]
    DisplayName(#[source] InvalidText),
    /// A name holds `=?`, which mail programs take for an encoded word and decode (W9).
    #[error("a name holds an encoded word")]
    EncodedWord,
    /// The sender's domain is not ASCII; write it in its `xn--` form.
    #[error("the sender's domain is not ASCII")]
    SenderDomain,
}

/// The page that links lead to: `https://host[:port]/path`.
///
/// Written down once, in the configuration. **Nothing in this crate takes a host from a request**,
/// so no `Host` or `X-Forwarded-Host` header can send a token to somebody else (R17, W6).
///
/// What is accepted is a list, not a grammar with exceptions. A page behind a fragment (`/#/reset`)
/// is not on it: give it a path of its own.
///
/// ```
/// use password_reset::mail::{InvalidSite, LinkBase};
///
/// assert!(LinkBase::parse("https://app.example.org/reset").is_ok());
/// // Plain http stays on this machine (W7).
/// assert!(LinkBase::parse("http://localhost:3000/reset").is_ok());
/// let refused = LinkBase::parse("http://app.example.org/reset").unwrap_err();
/// assert!(matches!(refused, InvalidSite::NotHttps(_)));
/// assert_eq!(
///     LinkBase::parse("https://app.example.org@evil.example.org/reset").unwrap_err(),
///     InvalidSite::UserInfo,
/// );
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkBase(Box<str>);

impl LinkBase {
    /// Takes the address of the page, which the token is added to.
    ///
    /// # Errors
    ///
    /// - [`InvalidSite::LinkTooLong`], [`InvalidSite::NotHttps`], [`InvalidSite::UserInfo`],
    ///   [`InvalidSite::Host`], [`InvalidSite::Port`], [`InvalidSite::QueryOrFragment`] or
    ///   [`InvalidSite::Path`], for the part that is not as described there.
    pub fn parse(text: &str) -> Result<Self, InvalidSite> {
        if text.len() > MAX_LINK_BASE_BYTES {
            return Err(InvalidSite::LinkTooLong);
        }
        // Looked for in the whole text, so that `a.example/@b` and `a.example/?b` are no riddle; and
        // first: what is shown of a refused base holds no password.
        if text.contains('@') {
            return Err(InvalidSite::UserInfo);
        }
        let (rest, encrypted) = match (text.strip_prefix("https://"), text.strip_prefix("http://"))
        {
            (Some(rest), _) => (rest, true),
            (None, Some(rest)) => (rest, false),
            (None, None) => return Err(InvalidSite::NotHttps(text.into())),
        };
        if rest.contains(['?', '#']) {
            return Err(InvalidSite::QueryOrFragment);
        }
        let (authority, path) = rest
            .split_once('/')
            .ok_or_else(|| InvalidSite::Path(text.into()))?;
        let loopback = check_authority(authority)?;
        if !encrypted && !loopback {
            return Err(InvalidSite::NotHttps(text.into()));
        }
        if !is_plain(path) {
            return Err(InvalidSite::Path(text.into()));
        }
        Ok(Self(text.into()))
    }

    /// The address, as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Scheme, host and port, as in an `Origin` header: `https://app.example.org`.
    ///
    /// ```
    /// use password_reset::mail::LinkBase;
    ///
    /// let base = LinkBase::parse("https://App.example.org:443/account/reset").unwrap();
    /// assert_eq!(base.origin(), "https://app.example.org");
    /// assert_eq!(base.path(), "/account/reset");
    /// ```
    pub fn origin(&self) -> String {
        let (scheme, default_port, authority) = match self.0.strip_prefix("https://") {
            Some(rest) => ("https", ":443", authority(rest)),
            None => {
                let rest = self.0.strip_prefix("http://").unwrap_or_default();
                ("http", ":80", authority(rest))
            }
        };
        // As browsers write it: lower case, and no port that goes without saying.
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        format!("{scheme}://{}", authority.to_ascii_lowercase())
    }

    /// Everything from the first `/` behind the host.
    pub fn path(&self) -> &str {
        let host = self.0.find("://").map_or(0, |at| at + 3);
        let rest = self.0.get(host..).unwrap_or_default();
        rest.get(authority(rest).len()..).unwrap_or_default()
    }

    /// The host without its port, in lower case, as the last line of a text message with a code
    /// names it (WebOTP, origin-bound one-time codes).
    ///
    /// ```
    /// use password_reset::mail::LinkBase;
    ///
    /// let base = LinkBase::parse("https://App.example.org:8443/account/reset").unwrap();
    /// assert_eq!(base.host(), "app.example.org");
    /// ```
    pub fn host(&self) -> String {
        let authority = self
            .0
            .split_once("://")
            .map_or("", |(_, rest)| authority(rest));
        let host = match authority.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets, and are not that of a port.
            Some((host, port)) if !port.ends_with(']') => host,
            _ => authority,
        };
        host.to_ascii_lowercase()
    }

    /// Whether the page is on https. If not, it is on this machine.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// `base?token=…`.
    ///
    /// # Security
    ///
    /// The link is as secret as its token.
    pub fn link(&self, token: &LinkToken) -> SecretString {
        self.with(token.expose())
    }

    /// The same for "this wasn't me".
    ///
    /// # Security
    ///
    /// Whoever reads the link can cancel an account's resets, and nothing else.
    pub fn cancel_link(&self, token: &CancelToken) -> SecretString {
        self.with(token.expose())
    }

    fn with(&self, token: &str) -> SecretString {
        // At exact capacity: a string that grows leaves copies of the token behind, unwiped.
        let length = self.0.len() + QUERY.len() + LINK_TOKEN_CHARS;
        let mut link = String::with_capacity(length);
        link.push_str(&self.0);
        link.push_str(QUERY);
        link.push_str(token);
        SecretString::from(link)
    }
}

fn authority(rest: &str) -> &str {
    rest.split('/').next().unwrap_or_default()
}

/// Checks `host[:port]`; answers whether the host is this machine.
fn check_authority(authority: &str) -> Result<bool, InvalidSite> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(InvalidSite::Host)?;
        let host: Ipv6Addr = host.parse().map_err(|_| InvalidSite::Host)?;
        match port.strip_prefix(':') {
            Some(port) => check_port(port)?,
            None if port.is_empty() => {}
            None => return Err(InvalidSite::Host),
        }
        return Ok(host.is_loopback());
    }
    let host = match authority.split_once(':') {
        Some((host, port)) => {
            check_port(port)?;
            host
        }
        None => authority,
    };
    if let Ok(host) = host.parse::<Ipv4Addr>() {
        return Ok(host.is_loopback());
    }
    let plain_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // Browsers read a host whose last label begins with a digit as an IPv4 address in one of its
    // old spellings (`127.1`, `0x7f.1`), and no top-level domain begins with one.
    let top = host.rsplit('.').next().unwrap_or_default();
    let numeric = top.starts_with(|c: char| c.is_ascii_digit());
    if host.len() > 253 || numeric || !host.split('.').all(plain_label) {
        return Err(InvalidSite::Host);
    }
    Ok(host.eq_ignore_ascii_case("localhost"))
}

fn check_port(port: &str) -> Result<(), InvalidSite> {
    // `parse` alone would take `+443`.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if digits => Ok(()),
        _ => Err(InvalidSite::Port),
    }
}

/// Checks what stands behind the first `/`. No percent signs, so there is one spelling only; none
/// of the characters that HTML, a header or a mail program would read as something else.
fn is_plain(path: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let plain =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(unreserved);
    // Only the last segment may be empty: `/` and `/reset/`.
    let segments = path.strip_suffix('/').unwrap_or(path);
    path.is_empty() || segments.split('/').all(plain)
}

/// Who a mail is from: an address, and perhaps a name to show beside it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mailbox {
    name: Option<Box<str>>,
    address: Address,
}

impl Mailbox {
    /// A mailbox without a name.
    pub fn new(address: Address) -> Self {
        Self {
            name: None,
            address,
        }
    }

    /// The same mailbox with a name to show: one line of at most 128 bytes.
    ///
    /// ```
    /// use password_reset::account::Address;
    /// use password_reset::mail::Mailbox;
    ///
    /// let mailbox = Mailbox::new(Address::parse("no-reply@app.example.org").unwrap());
    /// assert!(mailbox.clone().named("Example, Inc.").is_ok());
    /// assert!(mailbox.named("Example\r\nBcc: eve@evil.example.org").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// - [`InvalidSite::DisplayName`] when it is empty, too long or holds a control character.
    /// - [`InvalidSite::EncodedWord`] when it holds `=?`.
    pub fn named(mut self, name: &str) -> Result<Self, InvalidSite> {
        let name = bounded(name, MAX_DISPLAY_NAME_BYTES).map_err(InvalidSite::DisplayName)?;
        self.name = Some(no_encoded_word(name)?.into());
        Ok(self)
    }

    /// The name, raw: whoever writes it into a header must quote or encode it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// `=?utf-8?q?…?=` is decoded after every check has passed.
fn no_encoded_word(text: &str) -> Result<&str, InvalidSite> {
    if text.contains("=?") {
        return Err(InvalidSite::EncodedWord);
    }
    Ok(text)
}

/// The service, as its mails present it. All of it is configuration; none of it is ever taken from
/// a request (W6).
///
/// ```
/// use password_reset::account::Address;
/// use password_reset::mail::{LinkBase, Mailbox, Site};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let site = Site::new(
///     "Example",
///     LinkBase::parse("https://app.example.org/reset")?,
///     "support@app.example.org",
///     Mailbox::new(Address::parse("no-reply@app.example.org")?).named("Example")?,
/// )?;
/// assert_eq!(site.service_name(), "Example");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Site {
    service_name: Box<str>,
    base: LinkBase,
    cancel_page: Option<LinkBase>,
    support_contact: Box<str>,
    sender: Mailbox,
    reply_to: Option<Mailbox>,
}

impl Site {
    /// A service: the name that people know it by, the page that links lead to, whom to contact
    /// when something is wrong (an address, a telephone number, a page), and the sender. The
    /// sender's domain also ends every Message-ID.
    ///
    /// # Errors
    ///
    /// - [`InvalidSite::ServiceName`] when the name is not one line of 1 to 64 bytes,
    ///   [`InvalidSite::EncodedWord`] when it holds `=?`.
    /// - [`InvalidSite::SupportContact`] when the contact is not one line of 1 to 254 bytes.
    /// - [`InvalidSite::SenderDomain`] when the sender's domain is not ASCII.
    pub fn new(
        service_name: &str,
        base: LinkBase,
        support_contact: &str,
        sender: Mailbox,
    ) -> Result<Self, InvalidSite> {
        let name =
            bounded(service_name, MAX_SERVICE_NAME_BYTES).map_err(InvalidSite::ServiceName)?;
        let contact =
            bounded(support_contact, MAX_CONTACT_BYTES).map_err(InvalidSite::SupportContact)?;
        if !domain(&sender).is_ascii() {
            return Err(InvalidSite::SenderDomain);
        }
        Ok(Self {
            service_name: no_encoded_word(name)?.into(),
            base,
            cancel_page: None,
            support_contact: contact.into(),
            sender,
            reply_to: None,
        })
    }

    /// The page that "this wasn't me" leads to. Without one, mails carry no such link.
    ///
    /// ```
    /// # use password_reset::account::Address;
    /// # use password_reset::mail::{LinkBase, Mailbox, Site};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let reset = LinkBase::parse("https://app.example.org/reset")?;
    /// # let sender = Mailbox::new(Address::parse("no-reply@app.example.org")?);
    /// let site = Site::new("Example", reset, "support@app.example.org", sender)?
    ///     .cancel_page(LinkBase::parse("https://app.example.org/reset/not-me")?);
    /// # Ok(()) }
    /// ```
    pub fn cancel_page(mut self, page: LinkBase) -> Self {
        self.cancel_page = Some(page);
        self
    }

    /// Sends answers to another mailbox than the sender's.
    pub fn reply_to(mut self, mailbox: Mailbox) -> Self {
        self.reply_to = Some(mailbox);
        self
    }

    /// The name of the service.
    pub fn service_name(&self) -> &str {
        &self.service_name
    }

    /// The page that links lead to.
    pub fn base(&self) -> &LinkBase {
        &self.base
    }

    /// The page that "this wasn't me" leads to, if there is one.
    pub fn cancel_base(&self) -> Option<&LinkBase> {
        self.cancel_page.as_ref()
    }

    /// Whom to contact.
    pub fn support_contact(&self) -> &str {
        &self.support_contact
    }

    /// Who mails are from.
    pub fn sender(&self) -> &Mailbox {
        &self.sender
    }

    /// Where answers go, if not to the sender.
    pub fn answers(&self) -> Option<&Mailbox> {
        self.reply_to.as_ref()
    }

    /// The domain of Message-IDs.
    pub fn domain(&self) -> &str {
        domain(&self.sender)
    }
}

fn domain(mailbox: &Mailbox) -> &str {
    // An address has exactly one `@`.
    mailbox
        .address
        .as_str()
        .split_once('@')
        .map_or("", |(_, domain)| domain)
}

#[cfg(test)]
mod tests;
