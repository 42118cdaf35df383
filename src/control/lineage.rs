//! What a shift has to do with the shifts before it.

use serde::{Deserialize, Serialize};

use crate::name::ShiftId;

/// What a shift has to do with others of its endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lineage {
    /// It takes back what this shift promoted.
    pub undoes: Option<ShiftId>,
}

/// The same in a shift's report.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LineageForm {
    undoes: Option<String>,
}

impl Lineage {
    /// Why a shift begins, with what is to be said of the others.
    pub(super) fn told(&self, cause: &str) -> String {
        match &self.undoes {
            Some(promoted) => format!("undo of {promoted}, {cause}"),
            None => cause.to_owned(),
        }
    }
}

impl LineageForm {
    pub(super) fn of(lineage: &Lineage) -> Self {
        let Lineage { undoes } = lineage;
        Self { undoes: text(undoes.as_ref()) }
    }

    pub(super) fn lineage(&self) -> Lineage {
        let Self { undoes } = self;
        Lineage { undoes: id(undoes.as_deref()) }
    }
}

fn text(id: Option<&ShiftId>) -> Option<String> {
    id.map(ToString::to_string)
}

/// A name that is none, which no process has written, is left out like every other figure that cannot be read.
fn id(text: Option<&str>) -> Option<ShiftId> {
    ShiftId::parse(text?).ok()
}
