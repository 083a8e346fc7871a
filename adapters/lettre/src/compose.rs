//! A message as the octets of one mail: [`Composer`].

use std::fmt::Write;

use base64ct::{Base64, Encoding};
use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{MultiPart, SinglePart};
use password_reset::account::Address;
use password_reset::mail::{Mailbox, Message};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::dkim::Dkim;
use crate::error::{ConfigError, Failure};

/// RFC 5322, 2.1.1, without the line break.
const MAX_LINE_BYTES: usize = 998;
const NICE_LINE_BYTES: usize = 78;
/// Makes an encoded word of 72 characters; RFC 2047 allows 75.
const MAX_WORD_BYTES: usize = 45;
const MAX_HEADER_VALUE_BYTES: usize = 256;
const MAX_HEADER_NAME_BYTES: usize = 64;

/// What every mail has, or what decides where it goes: nobody adds these.
const OURS: [&str; 12] = [
    "auto-submitted",
    "bcc",
    "cc",
    "date",
    "dkim-signature",
    "from",
    "message-id",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
];
const OUR_FAMILIES: [&str; 4] = ["content-", "mime-", "received", "resent-"];

/// One mail: header and body with CRLF line ends, and the two addresses of its envelope.
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: String,
    /// An address is not ASCII, and neither is the header that shows it.
    pub(crate) needs_utf8: bool,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

/// Writes messages as mails.
#[derive(Clone, Default)]
pub(crate) struct Composer {
    extra: Vec<HeaderValue>,
    pub(crate) dkim: Option<Dkim>,
}

impl Composer {
    /// Adds a line to the header of every mail.
    pub(crate) fn add_header(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let lower = name.to_ascii_lowercase();
        let is_ours = OURS.contains(&lower.as_str())
            || OUR_FAMILIES.iter().any(|family| lower.starts_with(family));
        let is_name = (1..=MAX_HEADER_NAME_BYTES).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let is_value = value.len() <= MAX_HEADER_VALUE_BYTES
            && !value.trim().is_empty()
            && value.bytes().all(|b| matches!(b, b' '..=b'~'));
        if is_ours || !is_name || !is_value {
            return Err(ConfigError::Header);
        }
        let name = HeaderName::new_from_ascii(name.to_owned()).map_err(|_| ConfigError::Header)?;
        self.extra.push(HeaderValue::new(name, value.to_owned()));
        Ok(())
    }

    /// Writes one mail, and signs it.
    pub(crate) fn compose(&self, message: &Message) -> Result<Mail, Failure> {
        let (from, to) = (address(message.from().address())?, address(message.to())?);
        let envelope =
            Envelope::new(Some(from), vec![to]).map_err(|_| Failure::Unwritable("an envelope"))?;

        let mut builder = lettre::Message::builder()
            .envelope(envelope)
            .date_now()
            .raw_header(mailbox("From", message.from())?);
        if let Some(reply_to) = message.reply_to() {
            builder = builder.raw_header(mailbox("Reply-To", reply_to)?);
        }
        builder = builder
            .raw_header(mailbox("To", &Mailbox::new(message.to().clone()))?)
            .subject(message.subject());
        builder = builder.raw_header(verbatim("Message-ID", message.id())?);
        for (name, value) in message.headers() {
            builder = builder.raw_header(verbatim(name, value)?);
        }
        for header in &self.extra {
            builder = builder.raw_header(header.clone());
        }
        let parts = MultiPart::alternative()
            .boundary(boundary()?)
            .singlepart(part(ContentType::TEXT_PLAIN, message.text()))
            .singlepart(part(ContentType::TEXT_HTML, message.html()));
        let mail = builder
            .multipart(parts)
            .map_err(|_| Failure::Unwritable("a name or an address"))?;
        let mut mail = Mail {
            from: message.from().address().as_str().to_owned(),
            to: message.to().as_str().to_owned(),
            needs_utf8: false,
            bytes: Zeroizing::new(mail.formatted()),
        };
        let reply_to = message.reply_to().map(|mailbox| mailbox.address().as_str());
        mail.needs_utf8 = [&mail.from, &mail.to]
            .into_iter()
            .map(String::as_str)
            .chain(reply_to)
            .any(|address| !address.is_ascii());
        check(&mail)?;
        if let Some(dkim) = &self.dkim {
            let signature = dkim.sign(&mail.bytes).ok_or(Failure::Unprepared)?;
            let mut signed = Zeroizing::new(Vec::with_capacity(signature.len() + mail.bytes.len()));
            signed.extend_from_slice(signature.as_bytes());
            signed.extend_from_slice(&mail.bytes);
            mail.bytes = signed;
        }
        Ok(mail)
    }
}

