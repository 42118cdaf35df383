//! When a shift's turn comes, where another one of its endpoint runs.

/// When a shift may begin beside another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turn {
    /// What happens when another one runs.
    pub if_running: IfRunning,
    /// What a queued one waits for.
    pub start_after: StartAfter,
}

/// What becomes of a shift that is asked for while another one runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IfRunning {
    /// Whoever asks is told so, and nothing changes.
    #[default]
    Refuse,
    /// It waits for its turn.
    Queue,
    /// The running one rolls back, and then it begins.
    Supersede,
}

/// When a queued shift begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StartAfter {
    /// When the one before was promoted; it is dropped when that went back, since it was planned for what the one before would bring.
    #[default]
    Promoted,
    /// When the one before is over, whatever came of it.
    Ended,
}

impl IfRunning {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Refuse, Self::Queue, Self::Supersede];

    /// `refuse`, `queue` or `supersede`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Queue => "queue",
            Self::Supersede => "supersede",
        }
    }
}

impl StartAfter {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Promoted, Self::Ended];

    /// `promoted` or `ended`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Ended => "ended",
        }
    }
}
