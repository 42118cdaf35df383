//! The guard's e-process.

/// One guard's test.
#[derive(Clone, Debug)]
pub struct GuardTest {}
