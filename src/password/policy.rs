//! What a new password must be: long enough, bounded, and not the first thing an attacker tries.
//!
//! Pure: no I/O, no clock. Every rule that a password breaks is told at once (R52), and none of
//! them asks for digits or symbols (R47).

use std::fmt;
use std::sync::LazyLock;

use secrecy::SecretString;
use zeroize::Zeroizing;

#[cfg(feature = "zxcvbn")]
use super::Strength;
use super::fold::{fold, leet};
use super::{Blocklist, MAX_PASSWORD_BYTES, NewPassword, normalize};

/// The rules for a new password.
///
/// The default asks for 15 to 256 code points, because the password is the only factor (NIST SP
/// 800-63B-4, R45, R46). It can be made stricter; what would make it weaker than the standard is an
/// error.
///
/// ```
/// use password_reset::password::{Context, Policy, Violation};
///
/// let policy = Policy::default().context_words(["Acme"]);
/// let refused = policy.parse("acme 1", &Context::default()).unwrap_err();
/// assert_eq!(refused.violations(), [Violation::TooShort { min: 15 }, Violation::ContextWord]);
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    floor: usize,
    min: usize,
    max: usize,
    hasher_bytes: Option<usize>,
    host: Words,
    blocklist: Blocklist,
    #[cfg(feature = "zxcvbn")]
    strength: Option<Strength>,
}

impl Policy {
    /// The rules for accounts that can only be entered with a second factor: the minimum falls to 8
    /// (R45).
    ///
    /// Use it only where the second factor is *enforced* at login for every account that this
    /// policy judges.
    pub fn with_second_factor_enforced() -> Self {
        Self {
            floor: FLOOR_WITH_SECOND_FACTOR,
            min: FLOOR_WITH_SECOND_FACTOR,
            ..Self::default()
        }
    }

    /// Sets the least number of code points.
    ///
    /// ```
    /// use password_reset::password::Policy;
    ///
    /// assert!(Policy::default().min_chars(20).is_ok());
    /// assert!(Policy::default().min_chars(14).is_err());
    /// assert!(Policy::with_second_factor_enforced().min_chars(7).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// - [`PolicyError::MinTooLow`] below 15, or below 8 with an enforced second factor (R45).
    /// - [`PolicyError::MinAboveMax`] above the maximum.
    pub fn min_chars(self, min: usize) -> Result<Self, PolicyError> {
        if min < self.floor {
            return Err(PolicyError::MinTooLow { floor: self.floor });
        }
        Self { min, ..self }.ordered()
    }

    /// Sets the greatest number of code points.
    ///
    /// # Errors
    ///
    /// - [`PolicyError::MaxTooLow`] below 64: people's passphrases and password managers need the
    ///   room (R46).
    /// - [`PolicyError::MaxTooHigh`] above 1,024.
    /// - [`PolicyError::MinAboveMax`] below the minimum.
    pub fn max_chars(self, max: usize) -> Result<Self, PolicyError> {
        if max < LOWEST_MAX {
            return Err(PolicyError::MaxTooLow { floor: LOWEST_MAX });
        }
        if max > MAX_PASSWORD_BYTES {
            return Err(PolicyError::MaxTooHigh {
                ceiling: MAX_PASSWORD_BYTES,
            });
        }
        Self { max, ..self }.ordered()
    }

    /// Takes over the hasher's limit
    /// ([`PasswordHasher::max_bytes`](super::PasswordHasher::max_bytes)).
    ///
    /// bcrypt reads 72 bytes and drops the rest, so two passwords with the same beginning open the
    /// same door. A password beyond the limit is refused, never cut (R48, W59).
    pub fn max_bytes_of_hasher(self, max: impl Into<Option<usize>>) -> Self {
        Self {
            hasher_bytes: max.into(),
            ..self
        }
    }

    /// Adds words that an attacker of this service tries first: its name, its company, its product
    /// (R51).
    ///
    /// Words of one account belong in the [`Context`].
    pub fn context_words<I>(mut self, words: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        for word in words {
            // Not limited in number: this is configuration, not input.
            self.host.add(word.as_ref(), usize::MAX);
        }
        self
    }

    /// Another list of passwords that attackers try first; by default the bundled one (R50).
    ///
    /// ```
    /// use password_reset::password::{Blocklist, Policy};
    ///
    /// let ours = Blocklist::default().with(["our old wifi password"]);
    /// let policy = Policy::default().blocklist(ours);
    /// ```
    pub fn blocklist(self, blocklist: Blocklist) -> Self {
        Self { blocklist, ..self }
    }

