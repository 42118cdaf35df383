//! One model-server address, its health and its in-flight count.

use std::{
    fmt,
    net::SocketAddr,
    num::NonZeroU32,
    path::Path,
    sync::{
        Arc,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Relaxed, SeqCst},
            fence,
        },
    },
};

use arc_swap::ArcSwapOption;

use super::{Protocol, UpstreamTls, Weight, ejection::Record, standing::Standing, warmth::Warmth};

/// What the address of a Unix-domain socket begins with.
const UNIX: &str = "unix:";

/// Linux keeps the path of a Unix-domain socket in 108 bytes, the last of them zero (unix(7)).
const LONGEST_PATH_BYTES: usize = 107;

/// Where an instance listens: `10.0.0.1:8000`, `[::1]:8000`, `host:8000` or `unix:/run/model.sock`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(Arc<str>);

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an instance address: write host:port, such as \"127.0.0.1:9001\" or \"model-a:8000\", without a scheme, or \"unix:\" and a path"
)]
pub struct AddressError(String);

/// What the health checks say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Health {
    /// No check has ended yet. Counts as able to serve.
    Unknown,
    /// Passes its checks.
    Healthy,
    /// Failed as many checks in a row as the endpoint's threshold says.
    Unhealthy,
}

/// One model-server address as the data plane sees it.
///
/// In-flight counts are one cell per worker, written by its worker alone; readers take the sum. So a count may be read
/// while it moves, which a balancer can bear, but no write ever contends.
pub struct Instance {
    address: Address,
    protocol: Protocol,
    tls: Option<Arc<UpstreamTls>>,
    resolved: ArcSwapOption<SocketAddr>,
    standing: Standing,
    record: Record,
    warmth: Warmth,
    /// Zero for none of its own.
    max_concurrency: AtomicU32,
    in_flight: Box<[Cell]>,
}

/// A cache line of its own for each worker's count.
#[repr(align(128))]
#[derive(Default)]
struct Cell(AtomicU64);

