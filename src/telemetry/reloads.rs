//! What the metrics know of files that were read again while the process served.

use super::{
    exposition::Exposition,
    names::{self, APPLIED, REFUSED},
};

/// What was read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reloaded {
    /// The configuration file.
    Config,
    /// Certificates and keys.
    Certificates,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reload {
    /// It counts from now on.
    Applied,
    /// It was refused, and what was there before goes on.
    Refused,
}

/// Every reload since the process started.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    config: Counts,
    certificates: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    applied: u64,
    refused: u64,
    is_refused: bool,
}

impl Reloads {
    /// Counts one.
    pub(super) fn count(&mut self, what: Reloaded, came_to: Reload) {
        let counts = match what {
            Reloaded::Config => &mut self.config,
            Reloaded::Certificates => &mut self.certificates,
        };
        match came_to {
            Reload::Applied => counts.applied += 1,
            Reload::Refused => counts.refused += 1,
        }
        counts.is_refused = came_to == Reload::Refused;
    }

    /// Writes them, from zero on.
    pub(super) fn write(&self, text: &Exposition) {
        let reloads = text.counters(&names::RELOADS);
        let last = text.gauges(&names::RELOAD_REFUSED);
        for (what, counts) in [("config", &self.config), ("certificates", &self.certificates)] {
            reloads([what, APPLIED], counts.applied);
            reloads([what, REFUSED], counts.refused);
            last([what], f64::from(counts.is_refused));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_reload_shows_until_the_next_good_one_and_stays_counted() {
        let mut reloads = Reloads::default();
        let lines = |reloads: &Reloads| {
            let text = Exposition::new();
            reloads.write(&text);
            text.finish()
        };
        assert!(lines(&reloads).contains("snapback_reload_refused{what=\"config\"} 0"));
        reloads.count(Reloaded::Config, Reload::Refused);
        let text = lines(&reloads);
        for line in [
            "snapback_reloads_total{what=\"config\",result=\"refused\"} 1",
            "snapback_reloads_total{what=\"certificates\",result=\"refused\"} 0",
            "snapback_reload_refused{what=\"config\"} 1",
            "snapback_reload_refused{what=\"certificates\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        reloads.count(Reloaded::Config, Reload::Applied);
        let text = lines(&reloads);
        assert!(text.contains("snapback_reload_refused{what=\"config\"} 0"), "{text}");
        assert!(text.contains("snapback_reloads_total{what=\"config\",result=\"refused\"} 1"), "{text}");
    }
}
