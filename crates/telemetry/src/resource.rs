//! The resource attributes that go with a process's spans: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
//!
//! Specification: Resource SDK, "Specifying resource information via an environment variable": keys and values are
//! percent-decoded, and on any error the whole variable is discarded. The SDK's own reader does neither. A service's
//! name is taken as it stands.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;

use crate::environment::Environment;
use crate::list::{pairs, percent_decoded};

/// The service's name and what else its environment says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) service_name: String,
    attributes: Vec<(String, String)>,
}

impl Described {
    /// `name` unless the environment has another.
    pub(crate) fn read(env: &mut Environment<'_>, name: &str) -> Self {
        let attributes = env.read_or_ignore("OTEL_RESOURCE_ATTRIBUTES", "none of it is used", attributes);
        let attributes = attributes.unwrap_or_default();
        let own = attributes.iter().rfind(|(key, value)| key == "service.name" && !value.is_empty());
        let fallback = own.map_or(name, |(_, value)| value).to_owned();
        let given =
            env.read_or_ignore("OTEL_SERVICE_NAME", "the service keeps its name", |text| Ok(text.to_owned()));
        Self { service_name: given.unwrap_or(fallback), attributes }
    }

    /// The resource in the SDK's form. The SDK's own reader of the environment is not used.
    pub(crate) fn resource(&self) -> Resource {
        let given = self.attributes.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        Resource::builder_empty()
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_attributes(given)
            .with_attribute(KeyValue::new("service.name", self.service_name.clone()))
            .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())))
            .build()
    }
}

fn attributes(text: &str) -> Result<Vec<(String, String)>, String> {
    let decoded = |text, position| {
        let octets = percent_decoded(text)
            .ok_or_else(|| format!("has a `%` that begins no percent-encoding (entry {position})"))?;
        String::from_utf8(octets).map_err(|_| format!("is not UTF-8 when decoded (entry {position})"))
    };
    pairs(text)
        .map(|pair| {
            let pair = pair?;
            Ok((decoded(pair.key, pair.position)?, decoded(pair.value, pair.position)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> (Described, usize) {
        let mut env =
            Environment::new(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, v)| v.into()));
        let described = Described::read(&mut env, "orders");
        (described, env.into_warnings().len())
    }

    const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

    #[test]
    fn the_service_name_comes_from_its_variable_then_from_the_resource_attributes() {
        let attributes = (ATTRIBUTES, "team=market, service.name = a%20b");
        assert_eq!(read(&[]).0.service_name, "orders");
        assert_eq!(read(&[(ATTRIBUTES, "service.name=")]).0.service_name, "orders");
        assert_eq!(read(&[attributes]).0.service_name, "a b");
        assert_eq!(read(&[attributes, ("OTEL_SERVICE_NAME", "b")]).0.service_name, "b");
    }

    #[test]
    fn attributes_are_percent_decoded_and_the_service_name_is_not() {
        let (described, warnings) =
            read(&[(ATTRIBUTES, "team%2Ename=a%2Cb%3D%c3%a4"), ("OTEL_SERVICE_NAME", "a%20b")]);
        assert_eq!(described.attributes, [("team.name".to_owned(), "a,b=ä".to_owned())]);
        assert_eq!(described.service_name, "a%20b");
        assert_eq!(warnings, 0);
    }

    #[test]
    fn one_malformed_attribute_discards_them_all_with_one_warning() {
        for bad in ["a=1,b", "a=1,b=100%", "a=1,b=%ff", "a=1,=b", "a=1,%zz=b", "a=%,b=%,c"] {
            let (described, warnings) = read(&[(ATTRIBUTES, bad)]);
            assert_eq!((described.attributes.as_slice(), warnings), (&[][..], 1), "{bad}");
        }
    }

    #[test]
    fn the_resource_holds_what_was_decoded_and_the_sdks_own_name() {
        let (described, _) = read(&[(ATTRIBUTES, "team=a%20b,service.name=x,process.pid=7")]);
        let resource = described.resource();
        let get = |key: &'static str| resource.get(&key.into()).unwrap().to_string();
        assert_eq!(get("team"), "a b");
        assert_eq!(get("service.name"), "x");
        assert_eq!(get("process.pid"), std::process::id().to_string());
        assert_eq!(get("telemetry.sdk.language"), "rust");
    }
}
