//! Control as a whole, on paused time, with a journal in memory, scripted health checks, and a data plane that is a test bumping the meters
//! that the published table names.

mod batches;
mod checks;
mod collapse;
mod endpoints;
mod external;
mod fates;
mod frozen;
mod hours;
mod journal;
mod looks;
mod oracle;
mod orchestra;
mod pausing;
mod polled;
mod queued;
mod restart;
mod rolling;
mod shifts;
mod shortage;
#[path = "../../../tests/sim/mod.rs"]
mod sim;
mod sticky;
mod undone;
mod varied;
mod world;
