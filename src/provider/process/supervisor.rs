//! Keeps one instance running: waits for its end, starts it again, lets it go.

use std::{
    fmt::Write as _,
    io,
    os::unix::process::ExitStatusExt,
    process::{Child, ExitStatus},
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{Notify, mpsc, watch},
    time::Instant,
};

use super::{
    launch::{self, Recipe},
    log,
    place::{Found, Identity, Rank},
    ports::Ports,
};
use crate::{
    fault,
    name::EndpointName,
    provider::{News, NewsKind},
    time::format_duration,
};

/// The wait before an instance that died is started again; doubled with each death in a row.
const FIRST_RESTART: Duration = Duration::from_millis(500);
/// The longest such wait. An instance that lived for as long is none that dies in a row.
const LAST_RESTART: Duration = Duration::from_secs(60);
/// From so many deaths in a row it is called a crash loop.
const CRASH_LOOP: u32 = 3;
/// How often a log is held against its bound: a process that writes 10 MB a second exceeds it by as much.
const LOG_LOOK: Duration = Duration::from_secs(1);
/// After SIGKILL a process ends as soon as the system gets to it; one that hangs in the kernel is left after this.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// What a supervisor is told to do about its instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    /// Keep it running.
    Run,
    /// Let it go: SIGTERM, and after the grace SIGKILL.
    Stop,
}

/// A process under supervision.
#[derive(Debug)]
pub(super) enum Process {
    /// Started here.
    Own(Child),
    /// Started by an earlier process of the proxy.
    Adopted(Identity),
}

/// Keeps one instance running. Dropping its future leaves the process to itself.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) endpoint: EndpointName,
    pub(super) recipe: Recipe,
    pub(super) ports: Arc<Ports>,
    pub(super) port: watch::Sender<u16>,
    pub(super) moved: Arc<Notify>,
    pub(super) wish: watch::Receiver<Wish>,
    pub(super) news: mpsc::Sender<News>,
    /// Deaths in a row.
    pub(super) deaths: u32,
}

impl Supervisor {
    /// Runs until the instance is let go.
    pub(super) async fn run(mut self, first: Process) {
        let mut process = Some(first);
        loop {
            process = match process {
                Some(process) => self.watch(process).await,
                None => self.start_again().await,
            };
            if *self.wish.borrow() == Wish::Stop {
                break;
            }
        }
        if let Some(process) = process {
            self.stop(process).await;
        }
        self.sweep().await;
        self.ports.release(*self.port.borrow());
        self.recipe.folder.forget(&self.recipe.place);
        self.tell(NewsKind::Stopped, "it was let go and has ended".to_owned()).await;
    }

    /// Waits until the process ends, which it says, or is to be let go: then it is given back.
    async fn watch(&mut self, process: Process) -> Option<Process> {
        let begun = Instant::now();
        let mut wish = self.wish.clone();
        let exit = loop {
            match process.exit() {
                Ok(exit) => break exit,
                // It ended before it could be watched.
                Err(error) if is_of_a_gone_process(&error) => return self.ended(process, begun).await,
                Err(error) => {
                    // Without a descriptor nobody can say that it has ended, and it may well be serving.
                    tracing::warn!(%error, place = ?self.recipe.place, "a process cannot be watched at present");
                }
            }
            tokio::select! {
                () = told_to_stop(&mut wish) => return Some(process),
                () = tokio::time::sleep(LOG_LOOK) => {}
            }
        };
        loop {
            let look = tokio::time::sleep(LOG_LOOK);
            tokio::select! {
                () = told_to_stop(&mut wish) => return Some(process),
                _ = exit.readable() => return self.ended(process, begun).await,
                () = look => self.bound_log().await,
            }
        }
    }

