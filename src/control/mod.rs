//! Control: carries out what the engine decides, looks at the meters, checks instances, remembers and recovers.

mod handle;
mod start;
mod view;

pub use handle::{ControlError, Execution, Handle, ShiftCommand};
pub use start::{Control, Parts, StartError, start};
pub use view::{
    AlarmView, EndpointView, FleetView, InstanceView, Next, ShiftView, Traffic, TrafficWindow, Transition,
};
