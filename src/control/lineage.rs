//! What a shift has to do with the shifts before it.

use serde::{Deserialize, Serialize};

use crate::name::ShiftId;

/// What a shift has to do with others of its endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lineage {
    /// It takes back what this shift promoted.
    pub undoes: Option<ShiftId>,
    /// This shift was rolled back to make way for it.
    pub supersedes: Option<ShiftId>,
    /// It was rolled back to make way for this shift.
    pub superseded_by: Option<ShiftId>,
}

/// The same in a shift's report.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LineageForm {
    undoes: Option<String>,
    supersedes: Option<String>,
    superseded_by: Option<String>,
}

impl Lineage {
    /// Why a shift begins, with what is to be said of the others.
    pub(super) fn told(&self, cause: &str) -> String {
        match (&self.undoes, &self.supersedes) {
            (Some(promoted), _) => format!("undo of {promoted}, {cause}"),
            (None, Some(other)) => format!("supersedes {other}, {cause}"),
            (None, None) => cause.to_owned(),
        }
    }
}

impl LineageForm {
    pub(super) fn of(lineage: &Lineage) -> Self {
        let Lineage { undoes, supersedes, superseded_by } = lineage;
        Self {
            undoes: text(undoes.as_ref()),
            supersedes: text(supersedes.as_ref()),
            superseded_by: text(superseded_by.as_ref()),
        }
    }

    pub(super) fn lineage(&self) -> Lineage {
        let Self { undoes, supersedes, superseded_by } = self;
        Lineage {
            undoes: id(undoes.as_deref()),
            supersedes: id(supersedes.as_deref()),
            superseded_by: id(superseded_by.as_deref()),
        }
    }
}

fn text(id: Option<&ShiftId>) -> Option<String> {
    id.map(ToString::to_string)
}

/// A name that is none, which no process has written, is left out like every other figure that cannot be read.
fn id(text: Option<&str>) -> Option<ShiftId> {
    ShiftId::parse(text?).ok()
}
