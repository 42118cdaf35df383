//! Control: carries out what the engine decides, looks at the meters, checks instances, remembers and recovers.

mod handle;
mod view;

pub use handle::{ControlError, Execution, Handle, ShiftCommand};
pub use view::{
    AlarmView, EndpointView, FleetView, InstanceView, Next, ShiftView, Traffic, TrafficWindow, Transition,
};
