//! What means what on the screen. Meaning never hangs on colour alone: whatever is coloured is also said in words.

use ratatui::style::{Color, Modifier, Style};

/// Which styles a screen may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Palette {
    /// The terminal's sixteen colours, so that its owner's theme holds.
    Colour,
    /// Bold and reversed text alone.
    Plain,
}

impl Palette {
    /// Colours, unless the environment says `NO_COLOR` (any value but the empty one, <https://no-color.org>).
    pub fn from_env() -> Self {
        match std::env::var_os("NO_COLOR") {
            Some(value) if !value.is_empty() => Self::Plain,
            Some(_) | None => Self::Colour,
        }
    }

    pub(super) fn blue(self) -> Style {
        self.with(Color::LightBlue)
    }

    pub(super) fn green(self) -> Style {
        self.with(Color::LightGreen)
    }

    pub(super) fn title(self) -> Style {
        self.strong()
    }

    /// Dim rather than grey: in some themes the terminal's grey is its background.
    pub(super) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn good(self) -> Style {
        self.with(Color::Green)
    }

    pub(super) fn caution(self) -> Style {
        self.with(Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.with(Color::LightRed).add_modifier(Modifier::BOLD)
    }

    /// A state's badge.
    pub(super) fn badge(self, state: &str) -> Style {
        let colour = match state {
            "promoted" => Color::Green,
            "rolling_back" | "releasing_batch" | "restoring" | "rolled_back" | "rollback_failed" => {
                Color::LightRed
            }
            "paused" | "holding" => Color::Yellow,
            _ => Color::Cyan,
        };
        self.with(colour).add_modifier(Modifier::BOLD | Modifier::REVERSED)
    }

    /// Evidence: the nearer to an alarm, the louder.
    pub(super) fn nearness(self, nearness: f64) -> Style {
        match nearness {
            _ if nearness < 0.5 => self.good(),
            _ if nearness < 1.0 => self.caution(),
            _ => self.bad(),
        }
    }

    fn with(self, colour: Color) -> Style {
        match self {
            Self::Colour => Style::new().fg(colour),
            Self::Plain => Style::new(),
        }
    }
}
