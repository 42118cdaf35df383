//! What a fleet's instances are made by, where they are not simply there.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, time::Duration};

use super::Address;

/// Who makes a fleet's instances, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProviderSpec {
    /// Processes of this machine.
    Process(ProcessSpec),
    /// What an operator's commands make.
    Command(CommandSpec),
    /// Whatever addresses a name has.
    Dns(DnsSpec),
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
    /// How long an instance may fail its checks before another takes its place; zero for as long as it likes.
    pub replace_after: Duration,
}

/// The commands that make a fleet's instances and let them go, each a program and its arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandSpec {
    /// Makes the fleet have so many instances.
    pub provision: Vec<String>,
    /// Says which it has.
    pub list: Vec<String>,
    /// Lets instances go.
    pub retire: Vec<String>,
    /// What is added to the proxy's own environment.
    pub env: BTreeMap<String, String>,
    /// As [`ProcessSpec::count`].
    pub count: Option<NonZeroU32>,
    /// How long one call may take.
    pub timeout: Duration,
    /// From one look at the list to the next.
    pub refresh: Duration,
    /// As [`ProcessSpec::replace_after`].
    pub replace_after: Duration,
}

/// The name whose addresses are a fleet's instances.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsSpec {
    /// A host's name, no address (checked by `config`).
    pub name: String,
    /// Where all of them listen; not zero.
    pub port: u16,
    /// Whom to ask; none for those that the system asks.
    pub resolvers: Vec<SocketAddr>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long an answer holds at least, whatever it says.
    pub ttl_floor: Duration,
    /// How long at most; no shorter than `ttl_floor`.
    pub ttl_ceiling: Duration,
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
            Self::Command(spec) => spec.count,
            Self::Dns(_) => None,
        }
    }

    /// Whether somebody else says how many instances there are, and nobody can be asked for more or fewer.
    pub const fn is_counted_elsewhere(&self) -> bool {
        match self {
            Self::Process(_) | Self::Command(_) => false,
            Self::Dns(_) => true,
        }
    }

    /// The same with this count.
    pub fn counting(&self, count: Option<NonZeroU32>) -> Self {
        match self {
            Self::Process(spec) => Self::Process(ProcessSpec { count, ..spec.clone() }),
            Self::Command(spec) => Self::Command(CommandSpec { count, ..spec.clone() }),
            Self::Dns(spec) => Self::Dns(spec.clone()),
        }
    }

    /// How long an instance may fail its checks before another takes its place, if ever.
    pub fn replace_after(&self) -> Option<Duration> {
        let after = match self {
            Self::Process(spec) => spec.replace_after,
            Self::Command(spec) => spec.replace_after,
            Self::Dns(_) => Duration::ZERO,
        };
        Some(after).filter(|after| !after.is_zero())
    }

    /// `process`, `command` or `dns`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::Command(_) => "command",
            Self::Dns(_) => "dns",
        }
    }

    /// The wait before an instance that fails its checks is replaced: longer than large weights take to load, since an instance that has
    /// not been ready yet fails them too.
    pub const REPLACE_AFTER: Duration = Duration::from_secs(15 * 60);
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

impl DnsSpec {
    /// A resolver of the same network answers in milliseconds; one that asks further has two tries of a second.
    pub const TIMEOUT: Duration = Duration::from_secs(2);
    /// A time to live of zero asks for a question with every use, which nobody means of a fleet.
    pub const TTL_FLOOR: Duration = Duration::from_secs(1);
    /// An instance that is gone is found out by the checks; a new one should not wait for an hour.
    pub const TTL_CEILING: Duration = Duration::from_secs(300);
}

impl CommandSpec {
    /// Clouds take minutes to say yes; what takes longer is asked for in the background and answered at the next call.
    pub const TIMEOUT: Duration = Duration::from_secs(300);
    /// An instance that somebody else took away is noticed within a minute, and by the checks before that.
    pub const REFRESH: Duration = Duration::from_secs(60);
}
