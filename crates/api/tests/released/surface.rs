//! What protos promise, as one line for each thing that can be named.

use std::collections::BTreeMap;
use std::fmt;

use prost_reflect::{Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

/// Reserved numbers are listed one by one; a range beyond this is no list of fields that once were.
const LONGEST_RANGE: usize = 100;

/// What protos promise: a name, and what is said of it.
#[derive(Debug, Default)]
pub(crate) struct Surface {
    lines: BTreeMap<String, String>,
}

impl Surface {
    /// The promises of the packages `avouch.*`, except the options of rules, which are no wire format.
    pub(crate) fn of(pool: &DescriptorPool) -> Self {
        let mut surface = Self::default();
        let ours = |package: &str| package.starts_with("avouch.") && package != "avouch.authz.v1";
        for message in pool.all_messages().filter(|message| ours(message.package_name())) {
            surface.message(&message);
        }
        for it in pool.all_enums().filter(|it| ours(it.package_name())) {
            surface.enumeration(&it);
        }
        for method in pool
            .services()
            .filter(|it| ours(it.package_name()))
            .flat_map(|it| it.methods().collect::<Vec<_>>())
        {
            let stream = |yes| if yes { "stream " } else { "" };
            let (asks, answers) =
                (stream(method.is_client_streaming()), stream(method.is_server_streaming()));
            let (input, output) = (method.input(), method.output());
            let name = format!("{}/{}", method.parent_service().full_name(), method.name());
            surface.add(name, format!("{asks}{} -> {answers}{}", input.full_name(), output.full_name()));
        }
        surface
    }

    fn message(&mut self, message: &MessageDescriptor) {
        if message.is_map_entry() {
            return;
        }
        let name = message.full_name();
        self.add(name.to_owned(), "message".to_owned());
        for field in message.fields() {
            self.add(format!("{name} {}", field.number()), described(&field));
        }
        let numbers = message.reserved_ranges().flat_map(|range| range.take(LONGEST_RANGE));
        self.reserve(name, numbers.map(|number| number.to_string()));
        self.reserve(name, message.reserved_names().map(str::to_owned));
    }

    fn enumeration(&mut self, it: &EnumDescriptor) {
        let name = it.full_name();
        self.add(name.to_owned(), "enum".to_owned());
        for value in it.values() {
            self.add(format!("{name} {}", value.number()), value.name().to_owned());
        }
        let numbers = it.reserved_ranges().flat_map(|range| range.take(LONGEST_RANGE));
        self.reserve(name, numbers.map(|number| number.to_string()));
        self.reserve(name, it.reserved_names().map(str::to_owned));
    }

    fn reserve(&mut self, of: &str, what: impl Iterator<Item = String>) {
        for one in what {
            self.add(format!("{of} reserved {one}"), "reserved".to_owned());
        }
    }

    fn add(&mut self, name: String, what: String) {
        assert_eq!(self.lines.insert(name.clone(), what), None, "{name} is there twice");
    }

    /// The list as it was written.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let lines =
            lines.map(|line| line.split_once(": ").unwrap_or_else(|| panic!("not a promise: {line}")));
        Self { lines: lines.map(|(name, what)| (name.to_owned(), what.to_owned())).collect() }
    }

    /// Each promise of `released` that this one does not keep.
    pub(crate) fn breaks(&self, released: &Self) -> Vec<String> {
        let broken = |(name, was): (&String, &String)| match self.lines.get(name) {
            Some(is) if is == was => None,
            Some(is) => Some(format!("{name} is \"{is}\", and was \"{was}\"")),
            None if self.has_reserved(name, was) => None,
            None => Some(format!("{name} is gone, and was \"{was}\"")),
        };
        released.lines.iter().filter_map(broken).collect()
    }

    /// Whether a field or a value that is gone has its number and its name reserved.
    fn has_reserved(&self, name: &str, was: &str) -> bool {
        let Some((of, number)) = name.split_once(' ') else { return false };
        let its_name = was.rsplit(' ').next().unwrap_or_default();
        [number, its_name].iter().all(|it| self.lines.contains_key(&format!("{of} reserved {it}")))
    }
}

impl fmt::Display for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(name, what)| writeln!(f, "{name}: {what}"))
    }
}

/// Label, type and name of a field; the name comes last.
fn described(field: &FieldDescriptor) -> String {
    let label = match (field.cardinality(), field.containing_oneof()) {
        _ if field.is_map() => String::new(),
        // Packed or not: every reader takes both.
        (Cardinality::Repeated, _) => "repeated ".to_owned(),
        (_, Some(oneof)) if !oneof.is_synthetic() => format!("oneof {} ", oneof.name()),
        (_, Some(_)) => "optional ".to_owned(),
        (Cardinality::Required, None) => "required ".to_owned(),
        (Cardinality::Optional, None) => String::new(),
    };
    format!("{label}{} {}", kind(field), field.name())
}