impl Address {
    /// Checks a text; names are not resolved here.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError(text.chars().take(80).collect());
        if text.parse::<SocketAddr>().is_ok_and(|address| address.port() != 0) {
            return Ok(Self(text.into()));
        }
        if let Some(path) = text.strip_prefix(UNIX) {
            let is_path = path.starts_with('/') && !path.ends_with('/') && !path.contains('\0');
            let fits = is_path && path.len() <= LONGEST_PATH_BYTES;
            return if fits { Ok(Self(text.into())) } else { Err(error()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let host_fits = (1..=253).contains(&host.len())
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
            && host.bytes().any(|byte| byte.is_ascii_alphabetic());
        let port_fits =
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0);
        if host_fits && port_fits { Ok(Self(text.into())) } else { Err(error()) }
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of a Unix-domain socket, when the text holds one.
    pub fn unix_path(&self) -> Option<&Path> {
        self.0.strip_prefix(UNIX).map(Path::new)
    }

    /// The host, without port and without an IPv6 address's brackets; `None` for a Unix-domain socket.
    pub fn host(&self) -> Option<&str> {
        if self.unix_path().is_some() {
            return None;
        }
        let (host, _) = self.0.rsplit_once(':')?;
        Some(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
    }

    /// What a request to it names as its host when nothing else does: a Unix-domain socket is on this machine.
    pub fn authority(&self) -> &str {
        if self.unix_path().is_some() { "localhost" } else { self.as_str() }
    }

    /// The socket address, when the text holds one rather than a host name.
    pub fn literal(&self) -> Option<SocketAddr> {
        self.0.parse().ok()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Health {
    /// `unknown`, `healthy` or `unhealthy`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Instance {
    /// An instance with no request in flight and unknown health, counted by this many workers, that speaks HTTP/1.1 without TLS.
    pub fn new(address: Address, workers: usize) -> Self {
        Self {
            protocol: Protocol::Http1,
            tls: None,
            resolved: ArcSwapOption::from(address.literal().map(Arc::new)),
            address,
            standing: Standing::new(Weight::ONE),
            record: Record::default(),
            warmth: Warmth::default(),
            max_concurrency: AtomicU32::new(0),
            in_flight: (0..workers.max(1)).map(|_| Cell::default()).collect(),
        }
    }

    /// The same instance with this weight.
    pub fn weighing(self, weight: Weight) -> Self {
        self.set_weight(weight);
        self
    }

    /// The same instance, which speaks this.
    pub fn speaking(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    /// What it speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The same instance, connections to which are secured like this.
    pub fn secured(self, tls: Option<Arc<UpstreamTls>>) -> Self {
        Self { tls, ..self }
    }

    /// How connections to it are secured; without it they are plain.
    pub fn tls(&self) -> Option<&Arc<UpstreamTls>> {
        self.tls.as_ref()
    }

    /// Where it listens, as configured.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Where to connect; `None` while a host name has not been resolved yet.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        self.resolved.load().as_deref().copied()
    }

    /// Says where the host name leads now.
    pub fn set_socket_address(&self, address: SocketAddr) {
        self.resolved.store(Some(Arc::new(address)));
    }

    /// What the health checks say.
    pub fn health(&self) -> Health {
        self.standing.health()
    }

    /// Records what the health checks say. Written by the prober alone.
    pub fn set_health(&self, health: Health) {
        self.standing.set_health(health);
    }

    /// What it weighs against the other instances.
    pub fn weight(&self) -> Weight {
        self.standing.weight()
    }

    /// Says what it weighs from now on. Written by control alone.
    pub fn set_weight(&self, weight: Weight) {
        self.standing.set_weight(weight);
    }

    /// Says how much of its weight it gets while it is new, in thousandths, 1 to 1,000. Written by control alone.
    pub fn set_growth(&self, thousandths: u16) {
        self.standing.set_growth(thousandths);
    }

    /// How many requests it takes at a time, where that is not what the endpoint says of all.
    pub fn max_concurrency(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.max_concurrency.load(Relaxed))
    }

    /// Says how many from now on. Written by control alone.
    pub fn set_max_concurrency(&self, most: Option<NonZeroU32>) {
        self.max_concurrency.store(most.map_or(0, NonZeroU32::get), Relaxed);
    }

    /// Whether it takes one more request, where instances of which nothing else is said take so many.
    pub fn has_room(&self, default: Option<NonZeroU32>) -> bool {
        self.max_concurrency().or(default).is_none_or(|most| self.in_flight() < u64::from(most.get()))
    }

    /// How large its part of the fleet's next requests is, against the parts of the others; zero when it can take none.
    pub fn part(&self) -> u64 {
        self.standing.part()
    }

    /// The same where no instance has a part: those that were ejected are better than none.
    pub fn part_in_need(&self) -> u64 {
        self.standing.part_in_need()
    }

    /// How far it has got with its first requests.
    pub fn warmth(&self) -> &Warmth {
        &self.warmth
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// One more request in flight. Called by this worker alone.
    pub fn begin(&self, worker: usize) {
        if let Some(Cell(cell)) = self.in_flight.get(worker) {
            cell.store(cell.load(Relaxed) + 1, Relaxed);
        }
    }

    /// One more request in flight, unless that is one too many, where instances of which nothing else is said take so many. Called by this
    /// worker alone; says whether it counts.
    ///
    /// Workers count in cells of their own, so several may have seen the last room. Each writes first, and looks again behind a fence. Of
    /// any that stay, the one whose fence is the last in their order sees what all the others wrote before theirs, and would not have
    /// stayed if that were too much. So no more stay than there is room for. It may be that none does, each having seen another: whoever goes
    /// without asks again.
    pub fn begin_within(&self, worker: usize, default: Option<NonZeroU32>) -> bool {
        self.begin(worker);
        let Some(most) = self.max_concurrency().or(default) else { return true };
        fence(SeqCst);
        let fits = self.in_flight() <= u64::from(most.get());
        if !fits {
            self.end(worker);
        }
        fits
    }

    /// One request fewer in flight. Called by this worker alone, once for each that [`Instance::begin`] or [`Instance::begin_within`] counts.
    pub fn end(&self, worker: usize) {
        if let Some(Cell(cell)) = self.in_flight.get(worker) {
            cell.store(cell.load(Relaxed).saturating_sub(1), Relaxed);
        }
    }

    /// Requests in flight over all workers.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.iter().map(|Cell(cell)| cell.load(Relaxed)).sum()
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("address", &self.address)
            .field("health", &self.health())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_a_host_and_a_port_and_no_scheme() {
        for good in ["127.0.0.1:9001", "[::1]:80", "model-a:8000", "a.b.c:1", "unix:/run/a.sock"] {
            assert!(Address::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1",
            "http://a:1",
            "a:0",
            "a:70000",
            "a:",
            ":80",
            "999.1.1.1:80",
            "a b:1",
            "a:+1",
            "unix:a",
            "unix:/a/",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_says_what_to_look_for_in_a_certificate_and_what_to_ask_for() {
        for (text, host, authority) in [
            ("127.0.0.1:9001", Some("127.0.0.1"), "127.0.0.1:9001"),
            ("[::1]:80", Some("::1"), "[::1]:80"),
            ("model-a:8000", Some("model-a"), "model-a:8000"),
            ("unix:/run/a.sock", None, "localhost"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.host(), address.authority()), (host, authority));
        }
    }

    #[test]
    fn health_and_weight_change_apart_and_only_the_unhealthy_have_no_part() {
        let instance = Instance::new(Address::parse("127.0.0.1:1").unwrap(), 1);
        let part = instance.part();
        instance.set_weight(Weight::new(3).unwrap());
        for health in [Health::Healthy, Health::Unhealthy, Health::Unknown] {
            instance.set_health(health);
            assert_eq!((instance.health(), instance.weight().get()), (health, 3));
            let expected = if health == Health::Unhealthy { 0 } else { 3 * part };
            assert_eq!(instance.part(), expected, "{health:?}");
        }
    }

    #[test]
    fn a_new_weight_leaves_growth_and_a_new_growth_leaves_weight() {
        let instance = Instance::new(Address::parse("127.0.0.1:1").unwrap(), 1);
        let whole = instance.part();
        instance.set_growth(100);
        instance.set_weight(Weight::new(1_000).unwrap());
        assert_eq!((instance.part(), instance.weight().get()), (100 * whole, 1_000));
        instance.set_growth(1_000);
        assert_eq!((instance.part(), instance.health()), (1_000 * whole, Health::Unknown));
    }

    #[test]
    fn an_instances_own_limit_stands_against_the_endpoints() {
        let instance = Instance::new(Address::parse("127.0.0.1:1").unwrap(), 2);
        instance.begin(0);
        instance.begin(1);
        assert!(instance.has_room(None) && instance.has_room(NonZeroU32::new(3)));
        assert!(!instance.has_room(NonZeroU32::new(2)), "over all workers");
        instance.set_max_concurrency(NonZeroU32::new(3));
        assert!(instance.has_room(NonZeroU32::new(2)));
        instance.set_max_concurrency(NonZeroU32::new(1));
        assert!(!instance.has_room(None));
    }

    #[test]
    fn no_more_stay_than_there_is_room_for_however_many_begin_at_once() {
        let (most, workers) = (NonZeroU32::new(2), 4);
        let instance = Instance::new(Address::parse("127.0.0.1:1").unwrap(), workers);
        let (serving, highest) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for worker in 0..workers {
                let (instance, serving, highest) = (&instance, &serving, &highest);
                scope.spawn(move || {
                    for _ in 0..50_000 {
                        if instance.begin_within(worker, most) {
                            highest.fetch_max(serving.fetch_add(1, SeqCst) + 1, SeqCst);
                            serving.fetch_sub(1, SeqCst);
                            instance.end(worker);
                        }
                    }
                });
            }
        });
        assert!(highest.into_inner() <= 2);
        assert_eq!(instance.in_flight(), 0);
    }

    #[test]
    fn what_is_one_too_many_does_not_count() {
        let instance = Instance::new(Address::parse("127.0.0.1:1").unwrap(), 2);
        let begun: Vec<bool> =
            [0, 1, 1].map(|worker| instance.begin_within(worker, NonZeroU32::new(2))).into();
        assert_eq!((begun, instance.in_flight()), (vec![true, true, false], 2));
        assert!(instance.begin_within(0, None));
    }

    #[test]
    fn in_flight_is_the_sum_over_workers_and_never_below_zero() {
        let instance = Instance::new(Address::parse("127.0.0.1:1").unwrap(), 2);
        instance.begin(0);
        instance.begin(1);
        instance.begin(1);
        assert_eq!(instance.in_flight(), 3);
        instance.end(0);
        instance.end(0);
        assert_eq!(instance.in_flight(), 2);
    }
}
