//! A model's traffic as data: one immutable, revisioned document, and what makes one well formed.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::bandit::Bandit;
use super::rollout::Rollout;
use crate::router::{Attribute, Plan, SLOTS, Slots, normalise};

/// Where a model's requests go. Publishing another one is the only way to change that; going back
/// is publishing an earlier one as a new revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Document {
    /// Counts the model's documents, from 1.
    pub revision: u64,
    /// Whose doing it was.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When it was published, by the clock of who did. It is told to people; nothing is decided by it.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// The revision it brought back, if it was a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<u64>,
    /// The rest.
    #[serde(flatten)]
    pub traffic: TrafficSpec,
    /// Which slots are whose, so that users stay where they are: `[[version, end], …]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Vec<u64>>>)]
    pub slots: Option<Slots>,
    /// The rollout that moves the weights, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// What moves the weights towards the better arm, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandit: Option<Bandit>,
}

/// What a person says of a model's traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrafficSpec {
    /// Shares of the requests, which sum to 10,000. None: all to the latest version available.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arms: Vec<Arm>,
    /// What keeps a user with an arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// Versions that get copies of requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadow: Vec<Shadow>,
    /// Requests that go to a certain version: the first that fits.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
}

/// A version's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// The version.
    pub version: u64,
    /// Of 10,000.
    pub weight: u32,
}

/// What keeps a user with an arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sticky {
    /// Where the key is found.
    pub by: StickyBy,
    /// The header's, cookie's or query parameter's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Makes this split independent of others by the same key; the model's name if it is left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
}

/// Where a sticky key is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StickyBy {
    /// In a header, or gRPC metadata.
    Header,
    /// In a cookie.
    Cookie,
    /// In a parameter of the query.
    Query,
    /// It is the subject of the client's certificate.
    ClientCert,
    /// Nowhere: each request is drawn anew.
    None,
}

/// A version that gets copies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The version.
    pub version: u64,
    /// Of the requests that others answer, from 0 to 100.
    pub percent: f64,
}

/// Requests that go to a certain version: either a header or a cookie has a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The header's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The cookie's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// Its value.
    pub equals: String,
    /// Who answers.
    pub version: u64,
}

