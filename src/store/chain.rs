//! The chain of hashes that ties each event to all before it, so that whoever holds a later one finds an earlier one that was changed,
//! taken out, or put in.
//!
//! An event's hash is SHA-256 over a JSON array without white space: the hash before it in hexadecimal, then the event's `id`, `at`,
//! `kind`, `endpoint`, `shift`, `before`, `after`, `share`, `actor`, `peer`, `cause`, `reason` and `evidence`, each as the API writes it,
//! `null` for what it lacks. So a line of the events' file, or a webhook's body, can be checked with any JSON library. The first event follows
//! [`Hash::NONE`].
//!
//! The chain has no secret: whoever can write the whole file can make a chain anew. What they cannot reach is the hashes that have left the
//! machine, in webhooks and in a file that another machine collects; [`check`] takes such a hash into account.

use std::{fmt, num::ParseIntError};

use ring::digest;
use serde::Serialize;

use super::{Event, Journal, StoreError};

/// How many events are read at a time: decisions that are to be written wait for one such read at most, about a millisecond.
const BATCH: usize = 1_000;

/// An event's hash.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Hash([u8; 32]);

/// An event, known by its place and its hash.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Head {
    /// Its id, zero before the first.
    pub id: u64,
    /// Its hash.
    pub hash: Hash,
}

/// Between which events the chain runs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Chain {
    /// The last event that is not in it: compacted away, or older than the chain.
    pub anchor: Head,
    /// Its newest.
    pub head: Head,
}

/// What a check of the chain found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Checked {
    /// Every event follows from the one before.
    Whole(Chain),
    /// The chain breaks.
    Broken {
        /// At this event.
        event: u64,
        /// How, in a sentence.
        how: String,
    },
}

/// The parts of an event that its hash covers, as the API writes them.
#[derive(Clone, Copy, Serialize, Debug)]
pub struct Link<'a>(
    /// The hash before, in hexadecimal.
    pub &'a str,
    /// `id`
    pub u64,
    /// `at`
    pub &'a str,
    /// `kind`
    pub &'a str,
    /// `endpoint`
    pub Option<&'a str>,
    /// `shift`
    pub Option<&'a str>,
    /// `before`
    pub Option<&'a str>,
    /// `after`
    pub Option<&'a str>,
    /// `share`
    pub Option<&'a str>,
    /// `actor`
    pub &'a str,
    /// `peer`
    pub Option<&'a str>,
    /// `cause`
    pub &'a str,
    /// `reason`
    pub Option<&'a str>,
    /// `evidence`
    pub Option<&'a serde_json::Value>,
);

impl Hash {
    /// What the first event of a journal follows.
    pub const NONE: Self = Self([0; 32]);

    /// From the bytes of its column.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// For its column.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            let parsed: Result<u8, ParseIntError> = u8::from_str_radix(&text[2 * index..2 * index + 2], 16);
            *byte = parsed.ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Link<'_> {
    /// The hash of the event with these parts.
    pub fn hash(&self) -> Hash {
        let text = serde_json::to_vec(self).expect("strings and numbers serialize without fail");
        let digest = digest::digest(&digest::SHA256, &text);
        Hash(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl Event {
    /// The hash that it has after an event with this one.
    pub fn hash_after(&self, previous: Hash) -> Hash {
        let Self {
            id,
            at,
            kind,
            endpoint,
            shift,
            before,
            after,
            share,
            actor,
            peer,
            cause,
            reason,
            evidence,
            hash: _,
        } = self;
        let share = share.map(|share| share.to_string());
        Link(
            &previous.to_string(),
            *id,
            &at.to_string(),
            kind,
            endpoint.as_ref().map(|name| name.as_str()),
            shift.as_ref().map(|id| id.as_str()),
            before.as_deref(),
            after.as_deref(),
            share.as_deref(),
            actor,
            peer.as_deref(),
            cause,
            reason.as_deref(),
            evidence.as_ref(),
        )
        .hash()
    }

    /// Its place in the chain.
    pub fn head(&self) -> Head {
        Head { id: self.id, hash: self.hash }
    }
}

/// Checks every event that the journal keeps, and its end against `seen`, an event that is known from elsewhere. Reads in small parts, so
/// that whoever writes meanwhile hardly waits. Blocks.
pub fn check(journal: &dyn Journal, seen: Option<Head>) -> Result<Checked, StoreError> {
    let Chain { anchor, head } = journal.chain()?;
    let broken = |event, how: &str| Ok(Checked::Broken { event, how: how.to_owned() });
    if let Some(seen) = seen.filter(|seen| seen.id > head.id) {
        return broken(
            seen.id,
            "it is known outside of the journal, which ends before it: the end was cut off",
        );
    }
    let mut last = anchor;
    while last.id < head.id {
        let batch = journal.events_after(last.id, BATCH)?;
        if batch.is_empty() {
            return broken(last.id + 1, "it is missing, with all after it: the end was cut off");
        }
        for event in batch {
            if event.id != last.id + 1 {
                // Compaction may have come in between, and then the chain begins later.
                let begins = journal.chain()?.anchor;
                if begins != anchor {
                    return check(journal, seen);
                }
                return broken(last.id + 1, "it is missing: it was taken out");
            }
            if event.hash != event.hash_after(last.hash) {
                return broken(
                    event.id,
                    "its hash does not follow from it and the one before: it was changed",
                );
            }
            if seen.is_some_and(|seen| seen.id == event.id && seen.hash != event.hash) {
                return broken(
                    event.id,
                    "it is known otherwise outside of the journal: the chain was made anew",
                );
            }
            last = event.head();
        }
    }
    if last.id == head.id && last.hash != head.hash {
        return broken(head.id, "the journal remembers another event in its place");
    }
    Ok(Checked::Whole(Chain { anchor, head: last }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{name::EndpointName, time::WallTime, weight::Share};

    #[test]
    fn a_hash_is_that_of_the_documented_text() {
        let event = Event {
            id: 1,
            at: WallTime::from_millis(1_769_860_800_250),
            kind: "shift.state".to_owned(),
            endpoint: Some(EndpointName::parse("chat").unwrap()),
            shift: None,
            before: Some("baking".to_owned()),
            after: None,
            share: Some(Share::NONE),
            actor: "alarm".to_owned(),
            peer: None,
            cause: "\u{fc} \"quoted\"\n".to_owned(),
            reason: None,
            evidence: Some(serde_json::json!({"alarm": "errors", "failed": 9})),
            hash: Hash::NONE,
        };
        let zeros = "0".repeat(64);
        let text = format!(
            "[\"{zeros}\",1,\"2026-01-31T12:00:00.250Z\",\"shift.state\",\"chat\",null,\"baking\",null,\"0%\",\"alarm\",null,\
             \"\u{fc} \\\"quoted\\\"\\n\",null,{{\"alarm\":\"errors\",\"failed\":9}}]"
        );
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        assert_eq!(event.hash_after(Hash::NONE).as_bytes(), digest.as_ref());
    }

    #[test]
    fn a_hash_reads_back_from_its_text_and_nothing_else_does() {
        let hash = Hash(std::array::from_fn(|index| u8::try_from(7 * index).unwrap()));
        assert_eq!(Hash::parse(&hash.to_string()), Some(hash));
        for bad in ["", "00", &"g".repeat(64), &"\u{fc}".repeat(32)] {
            assert_eq!(Hash::parse(bad), None, "{bad}");
        }
    }
}
