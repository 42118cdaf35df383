//! Where the secrets of keys are, and what they are now.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;

use crate::{alarm::Token, aws::Keyring, config::AwsKey};

/// Longer than any secret.
const SECRET_LIMIT: u64 = 4 << 10;

/// From one look at the secrets to the next, for whoever cannot look at each request. What is replaced is known as soon as a certificate is.
const LOOK: Duration = Duration::from_secs(5);

/// The keys that can be used. A secret that cannot be read lets nobody in. Blocks on files.
pub fn read_secrets(keys: &[AwsKey]) -> Vec<(String, String)> {
    let secrets = keys.iter().filter_map(|AwsKey { id, secret }| match read(secret) {
        Ok(secret) => Some((id.clone(), secret)),
        Err(error) => {
            tracing::error!(key = id, %error, "the secret of a key cannot be read, so it opens nothing");
            None
        }
    });
    secrets.collect()
}

/// Keeps a keyring as its keys are, for ever.
pub(in crate::admin) async fn keep(keyring: Option<Arc<Keyring>>, keys: Arc<[AwsKey]>) {
    let Some(keyring) = keyring else { return };
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let keys = Arc::clone(&keys);
        if let Ok(secrets) = tokio::task::spawn_blocking(move || read_secrets(&keys)).await {
            keyring.set(secrets);
        }
    }
}

/// Without the line's end. An empty one is none: everybody could sign with it.
fn read(secret: &Token) -> Result<String, String> {
    let text = match secret {
        Token::Environment(name) => {
            std::env::var(name).map_err(|error| format!("the variable {name}: {error}"))?
        }
        Token::File(path) => read_file(path)?,
    };
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        secret => Ok(secret.to_owned()),
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(SECRET_LIMIT).read_to_string(&mut text));
    read.map(|_| text).map_err(|error| format!("{}: {error}", path.display()))
}
