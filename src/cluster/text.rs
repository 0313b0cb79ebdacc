//! Text that a cluster chose, made harmless: one line, bounded, nothing that a terminal would obey.

/// `text` without control characters (and the invisible ones that reorder a line), at most `chars_max` long.
pub(super) fn plain(text: &str, chars_max: usize) -> String {
    let mut plain: String = String::new();
    for (count, char) in text.chars().enumerate() {
        if count == chars_max {
            plain.push('…');
            break;
        }
        plain.push(if char.is_control() || is_invisible(char) { ' ' } else { char });
    }
    plain
}

/// Like [`plain`], but lines stay lines: for log tails.
pub(super) fn plain_lines(text: &str) -> String {
    text.chars()
        .map(|char| if char != '\n' && (char.is_control() || is_invisible(char)) { ' ' } else { char })
        .collect()
}

/// Marks that turn the direction of writing or hide in a name.
fn is_invisible(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_bells_and_direction_marks_do_not_survive() {
        assert_eq!(plain("a\u{1b}[31mb\u{7}\u{0}\r\nc\u{202e}d", 100), "a [31mb    c d");
        assert_eq!(plain_lines("a\u{1b}[2J\nb\tc"), "a [2J\nb c");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        assert_eq!(plain("äöüß", 2), "äö…");
        assert_eq!(plain("äö", 2), "äö");
    }
}
