//! Which log lines are written, changed while the process runs.
//!
//! There is one for the process, as there is one log. What was changed goes back by itself where that was asked for, so that a debug level does
//! not outlive the hour that it was for.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tracing_subscriber::{EnvFilter, Registry, reload};

use super::log::{LogError, filter};
use crate::{clock, time::WallTime};

static LEVEL: OnceLock<LogLevel> = OnceLock::new();

/// The process's.
#[derive(Debug)]
pub struct LogLevel {
    reloading: reload::Handle<EnvFilter, Registry>,
    configured: String,
    now: Mutex<Now>,
}

/// What is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLevelStatus {
    /// The filter.
    pub level: String,
    /// What the configuration says.
    pub configured: String,
    /// When it goes back to that, if it does by itself.
    pub until: Option<WallTime>,
}

#[derive(Debug)]
struct Now {
    level: String,
    until: Option<WallTime>,
    /// How often it was changed.
    changes: u64,
}

/// A change that goes back by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passing {
    /// Its number among the changes.
    change: u64,
}

impl LogLevel {
    /// The process's, once its log has been started.
    pub fn of_process() -> Option<&'static Self> {
        LEVEL.get()
    }

    pub(super) fn begin(reloading: reload::Handle<EnvFilter, Registry>, configured: &str) {
        let now = Mutex::new(Now { level: configured.to_owned(), until: None, changes: 0 });
        // There is no second log in a process, so there is no second level.
        LEVEL.get_or_init(|| Self { reloading, configured: configured.to_owned(), now });
    }

    /// What is in force.
    pub fn status(&self) -> LogLevelStatus {
        let Now { level, until, changes: _ } = &*self.lock();
        LogLevelStatus { level: level.clone(), configured: self.configured.clone(), until: *until }
    }

    /// Whether this is a filter.
    ///
    /// # Errors
    /// Which part is none.
    pub fn check(level: &str) -> Result<(), LogError> {
        filter(level).map(drop)
    }

    /// Lets this filter count from now on; without one, the configured one. What is given back ends it, if it is to be for so long.
    ///
    /// # Errors
    /// When it is no filter.
    pub fn change(&self, level: Option<&str>, span: Option<Duration>) -> Result<Option<Passing>, LogError> {
        let level = level.unwrap_or(&self.configured);
        let mut now = self.lock();
        self.put(level)?;
        now.level = level.to_owned();
        now.changes += 1;
        now.until = span.map(|span| clock::wall_of(clock::now().after(span)));
        Ok(span.map(|_| Passing { change: now.changes }))
    }

    /// Goes back to the configured filter, unless it was changed again meanwhile. The filter that ended.
    pub fn end(&self, passing: Passing) -> Option<String> {
        let mut now = self.lock();
        if now.changes != passing.change {
            return None;
        }
        // What the process began with is a filter, and the log is there for as long as the process.
        self.put(&self.configured).ok()?;
        now.changes += 1;
        now.until = None;
        Some(std::mem::replace(&mut now.level, self.configured.clone()))
    }

    fn put(&self, level: &str) -> Result<(), LogError> {
        self.reloading.reload(filter(level)?).map_err(|_| LogError::Ended)
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{Layer, fmt, layer::SubscriberExt};

    use super::*;

    #[test]
    fn a_level_counts_at_once_and_goes_back_unless_another_came_after_it() {
        let (filter, reloading) = reload::Layer::new(filter("info").unwrap());
        let lines = fmt::layer().with_writer(std::io::sink).with_filter(filter);
        let now = Mutex::new(Now { level: "info".to_owned(), until: None, changes: 0 });
        let level = LogLevel { reloading, configured: "info".to_owned(), now };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let says_debug = || tracing::enabled!(tracing::Level::DEBUG);
            assert!(!says_debug());
            let first = level.change(Some("debug"), Some(Duration::from_secs(60))).unwrap().unwrap();
            assert!(says_debug() && level.status().until.is_some());
            assert!(level.change(Some("loud"), None).is_err());
            assert!(says_debug(), "what is no level changes nothing");
            let second = level.change(Some("trace"), Some(Duration::from_secs(60))).unwrap().unwrap();
            assert_eq!(level.end(first), None);
            assert!(says_debug());
            assert_eq!(level.end(second).as_deref(), Some("trace"));
            assert_eq!(
                (says_debug(), level.status().level.as_str(), level.status().until),
                (false, "info", None)
            );
            assert_eq!(level.change(Some("off"), None).unwrap(), None);
            level.change(None, None).unwrap();
            assert_eq!(level.status().level, "info");
        });
    }
}
