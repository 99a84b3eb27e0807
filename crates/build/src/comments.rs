//! Makes a proto comment harmless as a Rust doc comment.
//!
//! Proto authors write plain text; rustdoc reads Markdown, tries to compile indented blocks as doctests and, under
//! `-D warnings`, fails on `<T>`, `[x]` and bare URLs. Code spans and fenced blocks keep their content.

/// Deepest indentation that Markdown still takes for text.
const MAX_INDENT: usize = 3;

/// `comment`, line by line, as text that rustdoc shows as it was written.
pub(crate) fn for_rustdoc(comment: &str) -> String {
    let mut out = String::with_capacity(comment.len() + 16);
    let mut fenced = false;
    for line in comment.lines() {
        let text = line.trim_start();
        if text.starts_with("```") || text.starts_with("~~~") {
            fenced = !fenced;
            // A fence without a language would be compiled as Rust.
            out.push_str(if fenced { " ```text" } else { " ```" });
        } else if fenced {
            out.push_str(line);
        } else {
            let indent = (line.len() - text.len()).min(MAX_INDENT);
            out.extend(std::iter::repeat_n(' ', indent));
            escape(text, &mut out);
        }
        out.push('\n');
    }
    if fenced {
        out.push_str(" ```\n");
    }
    out
}

/// Escapes what stands outside of code spans. A back-tick without a partner opens no span.
fn escape(text: &str, out: &mut String) {
    let pieces: Vec<_> = text.split('`').collect();
    let last = pieces.len() - 1;
    for (index, piece) in pieces.iter().enumerate() {
        let code = index % 2 == 1 && index != last;
        if index > 0 {
            let unpaired = index == last && last % 2 == 1;
            out.push_str(if unpaired { "\\`" } else { "`" });
        }
        if code {
            out.push_str(piece);
            continue;
        }
        let mut rest = *piece;
        while let Some(c) = rest.chars().next() {
            // Splitting "://" keeps both rustdoc and prost's own clean-up from taking it for a link.
            let escaped = matches!(c, '<' | '>' | '[' | ']') || rest.starts_with("://");
            if escaped && !out.ends_with('\\') {
                out.push('\\');
            }
            out.push(c);
            rest = rest.strip_prefix(c).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(
            for_rustdoc(" Moves money, once.\n Never twice.\n"),
            " Moves money, once.\n Never twice.\n"
        );
    }

    #[test]
    fn angle_and_square_brackets_and_urls_are_escaped() {
        assert_eq!(
            for_rustdoc(" Vec<T>, see [1] and https://x.example/a"),
            " Vec\\<T\\>, see \\[1\\] and https\\://x.example/a\n"
        );
    }

    #[test]
    fn what_is_escaped_already_is_not_escaped_twice() {
        assert_eq!(for_rustdoc(" a \\[b\\]"), " a \\[b\\]\n");
    }

    #[test]
    fn code_spans_keep_their_content() {
        assert_eq!(for_rustdoc(" `Vec<T>` and <T>"), " `Vec<T>` and \\<T\\>\n");
    }

    #[test]
    fn a_lonely_backtick_opens_no_code_span() {
        assert_eq!(for_rustdoc(" it`s <T>"), " it\\`s \\<T\\>\n");
    }

    #[test]
    fn indented_text_does_not_become_a_doctest() {
        assert_eq!(for_rustdoc(" As:\n\n        let x = 1;\n"), " As:\n\n   let x = 1;\n");
    }

    #[test]
    fn fenced_blocks_are_marked_as_text_and_closed() {
        assert_eq!(for_rustdoc(" ```\n x<y>[0]\n ```\n"), " ```text\n x<y>[0]\n ```\n");
        assert_eq!(for_rustdoc(" ```rust\n panic!()"), " ```text\n panic!()\n ```\n");
    }
}
