//! Listening sockets that whoever started this process opened before: systemd's socket activation (sd_listen_fds(3)), which other
//! supervisors speak too. `LISTEN_FDS` says how many, from descriptor 3 on, `LISTEN_PID` for which process, and `LISTEN_FDNAMES`
//! what each is called.

use std::io;

use listenfd::ListenFd;

use super::Listening;

/// A socket and what it is called.
#[derive(Debug)]
pub struct Inherited {
    /// From `LISTEN_FDNAMES`; empty where that says nothing.
    pub name: String,
    /// The socket.
    pub listening: Listening,
}

impl Inherited {
    /// Takes over every socket that was passed to this process; none if it was started in another way. Takes them once: nothing of
    /// it is left for a second call or for child processes.
    ///
    /// # Errors
    /// When a descriptor is not a listening stream socket.
    pub fn take() -> io::Result<Vec<Self>> {
        // A claim of ownership on numbers from the environment cannot be checked by the compiler; the crate is there for that.
        let mut passed = ListenFd::from_env();
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut inherited = Vec::with_capacity(passed.len());
        for index in 0..passed.len() {
            let listening = match passed.take_unix_listener(index) {
                Ok(listener) => listener.map(Listening::Unix),
                Err(_) => passed.take_tcp_listener(index)?.map(Listening::Tcp),
            };
            let listening = listening.ok_or_else(|| io::Error::other("a descriptor was passed twice"))?;
            let name = names.next().unwrap_or_default().to_owned();
            inherited.push(Self { name, listening: listening.inherit()? });
        }
        Ok(inherited)
    }
}
