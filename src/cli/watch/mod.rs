//! `snapback shift watch`: the live view and its keys.

mod steer;

use std::time::Duration;

use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Instant, interval},
};

use super::{
    CliError, Exit, Screen,
    args::OutputFormat,
    client::Client,
    follow::{self, Sighting},
    output::Output,
    shift::post_command,
    view::{self, Footer, Link, Palette, ViewState},
};
use crate::{admin::wire, clock, name::ShiftId};
use steer::{Wish, press};

/// Countdowns move also while no answer comes.
const REDRAW: Duration = Duration::from_millis(200);

/// How long the answer to a command stays in the last row.
const NOTICE_FOR: Duration = Duration::from_secs(5);

/// Watches a shift until it is over: live on a terminal, otherwise in lines.
pub(super) async fn watch(client: Client, id: &ShiftId, output: &mut Output) -> Result<Exit, CliError> {
    if output.format() == OutputFormat::Json || !Screen::is_possible() {
        return follow::lines(client, id, output).await;
    }
    match Live::new(client, id.clone()).run().await? {
        End::Over(shift, answer) => {
            follow::print_end(&shift, &answer, output)?;
            Ok(Exit::of(&shift))
        }
        End::Quit(shift) => {
            let standing = shift.map(|shift| format!("\n{}", view::line(&shift))).unwrap_or_default();
            output.text(&format!("shift {id} goes on without being watched{standing}"))?;
            Ok(Exit::StillRunning)
        }
    }
}

/// Why the live view is gone.
enum End {
    Over(Box<wire::Shift>, super::client::Answer),
    Quit(Option<Box<wire::Shift>>),
}

struct Live {
    client: Client,
    id: ShiftId,
    state: ViewState,
    shift: Option<Box<wire::Shift>>,
    notice_until: Option<Instant>,
    notices: (mpsc::Sender<String>, mpsc::Receiver<String>),
}

/// What was before watching began.
async fn past(client: Client, id: ShiftId) -> Option<wire::Series> {
    client.get(&format!("/v1/shifts/{id}/series")).await.ok()?.read().ok()
}

impl Live {
    fn new(client: Client, id: ShiftId) -> Self {
        let mut state = ViewState::new(clock::wall(), Palette::from_env());
        state.footer = Footer::Keys;
        Self { client, id, state, shift: None, notice_until: None, notices: mpsc::channel(1) }
    }

    async fn run(mut self) -> Result<End, CliError> {
        let mut sightings = follow::follow(self.client.clone(), &self.id);
        // A signal ends the view like `q`, so that the terminal is given back.
        let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Start)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(CliError::Start)?;
        let mut screen = Screen::open().map_err(CliError::Terminal)?;
        let mut keys = screen.keys();
        let mut redraw = interval(REDRAW);
        // Asked beside the first look, which need not wait for it. A server that has none leaves the trend to what is seen.
        let past = past(self.client.clone(), self.id.clone());
        let mut past = std::pin::pin!(past);
        let mut is_past_known = false;
        loop {
            select! {
                series = past.as_mut(), if !is_past_known => {
                    is_past_known = true;
                    if let Some(series) = series {
                        self.state.trend.begin_with(&series);
                    }
                }
                sighting = sightings.recv() => match sighting {
                    Some(Sighting::Seen(shift, answer)) if shift.over => return Ok(End::Over(shift, answer)),
                    Some(Sighting::Seen(shift, _)) => {
                        self.state.trend.see(&shift, clock::wall());
                        self.shift = Some(shift);
                        self.state.link = Link::Live;
                    }
                    Some(Sighting::Lost) => self.lose(),
                    Some(Sighting::Failed(error)) => return Err(error),
                    None => return Ok(End::Quit(self.shift)),
                },
                key = keys.recv() => match key.map(|key| press(&mut self.state.footer, key)) {
                    Some(Wish::Nothing) => {}
                    Some(Wish::Command { verb, reason }) => self.send(verb, reason),
                    Some(Wish::Quit) | None => return Ok(End::Quit(self.shift)),
                },
                Some(text) = self.notices.1.recv() => self.notify(text),
                _ = redraw.tick() => {}
                _ = terminate.recv() => return Ok(End::Quit(self.shift)),
                _ = hangup.recv() => return Ok(End::Quit(self.shift)),
            }
            self.draw(&mut screen)?;
        }
    }

    fn lose(&mut self) {
        if self.state.link == Link::Live {
            self.state.link = Link::Lost { since: clock::wall() };
        }
    }

    fn draw(&mut self, screen: &mut Screen) -> Result<(), CliError> {
        if self.notice_until.is_some_and(|until| Instant::now() >= until) {
            self.notice_until = None;
            if matches!(self.state.footer, Footer::Notice(_)) {
                self.state.footer = Footer::Keys;
            }
        }
        self.state.now = clock::wall();
        match &self.shift {
            Some(shift) => screen.draw(shift, &self.state).map_err(CliError::Terminal),
            None => Ok(()),
        }
    }

    /// Sends a command beside the polling; its answer becomes a notice.
    fn send(&mut self, verb: &'static str, reason: String) {
        let (client, id, notices) = (self.client.clone(), self.id.clone(), self.notices.0.clone());
        self.notify(format!("{verb} ..."));
        tokio::spawn(async move {
            let text = match post_command(&client, &id, verb, reason).await {
                Ok(_) => format!("{verb}: done"),
                Err(error) => error.to_string(),
            };
            // The view may be gone by now; then nobody waits for the answer.
            drop(notices.send(text).await);
        });
    }

    /// Says something in the last row, unless a question stands there.
    fn notify(&mut self, text: String) {
        if matches!(self.state.footer, Footer::Keys | Footer::Notice(_) | Footer::Text(_)) {
            self.state.footer = Footer::Notice(text);
            self.notice_until = Some(Instant::now() + NOTICE_FOR);
        }
    }
}