    /// Goes without a list.
    ///
    /// # Security
    ///
    /// NIST SP 800-63B-4 and ASVS 6.2.4 ask for one: long passwords are guessed from lists, not
    /// one character after the other.
    pub fn danger_without_blocklist(self) -> Self {
        Self {
            blocklist: Blocklist::none(),
            ..self
        }
    }

    /// Asks for a password that the estimator zxcvbn finds hard to guess; by default nobody asks.
    ///
    /// A check of a password then takes up to a millisecond, not some microseconds. Only the first
    /// 32 characters are looked at.
    ///
    /// ```
    /// use password_reset::password::{Context, Policy, Strength, Violation};
    ///
    /// let policy = Policy::default().min_strength(Strength::Strong);
    /// let refused = policy.parse("september september", &Context::default()).unwrap_err();
    /// assert_eq!(refused.violations(), [Violation::Guessable]);
    /// ```
    #[cfg(feature = "zxcvbn")]
    pub fn min_strength(self, strength: Strength) -> Self {
        Self {
            strength: Some(strength),
            ..self
        }
    }

    /// The least number of code points, for a form's `minlength` and its hint (R83).
    pub fn min(&self) -> usize {
        self.min
    }

    /// The greatest number of code points, for `passwordrules`; not for `maxlength`, which cuts
    /// without a word.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Judges what a person typed and normalises it.
    ///
    /// Costs microseconds and touches nothing, so do it before a token is spent (R52).
    ///
    /// # Errors
    ///
    /// [`PasswordRejected`] with every rule that was broken. Input over [`MAX_PASSWORD_BYTES`] is
    /// refused before anything else looks at it, so then that is the only one.
    pub fn parse(&self, raw: &str, context: &Context) -> Result<NewPassword, PasswordRejected> {
        // Before any other work, normalising included (R44, W26).
        if raw.len() > MAX_PASSWORD_BYTES {
            return Err(PasswordRejected::of(Violation::TooManyBytes {
                max: MAX_PASSWORD_BYTES,
            }));
        }
        let normalized = normalize(raw);
        self.judge(&normalized, context)?;
        // From `&str`, because that copies at exact capacity: no reallocation, no unwiped
        // remainder.
        Ok(NewPassword(SecretString::from(normalized.as_str())))
    }

    /// Judges a password again, as the reset does before it hashes.
    ///
    /// The first judgement may have come from another policy, or without the account's own context
    /// words.
    ///
    /// # Errors
    ///
    /// [`PasswordRejected`] with every rule that was broken.
    pub fn recheck(
        &self,
        password: &NewPassword,
        context: &Context,
    ) -> Result<(), PasswordRejected> {
        self.judge(password.expose(), context)
    }

    fn judge(&self, normalized: &str, context: &Context) -> Result<(), PasswordRejected> {
        // Normalising can make a string longer, so bytes are counted again (W26).
        if normalized.len() > MAX_PASSWORD_BYTES {
            return Err(PasswordRejected::of(Violation::TooManyBytes {
                max: MAX_PASSWORD_BYTES,
            }));
        }

        let mut violations = Vec::new();
        // Each code point counts as one, whatever it weighs (R45).
        let chars = normalized.chars().count();
        if chars < self.min {
            violations.push(Violation::TooShort { min: self.min });
        }
        if chars > self.max {
            violations.push(Violation::TooLong { max: self.max });
        }
        if let Some(max) = self.hasher_bytes.filter(|max| normalized.len() > *max) {
            violations.push(Violation::TooManyBytes { max });
        }
        if normalized.chars().any(char::is_control) {
            violations.push(Violation::ControlCharacter);
        }
        if is_made_of(normalized, &[&self.host, &context.0]) {
            violations.push(Violation::ContextWord);
        } else if is_predictable(normalized) {
            violations.push(Violation::Predictable);
        } else if self.is_common(normalized, context) {
            violations.push(Violation::Common);
        }
        #[cfg(feature = "zxcvbn")]
        if violations.is_empty() && self.strength.is_some_and(|least| !least.is_met(normalized)) {
            violations.push(Violation::Guessable);
        }

        if violations.is_empty() {
            Ok(())
        } else {
            Err(PasswordRejected { violations })
        }
    }

