//! What the demo shows while it runs: the live view on a terminal, else lines on standard error.

use std::{io, time::Duration};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tokio::{sync::mpsc, time::sleep};

use crate::{
    admin::wire,
    cli::{
        Screen,
        view::{self, Footer, Palette, ViewState},
    },
    clock,
};

/// How long the last picture of a shift stays before the story goes on.
const LAST_PICTURE: Duration = Duration::from_secs(4);

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    /// The live view.
    Live,
    /// Lines.
    Lines,
}

/// One shift on display.
#[derive(Debug)]
pub(super) enum Display {
    /// On the terminal's other screen.
    Live {
        /// The terminal.
        screen: Screen,
        /// What is typed.
        keys: mpsc::Receiver<KeyEvent>,
        /// The last row.
        caption: String,
    },
    /// On standard error.
    Lines {
        /// What was last said: state, step and share.
        said: Option<(String, Option<usize>, String)>,
    },
}

impl Style {
    /// The live view where there is a terminal to draw on and nobody wants the bare report.
    pub(super) fn choose(wants_json: bool) -> Self {
        if Screen::is_possible() && !wants_json { Self::Live } else { Self::Lines }
    }
}

impl Display {
    /// Takes the terminal, or says the caption as a line.
    pub(super) fn open(style: Style, caption: &str) -> io::Result<Self> {
        eprintln!("{caption}");
        match style {
            Style::Lines => Ok(Self::Lines { said: None }),
            Style::Live => {
                let screen = Screen::open()?;
                let keys = screen.keys();
                Ok(Self::Live { screen, keys, caption: format!("{caption} (q ends the demo)") })
            }
        }
    }

    /// Shows a shift as it is now.
    pub(super) fn show(&mut self, shift: &wire::Shift) -> io::Result<()> {
        match self {
            Self::Live { screen, caption, .. } => {
                let mut state = ViewState::new(clock::wall(), Palette::from_env());
                state.footer = Footer::Text(caption.clone());
                screen.draw(shift, &state)
            }
            Self::Lines { said } => {
                let place = Some((shift.state.clone(), shift.step, shift.share.clone()));
                if *said != place {
                    eprintln!("  {}", view::line(shift));
                    *said = place;
                }
                Ok(())
            }
        }
    }

    /// Returns when the user wants to leave; never in line mode, where Ctrl-C is a signal.
    pub(super) async fn left(&mut self) {
        match self {
            Self::Lines { .. } => std::future::pending().await,
            Self::Live { keys, .. } => loop {
                match keys.recv().await {
                    Some(key) if is_leave(key) => return,
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            },
        }
    }

    /// Leaves the last picture for a moment, gives the terminal back, and says how the shift ended.
    pub(super) async fn close(self, shift: &wire::Shift) {
        if let Self::Live { .. } = self {
            sleep(LAST_PICTURE).await;
        }
        drop(self);
        eprintln!("{}", view::outcome(shift));
    }
}

/// In raw mode Ctrl-C is a key like any other.
fn is_leave(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.code == KeyCode::Char('q') || (control && key.code == KeyCode::Char('c'))
}
