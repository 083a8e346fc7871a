//! What happened, as a stable code: `refused.spent`, `mail_failed.link` with the number 3.
//!
//! Each [`EventKind`] has exactly one code, written down once, in [`codes!`]: what a trail keeps
//! and what reads it back come from the same line.

use std::fmt;

use crate::audit::{EventKind, Mailing, Refused, Step, Withheld};
use crate::error::Backend;
use crate::human::Flaw;

/// The longest name of a rule, in bytes.
const MAX_RULE_BYTES: usize = 32;
/// The longest code: three words.
pub(crate) const MAX_CODE_BYTES: usize = 96;

/// The name of a rule that raises alarms: 1 to 32 of `a` to `z`, `0` to `9` and `_`.
///
/// ```
/// use password_reset::audit::RuleName;
///
/// const MANY: RuleName = RuleName::new("many_identifiers");
/// assert_eq!(RuleName::parse("many_identifiers"), Some(MANY));
/// assert_eq!(RuleName::parse("Many.Identifiers"), None);
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RuleName {
    bytes: [u8; MAX_RULE_BYTES],
    len: u8,
}

impl RuleName {
    /// A name known when the program is compiled.
    ///
    /// What is no name of a rule becomes `unnamed`; use [`parse`](Self::parse) for anything that is
    /// not a literal.
    pub const fn new(name: &'static str) -> Self {
        match Self::read(name.as_bytes()) {
            Some(name) => name,
            None => Self::new("unnamed"),
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::read(name.as_bytes())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        let (name, _) = self
            .bytes
            .split_at(usize::from(self.len).min(MAX_RULE_BYTES));
        // It is ASCII by construction.
        std::str::from_utf8(name).unwrap_or_default()
    }

    const fn read(mut name: &[u8]) -> Option<Self> {
        if name.is_empty() || name.len() > MAX_RULE_BYTES {
            return None;
        }
        let (mut bytes, mut len) = ([0; MAX_RULE_BYTES], 0_u8);
        let mut rest: &mut [u8] = &mut bytes;
        while let Some((first, after)) = name.split_first() {
            if !matches!(first, b'a'..=b'z' | b'0'..=b'9' | b'_') {
                return None;
            }
            let Some((place, others)) = rest.split_first_mut() else {
                return None;
            };
            *place = *first;
            (name, rest, len) = (after, others, len + 1);
        }
        Some(Self { bytes, len })
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RuleName({self})")
    }
}

/// A code in the making.
struct Writing {
    words: String,
    number: Option<u64>,
}

impl Writing {
    fn word(&mut self, word: &str) {
        self.words.push('.');
        self.words.push_str(word);
    }
}

/// A code, as far as it is not read yet.
struct Reading<'c> {
    words: std::str::Split<'c, char>,
    number: Option<u64>,
}

/// A field of a kind: a word of its code, or its number. `name` is the field's.
trait Part: Sized {
    fn write(&self, name: &str, code: &mut Writing);
    fn read(name: &str, code: &mut Reading<'_>) -> Option<Self>;
    /// Every value; some of them where it is a number.
    fn every() -> Vec<Self>;
}

macro_rules! word {
    ($($type:ty),+) => { $(
        impl Part for $type {
            fn write(&self, _: &str, code: &mut Writing) {
                code.word(self.as_str());
            }
            fn read(_: &str, code: &mut Reading<'_>) -> Option<Self> {
                Self::parse(code.words.next()?)
            }
            fn every() -> Vec<Self> {
                Self::ALL.to_vec()
            }
        }
    )+ };
}
word!(Withheld, Refused, Flaw, Backend, Step, Mailing);

impl Part for RuleName {
    fn write(&self, _: &str, code: &mut Writing) {
        code.word(self.as_str());
    }

    fn read(_: &str, code: &mut Reading<'_>) -> Option<Self> {
        Self::parse(code.words.next()?)
    }

    fn every() -> Vec<Self> {
        vec![
            Self::new("a"),
            Self::new("rule_name_of_32_bytes_0123456789"),
        ]
    }
}

/// Its own name, or nothing.
impl Part for bool {
    fn write(&self, name: &str, code: &mut Writing) {
        if *self {
            code.word(name);
        }
    }

