//! Control: carries out what the engine decides, looks at the meters, checks instances, remembers and recovers.
//!
//! - `start` builds it, `recovery` brings journal and file together, `declare` holds the rules for that.
//! - `task` is the one writer of what control knows; `ask` answers people, `begin` accepts shifts, `driver` feeds the engine and carries its
//!   effects out, `owed` feeds it again what could not be written, `ledger` makes things durable, `external` takes reports on alarms.
//! - `publisher` is the one way to a new table. `evaluator`, with `watched`, goes to blue by itself; `watchdog` watches over it.
//! - `parts` has in service what a rolling shift wants of each fleet.
//! - `prober` and `probe` check instances; `growth` gives new ones a small part of the requests first. `reload` reads the configuration file again.
//! - `poller` asks for the state of polled alarms, one question at a time by `asking`, with a `token` if need be; `answers` says what comes
//!   back means. `raised` looks at alarms before a shift. `lookup` resolves names for checks and questions.
//! - `keeper` sees to it that a provider makes what is wanted of a fleet; `fleets` takes over what it has made, and changes how much is wanted.
//! - `aside` does what waits for a disk; `jitter` keeps repeated things out of step.
//! - `freeze` keeps shifts from going on. `undo` goes back to the version before; `lineage` is what one shift has to do with others.
//! - `resources` keeps the documents of other faces, which control does not read.
//!   `queue` lets shifts wait for their turn.
//! - `past` keeps the last minutes, and `outlook` says from them what a plan can find.
//! - `series` keeps traffic over time for whoever looks at it, `glance` says what is seen of endpoints once a second.
//! - `actor` is who asks; `evidence` gives the figures behind an event; `trail` asks the journal whether it is whole.
//! - `view`, `report`, `alarm_form`, `external_form`, `fate`, `traffic`, `thresholds` and `words` say how things are.

mod actor;
mod alarm_form;
mod answers;
mod aside;
mod ask;
mod asking;
mod awaited;
mod batch_events;
mod begin;
mod certificates;
mod declare;
mod driver;
mod endpoint;
mod evaluator;
mod evidence;
mod external;
mod external_form;
mod fate;
mod fleets;
mod freeze;
mod glance;
mod growth;
mod handle;
mod hours;
mod jitter;
mod keeper;
mod ledger;
mod lineage;
mod lookup;
mod outlook;
mod owed;
mod parts;
mod past;
mod poller;
mod probe;
mod probe_http2;
mod prober;
mod publisher;
mod queue;
mod raised;
mod recovery;
mod reload;
mod report;
mod resources;
mod run;
mod series;
mod shadow;
mod shortage;
mod start;
mod task;
mod thresholds;
mod timer;
mod token;
mod traffic;
mod trail;
mod undo;
mod variants;
mod view;
mod watchdog;
mod watched;
mod words;

#[cfg(test)]
mod tests;

pub use crate::provider::Heir;
pub use actor::Actor;
pub use external::Report;
pub use fate::Fate;
pub use glance::{FleetGlance, Glance, Scene, ShiftGlance};
pub use handle::{ControlError, Execution, Handle, ShiftCommand};
pub use lineage::Lineage;
pub use queue::Submitted;
pub use resources::{ResourceChange, ResourceEvent};
pub use series::{FleetPoint, Point, Track};
pub use start::{Control, Parts, StartError, start};
pub use variants::Weights;
pub use view::{
    AlarmView, EndpointView, ExternalView, FleetView, InstanceView, Next, QueuedView, ShadowView, ShiftView,
    Traffic, TrafficWindow, Transition, VariantView,
};
