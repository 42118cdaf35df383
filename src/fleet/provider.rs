//! What a fleet's instances are made by, where they are not simply there.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use super::Address;

/// Who makes a fleet's instances, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProviderSpec {
    /// Processes of this machine.
    Process(ProcessSpec),
}

/// How a model server is started as a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessSpec {
    /// The program and its arguments. `{port}`, `{version}` and `{index}` stand for the instance's own, here and in the environment's values.
    pub command: Vec<String>,
    /// What is added to the proxy's own environment.
    pub env: BTreeMap<String, String>,
    /// How many; `None` for as many as the fleet in service has, and for 1 where there is none.
    pub count: Option<NonZeroU32>,
    /// From SIGTERM to SIGKILL.
    pub stop_grace: Duration,
    /// How large an instance's log grows; twice as much stays on disk.
    pub log_limit_bytes: u64,
    /// What becomes of the processes when the proxy is told to end.
    pub on_exit: OnExit,
}

/// What becomes of a fleet's processes when the proxy ends in an orderly way. After a crash they are taken over in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnExit {
    /// They end with it, unless a successor has the proxy's sockets and so takes them over.
    #[default]
    End,
    /// They go on, and the next start takes them over.
    Keep,
}

/// An instance as its provider knows it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Member {
    /// The provider's name for it, unique in its fleet.
    pub id: String,
    /// Where it listens.
    pub address: Address,
}

impl ProviderSpec {
    /// How many instances are wanted, if that is said.
    pub fn count(&self) -> Option<NonZeroU32> {
        match self {
            Self::Process(spec) => spec.count,
        }
    }

    /// The same with this count.
    pub fn counting(&self, count: Option<NonZeroU32>) -> Self {
        match self {
            Self::Process(spec) => Self::Process(ProcessSpec { count, ..spec.clone() }),
        }
    }

    /// `process`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
        }
    }
}

impl OnExit {
    /// `end` or `keep`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Keep => "keep",
        }
    }
}

impl ProcessSpec {
    /// As long as SageMaker gives a container between SIGTERM and SIGKILL.
    pub const STOP_GRACE: Duration = Duration::from_secs(30);
    /// Enough for the stack traces of a crash loop, and little beside a model's weights.
    pub const LOG_LIMIT_BYTES: u64 = 8 << 20;
}