fn address(address: &Address) -> Result<lettre::Address, Failure> {
    let parsed = address.as_str().parse();
    parsed.map_err(|_| Failure::Unwritable("an address that SMTP does not know"))
}

/// `From`, `Reply-To` or `To`. Not by lettre, which panics when a name holds a line break, and
/// writes some names as words that they are not.
fn mailbox(header: &'static str, mailbox: &Mailbox) -> Result<HeaderValue, Failure> {
    let address = address(mailbox.address())?.to_string();
    let name = HeaderName::new_from_ascii_str(header);
    let Some(shown) = mailbox.name() else {
        return Ok(HeaderValue::dangerous_new_pre_encoded(
            name,
            address.clone(),
            address,
        ));
    };
    let phrase = phrase(shown)?;
    let last = phrase.rsplit('\n').next().unwrap_or(&phrase).len() + header.len();
    let space = match last + address.len() + ": <>".len() {
        0..=NICE_LINE_BYTES => " ",
        _ => "\r\n ",
    };
    let value = format!("{phrase}{space}<{address}>");
    Ok(HeaderValue::dangerous_new_pre_encoded(name, address, value))
}

/// A display name: quoted, or as encoded words.
fn phrase(name: &str) -> Result<String, Failure> {
    if name.chars().any(char::is_control) {
        // The core lets none through; should it ever, no mail is better than that.
        return Err(Failure::Unwritable("a name with a control character"));
    }
    if name.is_ascii() && !name.contains("=?") {
        return Ok(format!(
            "\"{}\"",
            name.replace('\\', "\\\\").replace('"', "\\\"")
        ));
    }
    let mut words = vec![String::new()];
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if word.len() + c.len_utf8() <= MAX_WORD_BYTES => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    let encode = |word: &String| format!("=?utf-8?b?{}?=", Base64::encode_string(word.as_bytes()));
    Ok(words.iter().map(encode).collect::<Vec<_>>().join("\r\n "))
}

/// A line that stands in the mail exactly as given.
fn verbatim(name: &str, value: &str) -> Result<HeaderValue, Failure> {
    let is_plain = value.bytes().all(|b| matches!(b, b' '..=b'~'));
    let name = HeaderName::new_from_ascii(name.to_owned()).ok();
    let (Some(name), true) = (name, is_plain) else {
        return Err(Failure::Unwritable("a header line"));
    };
    let value = value.to_owned();
    Ok(HeaderValue::dangerous_new_pre_encoded(
        name,
        value.clone(),
        value,
    ))
}

/// Quoted-printable: short lines of ASCII, which no server on the way has a reason to touch.
fn part(content_type: ContentType, body: &str) -> SinglePart {
    SinglePart::builder()
        .header(content_type)
        .header(ContentTransferEncoding::QuotedPrintable)
        .body(body.to_owned())
}

