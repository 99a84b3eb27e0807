//! Messages as the released version encodes them: `proto/avouch/recorded`, each in a file of its own, with its type, its
//! fields as text, and its bytes. Tests of other crates hand the bytes to the code that would receive them.

use std::fs;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

use crate::{current, in_repository, to_be_released};

/// A recorded message.
struct Recorded {
    file: std::path::PathBuf,
    /// Everything before the bytes.
    head: String,
    type_name: String,
    text: String,
    bytes: Vec<u8>,
}

fn recorded() -> Vec<Recorded> {
    let entries = fs::read_dir(in_repository("proto/avouch/recorded")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(read).collect()
}

fn read(file: std::path::PathBuf) -> Recorded {
    let content = fs::read_to_string(&file).unwrap();
    let (head, hex) = content.split_once("bytes:\n").unwrap_or((content.as_str(), ""));
    let (about, text) = head.split_once("fields:\n").unwrap();
    let type_name = about.lines().find_map(|line| line.strip_prefix("type: ")).unwrap().to_owned();
    let digits: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let bytes =
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    Recorded { bytes: bytes.collect(), head: head.to_owned(), type_name, text: text.to_owned(), file }
}

fn from_text(pool: &DescriptorPool, it: &Recorded) -> DynamicMessage {
    let descriptor = pool.get_message_by_name(&it.type_name).unwrap();
    DynamicMessage::parse_text_format(descriptor, &it.text).unwrap()
}

/// The bytes, 48 to a line.
fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    bytes.chunks(48).map(line).collect()
}

#[test]
fn each_recorded_message_still_has_the_same_fields_and_the_same_bytes() {
    if let Some(pool) = to_be_released() {
        for it in recorded() {
            let bytes = from_text(&pool, &it).encode_to_vec();
            fs::write(&it.file, format!("{}bytes:\n{}", it.head, hex(&bytes))).unwrap();
        }
    }
    let pool = current();
    for it in recorded() {
        let name = it.file.display();
        let descriptor = pool.get_message_by_name(&it.type_name).unwrap();
        let message = DynamicMessage::decode(descriptor, it.bytes.as_slice()).unwrap();
        assert_eq!(message.unknown_fields().count(), 0, "{name}");
        assert_eq!(message, from_text(&pool, &it), "{name}");
        assert!(!it.bytes.is_empty(), "{name}");
    }
}

/// Decodes by the generated type, and encodes again.
macro_rules! through_generated_types {
    ($it:expr, $($package:ident :: $type:ident),* $(,)?) => {
        match $it.type_name.as_str() {
            $(concat!("avouch.", stringify!($package), ".v1.", stringify!($type)) =>
                avouch_api::$package::v1::$type::decode($it.bytes.as_slice()).unwrap().encode_to_vec(),)*
            other => panic!("{other}: not in the list of this test"),
        }
    };
}

#[test]
fn the_generated_types_lose_nothing_of_a_recorded_message() {
    for it in recorded() {
        let again = through_generated_types!(
            it,
            issuer::EnrollRequest,
            issuer::EnrollResponse,
            issuer::RecoverRequest,
            issuer::RenewRequest,
            issuer::RenewResponse,
            issuer::WatchTrustRequest,
            issuer::WatchTrustResponse,
            admin::Certificate,
            admin::CreateEntryRequest,
            admin::Entry,
            observe::GetStatusResponse,
        );
        assert_eq!(hex(&again), hex(&it.bytes), "{}", it.file.display());
    }
}
