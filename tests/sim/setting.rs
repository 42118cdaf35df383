//! What a story is set in: the configuration, and the points at which its process may die.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
};

use super::story::Fleets;
use crate::{
    config::{self, Config},
    control::tests::world::{Memory, config as named},
    fault::simulated,
};

/// How often each kind of thing has really happened.
pub(super) type Happened = Rc<RefCell<BTreeMap<String, usize>>>;

/// A provider of operators' commands.
pub(super) const MAKER: &str =
    "type = \"command\", provision = [\"make\"], list = [\"list\"], retire = [\"end\"]";

/// One instance of v1 that is there, or three that are made.
pub(super) fn config_of(fleets: Fleets) -> Config {
    match fleets {
        Fleets::Named => named(),
        Fleets::Made => {
            let text = format!(
                "[data]\nlisten = [\"127.0.0.1:8080\"]\nworkers = 1\n[[endpoint]]\nname = \"chat\"\n\
                 blue = {{ version = \"v1\", provider = {{ {MAKER}, count = 3 }} }}\n"
            );
            config::parse(&text, "test.toml").unwrap()
        }
    }
}

/// Lets the process die at the boundary that is chosen, with its journal: nothing that it still does is durable.
pub(super) fn dies_at_points(journal: &Arc<Memory>, happened: &Happened) -> Rc<Cell<Option<u8>>> {
    let points = Rc::new(Cell::new(None::<u8>));
    let (left, journal, happened) = (Rc::clone(&points), Arc::downgrade(journal), Rc::clone(happened));
    simulated::begin(move |name| {
        let Some(at) = left.get() else { return false };
        left.set(at.checked_sub(1));
        let dies = at == 0;
        if dies && let Some(journal) = journal.upgrade() {
            journal.kill();
            let words: Vec<_> = name.split([' ', '(']).take(2).collect();
            *happened.borrow_mut().entry(format!("died {}", words.join(" "))).or_default() += 1;
        }
        dies
    });
    points
}
