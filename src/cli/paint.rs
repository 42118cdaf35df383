//! Colours of printed text, on terminals alone.
//!
//! What is coloured is marked in the text itself by noncharacters (<https://www.unicode.org/faq/private_use.html#noncharacters>), which no
//! document means anything by; the writer turns them into the terminal's sequences or leaves them out. So tables and sentences are made
//! without knowing where they go. Whatever is coloured is also said in words.

use std::io::IsTerminal;

use super::view::Palette;

const END: char = '\u{fdd0}';

/// What a colour means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    /// It went well.
    Good,
    /// It waits, or wants somebody.
    Caution,
    /// It went wrong.
    Bad,
    /// It is there for those who look for it.
    Faint,
    /// It is what to read first.
    Strong,
}

impl Tone {
    const ALL: [Self; 5] = [Self::Good, Self::Caution, Self::Bad, Self::Faint, Self::Strong];

    /// Of a state of a shift, an alarm or an instance; `None` for what is as usual.
    pub(super) fn of_state(state: &str) -> Option<Self> {
        match state {
            "promoted" | "ok" | "healthy" => Some(Self::Good),
            "paused" | "holding" | "holding batch" | "insufficient data" | "queued" | "unknown" => {
                Some(Self::Caution)
            }
            "rolled back" | "rolling back" | "rollback failed" | "restoring" | "releasing batch"
            | "alarm" | "unhealthy" => Some(Self::Bad),
            _ if state.ends_with(", ejected") => Some(Self::Bad),
            _ => None,
        }
    }

    fn mark(self) -> char {
        match self {
            Self::Good => '\u{fdd1}',
            Self::Caution => '\u{fdd2}',
            Self::Bad => '\u{fdd3}',
            Self::Faint => '\u{fdd4}',
            Self::Strong => '\u{fdd5}',
        }
    }

    /// The terminal's sixteen colours, so that its owner's theme holds (ECMA-48, section 8.3.117).
    fn sequence(self) -> &'static str {
        match self {
            Self::Good => "\u{1b}[32m",
            Self::Caution => "\u{1b}[33m",
            Self::Bad => "\u{1b}[1;91m",
            Self::Faint => "\u{1b}[2m",
            Self::Strong => "\u{1b}[1m",
        }
    }
}

/// Marks a text.
pub(super) fn toned(tone: Option<Tone>, text: &str) -> String {
    tone.map_or_else(|| text.to_owned(), |tone| format!("{}{text}{END}", tone.mark()))
}

/// Whether a stream gets colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Paint {
    /// It does.
    Coloured,
    /// Its text stays plain.
    Plain,
}

impl Paint {
    /// For a stream of this process: colours on a terminal that has some, unless NO_COLOR is set.
    pub(super) fn of(stream: &impl IsTerminal) -> Self {
        let has_colours = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        match Palette::from_env() {
            Palette::Colour if stream.is_terminal() && has_colours => Self::Coloured,
            Palette::Colour | Palette::Plain => Self::Plain,
        }
    }

    /// The text as it is to be written.
    pub(super) fn render(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for character in text.chars() {
            let tone = Tone::ALL.into_iter().find(|tone| tone.mark() == character);
            match (tone, self) {
                (Some(tone), Self::Coloured) => out.push_str(tone.sequence()),
                (None, Self::Coloured) if character == END => out.push_str("\u{1b}[0m"),
                (Some(_), Self::Plain) => {}
                (None, Self::Coloured | Self::Plain) if character == END => {}
                (None, Self::Coloured | Self::Plain) => out.push(character),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_sequences_on_a_terminal_and_nothing_elsewhere() {
        let text = format!("{}, {}", toned(Tone::of_state("ok"), "ok"), toned(None, "baking"));
        assert_eq!(Paint::Plain.render(&text), "ok, baking");
        assert_eq!(Paint::Coloured.render(&text), "\u{1b}[32mok\u{1b}[0m, baking");
    }
}
