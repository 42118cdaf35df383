//! What keys mean. What gives green more or takes everything from it is asked twice.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::cli::view::Footer;

/// A reason is a sentence.
const REASON_LIMIT: usize = 300;

/// What a key asks for beside a change of the last row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    /// Nothing.
    Nothing,
    /// An end of watching.
    Quit,
    /// A command to the shift.
    Command {
        /// `pause`, `resume`, `promote` or `abort`.
        verb: &'static str,
        /// In the operator's words.
        reason: String,
    },
}

/// Takes a key with what the last row asks at the moment.
pub(super) fn press(footer: &mut Footer, key: KeyEvent) -> Wish {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if is_control && key.code == KeyCode::Char('c') {
        return Wish::Quit;
    }
    if is_control || key.modifiers.contains(KeyModifiers::ALT) {
        return Wish::Nothing;
    }
    match footer {
        Footer::Help if key.code != KeyCode::Char('q') => {
            *footer = Footer::Keys;
            Wish::Nothing
        }
        Footer::Text(_) | Footer::Keys | Footer::Notice(_) | Footer::Help => freely(footer, key.code),
        Footer::ConfirmPromote | Footer::ConfirmAbort => answer(footer, key.code),
        Footer::AbortReason(typed) if key.code == KeyCode::Enter => {
            let reason = std::mem::take(typed);
            *footer = Footer::Keys;
            Wish::Command { verb: "abort", reason }
        }
        Footer::AbortReason(_) if key.code == KeyCode::Esc => {
            *footer = Footer::Keys;
            Wish::Nothing
        }
        Footer::AbortReason(typed) => {
            edit(typed, key.code);
            Wish::Nothing
        }
    }
}

fn freely(footer: &mut Footer, code: KeyCode) -> Wish {
    let command = |verb| Wish::Command { verb, reason: String::new() };
    if code == KeyCode::Char('p') {
        return command("pause");
    }
    if code == KeyCode::Char('r') {
        return command("resume");
    }
    if code == KeyCode::Char('q') {
        return Wish::Quit;
    }
    if code == KeyCode::Char('P') {
        *footer = Footer::ConfirmPromote;
    } else if code == KeyCode::Char('a') {
        *footer = Footer::ConfirmAbort;
    } else if code == KeyCode::Char('?') {
        *footer = Footer::Help;
    }
    Wish::Nothing
}

/// Only a clear yes is one, and only a clear no takes the question away.
fn answer(footer: &mut Footer, code: KeyCode) -> Wish {
    let is_yes = code == KeyCode::Char('y');
    let is_no = code == KeyCode::Char('n') || code == KeyCode::Esc;
    if is_yes && *footer == Footer::ConfirmPromote {
        *footer = Footer::Keys;
        return Wish::Command { verb: "promote", reason: String::new() };
    }
    if is_yes {
        *footer = Footer::AbortReason(String::new());
    } else if is_no {
        *footer = Footer::Keys;
    }
    Wish::Nothing
}

fn edit(text: &mut String, code: KeyCode) {
    if code == KeyCode::Backspace {
        text.pop();
    } else if let KeyCode::Char(character) = code
        && text.chars().count() < REASON_LIMIT
    {
        text.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press_all(footer: &mut Footer, keys: &[KeyCode]) -> Wish {
        let mut wish = Wish::Nothing;
        for key in keys {
            assert_eq!(wish, Wish::Nothing, "before {key:?}");
            wish = press(footer, KeyEvent::new(*key, KeyModifiers::NONE));
        }
        wish
    }

    fn typed(text: &str) -> Vec<KeyCode> {
        text.chars().map(KeyCode::Char).collect()
    }

    fn command(verb: &'static str, reason: &str) -> Wish {
        Wish::Command { verb, reason: reason.to_owned() }
    }

    #[test]
    fn pause_and_resume_are_asked_once() {
        assert_eq!(press_all(&mut Footer::Keys, &typed("p")), command("pause", ""));
        assert_eq!(press_all(&mut Footer::Notice("done".into()), &typed("r")), command("resume", ""));
    }

    #[test]
    fn promote_happens_only_after_a_yes() {
        assert_eq!(press_all(&mut Footer::Keys, &typed("Py")), command("promote", ""));
        let mut footer = Footer::Keys;
        assert_eq!(press_all(&mut footer, &typed("Pn")), Wish::Nothing);
        assert_eq!(footer, Footer::Keys);
        assert_eq!(press_all(&mut footer, &typed("PpraP")), Wish::Nothing);
        assert_eq!(footer, Footer::ConfirmPromote);
    }

    #[test]
    fn abort_happens_only_after_a_yes_and_a_reason() {
        let mut keys = typed("aybad anz");
        keys.extend([KeyCode::Backspace, KeyCode::Enter]);
        let mut footer = Footer::Keys;
        assert_eq!(press_all(&mut footer, &keys), command("abort", "bad an"));
        assert_eq!(footer, Footer::Keys);
        let mut keys = typed("ayq");
        keys.push(KeyCode::Esc);
        assert_eq!(press_all(&mut footer, &keys), Wish::Nothing);
        assert_eq!(footer, Footer::Keys);
    }

    #[test]
    fn q_quits_unless_it_is_a_letter_of_a_reason_and_control_c_always_does() {
        assert_eq!(press_all(&mut Footer::Keys, &typed("q")), Wish::Quit);
        let mut footer = Footer::AbortReason("q".into());
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(press(&mut footer, key), Wish::Quit);
    }

    #[test]
    fn any_key_leaves_the_help_and_does_nothing_else() {
        let mut footer = Footer::Keys;
        assert_eq!(press_all(&mut footer, &typed("?")), Wish::Nothing);
        assert_eq!(footer, Footer::Help);
        assert_eq!(press_all(&mut footer, &typed("p")), Wish::Nothing);
        assert_eq!(footer, Footer::Keys);
    }

    #[test]
    fn a_reason_has_an_end() {
        let mut footer = Footer::AbortReason(String::new());
        press_all(&mut footer, &typed(&"x".repeat(REASON_LIMIT + 9)));
        assert_eq!(footer, Footer::AbortReason("x".repeat(REASON_LIMIT)));
    }
}