/// What stands between the parts: 128 random bits that no letter can foresee, and `=_`, which
/// quoted-printable never writes.
fn boundary() -> Result<String, Failure> {
    let mut random = [0; 16];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| Failure::Unprepared)?;
    let mut text = "=_".to_owned();
    for byte in random {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// Two servers must not disagree about where a line, or the mail, ends.
fn check(mail: &Mail) -> Result<(), Failure> {
    let is_allowed = |b: &u8| matches!(b, b'\t' | b' '..=b'~') || mail.needs_utf8 && *b >= 0x80;
    let is_line = |line: &[u8]| {
        line.strip_suffix(b"\r\n")
            .is_some_and(|line| line.len() <= MAX_LINE_BYTES && line.iter().all(is_allowed))
    };
    if mail.bytes.split_inclusive(|b| *b == b'\n').all(is_line) {
        Ok(())
    } else {
        Err(Failure::Unwritable("a line that is not one"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use password_reset::mail::{Kind, Letter, LinkBase, Site};
    use password_reset::queue::{JobId, Lease};

    use super::*;

    proptest::proptest! {
        #[test]
        fn w9_nothing_adds_a_line(
            name in ".{1,40}",
            local in "[a-z0-9!#$&'*+/^_`{}~é-]{1,20}",
            subject in ".{1,60}",
            body in "[^\\p{Cc}]{0,200}",
        ) {
            let address = Address::parse("no-reply@app.example.org").unwrap();
            let Ok(sender) = Mailbox::new(address).named(&name) else {
                return Ok(());
            };
            let base = LinkBase::parse("https://app.example.org/reset").unwrap();
            let site = Site::new("Example", base, "help", sender.clone()).unwrap();
            let to = Address::parse(&format!("{local}@example.com")).unwrap();
            let lease = Lease { job: JobId::from_bytes([7; 16]), attempt: 1 };
            let letter = Letter {
                subject,
                text: body.as_str().into(),
                html: body.as_str().into(),
            };
            let site = site.reply_to(sender);
            let Ok(message) = Message::new(Kind::ResetLink, lease, &site, to, letter) else {
                return Ok(());
            };
            let mail = Composer::default().compose(&message).ok().unwrap();
            let text = String::from_utf8(mail.bytes.to_vec()).unwrap();
            let (header, _) = text.split_once("\r\n\r\n").unwrap();
            let lines = header.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
            let names: Vec<_> = lines.map(|line| line.split(':').next().unwrap()).collect();
            assert_eq!(names, [
                "Date", "From", "Reply-To", "To", "Subject", "Message-ID", "Auto-Submitted",
                "MIME-Version", "Content-Type",
            ]);
        }
    }

    #[test]
    fn w9_a_name_with_a_line_break_is_refused_should_one_ever_come() {
        for name in ["a\r\nBcc: x", "a\nb", "a\rb", "a\0b", "\u{7f}"] {
            assert!(phrase(name).is_err(), "{name:?}");
        }
        assert_eq!(phrase("a\\\"b").unwrap(), r#""a\\\"b""#);
        assert_eq!(phrase("=?x").unwrap(), "=?utf-8?b?PT94?=");
    }

    #[test]
    fn w9_only_whole_lines_are_a_mail() {
        let long = format!("{}\r\n", "a".repeat(999));
        let longest = format!("{}\r\n", "a".repeat(998));
        for (bytes, needs_utf8, is_mail) in [
            (&b"a\r\n\tb\r\n"[..], false, true),
            (longest.as_bytes(), false, true),
            (long.as_bytes(), false, false),
            (b"a", false, false),
            (b"a\n", false, false),
            (b"a\rb\r\n", false, false),
            (b"a\r\r\n", false, false),
            (b"a\0\r\n", false, false),
            ("ü\r\n".as_bytes(), false, false),
            ("ü\r\n".as_bytes(), true, true),
        ] {
            let mail = Mail {
                from: String::new(),
                to: String::new(),
                needs_utf8,
                bytes: Zeroizing::new(bytes.to_vec()),
            };
            assert_eq!(check(&mail).is_ok(), is_mail, "{bytes:?}");
        }
    }

    #[test]
    fn w9_added_lines_are_plain_and_are_not_ours() {
        let mut composer = Composer::default();
        for (name, value) in [("X-Mailgun-Track", "no"), ("X-SMTPAPI", "{\"a\": [1]}")] {
            assert!(composer.add_header(name, value).is_ok(), "{name}");
        }
        for (name, value) in [
            ("Bcc", "eve@evil.example.org"),
            ("CC", "eve@evil.example.org"),
            ("Resent-To", "eve@evil.example.org"),
            ("Content-Type", "text/html"),
            ("Mime-Version", "1.0"),
            ("X-A", "a\r\nBcc: eve@evil.example.org"),
            ("X-A\r\nBcc", "eve@evil.example.org"),
            ("X-A: b", "c"),
            ("X A", "b"),
            ("", "b"),
            ("X-A", ""),
            ("X-A", " "),
            ("X-A", "ü"),
            ("X-A", &"a".repeat(257)),
        ] {
            assert!(composer.add_header(name, value).is_err(), "{name}: {value}");
        }
    }
}
