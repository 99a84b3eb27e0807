//! The readings of a line: as text with escapes, as base64, as hexadecimal and as decimal numbers.

/// The first reading of a line in which `found` finds something.
pub(super) fn of(line: &str, found: &mut impl FnMut(&[u8]) -> bool) -> Option<&'static str> {
    // Quoted by Debug or as JSON, perhaps twice; broken into lines or by blanks; in UTF-16.
    let once = unescaped(line);
    let plain = unescaped(&once);
    let joined: Vec<u8> =
        plain.bytes().filter(|octet| !octet.is_ascii_whitespace() && !octet.is_ascii_control()).collect();
    // Octets that are escaped one by one; a backslash may be one of them.
    let octets = |text: &str| text.chars().filter_map(|c| u8::try_from(c).ok()).collect::<Vec<u8>>();
    if found(plain.as_bytes()) || found(&joined) || found(&octets(&once)) || found(&octets(&plain)) {
        return Some("text");
    }
    for text in [plain.as_bytes(), &joined] {
        if runs(text, is_base64, 20)
            .any(|run| (0..4).any(|skip| found(&base64(run.get(skip..).unwrap_or_default()))))
        {
            return Some("base64");
        }
    }
    let digits: Vec<u8> =
        joined.iter().copied().filter(|octet| !matches!(octet, b':' | b',' | b'-' | b'_')).collect();
    let without_marks = String::from_utf8_lossy(&digits).replace("0x", "").replace("0X", "");
    for text in [&digits, without_marks.as_bytes()] {
        if runs(text, u8::is_ascii_hexdigit, 32)
            .any(|run| (0..2).any(|skip| found(&hex(run.get(skip..).unwrap_or_default()))))
        {
            return Some("hexadecimal");
        }
    }
    numbers(&plain, found).then_some("decimal numbers")
}

/// The text with the escapes of Rust, C and JSON taken for what they mean; what is none stays.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let mut chars = after.chars();
        let code = |digits: Option<&str>| digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let (c, length) = match chars.next() {
            Some('n') => (Some('\n'), 1),
            Some('r') => (Some('\r'), 1),
            Some('t') => (Some('\t'), 1),
            Some('0') => (Some('\0'), 1),
            Some(c @ ('\\' | '/' | '"' | '\'')) => (Some(c), 1),
            Some('x') => (code(after.get(1..3)).and_then(char::from_u32), 3),
            Some('u') => match after.get(1..).and_then(|braced| braced.strip_prefix('{')?.split_once('}')) {
                Some((digits, _)) => (code(Some(digits)).and_then(char::from_u32), digits.len() + 3),
                None => (code(after.get(1..5)).and_then(char::from_u32), 5),
            },
            _ => (None, 0),
        };
        match c {
            Some(c) => plain.push(c),
            None => plain.push('\\'),
        }
        rest = after.get(if c.is_some() { length } else { 0 }..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}

/// The longest pieces of the text, of at least so many octets, that consist of what `of` takes.
fn runs<'a>(text: &'a [u8], of: impl Fn(&u8) -> bool + 'a, least: usize) -> impl Iterator<Item = &'a [u8]> {
    text.split(move |octet| !of(octet)).filter(move |run| run.len() >= least)
}

fn is_base64(octet: &u8) -> bool {
    sextet(*octet).is_some()
}

/// The value of a character of base64 or base64url.
fn sextet(octet: u8) -> Option<u8> {
    match octet {
        b'A'..=b'Z' => Some(octet - b'A'),
        b'a'..=b'z' => Some(octet - b'a' + 26),
        b'0'..=b'9' => Some(octet - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// What a run encodes if it begins with a whole group; ends with the last whole octet.
fn base64(run: &[u8]) -> Vec<u8> {
    let sextets: Vec<u8> = run.iter().filter_map(|octet| sextet(*octet)).collect();
    let mut octets = Vec::with_capacity(sextets.len());
    for group in sextets.chunks(4) {
        let bits = group.iter().fold(0_u32, |bits, sextet| bits << 6 | u32::from(*sextet))
            << (6 * (4 - group.len()));
        let [_, a, b, c] = bits.to_be_bytes();
        octets.extend([a, b, c].iter().take(group.len() - 1));
    }
    octets
}

fn hex(run: &[u8]) -> Vec<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = run.chunks_exact(2);
    pairs.filter_map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.last()?)?)).collect()
}

/// Whether `found` finds something in a row of numbers below 256, whatever is between them.
fn numbers(text: &str, found: &mut impl FnMut(&[u8]) -> bool) -> bool {
    let mut row: Vec<u8> = Vec::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        match word.trim_end_matches("u8").parse() {
            Ok(number) => row.push(number),
            Err(_) => {
                if row.len() >= super::PIECE && found(&row) {
                    return true;
                }
                row.clear();
            }
        }
    }
    row.len() >= super::PIECE && found(&row)
}
