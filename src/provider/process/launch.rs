//! Starting one process.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use rustix::process::Pid;

use super::{
    log,
    place::{Folder, Found, Identity, MARK, Place, Rank},
};
use crate::{fault, fleet::ProcessSpec, name::Version};

/// How often a free port is asked for before it is given up: each answer may be a port that another instance was given a moment ago.
const PORT_TRIES: u32 = 64;

/// What one process is started from.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) place: Place,
    pub(super) version: Version,
    pub(super) spec: ProcessSpec,
    pub(super) folder: Folder,
}

impl Recipe {
    /// Starts a process that is to listen on this port, at the head of a process group of its own: a signal at the terminal is not for it,
    /// and whatever it starts ends with it.
    pub(super) fn launch(&self, port: u16) -> io::Result<Child> {
        let fill = |text: &String| {
            text.replace("{port}", &port.to_string())
                .replace("{version}", self.version.as_str())
                .replace("{index}", &self.place.index.to_string())
        };
        let words: Vec<_> = self.spec.command.iter().map(fill).collect();
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let env: BTreeMap<_, _> = self.spec.env.iter().map(|(name, value)| (name, fill(value))).collect();
        self.folder.make()?;
        let out = log::open(&self.folder.log(&self.place))?;
        let mut child = Command::new(program)
            .args(arguments)
            .envs(env)
            .env(MARK, self.folder.mark(&self.place, port))
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()?;
        fault::point(|| format!("a process of {} has started", self.version));
        if let Some(identity) = identity(&child)
            && let Err(error) =
                self.folder.remember(&self.place, &Found { identity, port, rank: Rank::Leader })
        {
            // Without the file a process that hides its environment would be lost after a crash, so it is not left to itself.
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
        Ok(child)
    }
}

/// Who a child is; `None` when it has ended already.
pub(super) fn identity(child: &Child) -> Option<Identity> {
    Identity::of(pid(child)?)
}

pub(super) fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

/// A port that nobody listens on at this moment and that is none of these. Somebody else may take it before the process does; then the
/// process ends, and starts again on another.
pub(super) fn free_port(taken: impl Fn(u16) -> bool) -> io::Result<u16> {
    for _ in 0..PORT_TRIES {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        if !taken(port) {
            return Ok(port);
        }
    }
    Err(io::Error::other("the system offers only ports that other instances have"))
}

/// Whether somebody listens on a port of this machine.
pub(super) fn is_taken(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}