    fn read(name: &str, code: &mut Reading<'_>) -> Option<Self> {
        match code.words.next() {
            None => Some(false),
            Some(word) => (word == name).then_some(true),
        }
    }

    fn every() -> Vec<Self> {
        vec![false, true]
    }
}

macro_rules! number {
    ($($type:ty = $most:expr),+) => { $(
        impl Part for $type {
            fn write(&self, _: &str, code: &mut Writing) {
                code.number = Some((*self).into());
            }
            fn read(_: &str, code: &mut Reading<'_>) -> Option<Self> {
                Self::try_from(code.number.take()?).ok()
            }
            fn every() -> Vec<Self> {
                vec![0, $most]
            }
        }
    )+ };
}
// The most that every database keeps.
number!(u32 = u32::MAX, u64 = i64::MAX.unsigned_abs());

/// From one list: kinds as codes, codes as kinds, and every kind. The first is a `match` of all
/// variants, so that a kind without a code does not compile.
macro_rules! codes {
    ($($word:literal => $variant:ident $({ $($field:ident),+ })? $(($inner:ident))?,)+) => {
        impl EventKind {
            /// The first word of every code, in the order of the story.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The first word of its code: one for each kind, whatever the cause.
            pub const fn word(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $word,)+
                }
            }

            fn write(&self) -> Writing {
                let mut code = Writing { words: self.word().to_owned(), number: None };
                match self {
                    $(Self::$variant $({ $($field),+ })? $(($inner))? => {
                        $($($field.write(stringify!($field), &mut code);)+)?
                        $($inner.write(stringify!($inner), &mut code);)?
                    })+
                }
                code
            }

            fn read(code: &mut Reading<'_>) -> Option<Self> {
                match code.words.next()? {
                    $($word => {
                        $($(let $field = Part::read(stringify!($field), code)?;)+)?
                        $(let $inner = Part::read(stringify!($inner), code)?;)?
                        Some(Self::$variant $({ $($field),+ })? $(($inner))?)
                    })+
                    _ => None,
                }
            }

            /// Every kind with every cause; where there is a number, with some, and where there is
            /// a name, with two. For tests of what stores or shows events.
            pub fn every() -> Vec<Self> {
                let mut every = Vec::new();
                $(codes! { @every every $variant [$($($field)+)?] [$($inner)?] [$($($field)+)? $($inner)?] })+
                every
            }
        }
    };
    (@every $every:ident $variant:ident [$($field:ident)*] [$($inner:ident)?] [$first:ident $($rest:ident)*]) => {
        for $first in Part::every() {
            codes! { @every $every $variant [$($field)*] [$($inner)?] [$($rest)*] }
        }
    };
    (@every $every:ident $variant:ident [] [] []) => { $every.push(Self::$variant) };
    (@every $every:ident $variant:ident [$($field:ident)+] [] []) => {
        $every.push(Self::$variant { $($field),+ })
    };
    (@every $every:ident $variant:ident [] [$inner:ident] []) => {
        $every.push(Self::$variant($inner))
    };
}

codes! {
    "requested" => Requested { suppressed },
    "unreadable" => Unreadable,
    "rate_limited" => RateLimited,
    "network_limited" => NetworkLimited,
    "global_limited" => GlobalLimited,
    "challenged" => Challenged,
    "proof_refused" => ProofRefused(why),
    "issued" => Issued,
    "withheld" => Withheld(why),
    "link_sent" => LinkSent,
    "code_sent" => CodeSent,
    "text_sent" => TextSent,
    "hint_sent" => HintSent,
    "mail_failed" => MailFailed { what, attempt },
    "dead_letter" => DeadLetter { attempts },
    "code_redeemed" => CodeRedeemed,
    "verified" => Verified,
    "refused" => Refused(why),
    "factor_proven" => FactorProven,
    "completed" => Completed,
    "settled" => Settled { by_sweep },
    "settle_pending" => SettlePending,
    "change_uncertain" => ChangeUncertain,
    "key_missing" => KeyMissing,
    "notice_sent" => NoticeSent,
    "disowned" => Disowned { revoked },
    "resumed" => Resumed,
    "started" => Started,
    "revoked" => Revoked { count },
    "sessions_ended" => SessionsEnded,
    "link_handed_over" => LinkHandedOver,
    "revived" => Revived,
    "purged" => Purged { count },
    "backend_failed" => BackendFailed { backend, step },
    "worker_panicked" => WorkerPanicked,
    "alarm" => Alarm { rule, count },
    "forgotten" => Forgotten { count },
}

