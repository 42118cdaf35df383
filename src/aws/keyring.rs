//! The secrets of the keys that requests may be signed with, for whoever must not wait for a file.

use std::fmt;

use arc_swap::ArcSwap;

/// Keys by their ids, as they were when they were last read. A read takes no lock.
#[derive(Default)]
pub struct Keyring(ArcSwap<Vec<(String, String)>>);

impl Keyring {
    /// These keys from now on.
    pub fn set(&self, secrets: Vec<(String, String)>) {
        self.0.store(secrets.into());
    }

    /// What belongs to a key's id.
    pub fn secret(&self, id: &str) -> Option<String> {
        let secrets = self.0.load();
        secrets.iter().find(|(known, _)| known == id).map(|(_, secret)| secret.clone())
    }
}

impl fmt::Debug for Keyring {
    /// The ids alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.load().iter().map(|(id, _)| id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_replaced_opens_nothing_more_and_none_is_ever_printed() {
        let keyring = Keyring::default();
        assert_eq!(keyring.secret("a"), None);
        keyring.set(vec![("a".to_owned(), "first".to_owned())]);
        assert_eq!(keyring.secret("a").as_deref(), Some("first"));
        keyring.set(vec![("a".to_owned(), "second".to_owned())]);
        assert_eq!(keyring.secret("a").as_deref(), Some("second"));
        assert_eq!(format!("{keyring:?}"), "{\"a\"}");
    }
}
