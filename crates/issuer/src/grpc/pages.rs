//! The pages of the administrator's lists (<https://google.aip.dev/158>).
//!
//! A page token holds the key of the last row of its page, so that rows inserted or deleted between two pages do not
//! make another row appear twice or be skipped; and a digest of the list, its filter and the issuer, so that a token of
//! another list is refused. It needs neither encryption nor a signature: a caller that may request a page may request
//! the whole list.

use crate::store::Page;
use avouch_spiffe::SpiffeId;
use avouch_spiffe::x509::sha256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tonic::Status;

/// The largest page size that is granted: some hundred kilobytes, where gRPC clients accept messages of 4 MiB.
const MAX_PAGE_SIZE: usize = 1_000;
/// Bytes of the digest that a token carries: enough that no two lists share them by chance.
const DIGEST: usize = 16;

/// The key of a row, as a token holds it.
pub(super) type Key = Vec<String>;

/// The pages of one list with one filter.
#[derive(Debug)]
pub(super) struct Pages {
    digest: [u8; DIGEST],
    /// `None`: everything that follows, for clients from before there were pages.
    size: Option<usize>,
}

impl Pages {
    /// The pages of the list `name` of this issuer under `filter`.
    pub(super) fn new(
        name: &str,
        issuer: &SpiffeId,
        filter: &[&str],
        page_size: i32,
    ) -> Result<Self, Status> {
        let size = match usize::try_from(page_size) {
            Ok(0) => None,
            Ok(size) => Some(size.min(MAX_PAGE_SIZE)),
            Err(_) => return Err(Status::invalid_argument(format!("page_size is {page_size}, below zero"))),
        };
        let whole = sha256(
            serde_json::Value::from_iter([&[name, issuer.as_str()], filter].concat()).to_string().as_bytes(),
        );
        let mut digest = [0; DIGEST];
        digest.iter_mut().zip(whole).for_each(|(kept, byte)| *kept = byte);
        Ok(Self { digest, size })
    }

    /// The page to ask the store for: one row more than the page has, which tells whether another page follows.
    pub(super) fn page<K>(
        &self,
        token: &str,
        read: impl FnOnce(Key) -> Option<K>,
    ) -> Result<Page<K>, Status> {
        let after = match token {
            "" => None,
            token => Some(self.key(token).and_then(read).ok_or_else(wrong_token)?),
        };
        Ok(Page { after, limit: self.size.map_or(usize::MAX, |size| size + 1) })
    }

    /// Cuts `rows` to the page size and returns the token of the next page; empty if there is none.
    pub(super) fn cut<T>(&self, rows: &mut Vec<T>, key: impl FnOnce(&T) -> Key) -> String {
        let Some(size) = self.size.filter(|size| rows.len() > *size) else { return String::new() };
        rows.truncate(size);
        rows.last().map(|last| self.token(key(last))).unwrap_or_default()
    }

    fn token(&self, key: Key) -> String {
        let mut token = self.digest.to_vec();
        token.extend(serde_json::Value::from(key).to_string().into_bytes());
        URL_SAFE_NO_PAD.encode(token)
    }

    fn key(&self, token: &str) -> Option<Key> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        serde_json::from_slice(token.strip_prefix(&self.digest)?).ok()
    }
}

fn wrong_token() -> Status {
    Status::invalid_argument(
        "page_token is not the next_page_token of a page of this list with this filter; start again without one",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn pages(name: &str, filter: &[&str], size: i32) -> Pages {
        Pages::new(name, &"spiffe://market.example/avouch/issuer".parse().unwrap(), filter, size).unwrap()
    }

    fn key(row: &u32) -> Key {
        vec![row.to_string()]
    }

    fn after(pages: &Pages, token: &str) -> Result<Option<String>, Code> {
        pages.page(token, |mut key| key.pop()).map(|page| page.after).map_err(|status| status.code())
    }

    #[test]
    fn a_token_asks_for_what_follows_the_last_row_of_its_page() {
        let pages = pages("rows", &["a"], 2);
        let mut rows = vec![1, 2, 3];
        let token = pages.cut(&mut rows, key);
        assert_eq!(rows, [1, 2]);
        assert_eq!(after(&pages, &token), Ok(Some("2".to_owned())));
    }

    #[test]
    fn the_last_page_has_no_token() {
        for (size, rows) in [(2, vec![]), (2, vec![1, 2]), (0, vec![1, 2, 3]), (1_000_000, vec![1])] {
            let pages = pages("rows", &[], size);
            let mut kept = rows.clone();
            assert_eq!((pages.cut(&mut kept, key), kept), (String::new(), rows));
        }
    }

    #[test]
    fn a_page_is_as_large_as_asked_for_and_no_larger_than_the_limit() {
        let limit = |size| pages("rows", &[], size).page("", Some).unwrap().limit;
        assert_eq!((limit(1), limit(1_000), limit(1_001), limit(i32::MAX)), (2, 1_001, 1_001, 1_001));
        assert_eq!(limit(0), usize::MAX);
    }

    #[test]
    fn a_negative_size_is_refused() {
        let issuer = "spiffe://market.example/avouch/issuer".parse().unwrap();
        let refused = Pages::new("rows", &issuer, &[], -1).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("page_size is -1"), "{}", refused.message());
    }

    #[test]
    fn a_token_of_another_list_filter_or_issuer_and_what_is_no_token_are_refused() {
        let own = pages("rows", &["a", "b"], 1);
        let token = own.cut(&mut vec![1, 2], key);
        let elsewhere: SpiffeId = "spiffe://other.example/avouch/issuer".parse().unwrap();
        for other in [
            pages("others", &["a", "b"], 1),
            pages("rows", &["a"], 1),
            pages("rows", &["ab"], 1),
            pages("rows", &["a", "c"], 1),
            Pages::new("rows", &elsewhere, &["a", "b"], 1).unwrap(),
        ] {
            assert_eq!(after(&other, &token), Err(Code::InvalidArgument));
        }
        let (cut, longer) = (&token[..token.len() - 1], format!("{token}AA"));
        for wrong in ["x", "AAAA", "not base64!", &token[..8], cut, &longer, &own.token(Vec::new())] {
            assert_eq!(after(&own, wrong), Err(Code::InvalidArgument), "{wrong}");
        }
        assert_eq!(after(&own, &token), Ok(Some("1".to_owned())));
        assert_eq!(after(&pages("rows", &["a", "b"], 50), &token), Ok(Some("1".to_owned())), "another size");
    }
}
