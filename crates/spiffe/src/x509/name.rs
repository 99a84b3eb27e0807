//! Distinguished names as text (RFC 4514): last component first; special and control characters are escaped, and those
//! that hide or reorder others, so that a hostile name can neither break a log line apart nor look like another.

use std::fmt::Write as _;

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use avouch_text::hex;
use avouch_text::is_printable;

/// Writes a name; an empty name is the empty text.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let rdns: Vec<_> = name.iter_rdn().collect();
    let mut out = String::new();
    for (index, rdn) in rdns.iter().rev().enumerate() {
        for (part, attribute) in rdn.iter().enumerate() {
            match (index, part) {
                (_, 1..) => out.push('+'),
                (1.., 0) => out.push(','),
                (0, 0) => {}
            }
            write_attribute(&mut out, attribute);
        }
    }
    out
}

fn write_attribute(out: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let oid = attribute.attr_type().to_id_string();
    let short = match oid.as_str() {
        "2.5.4.3" => Some("CN"),
        "2.5.4.6" => Some("C"),
        "2.5.4.7" => Some("L"),
        "2.5.4.8" => Some("ST"),
        "2.5.4.9" => Some("STREET"),
        "2.5.4.10" => Some("O"),
        "2.5.4.11" => Some("OU"),
        "0.9.2342.19200300.100.1.1" => Some("UID"),
        "0.9.2342.19200300.100.1.25" => Some("DC"),
        _ => None,
    };
    match (short, attribute.as_str()) {
        (Some(short), Ok(value)) => {
            out.push_str(short);
            out.push('=');
            write_value(out, value);
        }
        _ => {
            out.push_str(&oid);
            out.push_str("=#");
            out.push_str(&hex::encode(attribute.as_slice()));
        }
    }
}

fn write_value(out: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => {
                out.push('\\');
                out.push(c);
            }
            '#' if index == 0 => out.push_str("\\#"),
            ' ' if index == 0 || index == last => out.push_str("\\ "),
            c => push_printable(out, c),
        }
    }
}

/// A text of a certificate with its control characters escaped as in a name.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_printable(&mut out, c));
    out
}

fn push_printable(out: &mut String, c: char) {
    if !is_printable(c) {
        let mut bytes = [0; 4];
        for byte in c.encode_utf8(&mut bytes).bytes() {
            let _infallible = write!(out, "\\{byte:02x}");
        }
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_or_reorders_is_escaped_and_letters_are_not() {
        assert_eq!(printable("grün 订单"), "grün 订单");
        assert_eq!(printable("a\u{1b}[2J\nb"), "a\\1b[2J\\0ab");
        assert_eq!(printable("a\u{202e}b\u{200b}"), "a\\e2\\80\\aeb\\e2\\80\\8b");
    }
}