    /// The process has ended by itself: what it started ends too, and it is told.
    async fn ended(&mut self, mut process: Process, begun: Instant) -> Option<Process> {
        process.signal_group(Signal::KILL);
        let status = process.reap();
        self.sweep().await;
        let lived = begun.elapsed();
        self.deaths = if lived >= LAST_RESTART { 1 } else { self.deaths.saturating_add(1) };
        let path = self.recipe.folder.log(&self.recipe.place);
        let last_line = tokio::task::spawn_blocking(move || log::last_line(&path)).await.ok().flatten();
        let mut text = format!("it {} after {}", how(status), format_duration(rounded(lived)));
        if let Some(line) = last_line {
            write!(text, ", its last line: {line:?}").expect("a string takes what is written");
        }
        if self.deaths >= CRASH_LOOP {
            write!(text, "; a crash loop: {} deaths in a row", self.deaths)
                .expect("a string takes what is written");
        }
        let wait = format_duration(restart_wait(self.deaths));
        self.tell(NewsKind::Died, format!("{text}; it is started again in {wait}")).await;
        None
    }

    /// Waits, and starts the instance again: on its port, or on another where somebody else has that one by now.
    async fn start_again(&mut self) -> Option<Process> {
        let mut wish = self.wish.clone();
        tokio::select! {
            () = told_to_stop(&mut wish) => return None,
            () = tokio::time::sleep(restart_wait(self.deaths)) => {}
        }
        let port = *self.port.borrow();
        let launched = self.ports.take_again(port).and_then(|port| Ok((port, self.recipe.launch(port)?)));
        match launched {
            Ok((now, child)) => {
                self.tell(NewsKind::Started, format!("process {} was started again", child.id())).await;
                if now != port {
                    self.port.send_replace(now);
                    self.moved.notify_waiters();
                    self.tell(NewsKind::Moved, format!("port {port} is somebody else's by now")).await;
                }
                Some(Process::Own(child))
            }
            Err(error) => {
                self.deaths = self.deaths.saturating_add(1);
                let wait = format_duration(restart_wait(self.deaths));
                self.tell(
                    NewsKind::Died,
                    format!("it cannot be started: {error}; the next try is in {wait}"),
                )
                .await;
                None
            }
        }
    }

    /// SIGTERM to the whole group, SIGKILL after the grace.
    async fn stop(&self, mut process: Process) {
        process.signal_group(Signal::TERM);
        fault::point(|| format!("a process of {} is told to end", self.recipe.version));
        if let Ok(exit) = process.exit()
            && tokio::time::timeout(self.recipe.spec.stop_grace, exit.readable()).await.is_err()
        {
            process.signal_group(Signal::KILL);
            if tokio::time::timeout(KILL_PATIENCE, exit.readable()).await.is_err() {
                tracing::error!(place = ?self.recipe.place, "a process does not end by SIGKILL");
                return;
            }
        }
        // Those of its children that it has not waited for.
        process.signal_group(Signal::KILL);
        process.reap();
    }

    /// Kills what the instance has left behind outside of its group.
    async fn sweep(&self) {
        let (folder, place) = (self.recipe.folder.clone(), self.recipe.place.clone());
        let swept = tokio::task::spawn_blocking(move || {
            for (other, found) in folder.find(&place.fleet) {
                if other == place && found.identity.is_alive() {
                    // It may have ended meanwhile.
                    kill_process(found.identity.pid, Signal::KILL).ok();
                }
            }
        });
        if swept.await.is_err() {
            tracing::error!(place = ?self.recipe.place, "what an instance left behind could not be looked for");
        }
    }

    async fn bound_log(&self) {
        let (path, limit) = (self.recipe.folder.log(&self.recipe.place), self.recipe.spec.log_limit_bytes);
        let bounded = tokio::task::spawn_blocking(move || log::bound(&path, limit)).await;
        if let Ok(Err(error)) = bounded {
            tracing::debug!(%error, place = ?self.recipe.place, "a log was not kept whole");
        }
    }

