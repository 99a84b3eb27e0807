//! The addresses at which workloads say they can be reached.

use avouch_spiffe::{HostPort, HostPortError};

/// The most addresses kept of one workload: more than any has.
const MAX_ADDRESSES: usize = 16;
/// The most characters of an invalid address that a log line quotes.
const SHOWN: usize = 64;

/// The usable addresses among those that a workload advertises, and the error of the first unusable one.
pub(super) fn usable(advertised: &[String]) -> (Vec<String>, Option<String>) {
    let mut problem = None;
    let mut usable = Vec::new();
    for (position, text) in advertised.iter().enumerate() {
        let judged = match text.parse::<HostPort>() {
            _ if position >= MAX_ADDRESSES => Err(format!("more than {MAX_ADDRESSES} addresses")),
            Ok(address) => address.usable().map(|()| address).map_err(|error| shown(text, &error)),
            Err(error) => Err(shown(text, &error)),
        };
        match judged {
            // Written from the parsed value, so that no text of the peer's own is passed on to clients and operators.
            Ok(address) => usable.push(address.to_string()),
            Err(wrong) => {
                problem.get_or_insert(wrong);
            }
        }
    }
    (usable, problem)
}

/// The address and its error for a log line; the address is escaped, so that a peer cannot inject text into the log.
fn shown(text: &str, error: &HostPortError) -> String {
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start:?}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(advertised: &[&str]) -> (Vec<String>, Option<String>) {
        usable(&advertised.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn an_address_where_somebody_could_connect_is_kept() {
        let good = ["127.0.0.1:7001", "orders.market.example:443", "[::1]:80", "market_orders_1:7001"];
        assert_eq!(judged(&good), (good.map(str::to_owned).to_vec(), None));
    }

    #[test]
    fn any_other_is_left_out_and_told() {
        for bad in [
            "",
            "orders",
            ":80",
            "a:0",
            "a:99999",
            "a b:80",
            "a:80\n",
            "<script>:80",
            "::1:7001",
            "0.0.0.0:80",
            "[::]:80",
            "224.0.0.1:80",
            "user@a:80",
        ] {
            let (kept, problem) = judged(&[bad, "orders:1"]);
            assert_eq!(kept, ["orders:1"], "{bad:?}");
            let problem = problem.expect(bad);
            assert!(problem.starts_with(&format!("{bad:?}: ")) && !problem.contains('\n'), "{problem}");
        }
        let (_, problem) = judged(&["::1:7001"]);
        assert!(problem.is_some_and(|problem| problem.contains("write [::1]:7001")));
    }

    #[test]
    fn too_many_or_too_long_ones_are_left_out_and_told() {
        let many: Vec<String> = (1..100).map(|port| format!("a:{port}")).collect();
        let (kept, problem) = usable(&many);
        assert_eq!((kept.len(), problem.is_some()), (MAX_ADDRESSES, true));
        let long = format!("{}:1", "a".repeat(100_000));
        let (kept, problem) = usable(&[long]);
        assert!(kept.is_empty() && problem.is_some_and(|problem| problem.len() < 300));
    }
}
