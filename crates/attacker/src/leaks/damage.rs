//! The ways in which the file of a key or a token gets damaged when it is copied.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Every way in which a text is damaged or put into another form, by name. Some readers take some of them.
#[must_use]
pub fn damaged(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let utf16 = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    let marked = |mark: &[u8], rest: Vec<u8>| [mark, &rest].concat();
    let escaped = text.replace('\n', "\\n");
    let middle = text.len() / 2;
    let mut all = vec![
        ("line breaks become blanks", text.replace('\n', " ").into_bytes()),
        ("line breaks are gone", text.replace('\n', "").into_bytes()),
        ("line breaks are escaped", escaped.clone().into_bytes()),
        ("quoted as JSON", format!("\"{escaped}\"").into_bytes()),
        ("a JSON member", format!("{{\"key\": \"{}\"}}", escaped.replace('/', "\\/")).into_bytes()),
        ("line breaks of Windows", text.replace('\n', "\r\n").into_bytes()),
        ("line breaks of old Macs", text.replace('\n', "\r").into_bytes()),
        ("with a byte order mark", marked(b"\xef\xbb\xbf", text.as_bytes().to_vec())),
        ("UTF-16 with its mark", marked(b"\xff\xfe", utf16(u16::to_le_bytes))),
        ("UTF-16 without a mark", utf16(u16::to_be_bytes)),
        ("doubled", text.repeat(2).into_bytes()),
        ("doubled on one line", format!("{}{}", text.trim_end(), text.trim_end()).into_bytes()),
        (
            "blanks before each line",
            text.lines().map(|line| format!("   {line}\n")).collect::<String>().into_bytes(),
        ),
        ("base64 of it", STANDARD.encode(text).into_bytes()),
        ("its octets, of the base64", body(text)),
        ("the lines between the marks", between(text).into_bytes()),
        ("called encrypted", text.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY").into_bytes()),
        ("called SEC 1", text.replace("PRIVATE KEY", "EC PRIVATE KEY").into_bytes()),
        ("a dash is missing", text.replacen("-----\n", "----\n", 1).into_bytes()),
        ("its first line is missing", text.split_once('\n').map_or("", |(_, rest)| rest).as_bytes().to_vec()),
        (
            "an octet of text is another",
            replaced(text, middle, |octet| if octet == b'A' { b'B' } else { b'A' }),
        ),
        ("an octet is no text", replaced(text, middle, |_| 0xff)),
        ("an octet is no base64", replaced(text, middle, |_| b'*')),
        ("an octet ends the text", replaced(text, middle, |_| 0)),
        ("a terminal would obey it", replaced(text, middle, |_| 0x1b)),
    ];
    for (name, share) in
        [("a tenth of it", 10), ("a third of it", 33), ("half of it", 50), ("all but its end", 90)]
    {
        all.push((name, text.as_bytes().get(..text.len() * share / 100).unwrap_or_default().to_vec()));
    }
    all.retain(|(_, octets)| !octets.is_empty() && octets != text.as_bytes());
    all
}

/// The base64 of PEM text, without its lines.
fn between(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The octets that PEM text encodes.
fn body(text: &str) -> Vec<u8> {
    STANDARD.decode(between(text).replace('\n', "")).unwrap_or_default()
}

fn replaced(text: &str, at: usize, by: impl Fn(u8) -> u8) -> Vec<u8> {
    let mut octets = text.as_bytes().to_vec();
    if let Some(octet) = octets.get_mut(at) {
        *octet = by(*octet);
    }
    octets
}
