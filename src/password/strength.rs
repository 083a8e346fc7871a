//! How hard a password is to guess, by estimate: [`Strength`].

use zeroize::Zeroizing;

/// What the estimator zxcvbn has to find at least. It knows words, names, dates, keyboard rows and
/// what people do with them, in English for the most part.
///
/// An estimate is not a proof: it takes a row of common words of a language that it does not know
/// for a good password. It comes on top of the [`Blocklist`](super::Blocklist), not in its place.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Strength {
    /// Over a million guesses: enough against guessing at a login that counts tries.
    Fair,
    /// Over a hundred million guesses.
    Good,
    /// Over ten thousand million guesses: takes a while even for who stole the hashes.
    Strong,
}

impl Strength {
    /// How much of a password is estimated. The work grows with the square of the length, and 32
    /// characters of anything are strong by then, or too uniform.
    const MAX_CHARS: usize = 32;

    pub(super) fn is_met(self, normalized: &str) -> bool {
        let mut head = Zeroizing::new(String::with_capacity(4 * Self::MAX_CHARS));
        head.extend(normalized.chars().take(Self::MAX_CHARS).map(tame));
        let score = u8::from(zxcvbn::zxcvbn(&head, &[]).score());
        let least = match self {
            Self::Fair => 2,
            Self::Good => 3,
            Self::Strong => 4,
        };
        score >= least
    }
}

/// The estimator tries every way of reading signs as letters: a password of nothing but such signs
/// took it 30 ms at 32 characters, 350 ms at a hundred (W26). Two are read for it, the others
/// become signs that stand for no letter.
fn tame(c: char) -> char {
    match c {
        '@' => 'a',
        '$' => 's',
        '(' => ')',
        '{' => '}',
        '[' => ']',
        '<' => '>',
        '|' => '/',
        '+' => '=',
        '%' => '#',
        '!' => '?',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::{Context, Policy, Violation};

    #[test]
    fn what_is_easy_to_guess_is_refused_with_a_reason() {
        let policy = Policy::default().min_strength(Strength::Strong);
        let judge = |raw: &str| policy.parse(raw, &Context::default());
        for raw in ["september september", "iloveyou so much"] {
            let refused = judge(raw).map(|_| ()).map_err(|e| e.violations().to_vec());
            assert_eq!(refused, Err(vec![Violation::Guessable]), "{raw}");
            assert!(Policy::default().parse(raw, &Context::default()).is_ok());
        }
        assert!(judge("seven quiet owls at noon").is_ok());
    }

    #[test]
    fn the_scores_are_in_order() {
        let raw = "tr0ub4dour&3";
        let met = [Strength::Fair, Strength::Good, Strength::Strong].map(|least| least.is_met(raw));
        assert!(met.is_sorted_by(|lower, higher| lower >= higher), "{met:?}");
        assert!(Strength::Fair < Strength::Strong);
    }

    #[test]
    fn only_the_head_of_a_long_password_is_looked_at() {
        // W26: the estimate of the tail would cost the most and say the least.
        let uniform = "ab".repeat(16);
        assert!(!Strength::Fair.is_met(&uniform));
        assert!(!Strength::Fair.is_met(&format!("{uniform}seven quiet owls at noon")));
        assert!(Strength::Strong.is_met(&format!("seven quiet owls at noon{uniform}")));
    }
}