    /// What attackers try first: the list, and the words that everybody puts beside a name, as in
    /// "AcmePassword2026!".
    fn is_common(&self, normalized: &str, context: &Context) -> bool {
        self.blocklist.contains(normalized)
            || (!self.blocklist.is_empty()
                && is_made_of(normalized, &[&self.host, &context.0, &USUAL]))
    }

    fn ordered(self) -> Result<Self, PolicyError> {
        if self.min > self.max {
            Err(PolicyError::MinAboveMax)
        } else {
            Ok(self)
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            floor: FLOOR,
            min: FLOOR,
            max: DEFAULT_MAX,
            hasher_bytes: None,
            host: Words::default(),
            blocklist: Blocklist::default(),
            #[cfg(feature = "zxcvbn")]
            strength: None,
        }
    }
}

/// The words of one account that an attacker tries first: user name, e-mail address, real name
/// (R51).
///
/// A password is refused if it consists of such words and nothing but digits and separators beside
/// them, whatever the case and however often they are repeated. A passphrase that merely contains
/// one is fine.
///
/// ```
/// use password_reset::password::{Context, Policy};
///
/// let context = Context::default().word("jane.doe@acme.example.org");
/// let policy = Policy::default();
/// assert!(policy.parse("J4neD0e-@cme-2026", &context).is_err());
/// assert!(policy.parse("jane feeds seven owls", &context).is_ok());
/// ```
#[derive(Clone, Default)]
pub struct Context(Words);

impl Context {
    /// Adds a word. Of an e-mail address also the local part, the domain and its labels except the
    /// last; of any word also its parts between separators.
    ///
    /// At most 32 words are kept, of 254 bytes each; what goes beyond is ignored, so put the most
    /// telling first.
    #[must_use]
    pub fn word(mut self, word: impl AsRef<str>) -> Self {
        self.0.add(word.as_ref(), MAX_WORDS);
        self
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Context").field(&self.0).finish()
    }
}

/// The password was refused. Tell the person why: [`PasswordRejected::violations`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the password does not meet the policy")]
#[non_exhaustive]
pub struct PasswordRejected {
    violations: Vec<Violation>,
}

impl PasswordRejected {
    /// Every rule that was broken, so that nobody has to try again for each of them (R52).
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn of(violation: Violation) -> Self {
        Self {
            violations: vec![violation],
        }
    }
}

/// One broken rule. Its `Display` is advice to the person who typed the password.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Fewer code points than the policy asks for.
    #[error("use at least {min} characters")]
    TooShort {
        /// The least number of code points.
        min: usize,
    },
    /// More code points than the policy allows.
    #[error("use at most {max} characters")]
    TooLong {
        /// The greatest number of code points.
        max: usize,
    },
    /// More bytes than this crate or the hasher takes.
    #[error("use at most {max} bytes; accented letters, other scripts and emoji take several each")]
    TooManyBytes {
        /// The greatest number of bytes in UTF-8.
        max: usize,
    },
    /// Made of nothing but names that belong to the account or the service.
    #[error("do not build it only from your name, your address or the name of this service")]
    ContextWord,
    /// One character repeated, or a plain sequence.
    #[error("do not repeat one piece over and over, and do not follow a sequence such as 123456")]
    Predictable,
    /// Among those that attackers try first, or a simple change of one (R50).
    #[error("attackers try this one first; take several words that do not belong together")]
    Common,
    /// Easier to guess than the policy's [`Strength`](Policy) asks for.
    #[error("it is easy to guess; add another word or two that nobody would expect")]
    Guessable,
    /// Known from a breach of some service ([`BreachCheck`](super::BreachCheck)).
    #[error("it is in a collection of leaked passwords; take one that was never used anywhere")]
    Breached,
    /// The account's present password.
    #[error("this is the present password; choose a new one")]
    Unchanged,
    /// One of the account's last passwords ([`PasswordHistory`](super::PasswordHistory)).
    #[error("this password was used here before; choose a new one")]
    Reused,
    /// Holds a character that cannot be typed again reliably, such as a tab, a line break or NUL.
    #[error("remove tabs, line breaks and other control characters")]
    ControlCharacter,
}

