//! What different spellings of one password have in common.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::decompose_canonical;

/// Lower case, accents split off, full-width forms made ordinary, and "l" written as "i", because
/// both are written as "1".
pub(super) fn fold(text: &str) -> impl Iterator<Item = char> {
    text.nfd()
        .map(narrow)
        .flat_map(char::to_lowercase)
        .map(|c| if c == 'l' { 'i' } else { c })
}

/// The same for one character, without an allocation: a long text is folded only as far as it
/// matters. Says of each whether it is a sign.
pub(super) fn fold_char(c: char, mut emit: impl FnMut(char, bool)) {
    if !c.is_alphanumeric() {
        // Signs and emoji have neither case nor accents, and looking for them takes a while.
        return emit(narrow(c), true);
    }
    decompose_canonical(c, |c| {
        for c in narrow(c).to_lowercase() {
            emit(if c == 'l' { 'i' } else { c }, false);
        }
    });
}

fn narrow(c: char) -> char {
    match u32::from(c) {
        wide @ 0xff01..=0xff5e => char::from_u32(wide - 0xfee0).unwrap_or(c),
        _ => c,
    }
}

/// The letter that a digit or a sign stands for.
pub(super) fn leet(c: char) -> Option<char> {
    Some(match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        _ => return None,
    })
}
