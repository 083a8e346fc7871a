//! What a server answers: [`Reply`], and what it offers: [`Offers`]. No I/O.

use crate::error::Enhanced;

/// RFC 5321 asks for 512; servers are chattier.
pub(crate) const MAX_LINE_BYTES: usize = 2048;
const MAX_LINES: usize = 128;

/// One answer of one or more lines.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    lines: Vec<String>,
}

/// The server does not speak SMTP.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct NotSmtp;

impl Reply {
    /// Takes the next line; `true` when it was the last.
    pub(crate) fn push(&mut self, line: &[u8]) -> Result<bool, NotSmtp> {
        let line = line.strip_suffix(b"\n").ok_or(NotSmtp)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (digits, rest) = line.split_at_checked(3).ok_or(NotSmtp)?;
        let code = match digits {
            [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'] => std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| digits.parse().ok()),
            _ => None,
        };
        let code = code.ok_or(NotSmtp)?;
        if !self.lines.is_empty() && self.code != code || self.lines.len() >= MAX_LINES {
            return Err(NotSmtp);
        }
        self.code = code;
        let (is_last, text) = match rest.split_first() {
            None => (true, rest),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(NotSmtp),
        };
        self.lines.push(String::from_utf8_lossy(text).into_owned());
        Ok(is_last)
    }

    /// The enhanced status code that the answer begins with, if its class is that of the reply.
    pub(crate) fn enhanced(&self) -> Option<Enhanced> {
        let word = self.lines.first()?.split_ascii_whitespace().next()?;
        let mut parts = word.split('.').map(|part| match part.len() {
            1..=3 if part.bytes().all(|b| b.is_ascii_digit()) => part.parse().ok(),
            _ => None,
        });
        let code = Enhanced(parts.next()??, parts.next()??, parts.next()??);
        (parts.next().is_none() && code.0 == self.code / 100).then_some(code)
    }
}

/// The extensions that matter here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Offers {
    pub(crate) start_tls: bool,
    pub(crate) smtp_utf8: bool,
    pub(crate) eight_bit: bool,
    pub(crate) plain: bool,
    pub(crate) login: bool,
}

impl Offers {
    /// Reads the answer to `EHLO`; its first line is the server's name.
    pub(crate) fn read(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines.iter().skip(1) {
            // `AUTH=PLAIN` is an old spelling.
            let mut words = line.split([' ', '\t', '=']).map(str::to_ascii_uppercase);
            match words.next().as_deref() {
                Some("STARTTLS") => offers.start_tls = true,
                Some("SMTPUTF8") => offers.smtp_utf8 = true,
                Some("8BITMIME") => offers.eight_bit = true,
                Some("AUTH") => {
                    for mechanism in words {
                        offers.plain |= mechanism == "PLAIN";
                        offers.login |= mechanism == "LOGIN";
                    }
                }
                _ => {}
            }
        }
        offers
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn read(lines: &[&str]) -> Result<Reply, NotSmtp> {
        let mut reply = Reply::default();
        for (index, line) in lines.iter().enumerate() {
            let is_last = reply.push(line.as_bytes())?;
            assert_eq!(is_last, index + 1 == lines.len(), "{line:?}");
        }
        Ok(reply)
    }

    #[test]
    fn answers_are_read() {
        for (lines, code, enhanced) in [
            (&["250 OK\r\n"][..], 250, None),
            (&["250\r\n"], 250, None),
            (&["250 \n"], 250, None),
            (
                &["550-5.1.1 No\r\n", "550 5.1.1 such\r\n"],
                550,
                Some(Enhanced(5, 1, 1)),
            ),
            // Second digits that RFC 5321 does not have are used all the same.
            (&["571 5.7.1 No\r\n"], 571, Some(Enhanced(5, 7, 1))),
            (&["550 4.1.1 No\r\n"], 550, None),
            (&["550 5.1 No\r\n"], 550, None),
            (&["550 5.1.1.1 No\r\n"], 550, None),
            (&["550 5.1.9999 No\r\n"], 550, None),
            (&["451 \u{fffd}\r\n"], 451, None),
        ] {
            let reply = read(lines).unwrap();
            assert_eq!(
                (reply.code, reply.enhanced()),
                (code, enhanced),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn what_is_not_smtp_is_refused() {
        for lines in [
            &["\r\n"][..],
            &["25\r\n"],
            &["250 OK"],
            &["150 OK\r\n"],
            &["650 OK\r\n"],
            &["+50 OK\r\n"],
            &["250_OK\r\n"],
            &["2500 OK\r\n"],
            &["HTTP/1.1 400\r\n"],
            &["250-a\r\n", "550 b\r\n"],
        ] {
            assert_eq!(read(lines).unwrap_err(), NotSmtp, "{lines:?}");
        }
        let mut reply = Reply::default();
        let endless = std::iter::repeat_with(|| reply.push(b"250-a\r\n"));
        assert_eq!(endless.take(1000).filter(Result::is_ok).count(), MAX_LINES);
    }

    #[test]
    fn offers_are_read_in_any_case_and_blank_lines_do_no_harm() {
        let lines = [
            "250-h.example.com STARTTLS\r\n",
            "250-   \r\n",
            "250-smtputf8\r\n",
            "250-8BITMIME\r\n",
            "250-AUTH CRAM-MD5 plain\r\n",
            "250-auth=LOGIN\r\n",
            "250 XSTARTTLS\r\n",
        ];
        let wanted = Offers {
            start_tls: false,
            smtp_utf8: true,
            eight_bit: true,
            plain: true,
            login: true,
        };
        assert_eq!(Offers::read(&read(&lines).unwrap()), wanted);
    }
}