impl Violation {
    /// One word, stable: for programs, and the key of its text in
    /// [`Texts`](crate::text::Texts).
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too_short",
            Self::TooLong { .. } => "too_long",
            Self::TooManyBytes { .. } => "too_many_bytes",
            Self::ContextWord => "context_word",
            Self::Predictable => "predictable",
            Self::Common => "common",
            Self::Guessable => "guessable",
            Self::Breached => "breached",
            Self::Unchanged => "unchanged",
            Self::Reused => "reused",
            Self::ControlCharacter => "control_character",
        }
    }
}

/// This policy would be weaker than the standard, or could accept nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The minimum is below what is safe.
    #[error("the minimum must be at least {floor} characters")]
    MinTooLow {
        /// The lowest minimum that this policy allows.
        floor: usize,
    },
    /// The maximum would refuse good passphrases.
    #[error("the maximum must be at least {floor} characters")]
    MaxTooLow {
        /// The lowest maximum.
        floor: usize,
    },
    /// The maximum is above what is ever read.
    #[error("the maximum must be at most {ceiling} characters")]
    MaxTooHigh {
        /// The highest maximum.
        ceiling: usize,
    },
    /// No password could be accepted.
    #[error("the minimum is above the maximum")]
    MinAboveMax,
}

const FLOOR: usize = 15;
const FLOOR_WITH_SECOND_FACTOR: usize = 8;
const DEFAULT_MAX: usize = 256;
const LOWEST_MAX: usize = 64;

const MAX_WORDS: usize = 32;
const MAX_WORD_BYTES: usize = 254;
/// One address full of dots must not push the other words out.
const MAX_PARTS: usize = 8;
/// One `u128` holds the matcher's state for one form.
const FORM_CHARS: usize = 128;

/// Context words in the forms that are looked for.
#[derive(Clone, Default)]
struct Words {
    count: usize,
    forms: Vec<Form>,
}

/// One form, ready for the matcher: for each of its letters the positions at which it stands.
#[derive(Clone, Eq, PartialEq)]
struct Form {
    places: Vec<(char, u128)>,
    last: u128,
}

impl Form {
    fn new(piece: &[char]) -> Self {
        let mut places: Vec<(char, u128)> = Vec::new();
        let mut place = 1_u128;
        let mut last = 0;
        for letter in piece {
            match places.iter_mut().find(|(known, _)| known == letter) {
                Some((_, set)) => *set |= place,
                None => places.push((*letter, place)),
            }
            last = place;
            place <<= 1;
        }
        Self { places, last }
    }

    fn places(&self, letter: char) -> u128 {
        let found = self.places.iter().find(|(known, _)| *known == letter);
        found.map_or(0, |(_, set)| *set)
    }
}

/// What people put beside a name to make it longer. Alone, or with words of the context, and with
/// digits and signs as ever, these make no password.
static USUAL: LazyLock<Words> = LazyLock::new(|| {
    let mut words = Words::default();
    for word in [
        "password",
        "passwort",
        "passwd",
        "pass",
        "motdepasse",
        "contrasena",
        "senha",
        "welcome",
        "login",
        "admin",
        "administrator",
        "user",
        "account",
        "reset",
        "secret",
        "changeme",
        "temporary",
        "spring",
        "summer",
        "autumn",
        "winter",
    ] {
        words.add_one(word, usize::MAX);
    }
    words
});

impl Words {
    fn add(&mut self, word: &str, max: usize) {
        let word = word.trim();
        if word.len() > MAX_WORD_BYTES {
            return;
        }
        // The whole address is not added: it is its local part followed by its domain, and words
        // side by side are found anyway.
        if let Some((local, domain)) = word.rsplit_once('@') {
            self.add_one(local, max);
            self.add_one(domain, max);
            self.add_parts(local, max);
            let labels = domain.rsplit_once('.').map_or(domain, |(labels, _)| labels);
            self.add_parts(labels, max);
        } else {
            self.add_one(word, max);
            self.add_parts(word, max);
        }
    }

    fn add_parts(&mut self, word: &str, max: usize) {
        for part in word.split(|c: char| !c.is_alphanumeric()).take(MAX_PARTS) {
            self.add_one(part, max);
        }
    }

    fn add_one(&mut self, word: &str, max: usize) {
        if self.count >= max {
            return;
        }
        let plain = fold(word).filter(|c| c.is_alphanumeric()).collect();
        let letters = fold(word).filter(|c| c.is_alphabetic()).collect();
        let spelled = fold(word)
            .filter_map(|c| leet(c).or_else(|| c.is_alphanumeric().then_some(c)))
            .collect();
        let before = self.forms.len();
        for form in [plain, letters, spelled] {
            self.add_form(form);
        }
        if self.forms.len() > before {
            self.count += 1;
        }
    }

