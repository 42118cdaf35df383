//! Sessions of Amazon SageMaker's clients, which stay on the instance that has their state.
//!
//! A container makes a session's id when a client asks for a new one, so only it knows the id, and only the proxy knows which instance it was.
//! The id that the client is told has the instance's sign behind it: that is all that is needed to find it again, on any worker, after a
//! restart, and in front of the same fleets by another proxy, and nothing has to be remembered of anybody. The container is sent its own id.
//!
//! A session stays where it is for as long as the instance serves and its fleet has a part of the requests, or is blue: a growing share moves
//! none, and a rollback voids green's at once. A session that is void, or whose id somebody else made, is one by its name: it has a fleet by a stable
//! hash ([`sticky_side`](super::sticky_side)), which only ever moves from blue to green, and an instance by another, which moves when the instance goes.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    balancing::highest,
    hash::{hash, mix},
};
use crate::fleet::{Fleet, Instance};

/// Where requests name their session.
static SESSION_ID: HeaderName = HeaderName::from_static("x-amzn-sagemaker-session-id");

/// Where answers say that there is a new one, or one no more.
static NEW_SESSION_ID: HeaderName = HeaderName::from_static("x-amzn-sagemaker-new-session-id");
static CLOSED_SESSION_ID: HeaderName = HeaderName::from_static("x-amzn-sagemaker-closed-session-id");

/// What a request names that wants a new one.
const NEW_SESSION: &str = "NEW_SESSION";

/// What stands between the container's id and the sign. An id may have letters, digits and hyphens.
const MARK: &str = "-sb";
const SIGN_DIGITS: usize = 16;

/// The longest id that clients may send.
const ID_LIMIT: usize = 256;

/// An instance of a version, as ids have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sign(u64);

/// Which session a request belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Session {
    /// One that this instance has made.
    Held(Sign),
    /// One of a name with this hash.
    Named(u64),
}

impl Sign {
    /// The sign of an instance of this fleet.
    pub fn of(fleet: &Fleet, instance: &Instance) -> Self {
        let address = hash(instance.address().as_str().as_bytes());
        Self(mix(address ^ hash(fleet.version.as_str().as_bytes()).rotate_left(1)))
    }

    fn split(id: &str) -> Option<(&str, Self)> {
        let (id, digits) = id.split_at_checked(id.len().checked_sub(SIGN_DIGITS)?)?;
        let is_lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if !digits.bytes().all(is_lower) {
            return None;
        }
        Some((id.strip_suffix(MARK)?, Self(u64::from_str_radix(digits, 16).ok()?)))
    }

    fn behind(self, id: &str) -> Option<String> {
        let signed = format!("{id}{MARK}{:0SIGN_DIGITS$x}", self.0);
        (!id.is_empty() && signed.len() <= ID_LIMIT).then_some(signed)
    }

    /// Makes the ids that a container's answer has those that its clients know them by.
    pub fn mark(self, headers: &mut HeaderMap) {
        for name in [&NEW_SESSION_ID, &CLOSED_SESSION_ID] {
            let Some(told) = headers.get(name).and_then(|value| value.to_str().ok()) else { continue };
            // A new one has its expiry behind it.
            let (id, rest) = told.split_at(told.find(';').unwrap_or(told.len()));
            let Some(signed) = self.behind(id.trim()) else { continue };
            if let Ok(value) = HeaderValue::try_from(format!("{signed}{rest}")) {
                headers.insert(name, value);
            }
        }
    }
}

impl Session {
    /// The session that a request names, if it is in one.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let id = headers.get(&SESSION_ID)?.to_str().ok()?;
        match Sign::split(id) {
            Some((_, sign)) => Some(Self::Held(sign)),
            None => Self::by_name(headers),
        }
    }

    /// The same by its name alone.
    pub fn by_name(headers: &HeaderMap) -> Option<Self> {
        Some(Self::Named(hash(Self::key(headers)?)))
    }

    /// The name by which a session is found that is not, or no longer, held by an instance.
    pub fn key(headers: &HeaderMap) -> Option<&[u8]> {
        let id = headers.get(&SESSION_ID)?.to_str().ok().filter(|id| *id != NEW_SESSION && !id.is_empty())?;
        Some(Sign::split(id).map_or(id, |(id, _)| id).as_bytes())
    }

    /// The instance of this fleet that has the session; `None` where none of it has, or none can serve.
    pub fn instance(self, fleet: &Fleet) -> Option<&Arc<Instance>> {
        let mut able = fleet.instances.iter().filter(|instance| instance.part() > 0);
        match self {
            Self::Held(sign) => able.find(|instance| Sign::of(fleet, instance) == sign),
            Self::Named(key) => highest(key, able.map(|instance| (instance, instance.part()))),
        }
    }
}

