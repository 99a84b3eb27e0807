//! Checks of the listeners' limits: whether each has free capacity, and which peer uses most of it. A listener refuses
//! the heaviest user only when it is full (ADR 7), so a warning comes before any refusal.

use super::check::{Category, Check};
use super::finding::{Finding, Level};
use super::view::{Process, View, shown};
use avouch_api::observe::v1::{Share, ShareHolder};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "AV-508",
    category: Category::Transport,
    title: "no caller holds what others need",
    meaning: "Most of what a listener has of one thing is in use: connections, calls under way, streams that wait, or \
              bytes held for peers. When all of it is, the caller that holds most gets no more of it, with \
              HANDSHAKE_LIMIT or RATE_LIMITED; others go on.",
    remedy: "See who holds most. A caller that opens connections and forgets them has a leak; one without a role that \
             calls all the same should lose its entry. If all of it is wanted, raise the limit in [service.limits].",
    hint: "see who holds most; `avouch edges` shows what they call, `avouch tap` what they do now",
    causes: &[],
    judge: room,
}];

/// The share of the limit from which on it is worth a warning, in percent.
const NEARLY_ALL: u64 = 80;

fn room(view: &View<'_>) -> Vec<Finding> {
    view.each(|process: &Process<'_>| {
        let shares = &process.status.shares;
        if shares.is_empty() {
            // An older service does not say.
            return None;
        }
        let worst = shares.iter().max_by_key(|share| level(share))?;
        Some(match level(worst) {
            Level::Good => (Level::Good, String::new()),
            level => {
                let of: Vec<_> =
                    shares.iter().filter(|share| self::level(share) > Level::Good).map(said).collect();
                (level, of.join("; "))
            }
        })
    })
}

fn level(share: &Share) -> Level {
    if share.used >= share.limit {
        Level::Bad
    } else if share.used.saturating_mul(100) >= share.limit.saturating_mul(NEARLY_ALL) {
        Level::Warning
    } else if share.refused > 0 {
        Level::Note
    } else {
        Level::Good
    }
}

fn said(share: &Share) -> String {
    let Share { resource, used, limit, refused, holders } = share;
    let resource = shown(resource).replace('_', " ");
    let mut text = format!("{used} of {limit} {resource} are in use");
    if *refused > 0 {
        text.push_str(&format!(", {refused} refused since the start"));
    }
    let holders: Vec<_> = holders.iter().take(3).map(holder).collect();
    if !holders.is_empty() {
        text.push_str(&format!("; most by {}", holders.join(", ")));
    }
    text
}

fn holder(holder: &ShareHolder) -> String {
    let who = match holder.spiffe_id.as_str() {
        "" => "callers without identity".to_owned(),
        id => shown(id),
    };
    format!("{who} from {} ({})", shown(&holder.network), holder.held)
}
