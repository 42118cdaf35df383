//! Where log lines go and which are written.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::LevelFilter, fmt, layer::SubscriberExt, reload,
    util::SubscriberInitExt,
};

use super::{log_level::LogLevel, panics::log_panics};
use crate::config::{LogConfig, LogFormat};

/// Why logging cannot start as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// `[log] level` is not a filter.
    #[error(
        "{directive:?} is not a filter: {reason}; write a level (error, warn, info, debug, trace, off) or \
         target=level, separated by commas, such as \"info,snapback::proxy=debug\""
    )]
    Filter {
        /// The part that does not make sense.
        directive: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The log is gone, with the process's end.
    #[error("the log has ended")]
    Ended,
    /// A subscriber is installed already.
    #[error("logging has been started already in this process")]
    AlreadyStarted,
}

/// Sends log lines to standard error from now on, for the whole process, panics among them. Standard output is left to what a command prints.
pub fn start_logging(config: &LogConfig) -> Result<(), LogError> {
    let LogConfig { level, format } = config;
    let (filter, reloading) = reload::Layer::new(filter(level)?);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => {
            fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).boxed()
        }
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|_| LogError::AlreadyStarted)?;
    LogLevel::begin(reloading, level);
    log_panics();
    Ok(())
}

/// Reads a filter. A word that is no level would be taken for a target, so that `inof` would log nothing at all; such a word is
/// refused instead.
pub(super) fn filter(text: &str) -> Result<EnvFilter, LogError> {
    let directives: Vec<&str> = text.split(',').map(str::trim).collect();
    for directive in &directives {
        check(directive).map_err(|reason| LogError::Filter {
            directive: (*directive).to_owned(),
            reason: reason.to_owned(),
        })?;
    }
    EnvFilter::builder()
        .parse(directives.join(","))
        .map_err(|error| LogError::Filter { directive: text.to_owned(), reason: error.to_string() })
}

fn check(directive: &str) -> Result<(), &'static str> {
    // A span's fields hold `=` too: `[shift{id=a1}]` has no level of its own.
    if directive.ends_with(']') {
        return Ok(());
    }
    let (target, level) = match directive.rsplit_once('=') {
        Some((target, level)) => (Some(target), level),
        None => (None, directive),
    };
    if level.is_empty() || level.parse::<LevelFilter>().is_err() {
        return Err("there is no such level");
    }
    if target.is_some_and(str::is_empty) { Err("the target is missing") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_are_read() {
        for good in ["info", "off", "WARN", "info,snapback=debug", "warn, hyper=off", "[shift{id=a1}]=trace"]
        {
            assert!(filter(good).is_ok(), "{good}: {:?}", filter(good));
        }
    }

    #[test]
    fn a_misspelt_level_is_refused_and_not_taken_for_a_target() {
        for (bad, directive) in [
            ("inof", "inof"),
            ("", ""),
            ("info,snapback=loud", "snapback=loud"),
            ("info,=debug", "=debug"),
            ("info,", ""),
        ] {
            let LogError::Filter { directive: found, .. } = filter(bad).unwrap_err() else { panic!("{bad}") };
            assert_eq!(found, directive);
        }
    }

    #[test]
    fn the_error_says_what_would_be_right() {
        assert_eq!(
            filter("inof").unwrap_err().to_string(),
            "\"inof\" is not a filter: there is no such level; write a level (error, warn, info, debug, trace, \
             off) or target=level, separated by commas, such as \"info,snapback::proxy=debug\""
        );
    }
}