fn kind(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            format!("map<{},{}>", kind(&entry.map_entry_key_field()), kind(&entry.map_entry_value_field()))
        }
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(it) => it.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::prost_types::FileDescriptorSet;
    use protox::file::File;

    use super::*;

    const RELEASED: &str = r#"syntax = "proto3"; package avouch.test.v1;
        message Order { string id = 1; repeated uint32 counts = 2; optional bool paid = 3; Kind kind = 4;
          oneof by { string name = 5; bytes key = 6; } map<string, uint64> prices = 7; reserved 8; reserved "old"; }
        message Answer {}
        enum Kind { KIND_NONE = 0; KIND_BIG = 1; }
        service Orders { rpc Place(Order) returns (Answer); rpc Watch(Order) returns (stream Answer); }"#;

    fn surface(source: &str) -> Surface {
        let file = File::from_source("test.proto", source).unwrap();
        let set = FileDescriptorSet { file: vec![file.file_descriptor_proto().clone()] };
        Surface::of(&DescriptorPool::from_file_descriptor_set(set).unwrap())
    }

    /// What is said after replacing `from` by `to` in the released proto.
    fn after(from: &str, to: &str) -> Vec<String> {
        let changed = RELEASED.replace(from, to);
        assert_ne!(changed, RELEASED, "{from}");
        surface(&changed).breaks(&surface(RELEASED))
    }

    #[test]
    fn additions_break_nothing() {
        assert_eq!(after("message Answer {}", "message Answer { string id = 1; } message More {}"), [""; 0]);
        assert_eq!(after("KIND_BIG = 1;", "KIND_BIG = 1; KIND_SMALL = 2;"), [""; 0]);
        assert_eq!(after("rpc Place", "rpc Cancel(Order) returns (Answer); rpc Place"), [""; 0]);
    }

    #[test]
    fn each_kind_of_change_is_named() {
        let order = "avouch.test.v1.Order";
        let changes: [(&str, &str, String); 12] = [
            ("string id = 1", "string id = 9", format!("{order} 1 is gone, and was \"string id\"")),
            ("string id = 1", "bytes id = 1", format!("{order} 1 is \"bytes id\", and was \"string id\"")),
            ("string id = 1", "string no = 1", format!("{order} 1 is \"string no\", and was \"string id\"")),
            ("string id = 1", "repeated string id = 1", format!("{order} 1 is \"repeated string id\", and was \"string id\"")),
            ("optional bool paid", "bool paid", format!("{order} 3 is \"bool paid\", and was \"optional bool paid\"")),
            (
                "oneof by { string name = 5; bytes key = 6; }",
                "string name = 5; oneof by { bytes key = 6; }",
                format!("{order} 5 is \"string name\", and was \"oneof by string name\""),
            ),
            (
                "map<string, uint64>",
                "map<string, int64>",
                format!("{order} 7 is \"map<string,int64> prices\", and was \"map<string,uint64> prices\""),
            ),
            ("reserved 8;", "", format!("{order} reserved 8 is gone, and was \"reserved\"")),
            ("KIND_BIG = 1;", "", "avouch.test.v1.Kind 1 is gone, and was \"KIND_BIG\"".to_owned()),
            ("KIND_BIG = 1", "KIND_HUGE = 1", "avouch.test.v1.Kind 1 is \"KIND_HUGE\", and was \"KIND_BIG\"".to_owned()),
            (
                "rpc Watch(Order) returns (stream Answer)",
                "rpc Watch(Order) returns (Answer)",
                "avouch.test.v1.Orders/Watch is \"avouch.test.v1.Order -> avouch.test.v1.Answer\", and was \
                 \"avouch.test.v1.Order -> stream avouch.test.v1.Answer\""
                    .to_owned(),
            ),
            (
                "rpc Place(Order) returns (Answer);",
                "",
                "avouch.test.v1.Orders/Place is gone, and was \"avouch.test.v1.Order -> avouch.test.v1.Answer\"".to_owned(),
            ),
        ];
        for (from, to, said) in changes {
            assert_eq!(after(from, to), [said]);
        }
    }

    #[test]
    fn a_message_that_is_gone_is_named_with_whatever_used_it() {
        let said = after("Answer", "Reply").join("\n");
        assert!(said.contains("avouch.test.v1.Answer is gone") && said.contains("Orders/Place is"), "{said}");
    }

    #[test]
    fn a_field_and_a_value_may_go_with_number_and_name_reserved() {
        assert_eq!(after("string id = 1;", "reserved 1; reserved \"id\";"), [""; 0]);
        assert_eq!(after("KIND_BIG = 1;", "reserved 1; reserved \"KIND_BIG\";"), [""; 0]);
        assert_eq!(after("string id = 1;", "reserved 1;").len(), 1);
        assert_eq!(after("string id = 1;", "reserved \"id\";").len(), 1);
    }
}
