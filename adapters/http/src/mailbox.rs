//! Display names, as header text (W9).

use base64ct::{Base64, Encoding};
use password_reset::mail::Mailbox;

/// RFC 2047 allows 75 characters a word; 12 are its frame, and 45 bytes become 60.
const WORD_BYTES: usize = 45;
/// RFC 5322: none of these may stand in a name without quotes.
const SPECIALS: &str = "()<>[]:;@\\,\"";

/// `"Example, Inc." <no-reply@app.example.org>`: quoted, or encoded where it is not ASCII.
pub(crate) fn header(mailbox: &Mailbox) -> String {
    let address = mailbox.address().as_str();
    match mailbox.name() {
        None => address.to_owned(),
        Some(name) if name.is_ascii() => {
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{escaped}\" <{address}>")
        }
        Some(name) => format!("{} <{address}>", encoded(name)),
    }
}

/// `Example Inc. <no-reply@app.example.org>`: neither quoted nor encoded, for a provider that takes
/// neither. What would need quotes becomes a space.
pub(crate) fn bare(mailbox: &Mailbox) -> String {
    let address = mailbox.address().as_str();
    let name = mailbox.name().unwrap_or_default();
    let plain = name.replace(|c| SPECIALS.contains(c), " ");
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if plain.is_empty() {
        return address.to_owned();
    }
    format!("{plain} <{address}>")
}

/// Encoded words, cut between characters.
fn encoded(name: &str) -> String {
    let mut words = vec![String::new()];
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if word.len() + c.len_utf8() <= WORD_BYTES => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    let words = words
        .iter()
        .map(|word| Base64::encode_string(word.as_bytes()));
    let words: Vec<String> = words.map(|word| format!("=?UTF-8?B?{word}?=")).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use password_reset::account::Address;

    use super::*;

    fn mailbox(name: &str) -> Mailbox {
        let address = Address::parse("no-reply@app.example.org").unwrap();
        Mailbox::new(address).named(name).unwrap()
    }

    #[test]
    fn w9_a_name_cannot_become_a_second_mailbox() {
        for (name, quoted, plain) in [
            ("Example", "\"Example\"", "Example"),
            ("Example, Inc.", "\"Example, Inc.\"", "Example Inc."),
            (
                "A\" <eve@evil.example.org>, \"B",
                "\"A\\\" <eve@evil.example.org>, \\\"B\"",
                "A eve evil.example.org B",
            ),
            ("back\\", "\"back\\\\\"", "back"),
            (
                "M\u{fc}ller, KG",
                "=?UTF-8?B?TcO8bGxlciwgS0c=?=",
                "M\u{fc}ller KG",
            ),
        ] {
            let mailbox = mailbox(name);
            assert_eq!(
                header(&mailbox),
                format!("{quoted} <no-reply@app.example.org>")
            );
            assert_eq!(
                bare(&mailbox),
                format!("{plain} <no-reply@app.example.org>")
            );
        }
        assert_eq!(bare(&mailbox("<>")), "no-reply@app.example.org");
    }

    #[test]
    fn a_long_name_is_cut_into_words_between_characters() {
        let name = "\u{1f511}".repeat(32);
        let words = encoded(&name);
        let mut decoded = Vec::new();
        for word in words.split(' ') {
            assert!(word.len() <= 75, "{word}");
            let inner = word
                .strip_prefix("=?UTF-8?B?")
                .unwrap()
                .strip_suffix("?=")
                .unwrap();
            let bytes = Base64::decode_vec(inner).unwrap();
            String::from_utf8(bytes.clone()).unwrap();
            decoded.extend(bytes);
        }
        assert_eq!(decoded, name.as_bytes());
    }
}