/// Why a document is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// The weights are no shares of the whole.
    #[error("the weights of `arms` are basis points and must sum to {SLOTS}; these sum to {0}")]
    Sum(u64),
    /// The same version twice.
    #[error("version {0} is there twice in `{1}`")]
    Twice(u64, &'static str),
    /// A shadow's share.
    #[error("`shadow`: percent of version {0} must lie between 0 and 100, got {1}")]
    Percent(u64, f64),
    /// A key without a name.
    #[error("`sticky` by {0} needs the `name` of it")]
    Nameless(&'static str),
    /// Neither a header nor a cookie, or both.
    #[error("`match` names either a `header` or a `cookie`; the one for version {0} does not")]
    Match(u64),
}

impl TrafficSpec {
    /// Arms from weights of any sum.
    pub fn weighed(weights: &BTreeMap<u64, u32>) -> TrafficSpec {
        let weights: Vec<_> = weights.iter().map(|(v, w)| (*v, *w)).collect();
        let arms = normalise(&weights).unwrap_or_default();
        let arms = arms.into_iter().map(|(version, weight)| Arm { version, weight }).collect();
        TrafficSpec { arms, ..TrafficSpec::default() }
    }

    /// Checks what types can't.
    pub fn check(&self) -> Result<(), Malformed> {
        twice(self.arms.iter().map(|a| a.version), "arms")?;
        twice(self.shadow.iter().map(|s| s.version), "shadow")?;
        let sum = self.arms.iter().map(|a| u64::from(a.weight)).sum();
        if !self.arms.is_empty() && sum != u64::from(SLOTS) {
            return Err(Malformed::Sum(sum));
        }
        if let Some(s) = self.shadow.iter().find(|s| !(0.0..=100.0).contains(&s.percent)) {
            return Err(Malformed::Percent(s.version, s.percent));
        }
        if let Some(m) = self.matches.iter().find(|m| m.header.is_some() == m.cookie.is_some()) {
            return Err(Malformed::Match(m.version));
        }
        match &self.sticky {
            Some(Sticky { by, name, .. }) if name.is_empty() => match by {
                StickyBy::Header => Err(Malformed::Nameless("header")),
                StickyBy::Cookie => Err(Malformed::Nameless("cookie")),
                StickyBy::Query => Err(Malformed::Nameless("query")),
                StickyBy::ClientCert | StickyBy::None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Weights by version, without arms that have none.
    pub fn weights(&self) -> BTreeMap<u64, u32> {
        self.arms.iter().filter(|a| a.weight > 0).map(|a| (a.version, a.weight)).collect()
    }

    /// Every version it names.
    pub fn versions(&self) -> BTreeSet<u64> {
        let shadows = self.shadow.iter().map(|s| s.version);
        let matches = self.matches.iter().map(|m| m.version);
        self.arms.iter().map(|a| a.version).chain(shadows).chain(matches).collect()
    }

    /// What is asked of the router, over `slots`. Versions that are not available are passed over.
    pub fn plan(
        &self,
        model: &str,
        revision: u64,
        slots: Slots,
        available: &BTreeSet<u64>,
    ) -> Plan {
        let share = |percent: f64| (percent / 100.0 * u64::MAX as f64) as u64;
        let shadows = self.shadow.iter().filter(|s| available.contains(&s.version));
        let matches = self.matches.iter().filter(|m| available.contains(&m.version));
        let named = |m: &Match| {
            let header = m.header.as_ref().map(|h| Attribute::Header(h.to_ascii_lowercase()));
            let by = header.or_else(|| m.cookie.clone().map(Attribute::Cookie))?;
            Some((by, m.equals.clone(), m.version))
        };
        Plan {
            revision,
            slots,
            sticky: self.sticky.as_ref().and_then(|s| s.key(model)),
            matches: matches.filter_map(named).collect(),
            shadows: shadows.map(|s| (s.version, share(s.percent))).collect(),
        }
    }
}

impl Sticky {
    fn key(&self, model: &str) -> Option<(Attribute, String)> {
        let name = self.name.clone();
        let by = match self.by {
            StickyBy::Header => Attribute::Header(name.to_ascii_lowercase()),
            StickyBy::Cookie => Attribute::Cookie(name),
            StickyBy::Query => Attribute::Query(name),
            StickyBy::ClientCert => Attribute::ClientCert,
            StickyBy::None => return None,
        };
        let salt = if self.salt.is_empty() { model.to_owned() } else { self.salt.clone() };
        Some((by, salt))
    }
}

fn twice(versions: impl Iterator<Item = u64>, what: &'static str) -> Result<(), Malformed> {
    let mut seen = BTreeSet::new();
    match versions.into_iter().find(|v| !seen.insert(*v)) {
        Some(version) => Err(Malformed::Twice(version, what)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> TrafficSpec {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = |json: &str| parse(json).check().unwrap_err().to_string();
        assert!(
            wrong(r#"{"arms":[{"version":1,"weight":90}]}"#)
                .contains("sum to 10000; these sum to 90")
        );
        let twice = r#"{"arms":[{"version":1,"weight":9000},{"version":1,"weight":1000}]}"#;
        assert!(wrong(twice).contains("version 1 is there twice in `arms`"));
        assert!(wrong(r#"{"shadow":[{"version":2,"percent":101}]}"#).contains("got 101"));
        assert!(wrong(r#"{"sticky":{"by":"cookie"}}"#).contains("by cookie needs the `name`"));
        assert!(wrong(r#"{"match":[{"equals":"x","version":2}]}"#).contains("for version 2"));
        assert_eq!(parse("{}").check(), Ok(()));
    }

    #[test]
    fn what_is_not_available_is_left_out_of_the_plan() {
        let spec = parse(
            r#"{"arms":[{"version":1,"weight":10000}],
                "sticky":{"by":"header","name":"X-User"},
                "shadow":[{"version":2,"percent":50},{"version":3,"percent":1}],
                "match":[{"header":"X-Test","equals":"1","version":3},
                         {"cookie":"beta","equals":"yes","version":2}]}"#,
        );
        let plan = spec.plan("m", 4, Slots::all(1), &[1, 2].into());
        assert_eq!(plan.sticky, Some((Attribute::Header("x-user".into()), "m".into())));
        assert_eq!(plan.matches, [(Attribute::Cookie("beta".into()), "yes".into(), 2)]);
        assert_eq!(plan.shadows, [(2, u64::MAX / 2 + 1)]);
        assert_eq!(spec.versions(), [1, 2, 3].into());
    }
}
