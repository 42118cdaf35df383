//! When the tests of a shift put their money in.
//!
//! A test starts with a wealth of 1 and bets it against green. Money that was put in before green broke has been losing ever since
//! green was healthy, and must be won back before an alarm can be raised; so half of a step's money goes in at its start, and the rest
//! in ever smaller parts each time 64 more requests were dealt. A green that breaks after 10,000 good requests is then found
//! after 7 failures; with everything put in at the start, after 128.
//!
//! Money put in by a rule that looks only at the past is a bet like any other, so the sum stays an e-process: the
//! Shiryaev-Roberts sum with a finite total (Shin, Ramdas and Rinaldo, e-detectors, 2024). Old bets go on from step to step, and each
//! step adds its own; the wealth is then the weighted average of one test for each starting point, and averages keep the guarantee
//! under any dependence (Vovk and Wang 2021).
//!
//! Costs ln 2 + ln(steps) nats at the start of a step, and 6 + ln(steps) for a change after its twentieth part.

/// Requests dealt between two parts. Fewer would find a late change sooner and pay every earlier one with thinner parts; the figures
/// above were measured with this.
const REQUESTS_PER_PART: u64 = 64;

/// The money of a shift's tests: one purse for all of them, since each puts the same part in at the same moment.
#[derive(Clone, Debug)]
pub struct Purse {
    steps: usize,
    begun: usize,
    /// What has not been put in yet; it neither grows nor shrinks.
    cash: f64,
    cash_at_step: f64,
    /// What this step may put in.
    allowance: f64,
    parts: u32,
    dealt_since: u64,
}

impl Purse {
    /// For a shift with this many steps, at least 1. Nothing is put in before the first step begins.
    pub fn new(steps: usize) -> Self {
        Self {
            steps: steps.max(1),
            begun: 0,
            cash: 1.0,
            cash_at_step: 1.0,
            allowance: 0.0,
            parts: 0,
            dealt_since: 0,
        }
    }

    /// A step begins, and a part is due at once. Steps beyond the announced ones each get half of what is left.
    pub fn begin_step(&mut self) {
        let sharers = if self.begun < self.steps { self.steps - self.begun } else { 2 };
        self.begun += 1;
        self.cash_at_step = self.cash;
        self.allowance = self.cash / sharers as f64;
        self.parts = 0;
        self.dealt_since = REQUESTS_PER_PART;
    }

    /// This many more requests were dealt to green.
    pub fn dealt(&mut self, requests: u64) {
        self.dealt_since = self.dealt_since.saturating_add(requests);
    }

    /// Whether enough requests were dealt since the last part.
    pub fn is_due(&self) -> bool {
        self.dealt_since >= REQUESTS_PER_PART
    }

    /// Takes the next part out, to be put on a new bet.
    pub fn draw(&mut self) -> f64 {
        self.dealt_since = 0;
        self.parts = self.parts.saturating_add(1);
        let (before, after) = (kept_back(self.parts), kept_back(self.parts.saturating_add(1)));
        self.cash = self.cash_at_step - self.allowance * (1.0 - after);
        self.allowance * (before - after)
    }

    /// What has not been put in yet.
    pub fn cash(&self) -> f64 {
        self.cash
    }

    /// The first part of the step that has begun.
    pub fn first_part(&self) -> f64 {
        self.allowance * (1.0 - kept_back(2))
    }
}

/// The fraction of a step's money that is not yet in before this part, counted from 1. It falls from 1 to 0 so slowly that there is
/// money left for a change at any time.
fn kept_back(part: u32) -> f64 {
    1.0 / (1.0 + f64::from(part).log2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cash_and_all_money_put_in_are_always_the_whole() {
        let mut purse = Purse::new(3);
        let mut put_in = 0.0;
        for step in 0..6 {
            purse.begin_step();
            assert!(purse.first_part() > 0.0);
            for part in 0..50 {
                let first = purse.first_part();
                let money = purse.draw();
                assert!(part > 0 || money == first);
                put_in += money;
                assert!(purse.cash() > 0.0 && (put_in + purse.cash() - 1.0).abs() < 1e-12, "{step} {part}");
            }
        }
    }

    #[test]
    fn each_announced_step_has_at_least_its_equal_part() {
        let mut purse = Purse::new(4);
        for _ in 0..4 {
            purse.begin_step();
            assert!(purse.first_part() >= 0.125);
            purse.draw();
        }
    }

    #[test]
    fn a_part_is_due_at_a_steps_start_and_every_64_requests() {
        let mut purse = Purse::new(1);
        assert!(!purse.is_due());
        purse.begin_step();
        assert!(purse.is_due());
        purse.draw();
        purse.dealt(63);
        assert!(!purse.is_due());
        purse.dealt(1);
        assert!(purse.is_due());
    }
}