/// Makes the id of a request's session the one that its container has made.
pub fn unmark_session(headers: &mut HeaderMap) {
    let id = headers.get(&SESSION_ID).and_then(|value| value.to_str().ok());
    if let Some((id, _)) = id.and_then(Sign::split)
        && let Ok(id) = HeaderValue::try_from(id)
    {
        headers.insert(&SESSION_ID, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fleet::{Address, Health},
        name::Version,
    };

    fn fleet(version: &str) -> Fleet {
        let instance = |place| {
            Arc::new(Instance::new(Address::parse(&format!("10.0.0.1:{}", 9_001 + place)).unwrap(), 1))
        };
        Fleet::of(Version::parse(version).unwrap(), (0..3).map(instance).collect())
    }

    fn asking(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(SESSION_ID.clone(), HeaderValue::try_from(id).unwrap())])
    }

    #[test]
    fn an_id_leads_back_to_the_instance_that_made_it_and_is_its_own_there() {
        let fleet = fleet("v1");
        for instance in &fleet.instances {
            let mut answer = HeaderMap::new();
            answer.insert(&NEW_SESSION_ID, "abc-1; Expires=2026-11-25T17:00:00Z".parse().unwrap());
            Sign::of(&fleet, instance).mark(&mut answer);
            let told = answer[&NEW_SESSION_ID].to_str().unwrap();
            let (id, rest) = told.split_once("; ").unwrap();
            assert_eq!(rest, "Expires=2026-11-25T17:00:00Z");
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{id}");
            let mut request = asking(id);
            let found = Session::of(&request).unwrap().instance(&fleet).unwrap();
            assert!(Arc::ptr_eq(found, instance));
            assert_eq!(Session::key(&request), Some(&b"abc-1"[..]));
            unmark_session(&mut request);
            assert_eq!(request[&SESSION_ID], "abc-1");
        }
    }

    #[test]
    fn another_version_at_the_same_address_has_none_of_its_sessions() {
        let (blue, green) = (fleet("v1"), fleet("v2"));
        let held = Session::Held(Sign::of(&blue, &blue.instances[0]));
        assert!(held.instance(&blue).is_some() && held.instance(&green).is_none());
        blue.instances[0].set_health(Health::Unhealthy);
        assert!(held.instance(&blue).is_none(), "it is void while its instance cannot serve");
    }

    #[test]
    fn a_name_of_somebody_elses_making_stays_on_an_instance_too() {
        let fleet = fleet("v1");
        let of = |id: &str| Session::of(&asking(id)).unwrap();
        let chosen: Vec<_> = (0..50).map(|id| of(&format!("s-{id}")).instance(&fleet).unwrap()).collect();
        for (id, before) in chosen.iter().enumerate() {
            assert!(Arc::ptr_eq(of(&format!("s-{id}")).instance(&fleet).unwrap(), before));
        }
        let taken = fleet.instances.iter().filter(|one| chosen.iter().any(|other| Arc::ptr_eq(one, other)));
        assert_eq!(taken.count(), 3);
    }

    #[test]
    fn a_new_session_is_none_yet_and_what_only_looks_signed_is_a_name() {
        assert_eq!(Session::of(&asking("NEW_SESSION")), None);
        assert_eq!(Session::of(&HeaderMap::new()), None);
        for id in ["a-sb0123456789abcde", "a-sb0123456789ABCDEF", "-sb", "0123456789abcdef", "\u{7f}"] {
            if let Ok(value) = HeaderValue::try_from(id) {
                let headers = HeaderMap::from_iter([(SESSION_ID.clone(), value)]);
                assert!(matches!(Session::of(&headers), Some(Session::Named(_)) | None), "{id}");
            }
        }
    }

    #[test]
    fn an_id_that_would_be_too_long_for_clients_stays_as_it_is() {
        let fleet = fleet("v1");
        let mut answer = HeaderMap::new();
        answer.insert(&CLOSED_SESSION_ID, "a".repeat(250).parse().unwrap());
        Sign::of(&fleet, &fleet.instances[0]).mark(&mut answer);
        assert_eq!(answer[&CLOSED_SESSION_ID].len(), 250);
    }
}
