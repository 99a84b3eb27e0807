//! Rules for protos that cannot be annotated, from a TOML file with one line per RPC.
//!
//! It accepts the same four fields as the proto option and nothing else; an unknown key is an error, not a default.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::error::Error;
use crate::rule::{Fields, Rule};
use crate::source_location::SourceLocation;

/// A rule and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) rule: Rule,
    pub(crate) location: SourceLocation,
}

/// The rules of a file, by the RPC's path (`/package.Service/Method`).
#[derive(Debug, Default)]
pub(crate) struct RulesFile {
    pub(crate) rules: BTreeMap<String, Entry>,
}

impl RulesFile {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path)
            .map_err(|source| Error::RulesFileUnreadable { path: path.to_owned(), source })?;
        Self::parse(&path.display().to_string(), &text)
    }

    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let at = |offset: usize| SourceLocation::of_offset(file, text, offset);
        let invalid =
            |offset: usize, problem: String| Error::RulesFileInvalid { location: at(offset), problem };

        let document = DeTable::parse(text).map_err(|error| {
            invalid(error.span().map_or(0, |span| span.start), error.message().to_owned())
        })?;
        let mut rules = BTreeMap::new();
        for (section, value) in document.get_ref() {
            if section.get_ref() != "rules" {
                let problem = format!("unknown key {:?}; only [rules] is known", section.get_ref());
                return Err(invalid(section.span().start, problem));
            }
            let DeValue::Table(table) = value.get_ref() else {
                return Err(invalid(section.span().start, "`rules` must be a table: [rules]".to_owned()));
            };
            for (path, value) in table {
                let offset = path.span().start;
                let fields = fields(value.get_ref()).map_err(|problem| invalid(offset, problem))?;
                let rule = fields
                    .check()
                    .map_err(|fault| invalid(offset, format!("rpc {}: {fault}", path.get_ref())))?;
                rules.insert(path.get_ref().to_string(), Entry { rule, location: at(offset) });
            }
        }
        Ok(Self { rules })
    }
}

fn fields(value: &DeValue<'_>) -> Result<Fields, String> {
    let DeValue::Table(table) = value else {
        return Err("a rule is a table, such as { roles = [\"store-writer\"] }".to_owned());
    };
    let mut fields = Fields::default();
    for (key, value) in table {
        let flag = match (key.get_ref().as_ref(), value.get_ref()) {
            ("roles", DeValue::Array(roles)) => {
                for role in roles.iter() {
                    let DeValue::String(role) = role.get_ref() else {
                        return Err("`roles` must be an array of strings".to_owned());
                    };
                    fields.roles.push(role.to_string());
                }
                continue;
            }
            ("roles", _) => return Err("`roles` must be an array of strings".to_owned()),
            ("any_identity", _) => &mut fields.any_identity,
            ("unauthenticated", _) => &mut fields.unauthenticated,
            ("local_admin", _) => &mut fields.local_admin,
            (other, _) => {
                return Err(format!(
                    "unknown key {other:?}; use one of roles, any_identity, unauthenticated, local_admin"
                ));
            }
        };
        let DeValue::Boolean(yes) = value.get_ref() else {
            return Err(format!("`{}` must be true", key.get_ref()));
        };
        *flag = *yes;
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        RulesFile::parse("rules.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn each_of_the_four_kinds_is_read_with_its_line() {
        let text = "[rules]\n\"/p.S/A\" = { roles = [\"a\", \"b\"] }\n\"/p.S/B\" = { any_identity = true }\n\
                    \"/p.S/C\" = { unauthenticated = true }\n\"/p.S/D\" = { local_admin = true }\n";
        let file = RulesFile::parse("rules.toml", text).unwrap();
        assert_eq!(file.rules["/p.S/A"].rule, Rule::Roles(vec!["a".into(), "b".into()]));
        assert_eq!(file.rules["/p.S/B"].rule, Rule::AnyIdentity);
        assert_eq!(file.rules["/p.S/C"].rule, Rule::Unauthenticated);
        assert_eq!(file.rules["/p.S/D"].rule, Rule::LocalAdmin);
        assert_eq!(file.rules["/p.S/D"].location.to_string(), "rules.toml:5");
    }

    #[test]
    fn an_unknown_section_is_refused_with_its_line() {
        assert!(refusal("\n[rulez]\n").starts_with("rules.toml:2: unknown key \"rulez\""));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let text = refusal("[rules]\n\"/p.S/A\" = { role = [\"a\"] }\n");
        assert!(text.starts_with("rules.toml:2: unknown key \"role\""), "{text}");
    }

    #[test]
    fn a_rule_with_two_kinds_is_refused() {
        let text = refusal("[rules]\n\"/p.S/A\" = { roles = [\"a\"], any_identity = true }\n");
        assert!(text.contains("sets roles and any_identity"), "{text}");
    }

    #[test]
    fn a_false_flag_sets_nothing() {
        assert!(refusal("[rules]\n\"/p.S/A\" = { any_identity = false }\n").contains("sets nothing"));
    }

    #[test]
    fn wrong_types_are_refused() {
        for line in [
            "\"/p.S/A\" = true",
            "\"/p.S/A\" = { roles = \"a\" }",
            "\"/p.S/A\" = { roles = [1] }",
            "\"/p.S/A\" = { any_identity = \"yes\" }",
        ] {
            assert!(refusal(&format!("[rules]\n{line}\n")).starts_with("rules.toml:2: "), "{line}");
        }
        assert!(refusal("rules = 1\n").contains("must be a table"));
    }

    #[test]
    fn a_path_written_twice_is_refused() {
        let text =
            refusal("[rules]\n\"/p.S/A\" = { any_identity = true }\n\"/p.S/A\" = { local_admin = true }\n");
        assert!(text.starts_with("rules.toml:3: "), "{text}");
    }
}
