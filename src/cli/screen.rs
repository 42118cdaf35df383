//! The terminal while a live view has it, and its keys.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

use super::view::{self, ViewState};
use crate::admin::wire;

/// How soon the thread that reads keys notices that nobody wants them any more.
const KEY_POLL: Duration = Duration::from_millis(100);

/// More keys than anybody types while one is being handled.
const KEYS_HELD: usize = 16;

/// The terminal in raw mode on its other screen. Dropping it gives the terminal back as it was, and so does a panic.
#[derive(Debug)]
pub struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Whether standard output is a terminal that a live view can be drawn on.
    pub fn is_possible() -> bool {
        io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    /// Takes the terminal over; it is as before when that fails half-way.
    pub fn open() -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                ratatui::restore();
                Err(error)
            }
        }
    }

    /// Shows a shift.
    pub fn draw(&mut self, shift: &wire::Shift, state: &ViewState) -> io::Result<()> {
        self.draw_with(|frame| view::draw(frame, shift, state))
    }

    /// Shows what a function draws.
    pub(super) fn draw_with(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(|_| ())
    }

    /// The keys pressed from now on. A thread of its own reads them, since a terminal has no other way that does not block; it ends
    /// with the receiver, or when the terminal fails.
    pub fn keys(&self) -> mpsc::Receiver<KeyEvent> {
        let (sender, receiver) = mpsc::channel(KEYS_HELD);
        std::thread::spawn(move || {
            while !sender.is_closed() {
                match next_key() {
                    Ok(Some(key)) if sender.blocking_send(key).is_err() => return,
                    Ok(Some(_) | None) => {}
                    Err(_) => return,
                }
            }
        });
        receiver
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn next_key() -> io::Result<Option<KeyEvent>> {
    if !event::poll(KEY_POLL)? {
        return Ok(None);
    }
    match event::read()? {
        Event::Key(key) if key.kind == KeyEventKind::Press => Ok(Some(key)),
        Event::Key(_)
        | Event::Resize(..)
        | Event::Mouse(_)
        | Event::FocusGained
        | Event::FocusLost
        | Event::Paste(_) => Ok(None),
    }
}