    /// Control that is gone needs no news.
    async fn tell(&self, kind: NewsKind, text: String) {
        let (index, port) = (self.recipe.place.index, *self.port.borrow());
        let news = News {
            endpoint: self.endpoint.clone(),
            fleet: self.recipe.place.fleet.clone(),
            kind,
            text: format!("instance {index} at 127.0.0.1:{port}: {text}"),
        };
        drop(self.news.send(news).await);
    }
}

impl Process {
    /// Becomes readable when the process has ended (pidfd_open(2)).
    fn exit(&self) -> io::Result<AsyncFd<rustix::fd::OwnedFd>> {
        let pid = self.pid().ok_or(io::ErrorKind::NotFound)?;
        let exit = pidfd_open(pid, PidfdFlags::empty())?;
        match self {
            Self::Own(_) => {}
            // Looked at after the descriptor was made, so that it cannot be another's.
            Self::Adopted(identity) if identity.is_alive() => {}
            Self::Adopted(_) => return Err(io::ErrorKind::NotFound.into()),
        }
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe for types whose descriptor may change; an owned descriptor's does not"
        )]
        AsyncFd::with_interest(exit, Interest::READABLE)
    }

    fn pid(&self) -> Option<Pid> {
        match self {
            Self::Own(child) => launch::pid(child),
            Self::Adopted(identity) => Some(identity.pid),
        }
    }

    /// Signals the group that the process leads, while nobody else can have its number: until it has been waited for, or while it lives.
    fn signal_group(&mut self, signal: Signal) {
        let is_its = match self {
            Self::Own(_) => true,
            Self::Adopted(identity) => identity.is_alive(),
        };
        if let Some(pid) = self.pid().filter(|_| is_its) {
            // The group may be empty by now.
            kill_process_group(pid, signal).ok();
        }
    }

    /// How it ended; `None` where that is not known.
    fn reap(&mut self) -> Option<ExitStatus> {
        match self {
            // It has ended, so this does not wait.
            Self::Own(child) => child.wait().ok(),
            Self::Adopted(_) => None,
        }
    }
}

impl Found {
    /// To be supervised by whoever found it.
    pub(super) fn adopt(self) -> Option<Process> {
        match self.rank {
            Rank::Leader => Some(Process::Adopted(self.identity)),
            Rank::Child => None,
        }
    }
}

/// Whether a process cannot be watched because it is no more.
fn is_of_a_gone_process(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// Who is gone tells nothing any more.
async fn told_to_stop(wish: &mut watch::Receiver<Wish>) {
    if wish.wait_for(|wish| *wish == Wish::Stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn restart_wait(deaths: u32) -> Duration {
    FIRST_RESTART.saturating_mul(1 << deaths.saturating_sub(1).min(16)).min(LAST_RESTART)
}

fn how(status: Option<ExitStatus>) -> String {
    let Some(status) = status else { return "ended".to_owned() };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// To what a reader wants to know of a life's length.
fn rounded(lived: Duration) -> Duration {
    let unit = if lived < Duration::from_secs(10) { 1 } else { 1_000 };
    Duration::from_millis(u64::try_from(lived.as_millis()).unwrap_or(u64::MAX) / unit * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_cannot_be_watched_for_want_of_descriptors_is_none_that_has_ended() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = launch::pid(&child).unwrap();
        child.wait().unwrap();
        let gone = io::Error::from(pidfd_open(pid, PidfdFlags::empty()).unwrap_err());
        assert!(is_of_a_gone_process(&gone), "{gone}");
        assert!(is_of_a_gone_process(&io::ErrorKind::NotFound.into()));
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOSYS] {
            assert!(!is_of_a_gone_process(&error.into()), "{error}");
        }
    }

    #[test]
    fn the_wait_before_a_restart_doubles_up_to_a_minute() {
        let waits: Vec<_> =
            [1, 2, 3, 8, u32::MAX].map(restart_wait).iter().map(Duration::as_millis).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 60_000, 60_000]);
    }
}
