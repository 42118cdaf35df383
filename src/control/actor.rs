//! Who asks for something.

/// Who asks for something, from where, and why: what the events and the audit trail say of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    /// The name that it gives.
    pub name: String,
    /// Where the request came from, as far as there was one: an address, and the certificate that was shown.
    pub peer: Option<String>,
    /// Why, in its own words; may be empty.
    pub reason: String,
}

impl Actor {
    /// The reason, if there is one.
    pub(super) fn given_reason(&self) -> Option<String> {
        Some(self.reason.clone()).filter(|reason| !reason.is_empty())
    }
}

impl From<&str> for Actor {
    /// A part of this process, or a test.
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), peer: None, reason: String::new() }
    }
}

impl From<&Self> for Actor {
    fn from(actor: &Self) -> Self {
        actor.clone()
    }
}
