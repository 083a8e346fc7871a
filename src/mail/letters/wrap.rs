//! Lines of plain text that fit any mail program: [`wrap`].

/// As wide as a line of mail may be without being broken on the way or quoted badly.
pub(super) const COLUMNS: usize = 72;

/// Breaks lines so that they fit: at spaces, and between ideographs. A word that is longer stands
/// alone.
pub(super) fn wrap(text: &str) -> String {
    let mut wrapped = String::with_capacity(text.len() + 16);
    for line in text.lines() {
        let mut column = 0;
        for piece in pieces(line) {
            let word = piece.trim_end_matches(' ');
            if column > 0 && column + columns(word) > COLUMNS {
                let kept = wrapped.trim_end_matches(' ').len();
                wrapped.truncate(kept);
                wrapped.push('\n');
                column = 0;
            }
            wrapped.push_str(piece);
            column += columns(piece);
        }
        wrapped.push('\n');
    }
    wrapped
}

/// A line, cut wherever it may be broken: behind a space, and beside an ideograph or kana unless
/// what follows may not begin a line.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    const NEVER_FIRST: &str = "、。，．：；？！）」』】〉》ーぁぃぅぇぉっゃゅょァィゥェォッャュョ";
    const NEVER_LAST: &str = "（「『【〈《";
    let mut rest = line;
    std::iter::from_fn(move || {
        let mut chars = rest.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let Some((_, next)) = chars.peek().copied() else {
                break;
            };
            let beside = (is_wide(c) || is_wide(next))
                && next != ' '
                && !NEVER_FIRST.contains(next)
                && !NEVER_LAST.contains(c);
            if (c == ' ' && next != ' ') || beside {
                let (piece, behind) = rest.split_at_checked(at + c.len_utf8())?;
                rest = behind;
                return Some(piece);
            }
        }
        let piece = std::mem::take(&mut rest);
        (!piece.is_empty()).then_some(piece)
    })
}

pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

/// Takes two columns in a mail program: kana, ideographs, and full-width forms.
fn is_wide(c: char) -> bool {
    matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ff60}' | '\u{20000}'..='\u{3fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_between_ideographs() {
        let spaced = format!("{} end", "word ".repeat(20).trim_end());
        assert!(wrap(&spaced).lines().all(|line| line.len() <= COLUMNS));
        assert_eq!(wrap(&spaced).replace('\n', " ").trim_end(), spaced);
        let dense = "この度は、".repeat(20);
        let wrapped = wrap(&dense);
        assert!(
            wrapped.lines().count() > 2 && wrapped.lines().all(|line| columns(line) <= COLUMNS)
        );
        assert!(!wrapped.lines().any(|line| line.starts_with('、')));
        assert_eq!(wrapped.replace('\n', ""), dense);
        assert_eq!(wrap(""), "");
        assert_eq!(wrap("\n a\n"), "\n a\n");
    }
}
