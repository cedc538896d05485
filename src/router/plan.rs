//! A model's traffic, ready to be asked: which version a request is for, and which get a copy.

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::Slots;

/// Something of a request that may decide its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// A header (gRPC: metadata), by its name in lower case.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// A parameter of the query.
    Query(String),
    /// The subject of the client's certificate.
    ClientCert,
}

/// What the router may ask of a request. Protocols answer it.
pub trait Asked {
    /// The value of an attribute, if the request has it.
    fn value(&self, of: &Attribute) -> Option<Cow<'_, str>>;
    /// Another number each time, uniform over all of `u64`.
    fn chance(&self) -> u64;
}

/// No request: the version that a question about the model is answered by.
pub struct Nobody;

impl Asked for Nobody {
    fn value(&self, _: &Attribute) -> Option<Cow<'_, str>> {
        None
    }

    fn chance(&self) -> u64 {
        0
    }
}

/// A model's traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The revision of the document; 0 if the traffic follows the repository.
    pub revision: u64,
    /// The arms.
    pub slots: Slots,
    /// What keeps a user with an arm, and the salt of its hash.
    pub sticky: Option<(Attribute, String)>,
    /// Requests that go to a certain version: the first that fits.
    pub matches: Vec<(Attribute, String, u64)>,
    /// Versions that get copies, and the share of requests as a part of all of `u64`.
    pub shadows: Vec<(u64, u64)>,
}

/// How a version came to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is an arm of the traffic: the request counts in comparisons.
    Arm,
    /// The request matched.
    Match,
    /// The request named it.
    Named,
}

/// Versions that get a copy of a request.
pub type Shadows = SmallVec<[u64; 2]>;

impl Plan {
    /// All to one version.
    pub fn all(version: u64) -> Plan {
        Plan {
            revision: 0,
            slots: Slots::all(version),
            sticky: None,
            matches: Vec::new(),
            shadows: Vec::new(),
        }
    }

    /// The version that answers.
    pub fn pick(&self, request: &dyn Asked) -> (u64, Why) {
        let fits = |(attribute, value, _): &&(Attribute, String, u64)| {
            request.value(attribute).is_some_and(|v| v == value.as_str())
        };
        if let Some((.., version)) = self.matches.iter().find(fits) {
            return (*version, Why::Match);
        }
        let sticky = self.sticky.as_ref();
        let key = sticky.and_then(|(of, salt)| Some((salt, request.value(of)?)));
        let point = match key {
            Some((salt, key)) => point(salt, &key),
            None => request.chance(),
        };
        (self.slots.pick(point), Why::Arm)
    }

    /// The versions that get a copy of a request that `version` answers.
    pub fn copies(&self, version: u64, request: &dyn Asked) -> Shadows {
        let drawn = |(shadow, share): &&(u64, u64)| {
            *shadow != version && *share > 0 && request.chance() <= *share
        };
        self.shadows.iter().filter(drawn).map(|(shadow, _)| *shadow).collect()
    }
}

/// Where a sticky key falls. The same in every replica and for ever: users must not move because the
/// server was upgraded.
pub(super) fn point(salt: &str, key: &str) -> u64 {
    let hash = Sha256::new().chain_update(salt).chain_update([0]).chain_update(key).finalize();
    hash.iter().take(8).fold(0, |point, byte| (point << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Request {
        user: Option<&'static str>,
        chance: Cell<u64>,
    }

    impl Asked for Request {
        fn value(&self, of: &Attribute) -> Option<Cow<'_, str>> {
            match of {
                Attribute::Header(name) if name == "x-user" => self.user.map(Cow::Borrowed),
                _ => None,
            }
        }

        fn chance(&self) -> u64 {
            self.chance.replace(self.chance.get().wrapping_add(u64::MAX / 3))
        }
    }

    fn plan() -> Plan {
        Plan {
            revision: 3,
            slots: serde_json::from_str("[[1,5000],[2,10000]]").unwrap(),
            sticky: Some((Attribute::Header("x-user".into()), "s".into())),
            matches: vec![(Attribute::Header("x-user".into()), "tester".into(), 9)],
            shadows: vec![(2, u64::MAX), (3, u64::MAX / 2), (4, 0)],
        }
    }

    fn request(user: Option<&'static str>) -> Request {
        Request { user, chance: Cell::new(0) }
    }

    #[test]
    fn a_user_stays_and_a_tester_is_pinned() {
        let plan = plan();
        let of = |user| plan.pick(&request(Some(user)));
        assert_eq!(of("ada"), of("ada"));
        assert_eq!(of("tester"), (9, Why::Match));
        let users: Vec<String> = (0..100).map(|n| format!("user {n}")).collect();
        let versions: Vec<_> = users.iter().map(|u| plan.slots.pick(point("s", u))).collect();
        assert!(versions.contains(&1) && versions.contains(&2));
        // Without a key it is chance.
        let anonymous = request(None);
        let picked: Vec<_> = (0..3).map(|_| plan.pick(&anonymous).0).collect();
        assert_eq!(picked, [1, 1, 2]);
    }

    #[test]
    fn who_answers_gets_no_copy_and_others_their_share() {
        let plan = plan();
        let request = request(None);
        assert_eq!(plan.copies(1, &request)[..], [2, 3]);
        // What is drawn for 3 is 1/3, then 2/3 of all there is.
        assert_eq!(plan.copies(2, &request)[..], [] as [u64; 0]);
    }

    /// Users would change arms with an upgrade if this changed.
    #[test]
    fn the_hash_is_fixed() {
        assert_eq!(point("salt", "user"), 0xee63_6e34_7794_429c);
    }
}
