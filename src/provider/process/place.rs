//! Where an instance is remembered, and how its processes are known again.
//!
//! A process is known by what it was given when it was started: a variable in its environment that names the folder, the fleet, the index
//! and the port. It has it from its first moment, and so have all its children, so there is no instant at which the proxy could die and
//! leave a process that nobody knows. Programs that write over their environment (they set the title that `ps` shows) are known
//! by a file, which holds the process's id and the moment of its start: an id alone may be another's by now.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rustix::process::Pid;

use crate::name::FleetId;

/// The variable that names a process's place.
pub(super) const MARK: &str = "SNAPBACK_INSTANCE";

/// An instance's place: its fleet, and its number in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Place {
    pub(super) fleet: FleetId,
    pub(super) index: u32,
}

/// A process and the moment of its start, which no later process with the same id shares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) pid: Pid,
    /// In clock ticks since the machine's start (field 22 of `/proc/[pid]/stat`, proc_pid_stat(5)).
    pub(super) start: u64,
}

/// A process that was found to belong to a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) identity: Identity,
    pub(super) port: u16,
    pub(super) rank: Rank,
}

/// What a process is to its instance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Rank {
    /// The one that was started: it leads a process group.
    Leader,
    /// One that it started in turn.
    Child,
}

/// The folder in which places are remembered.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path: std::path::absolute(&path).unwrap_or(path) }
    }

    /// Makes the folder, if need be. Logs may hold what clients wrote, so it is nobody else's to read.
    pub(super) fn make(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path)
    }

    /// The value of the variable that marks a process.
    pub(super) fn mark(&self, place: &Place, port: u16) -> String {
        format!("{}{}|{port}", self.prefix(&place.fleet), place.index)
    }

    pub(super) fn log(&self, place: &Place) -> PathBuf {
        self.file(place, "log")
    }

    /// Writes down who runs at a place. Written whole or not at all: a file that was cut is no file.
    pub(super) fn remember(&self, place: &Place, found: &Found) -> io::Result<()> {
        let Identity { pid, start } = found.identity;
        let (file, fresh) = (self.file(place, "pid"), self.file(place, "pid.new"));
        fs::write(&fresh, format!("{} {start} {}\n", pid.as_raw_nonzero(), found.port))?;
        fs::rename(fresh, file)
    }

    /// Removes what is known of a place, logs too.
    pub(super) fn forget(&self, place: &Place) {
        for ending in ["pid", "pid.new", "log", "log.1"] {
            match fs::remove_file(self.file(place, ending)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, ?place, "a file of an instance stays behind"),
            }
        }
    }

    /// The living processes of a fleet, leaders first. Blocks: it looks at every process of the machine that it may look at.
    pub(super) fn find(&self, fleet: &FleetId) -> Vec<(Place, Found)> {
        let mut found = self.marked(fleet);
        for (place, other) in self.remembered(fleet) {
            if !found.iter().any(|(_, known)| known.identity.pid == other.identity.pid) {
                found.push((place, other));
            }
        }
        found.sort_by_key(|(place, found)| (found.rank, place.index));
        found
    }

    fn marked(&self, fleet: &FleetId) -> Vec<(Place, Found)> {
        let prefix = format!("{MARK}={}", self.prefix(fleet));
        let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
        let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let read = |number: i32| {
            let environ = fs::read(format!("/proc/{number}/environ")).ok()?;
            let mut variables = environ.split(|byte| *byte == 0);
            let rest = variables.find_map(|variable| variable.strip_prefix(prefix.as_bytes()))?;
            let (index, port) = std::str::from_utf8(rest).ok()?.split_once('|')?;
            let place = Place { fleet: fleet.clone(), index: index.parse().ok()? };
            let stat = Stat::read(Pid::from_raw(number)?)?;
            Some((place, stat.found(port.parse().ok()?)))
        };
        numbers.filter_map(read).collect()
    }

    fn remembered(&self, fleet: &FleetId) -> Vec<(Place, Found)> {
        let Ok(files) = fs::read_dir(&self.path) else { return Vec::new() };
        let read = |path: &Path| {
            let name = path.file_name()?.to_str()?.strip_prefix(fleet.as_str())?;
            let index = name.strip_prefix('.')?.strip_suffix(".pid")?.parse().ok()?;
            let text = fs::read_to_string(path).ok()?;
            let mut words = text.split_ascii_whitespace();
            let pid = Pid::from_raw(words.next()?.parse().ok()?)?;
            let (start, port): (u64, u16) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let stat = Stat::read(pid).filter(|stat| stat.identity.start == start)?;
            Some((Place { fleet: fleet.clone(), index }, stat.found(port)))
        };
        files.flatten().filter_map(|entry| read(&entry.path())).collect()
    }

    /// Ends in a character that no fleet's name holds, so that no name is another's beginning.
    fn prefix(&self, fleet: &FleetId) -> String {
        format!("{}|{fleet}|", self.path.display())
    }

    fn file(&self, place: &Place, ending: &str) -> PathBuf {
        self.path.join(format!("{}.{}.{ending}", place.fleet, place.index))
    }
}

impl Identity {
    /// Of a living process.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        Stat::read(pid).map(|stat| stat.identity)
    }

    /// Whether the process still lives.
    pub(super) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// What `/proc/[pid]/stat` says of a living process.
struct Stat {
    identity: Identity,
    leads_its_group: bool,
}

impl Stat {
    /// `None` for a process that is gone, or has ended and waits for its parent to hear of it.
    fn read(pid: Pid) -> Option<Self> {
        let number = pid.as_raw_nonzero();
        let text = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        // The second field is the program's name in parentheses, which may itself hold parentheses and spaces.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        let group: i32 = fields.get(2)?.parse().ok()?;
        let start = fields.get(19)?.parse().ok()?;
        let is_over = matches!(*fields.first()?, "Z" | "X");
        let stat = Self { identity: Identity { pid, start }, leads_its_group: group == number.get() };
        (!is_over).then_some(stat)
    }

    fn found(&self, port: u16) -> Found {
        let rank = if self.leads_its_group { Rank::Leader } else { Rank::Child };
        Found { identity: self.identity, port, rank }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_and_not_by_its_number_alone() {
        let own = Identity::of(rustix::process::getpid()).unwrap();
        assert!(own.is_alive());
        assert!(!Identity { start: own.start + 1, ..own }.is_alive());
    }

    #[test]
    fn a_file_of_a_process_that_is_gone_finds_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::new(folder.path().join("instances"));
        folder.make().unwrap();
        let place = Place { fleet: FleetId::parse("chat-1").unwrap(), index: 0 };
        let own = Identity::of(rustix::process::getpid()).unwrap();
        let found = Found { identity: own, port: 9001, rank: Rank::Child };
        folder.remember(&place, &found).unwrap();
        let [(_, again)] = &folder.find(&place.fleet)[..] else { panic!("this process") };
        assert_eq!((again.identity, again.port), (own, 9001));
        let stranger = Identity { start: own.start + 1, ..own };
        folder.remember(&place, &Found { identity: stranger, ..found }).unwrap();
        assert_eq!(folder.find(&place.fleet), []);
        folder.forget(&place);
        assert_eq!(folder.find(&place.fleet), []);
    }
}
