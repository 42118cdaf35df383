//! The story: v1 serves, v2 is shifted in and promoted, v3 breaks and is snapped back.

use std::{io, time::Duration};

use tokio::time::{Instant, interval, sleep};

use super::{
    clients::{Ledger, Tally},
    operator::{Operator, OperatorError},
    show::{Display, Style},
};
use crate::admin::wire;

/// Good answers before the first shift: enough to see that v1 serves, and all connections are warm.
const PROLOGUE_ANSWERS: u64 = 200;

/// How long they may take. At 120 requests a second two seconds are enough.
const PROLOGUE_LIMIT: Duration = Duration::from_secs(20);

/// Between v2's promotion and v3.
const INTERVAL: Duration = Duration::from_secs(1);

/// After the snapback: long enough for hundreds of requests to show that clients see nothing of v3 any more.
const EPILOGUE: Duration = Duration::from_secs(3);

/// How often a shift is looked at.
const POLL: Duration = Duration::from_millis(100);

/// The plans' own execution timeout is 60 s; a shift that is not over by now never will be.
const SHIFT_LIMIT: Duration = Duration::from_secs(75);

/// What the story needs.
#[derive(Debug)]
pub(super) struct Story<'a> {
    /// Who starts the shifts.
    pub(super) operator: &'a Operator,
    /// What clients see meanwhile.
    pub(super) ledger: &'a Ledger,
    /// The text of v2's plan.
    pub(super) good_release: &'a str,
    /// The text of v3's plan.
    pub(super) bad_release: &'a str,
    /// How it is shown.
    pub(super) style: Style,
}

/// What happened.
#[derive(Clone, Debug)]
pub(super) struct Played {
    /// v2's shift, however it ended; missing when it was not over in time.
    pub(super) good: Option<wire::Shift>,
    /// v3's shift, however it ended; missing when there was none, or it was not over in time.
    pub(super) bad: Option<wire::Shift>,
    /// What clients saw in all.
    pub(super) tally: Tally,
}

/// Why the story stopped in the middle.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoryError {
    #[error("the admin port did not do as asked: {0}")]
    Operator(#[from] OperatorError),
    #[error("the terminal failed: {0}")]
    Terminal(#[from] io::Error),
    #[error("{0} good answers came in {limit} s before the first shift, {PROLOGUE_ANSWERS} were expected", limit = PROLOGUE_LIMIT.as_secs())]
    Silence(u64),
    #[error("ended by the user")]
    Left,
}

impl Story<'_> {
    /// Plays it to its end, or until it can no longer go well.
    pub(super) async fn play(&self) -> Result<Played, StoryError> {
        eprintln!("Act 1: v1 serves.");
        self.prologue().await?;
        let tally = self.ledger.tally();
        eprintln!("  {} good answers, {} failures", tally.served, tally.failed);

        let good = self.shift("Act 2: v2 comes in by a linear shift.", self.good_release).await?;
        let mut bad = None;
        if good.as_ref().is_some_and(|shift| shift.state == "promoted") {
            sleep(INTERVAL).await;
            bad = self.shift("Act 3: v3 comes in as a canary.", self.bad_release).await?;
            sleep(EPILOGUE).await;
        }
        Ok(Played { good, bad, tally: self.ledger.tally() })
    }

    async fn prologue(&self) -> Result<(), StoryError> {
        let begin = Instant::now();
        loop {
            let served = self.ledger.tally().served;
            if served >= PROLOGUE_ANSWERS {
                return Ok(());
            }
            if begin.elapsed() > PROLOGUE_LIMIT {
                return Err(StoryError::Silence(served));
            }
            sleep(POLL).await;
        }
    }

    /// Starts a shift and watches it to its end.
    async fn shift(&self, caption: &str, plan: &str) -> Result<Option<wire::Shift>, StoryError> {
        let id = self.operator.start_shift(plan).await?;
        let mut display = Display::open(self.style, caption)?;
        let begin = Instant::now();
        let mut pace = interval(POLL);
        while begin.elapsed() < SHIFT_LIMIT {
            tokio::select! {
                _ = pace.tick() => {}
                () = display.left() => return Err(StoryError::Left),
            }
            let shift = self.operator.shift(&id).await?;
            display.show(&shift)?;
            if shift.over {
                display.close(&shift).await;
                return Ok(Some(shift));
            }
        }
        Ok(None)
    }
}
