//! What is asked of the journal itself: whether its chain is whole, and for a copy of it.

use super::{ControlError, Handle};
use crate::store::{Chain, Checked, Head, chain};

impl Handle {
    /// Checks the chain of every event that is kept, and its end against `seen`, an event that is known from elsewhere.
    pub async fn check_chain(&self, seen: Option<Head>) -> Result<Checked, ControlError> {
        Ok(self.read(move |journal| chain::check(journal, seen)).await?)
    }

    /// Between which events the chain runs.
    pub async fn chain(&self) -> Result<Chain, ControlError> {
        Ok(self.read(|journal| journal.chain()).await?)
    }

    /// The whole journal as one file, as of now.
    pub async fn backup(&self) -> Result<Vec<u8>, ControlError> {
        Ok(self.read(|journal| journal.backup()).await?)
    }
}
