//! Issuers whose stores are full: memory, start, and how long the administrator's lists take.

use std::time::{Duration, Instant};

use avouch_api::admin::v1::{GetStatusRequest, ListCertificatesRequest, ListEntriesRequest};
use avouch_fleet::AdminClient;

use crate::bench::{Bench, Build};
use crate::clock::monotonic;
use crate::error::Error;
use crate::issuer::{Issuer, Start};
use crate::rounds::{Variant, interleave};
use crate::run::progress;
use crate::store::{Size, data_directory};
use crate::table::{Column, Table, Unit, column};

/// Rows on a page: the most that the issuer grants.
const PAGE: i32 = 1_000;

/// The columns of a table of issuers, and what [`Figures::of`] gives, in this order.
pub(in crate::groups) const COLUMNS: &[Column] = &[
    column("start", Unit::Milliseconds),
    column("RSS, fresh", Unit::Kibibytes),
    column("first page of entries", Unit::Milliseconds),
    column("page in the middle", Unit::Milliseconds),
    column("page of certificates", Unit::Milliseconds),
    column("status", Unit::Milliseconds),
    column("RSS after that", Unit::Kibibytes),
];

/// Measures an issuer without entries and one with many.
pub(super) fn measure(bench: &Bench) -> Result<Table, Error> {
    let full = Size::of_entries(bench.by_extent(10_000, 100_000));
    let mut table = Table::new("avouch-issuer with a store that has been in use", COLUMNS);
    let mut stores = Vec::new();
    for size in [Size::of_entries(0), full] {
        let data = data_directory(bench, size)?;
        stores.push((format!("{} entries, {} records", size.entries, size.records), size, data));
    }
    progress("issuers with full stores");
    let mut variants = Vec::new();
    for (name, size, data) in &stores {
        for build in &bench.builds {
            let name = build.variant(name);
            variants.push(Variant::new(name.clone(), move || examine(bench, build, &name, *size, data)));
        }
    }
    interleave(&mut table, variants, bench.by_extent(3, 5))?;
    table.note(format!(
        "pages of {PAGE} rows over the administration socket; start: from the start of the process until the \
         administration answers"
    ));
    Ok(table)
}

/// Starts the issuer of a data directory and takes its figures, in the order of [`COLUMNS`].
pub(in crate::groups) fn examine(
    bench: &Bench,
    build: &Build,
    name: &str,
    size: Size,
    data: &std::path::Path,
) -> Result<Vec<f64>, Error> {
    let name = format!("issuer with {name}");
    let began = monotonic();
    let issuer = Issuer::start(bench, build, &Start { name: &name, data, settings: &[], core: None })?;
    let start = milliseconds(monotonic().saturating_sub(began));
    let resident =
        |issuer: &Issuer| f64::from(u32::try_from(issuer.child.resident_kib(false)).unwrap_or(u32::MAX));
    let fresh = resident(&issuer);
    let pages = size.entries / usize::try_from(PAGE).unwrap_or(1);
    let lists = issuer.admin().call(async |admin| lists(admin, pages / 2).await)?;
    let after = resident(&issuer);
    issuer.end()?;
    Ok([vec![start, fresh], lists, vec![after]].concat())
}

/// How long the first page of entries takes, the page after so many (none: there is no other), one of certificates, and
/// the status.
async fn lists(mut admin: AdminClient, before: usize) -> Result<Vec<f64>, tonic::Status> {
    let (mut token, mut first, mut middle) = (String::new(), f64::NAN, f64::NAN);
    for at in 0..=before {
        let request = ListEntriesRequest { page_size: PAGE, page_token: std::mem::take(&mut token) };
        let began = Instant::now();
        token = admin.list_entries(request).await?.into_inner().next_page_token;
        let took = milliseconds(began.elapsed());
        if at == 0 { first = took } else { middle = took }
    }
    let began = Instant::now();
    let request = ListCertificatesRequest { page_size: PAGE, ..Default::default() };
    admin.list_certificates(request).await?;
    let certificates = milliseconds(began.elapsed());
    let began = Instant::now();
    admin.get_status(GetStatusRequest {}).await?;
    Ok(vec![first, middle, certificates, milliseconds(began.elapsed())])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
