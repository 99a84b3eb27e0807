//! All attacks of the list on one running market, in the order of the layers they meet.

use std::time::Duration;

use avouch_api::admin::v1::Entry;
use avouch_attacker::Error;
use avouch_attacker::forge::Credentials;
use avouch_attacker::grpc::Call;
use avouch_attacker::issuer::secret;
use avouch_attacker::list::{self as attacker, Loot, Made, Sleeper};
use avouch_identity::Identity;

use super::{list, peers};
use crate::facts::{Attack, AttackKind};
use crate::paths::{TRUST_DOMAIN, id};
use crate::setup::{Market, PAYMENTS_CONNECTIONS};
use crate::thief::Thief;

/// The shortest life the profile allows.
const SHORT: Duration = Duration::from_secs(10);

/// What every forgery at a service tries to call.
const CHARGE: Call<'static> =
    Call { path: "/market.payments.v1.Payments/Charge", message: Vec::new(), headers: &[] };

/// Recovery window of the identity that stays away for too long.
const WINDOW: Duration = Duration::from_secs(1);

/// How often recoveries are tried again when something comes between.
const AGAIN: usize = 2;

/// The attacks, and what they are aimed at.
#[derive(Debug, Clone, Copy)]
pub struct AttackRun<'a> {
    market: &'a Market,
}

impl<'a> AttackRun<'a> {
    /// On this market.
    #[must_use]
    pub fn on(market: &'a Market) -> Self {
        Self { market }
    }

    /// Everything that needs neither time to pass nor all services to be there. `client` is an honest client for false servers to deceive.
    ///
    /// # Errors
    /// When the attacks can't be made; what comes of each is in its [`Attack`].
    pub async fn at_once(&self, client: &Identity) -> Result<Vec<Attack>, Error> {
        let payments = self.market.address("payments")?.grpc;
        let issuer = self.market.address("issuer")?.grpc;
        let workshop = peers::workshop(&self.market.paths, "orders")?;
        let forgeries = attacker::certificates(&workshop, payments, &CHARGE).await?;
        let mut tried = of(AttackKind::Certificate, "payments", &forgeries);
        let strangers = attacker::strangers(&workshop.right()?, payments, &CHARGE).await;
        tried.extend(of(AttackKind::Handshake, "payments", &strangers));
        let enrolments = attacker::enrolment(issuer, &self.loot().await?).await?;
        tried.extend(of(AttackKind::Issuance, "issuer", &enrolments));
        let mut attacks = self.recorded(tried).await;
        let server = peers::workshop(&self.market.paths, "payments")?;
        attacks.extend(peers::servers(&server, &workshop, client).await?);
        Ok(attacks)
    }

    /// Calls without a right, to every RPC: all services have to be there.
    ///
    /// # Errors
    /// When the attacks can't be made.
    pub async fn on_every_rpc(&self) -> Result<Vec<Attack>, Error> {
        let address = |name: &str| Ok(self.market.address(name)?.grpc);
        let intern = self.intern()?;
        let mut tried = peers::calls(&intern, address).await?;
        let crowding = attacker::crowding(address("payments")?, &intern, PAYMENTS_CONNECTIONS).await;
        tried.extend(of(AttackKind::Handshake, "payments", &[crowding]));
        Ok(self.recorded(tried).await)
    }

    /// Enrols the identities that are left alone until they have expired.
    ///
    /// # Errors
    /// When the issuer refuses.
    pub async fn put_to_sleep(&self) -> Result<Sleepers, Error> {
        let issuer = self.market.address("issuer")?.grpc;
        let asleep = Sleeper::enrol(issuer, &self.token("sleeper", None).await?).await?;
        let gone = Sleeper::enrol(issuer, &self.token("leaver", Some(WINDOW)).await?).await?;
        Ok(Sleepers { asleep, gone, until: tokio::time::Instant::now() + SHORT + 2 * WINDOW })
    }

    /// Recoveries without a right, once the sleepers have expired.
    ///
    /// # Errors
    /// When the attacks can't be made.
    pub async fn after_expiry(&self, sleepers: &Sleepers) -> Result<Vec<Attack>, Error> {
        tokio::time::sleep_until(sleepers.until).await;
        let issuer = self.market.address("issuer")?.grpc;
        let mut tried = attacker::recovery(issuer, &sleepers.asleep, &sleepers.gone).await;
        for _ in 0..AGAIN {
            if tried.is_err() {
                // The issuer itself may be dead at this moment, on purpose.
                self.market.admin_answers().await?;
                tried = attacker::recovery(issuer, &sleepers.asleep, &sleepers.gone).await;
            }
        }
        Ok(self.recorded(of(AttackKind::Issuance, "issuer", &tried?)).await)
    }

    /// What is left to a thief whose certificates were revoked: nothing.
    ///
    /// # Errors
    /// When the attacks can't be made.
    pub async fn after_revocation(&self, thief: &Thief) -> Result<Vec<Attack>, Error> {
        let [connection, renewal, recovery] = thief.try_again(self.market).await?;
        let tried = [
            (AttackKind::Certificate, "ledger", "a stolen identity that was revoked", connection),
            (AttackKind::Issuance, "issuer", "a renewal by a certificate that was revoked", renewal),
            (AttackKind::Issuance, "issuer", "a recovery by the stolen certificate", recovery),
        ];
        let tried = tried.map(|(kind, target, name, attempt)| {
            let expected = list::Expected { kind, name, target, reason: "CERT_REVOKED", names: "" };
            list::Tried::new(expected, &Ok(attempt))
        });
        Ok(self.recorded(tried.into()).await)
    }

    async fn recorded(&self, tried: Vec<list::Tried>) -> Vec<Attack> {
        list::recorded(tried, |target| self.market.paths.log(target)).await
    }

    async fn loot(&self) -> Result<Loot, Error> {
        Ok(Loot {
            trust_domain: TRUST_DOMAIN.to_owned(),
            raced: self.token("raced", None).await?,
            unused: self.token("newcomer", None).await?,
            intern: self.intern()?,
        })
    }

    /// The stored identity of the workload without roles, read as a thief would.
    fn intern(&self) -> Result<Credentials, Error> {
        let file = self.market.paths.state("intern").join("svid.pem");
        let pem = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(Credentials::stolen(&pem)?.0)
    }

    async fn token(&self, name: &str, window: Option<Duration>) -> Result<String, Error> {
        let entry = Entry {
            spiffe_id: id(name),
            svid_ttl: SHORT.try_into().ok(),
            recovery_window: window.and_then(|window| window.try_into().ok()),
            ..Entry::default()
        };
        let token = self.market.admin.admit(entry).await?;
        self.market.secrets.borrow_mut().token(&token);
        secret(&token)
    }
}

fn of(kind: AttackKind, target: &str, made: &[Made]) -> Vec<list::Tried> {
    made.iter().map(|made| list::Tried::of(kind, target, made)).collect()
}

/// Identities that were enrolled and left alone.
#[derive(Debug)]
pub struct Sleepers {
    asleep: Sleeper,
    gone: Sleeper,
    until: tokio::time::Instant,
}
