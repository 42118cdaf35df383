//! Certificates that change while the process serves.

use std::{sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;

use super::{Actor, Handle};
use crate::tls::{Refreshed, Which};

/// From one look at the files to the next. Renewals come days before a certificate ends, so seconds are soon enough. Looking again
/// and again, and not a watch by the kernel (inotify): that does not see changes on network file systems, nor those that turn a
/// symbolic link above the file, which is how Kubernetes replaces secrets; and a look costs some microseconds.
const LOOK: Duration = Duration::from_secs(5);

/// Who changes certificates when their files change.
const FILES: &str = "files";

/// Reads certificates again when their files change, for ever.
pub(super) async fn watch(handle: Handle) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        handle.refresh_certificates(Which::Changed, FILES).await;
    }
}

impl Handle {
    /// Reads certificates again: for new connections, while those that are open go on. What cannot be used stays as it was. Says in a
    /// sentence each what was read, in the log and in the stream of events (`certificates.reloaded`, `certificates.refused`) too.
    pub async fn refresh_certificates(&self, which: Which, actor: impl Into<Actor>) -> Vec<String> {
        let actor = actor.into();
        let keychain = Arc::clone(&self.keychain);
        let refreshed = tokio::task::spawn_blocking(move || keychain.refresh(which)).await;
        let mut sentences = Vec::new();
        for refreshed in refreshed.unwrap_or_default() {
            let sentence = refreshed.sentence();
            let Refreshed { place, outcome } = refreshed;
            let kind = match outcome {
                Ok(()) => {
                    tracing::info!(place, actor = actor.name, "certificates were read again");
                    "certificates.reloaded"
                }
                Err(error) => {
                    tracing::error!(place, actor = actor.name, %error, "certificates are refused; serving goes on with those before");
                    "certificates.refused"
                }
            };
            if let Err(error) = self.note(kind, sentence.clone(), &actor).await {
                tracing::warn!(%error, "a change of certificates is missing in the events");
            }
            sentences.push(sentence);
        }
        sentences
    }
}
