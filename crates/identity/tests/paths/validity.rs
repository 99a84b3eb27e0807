//! PKITS 4.2: validity periods, and how their times are written.

use crate::world::{Case, judge, refused, taken, validity};

const HOUR: i64 = 3600;
const UTC: u8 = 0x17;
const GENERALIZED: u8 = 0x18;
/// Times that this test does not want to be the fault.
const PAST: (u8, &str) = (UTC, "200101000000Z");
const FUTURE: (u8, &str) = (UTC, "491231235959Z");

const CASES: &[Case] = &[
    refused("an authority that is not valid yet", "CERT_NOT_YET_VALID", "intermediate certificate 1", |w| {
        w.below_changed(|ca| ca.not_before = w.now + HOUR / 2)
    }),
    refused("a leaf that is not valid yet", "CERT_NOT_YET_VALID", "leaf certificate", |w| {
        w.changed(|leaf| leaf.not_before = w.now + HOUR / 2)
    }),
    refused(
        "an authority that has expired",
        "CERT_EXPIRED",
        "intermediate certificate 1 (CN=an authority)",
        |w| w.below_changed(|ca| ca.not_after = w.now - 60),
    ),
    refused("a leaf that has expired", "CERT_EXPIRED", "leaf certificate (spiffe://market.example", |w| {
        w.changed(|leaf| leaf.not_after = w.now - 60)
    }),
    refused("a root that has expired", "CERT_EXPIRED", "trust anchor (CN=another root) expired", |w| {
        w.root_changed(|root| root.not_after = w.now - 60)
    }),
    refused("a root that is not valid yet", "CERT_NOT_YET_VALID", "trust anchor (CN=another root)", |w| {
        w.root_changed(|root| root.not_before = w.now + HOUR / 2)
    }),
    refused("a leaf right below a root that has expired", "CERT_EXPIRED", "trust anchor", |w| {
        let root = w.root("another root", |root| root.not_after = w.now - 60)?;
        Ok(w.leaf(&root, &[], |_| ())?.trusting(&[&root]))
    }),
    taken("a beginning before 2000", |w| {
        w.changed(|leaf| leaf.validity = validity((UTC, "700101000000Z"), FUTURE))
    }),
    refused("a beginning before 1970", "CERT_MALFORMED", "", |w| {
        w.changed(|leaf| leaf.validity = validity((UTC, "500101000000Z"), FUTURE))
    })
    .openssl_differs("webpki's times begin in 1970"),
    refused("an end before 2000, in two digits", "CERT_EXPIRED", "leaf certificate", |w| {
        w.changed(|leaf| leaf.validity = validity((UTC, "700101000000Z"), (UTC, "990101000000Z")))
    }),
    refused("an end before 2000 in an authority", "CERT_EXPIRED", "intermediate certificate 1", |w| {
        w.below_changed(|ca| ca.validity = validity((UTC, "700101000000Z"), (UTC, "990101000000Z")))
    }),
    refused("an end before 2000 in a root", "CERT_EXPIRED", "trust anchor", |w| {
        w.root_changed(|root| root.validity = validity((UTC, "700101000000Z"), (UTC, "990101000000Z")))
    }),
    taken("the last end that two digits can say", |w| {
        w.root_changed(|root| root.validity = validity(PAST, FUTURE))
    }),
    taken("an end in 2050, in four digits", |w| {
        w.changed(|leaf| leaf.validity = validity(PAST, (GENERALIZED, "20500101000000Z")))
    }),
    taken("an end in 2050 in a root", |w| {
        w.root_changed(|root| root.validity = validity(PAST, (GENERALIZED, "20500101000000Z")))
    }),
    taken("no well-defined end", |w| {
        w.changed(|leaf| leaf.validity = validity(PAST, (GENERALIZED, "99991231235959Z")))
    }),
    taken("no well-defined end of a root", |w| {
        w.root_changed(|root| root.validity = validity(PAST, (GENERALIZED, "99991231235959Z")))
    }),
    taken("a beginning in four digits before 2050", |w| {
        w.changed(|leaf| leaf.validity = validity((GENERALIZED, "20200101000000Z"), FUTURE))
    }),
    refused("a beginning after 2050", "CERT_NOT_YET_VALID", "leaf certificate", |w| {
        w.changed(|leaf| {
            leaf.validity = validity((GENERALIZED, "20510101000000Z"), (GENERALIZED, "20520101000000Z"));
        })
    }),
    refused("an end before the beginning", "CERT_MALFORMED", "", |w| {
        w.changed(|leaf| {
            leaf.not_before = w.now + HOUR;
            leaf.not_after = w.now - HOUR;
        })
    }),
    refused("an end in 1950, where 2050 was meant", "CERT_MALFORMED", "", |w| {
        w.changed(|leaf| leaf.validity = validity(PAST, (UTC, "500101000000Z")))
    }),
    refused("fractions of a second", "CERT_MALFORMED", "", |w| {
        w.changed(|leaf| leaf.validity = validity(PAST, (GENERALIZED, "20500101000000.5Z")))
    }),
    refused("another time zone than Z", "CERT_MALFORMED", "", |w| {
        w.changed(|leaf| leaf.validity = validity(PAST, (UTC, "491231235959+0100")))
    }),
    refused("no seconds", "CERT_MALFORMED", "", |w| {
        w.changed(|leaf| leaf.validity = validity(PAST, (UTC, "4912312359Z")))
    }),
    refused("a day that the month does not have", "CERT_MALFORMED", "", |w| {
        w.changed(|leaf| leaf.validity = validity(PAST, (UTC, "470229000000Z")))
    }),
    refused("no seconds in an authority", "CERT_MALFORMED", "", |w| {
        w.below_changed(|ca| ca.validity = validity(PAST, (UTC, "4912312359Z")))
    }),
];

#[tokio::test]
async fn pkits_4_2_validity_periods() {
    judge(CASES).await;
}