    fn add_form(&mut self, form: Vec<char>) {
        // A single Latin letter or digit says nothing; a single ideograph can be a name.
        if form.iter().map(|c| c.len_utf8()).sum::<usize>() < 2 {
            return;
        }
        // A longer form is looked for as its pieces side by side.
        for piece in form.chunks(FORM_CHARS) {
            let form = Form::new(piece);
            if !self.forms.contains(&form) {
                self.forms.push(form);
            }
        }
    }
}

/// Names and addresses are personal data: only their number is shown.
impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Words")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// One character of a password, as the matcher sees it.
struct Token {
    literal: char,
    letter: Option<char>,
    /// Digits and signs may stand for a letter, or for nothing at all.
    optional: bool,
}

fn token(c: char) -> Option<Token> {
    if c.is_alphabetic() {
        return Some(Token {
            literal: c,
            letter: None,
            optional: false,
        });
    }
    let letter = leet(c);
    // What is neither letter, digit nor leet is a separator, and stands for nothing.
    (letter.is_some() || c.is_numeric()).then_some(Token {
        literal: c,
        letter,
        optional: true,
    })
}

/// Whether the whole password is a row of these words, with nothing but digits and separators
/// between, within and around them (R51).
///
/// All words advance together over one pass, each with one bit for every position it may have
/// reached (the Shift-And algorithm), so that leet digits need no guessing and no input makes it
/// backtrack.
fn is_made_of(password: &str, words: &[&Words]) -> bool {
    let forms: Vec<&Form> = words.iter().flat_map(|words| &words.forms).collect();
    if forms.is_empty() {
        return false;
    }
    // The bits follow the password, so they are wiped with it.
    let mut reached = Zeroizing::new(vec![0_u128; forms.len()]);
    let mut nothing_yet = true;
    let mut row_of_words = false;

    for token in fold(password).filter_map(token) {
        let may_start = u128::from(nothing_yet || row_of_words);
        let mut word_ends = false;
        let mut alive = false;
        for (form, bits) in forms.iter().zip(reached.iter_mut()) {
            let may_advance = (*bits << 1) | may_start;
            let advanced = if may_advance == 0 {
                0
            } else {
                let places =
                    form.places(token.literal) | token.letter.map_or(0, |c| form.places(c));
                may_advance & places
            };
            word_ends |= advanced & form.last != 0;
            *bits = if token.optional {
                advanced | *bits
            } else {
                advanced
            };
            alive |= *bits != 0;
        }
        nothing_yet &= token.optional;
        row_of_words = word_ends || (row_of_words && token.optional);
        // Nothing that follows can make it a row of words again.
        if !(alive || nothing_yet || row_of_words) {
            return false;
        }
    }
    row_of_words
}

/// One character repeated, or every character the successor (or the predecessor) of the one before,
/// with 9 followed by 0 and z by a.
fn is_predictable(password: &str) -> bool {
    if password.chars().nth(2).is_none() {
        return false; // Two characters make no pattern, and are too short anyway.
    }
    let every_pair = |rule: fn(char, char) -> bool| {
        let lower = || password.chars().flat_map(char::to_lowercase);
        lower().zip(lower().skip(1)).all(|(a, b)| rule(a, b))
    };
    every_pair(|a, b| a == b)
        || every_pair(follows)
        || every_pair(|a, b| follows(b, a))
        || is_repeated(password)
}

/// One short piece, over and over: `passwordpassword`, `123123123123123`.
fn is_repeated(password: &str) -> bool {
    const LONGEST_PIECE: usize = 8;
    let letters: zeroize::Zeroizing<Vec<char>> =
        zeroize::Zeroizing::new(password.chars().flat_map(char::to_lowercase).collect());
    let longest = LONGEST_PIECE.min(letters.len() / 2);
    (1..=longest).any(|piece| {
        letters
            .iter()
            .zip(letters.iter().skip(piece))
            .all(|(a, b)| a == b)
    })
}

fn follows(a: char, b: char) -> bool {
    matches!((a, b), ('9', '0') | ('z', 'a')) || u32::from(a).checked_add(1) == Some(u32::from(b))
}

#[cfg(test)]
mod tests;
