//! What middleboxes and servers forget after how long: `data/idle-timeouts.toml`, asked both ways. Which of them would
//! break a connection that is silent for so long, and which of them fits the silence in which one broke.

use std::sync::{LazyLock, OnceLock};

use serde::Deserialize;

use super::verdict::{Break, Sign};
use crate::packet::{Nanos, seconds};

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// As in a sentence.
    pub name: String,
    /// How long a connection may be silent, seconds.
    pub limit_s: f64,
    /// What counts as activity.
    pub resets: Resets,
    /// How the end shows, where it is documented.
    pub ends: Option<Ends>,
    /// Where it is documented.
    pub source: String,
}

/// What a box counts as activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resets {
    /// Any packet, keepalive probes included.
    Any,
    /// Only payload.
    Payload,
}

/// What a box does when the time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// Nothing; later packets vanish.
    Silent,
    /// Nothing; who sends next is answered by RST.
    RstNextSender,
    /// Resets both sides at that moment.
    RstBoth,
    /// Closes in good order at that moment.
    Fin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    limit: Vec<Limit>,
}

/// Reads a table of limits.
///
/// # Errors
/// Says in which line what is wrong.
pub fn parse(text: &str) -> Result<Vec<Limit>, toml::de::Error> {
    let mut limits = toml::from_str::<Table>(text)?.limit;
    limits.sort_by(|a, b| a.limit_s.total_cmp(&b.limit_s));
    Ok(limits)
}

static ADDED: OnceLock<Vec<Limit>> = OnceLock::new();

static KNOWN: LazyLock<Vec<Limit>> = LazyLock::new(|| {
    // A test reads the file; were it broken after all, a report without hints is better than none.
    let built_in = parse(include_str!("../../data/idle-timeouts.toml")).unwrap_or_default();
    let mut limits = [built_in, ADDED.get().cloned().unwrap_or_default()].concat();
    limits.sort_by(|a, b| a.limit_s.total_cmp(&b.limit_s));
    limits
});

/// Adds the user's own rows for the whole process, once and before the table is first asked.
pub fn add(limits: Vec<Limit>) {
    // A second table would come too late for what was already said.
    let _ = ADDED.set(limits);
}

/// The built-in table and what was added, shortest limit first.
#[must_use]
pub fn known() -> &'static [Limit] {
    &KNOWN
}

/// The limits that a connection breaks by a silence of `any` (no packet) or `payload` (no payload), shortest first.
pub fn broken_by(any: Nanos, payload: Nanos) -> impl Iterator<Item = &'static Limit> {
    known().iter().filter(move |limit| {
        let silence = match limit.resets {
            Resets::Any => any,
            Resets::Payload => payload,
        };
        seconds(silence) > limit.limit_s
    })
}

/// How much later than its limit a box that acts by itself may act: timers are coarse, and some are checked by a sweep.
const LATE_SHARE: f64 = 0.01;
/// The same, at least, seconds.
const LATE_LEAST: f64 = 1.0;
/// How much earlier the capture may show it, where it was taken on the far side of a slow path, seconds.
const EARLY: f64 = 0.1;

/// The limits that fit the silence in which a flow broke, best first: those whose end looks like this one, which are not
/// refuted by a longer silence that the flow survived, nearest to the silence.
#[must_use]
pub fn fitting(broke: &Break) -> Vec<&'static Limit> {
    let mut fits: Vec<_> = known().iter().filter(|limit| fits(limit, broke)).collect();
    fits.reverse();
    fits
}

/// Whether a silence is so long that it can fit a limit.
#[must_use]
pub fn could_fit(silence: Nanos) -> bool {
    known().first().is_some_and(|shortest| seconds(silence) >= shortest.limit_s - EARLY)
}

fn fits(limit: &Limit, broke: &Break) -> bool {
    let (silence, survived) = match limit.resets {
        Resets::Any => (seconds(broke.silence), seconds(broke.survived)),
        Resets::Payload => (seconds(broke.payload_silence), seconds(broke.payload_survived)),
    };
    let at_expiry =
        |s: f64| s >= limit.limit_s - EARLY && s <= limit.limit_s + (limit.limit_s * LATE_SHARE).max(LATE_LEAST);
    survived < limit.limit_s
        && match (limit.ends, broke.sign) {
            (Some(Ends::Fin), Sign::Fin) | (Some(Ends::RstBoth), Sign::Reset) => at_expiry(silence),
            (Some(Ends::RstNextSender) | None, Sign::ResetOnSegment) | (Some(Ends::Silent) | None, Sign::Silence) => {
                silence >= limit.limit_s
            }
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::SECOND;
    use crate::summary::Side;

    fn broke(silence: Nanos, survived: Nanos, sign: Sign) -> Break {
        Break { silence, payload_silence: silence, survived, payload_survived: survived, sign, by: Side::Client }
    }

    fn names(limits: &[&Limit]) -> Vec<String> {
        limits.iter().map(|l| l.name.clone()).collect()
    }

    #[test]
    fn the_table_is_whole() {
        let limits = parse(include_str!("../../data/idle-timeouts.toml")).unwrap();
        assert_eq!(limits.len(), known().len());
        for limit in &limits {
            assert!(limit.limit_s > EARLY && limit.limit_s.fract() == 0.0 && !limit.name.is_empty(), "{limit:?}");
            assert!(limit.source.starts_with("https://"), "{limit:?}");
        }
        let of = |name: &str| limits.iter().find(|l| l.name == name).unwrap();
        assert_eq!(of("AWS Network Load Balancer").limit_s, 350.0);
        assert_eq!(of("Azure Load Balancer").limit_s, 240.0);
        assert_eq!(of("IPVS (Docker Swarm, kube-proxy)").limit_s, 900.0);
    }

    #[test]
    fn a_probe_every_five_minutes_suits_one_balancer_and_not_the_other() {
        let broken: Vec<_> = broken_by(300 * SECOND, 0).map(|l| l.name.as_str()).collect();
        assert!(broken.contains(&"Azure Load Balancer"), "{broken:?}");
        assert!(!broken.contains(&"AWS Network Load Balancer"), "{broken:?}");
    }

    #[test]
    fn doubling_silences_find_the_box() {
        // 512 s survived, broken in 1024 s (moby/moby#37822): between them lie Google's 600, IPVS's 900.
        let fits = names(&fitting(&broke(1024 * SECOND, 512 * SECOND, Sign::Silence)));
        assert_eq!(fits, ["IPVS (Docker Swarm, kube-proxy)", "Google Cloud VPC firewall"]);
    }

    #[test]
    fn a_box_that_acts_by_itself_must_act_in_time() {
        assert_eq!(names(&fitting(&broke(300 * SECOND, 0, Sign::Reset))), ["F5 BIG-IP FastL4"]);
        assert!(fitting(&broke(330 * SECOND, 0, Sign::Reset)).is_empty());
        assert!(fitting(&broke(5 * SECOND, 0, Sign::Fin)).is_empty());
    }

    #[test]
    fn what_cannot_fit_fits_nothing() {
        for tenths in 0..20_000 {
            let silence = tenths * SECOND / 10;
            let fits = [Sign::Fin, Sign::Reset, Sign::ResetOnSegment, Sign::Silence]
                .into_iter()
                .any(|sign| !fitting(&broke(silence, 0, sign)).is_empty());
            assert!(could_fit(silence) || !fits, "{silence} ns");
        }
        assert!(!could_fit(0));
    }
}