impl EventKind {
    /// What happened and why, in one to three stable words: `completed`, `refused.spent`,
    /// `backend_failed.mailer.deliver`. With [`number`](Self::number) it is the whole kind, and
    /// [`from_code`](Self::from_code) reads it back.
    ///
    /// ```
    /// use password_reset::audit::{EventKind, Refused};
    ///
    /// let kind = EventKind::Refused(Refused::Spent);
    /// assert_eq!(kind.code(), "refused.spent");
    /// assert_eq!(EventKind::from_code("refused.spent", None), Some(kind));
    /// assert_eq!(EventKind::from_code("refused.by_the_weather", None), None);
    /// ```
    pub fn code(&self) -> String {
        self.write().words
    }

    /// The number that belongs to it: how many, or which try.
    pub fn number(&self) -> Option<u64> {
        self.write().number
    }

    /// Reads a code and its number, exactly as [`code`](Self::code) and [`number`](Self::number)
    /// gave them. A trail may hold codes of a newer version, so an unknown one is no defect.
    pub fn from_code(code: &str, number: Option<u64>) -> Option<Self> {
        if code.len() > MAX_CODE_BYTES {
            return None;
        }
        let mut code = Reading {
            words: code.split('.'),
            number,
        };
        let kind = Self::read(&mut code)?;
        let whole = code.words.next().is_none() && code.number.is_none();
        whole.then_some(kind)
    }
}

/// The code, and its number behind a colon: `mail_failed.link:3`.
impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.write();
        f.write_str(&code.words)?;
        code.number.map_or(Ok(()), |number| write!(f, ":{number}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_code() {
        let every = EventKind::every();
        for kind in &every {
            let (code, number) = (kind.code(), kind.number());
            assert_eq!(EventKind::from_code(&code, number), Some(*kind), "{code}");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.".contains(c);
            assert!(
                code.chars().all(plain) && code.len() <= MAX_CODE_BYTES,
                "{code}"
            );
        }
        let distinct: HashSet<_> = every.iter().map(ToString::to_string).collect();
        assert_eq!(distinct.len(), every.len());
        let words: HashSet<_> = every.iter().map(EventKind::word).collect();
        assert_eq!(words.len(), EventKind::WORDS.len());
    }

    #[test]
    fn what_is_not_exactly_a_code_is_none() {
        let long = "a".repeat(MAX_CODE_BYTES + 1);
        for (code, number) in [
            ("", None),
            ("Completed", None),
            ("completed.", None),
            ("completed.twice", None),
            ("completed", Some(1)),
            ("refused", None),
            ("refused.spent.", None),
            ("mail_failed", Some(1)),
            ("mail_failed.link", None),
            ("mail_failed.link", Some(u64::from(u32::MAX) + 1)),
            ("requested.suppressed.suppressed", None),
            ("requested.by_sweep", None),
            ("alarm.Rule", Some(1)),
            (&long, None),
        ] {
            assert_eq!(EventKind::from_code(code, number), None, "{code}");
        }
    }

    #[test]
    fn a_rule_has_a_plain_bounded_name() {
        let longest = "a".repeat(MAX_RULE_BYTES);
        assert_eq!(RuleName::parse(&longest).unwrap().as_str(), longest);
        for bad in ["", "A", "a.b", "a b", "ä", "a\n", &format!("{longest}a")] {
            assert_eq!(RuleName::parse(bad), None, "{bad}");
        }
        assert_eq!(RuleName::new("Not A Name").as_str(), "unnamed");
    }
}
