//! Points at which a test lets the process die, so that what a crash leaves is tried at every boundary between two effects.
//!
//! Two environment variables, which nobody but such a test sets; without them a point is one look at a value that never changes, and none
//! lies on a request's way. `SNAPBACK_FAULT_TRACE` names a file to which each point's name is appended as the process comes to it.
//! `SNAPBACK_FAULT_DIE_AT` is `N` for the Nth point that the process comes to, or `N NAME` for the Nth of this name: there the process kills
//! itself by SIGKILL, so nothing is flushed, told or tidied up. A start under either says so in its log.

use std::{
    collections::BTreeMap,
    env,
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
};

use rustix::process::{Signal, getpid, kill_process};

const TRACE: &str = "SNAPBACK_FAULT_TRACE";
const DIE_AT: &str = "SNAPBACK_FAULT_DIE_AT";

static PLAN: OnceLock<Option<Plan>> = OnceLock::new();

/// What the variables ask for.
#[derive(Debug)]
struct Plan {
    trace: Option<PathBuf>,
    die_at: Option<DieAt>,
    passed: Mutex<Passed>,
}

/// The Nth point of all, or of one name.
#[derive(PartialEq, Eq, Debug)]
struct DieAt {
    nth: u64,
    name: Option<String>,
}

/// The points that the process has come to.
#[derive(Default, Debug)]
struct Passed {
    all: u64,
    by_name: BTreeMap<String, u64>,
}

/// A point between two effects. The name is made only where somebody asks for it.
pub fn point(name: impl FnOnce() -> String) {
    #[cfg(test)]
    if simulated::is_on() {
        return simulated::come_to(&name());
    }
    if let Some(plan) = plan() {
        plan.come_to(name());
    }
}

/// Whether the variables are set.
pub fn is_on() -> bool {
    plan().is_some()
}

fn plan() -> Option<&'static Plan> {
    PLAN.get_or_init(|| {
        let trace = env::var_os(TRACE).map(PathBuf::from);
        let die_at = env::var(DIE_AT).ok().and_then(|text| DieAt::parse(&text));
        let is_asked = trace.is_some() || die_at.is_some();
        is_asked.then(|| Plan { trace, die_at, passed: Mutex::default() })
    })
    .as_ref()
}

impl Plan {
    fn come_to(&self, name: String) {
        // Held to the end, so that the file says the order in which points were come to.
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.trace {
            let written = OpenOptions::new().create(true).append(true).open(path);
            let written = written.and_then(|mut file| file.write_all(format!("{name}\n").as_bytes()));
            if let Err(error) = written {
                tracing::error!(%error, "the trace of fault points cannot be written");
            }
        }
        if passed.comes_to(name, self.die_at.as_ref()) {
            kill_process(getpid(), Signal::KILL).ok();
        }
    }
}

impl DieAt {
    fn parse(text: &str) -> Option<Self> {
        let (nth, name) = text.split_once(' ').map_or((text, None), |(nth, name)| (nth, Some(name)));
        Some(Self { nth: nth.parse().ok()?, name: name.map(str::to_owned) })
    }
}

impl Passed {
    /// Whether this is where the process is to die.
    fn comes_to(&mut self, name: String, die_at: Option<&DieAt>) -> bool {
        self.all += 1;
        let of_this_name = self.by_name.entry(name.clone()).or_default();
        *of_this_name += 1;
        die_at.is_some_and(|die_at| match &die_at.name {
            None => die_at.nth == self.all,
            Some(wanted) => *wanted == name && die_at.nth == *of_this_name,
        })
    }
}

/// In a simulation a process dies alone and not the test: the task that comes to the point unwinds.
#[cfg(test)]
pub(crate) mod simulated {
    use std::{cell::RefCell, panic::resume_unwind};

    type Dies = Box<dyn FnMut(&str) -> bool>;

    thread_local! {
        static DIES: RefCell<Option<Dies>> = const { RefCell::new(None) };
    }

    /// What a task unwinds with.
    #[derive(Debug)]
    pub(crate) struct Died;

    /// From now on this says of each point on this thread whether the process dies there.
    pub(crate) fn begin(dies: impl FnMut(&str) -> bool + 'static) {
        DIES.set(Some(Box::new(dies)));
    }

    pub(super) fn is_on() -> bool {
        DIES.with_borrow(Option::is_some)
    }

    pub(super) fn come_to(name: &str) {
        let dies = DIES.with_borrow_mut(|dies| dies.as_mut().is_some_and(|dies| dies(name)));
        if dies {
            resume_unwind(Box::new(Died));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_found_by_its_number_among_all_or_among_those_of_its_name() {
        let deaths = |text: &str| {
            let (die_at, mut passed) = (DieAt::parse(text), Passed::default());
            ["a", "b c", "a", "b c"].map(|name| passed.comes_to(name.to_owned(), die_at.as_ref()))
        };
        assert_eq!(deaths("2"), [false, true, false, false]);
        assert_eq!(deaths("2 b c"), [false, false, false, true]);
        assert_eq!(deaths("3 a"), [false; 4]);
        assert_eq!(DieAt::parse("soon"), None);
    }
}
