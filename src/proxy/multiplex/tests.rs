//! A connection under a clock of the test's own.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use h2::{client::ResponseFuture, server};
use http::Request;
use tokio::{net::UnixStream, task::LocalSet};

use super::{
    Group,
    connection::{Connection, STREAMS},
};
use crate::{
    meter::{FailureKind, Verdict},
    net::{Plain, Stream},
    proxy::{allowance::Allowance, error::Failure},
    time::Moment,
};

const IDLE: Duration = Duration::from_secs(4);

/// The instance, and its means to answer the request.
struct Server {
    connection: server::Connection<UnixStream, Bytes>,
    _respond: server::SendResponse<Bytes>,
}

fn at(seconds: u64) -> Moment {
    Moment::from_nanos((1_000 + seconds) * 1_000_000_000)
}

/// A connection with a request, and the instance at its other end, which has taken the request and says nothing more.
async fn asked() -> (Rc<Connection>, super::Seat, ResponseFuture, Server) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = tokio::task::spawn_local(async move {
        let mut connection = server::handshake(theirs).await.unwrap();
        let (_, _respond) = connection.accept().await.unwrap().unwrap();
        Server { connection, _respond }
    });
    let place = Allowance::new(1).take().unwrap();
    let connection = Connection::open(Stream::Plain(Plain::Unix(ours)), place).await.unwrap();
    let seat = connection.seat().unwrap();
    let (response, _) = seat.send(Request::get("http://a/").body(()).unwrap(), true).unwrap();
    let server = server.await.unwrap();
    settle().await;
    (connection, seat, response, server)
}

/// Lets every task take its turns.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_silent_instance_is_asked_whether_it_is_there_and_given_up_if_it_does_not_say() {
    let test = async {
        let (connection, seat, response, _server) = asked().await;
        for seconds in [0, 1, 29, 31, 40] {
            assert!(connection.look(at(seconds), IDLE), "{seconds}");
            settle().await;
        }
        assert!(connection.seat().is_some());
        connection.look(at(42), IDLE);
        settle().await;
        assert!(response.await.unwrap_err().is_io());
        assert!(connection.seat().is_none() && !connection.look(at(43), IDLE));
        drop(seat);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_silent_instance_that_says_it_is_there_is_left_alone() {
    let test = async {
        let (connection, _seat, _response, mut server) = asked().await;
        tokio::task::spawn_local(async move { while server.connection.accept().await.is_some() {} });
        settle().await;
        for seconds in 0..600 {
            assert!(connection.look(at(seconds), IDLE), "{seconds}");
            settle().await;
        }
        assert!(connection.seat().is_some());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_connection_has_so_many_seats_and_is_closed_when_it_was_idle_for_its_time() {
    let test = async {
        let (connection, seat, _response, _server) = asked().await;
        let seats: Vec<_> = std::iter::from_fn(|| connection.seat()).collect();
        assert_eq!(seats.len(), STREAMS - 1);
        assert!(connection.look(at(0), IDLE) && connection.look(at(20), IDLE), "it has requests");
        drop((seat, seats));
        assert!(connection.look(at(21), IDLE) && connection.look(at(24), IDLE));
        assert!(!connection.look(at(25), IDLE), "four seconds have passed");
        drop(connection.seat());
        assert!(connection.look(at(26), IDLE), "it was used meanwhile");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn those_who_wait_for_a_connection_that_cannot_be_made_learn_whose_fault_it_was() {
    let of_descriptors = || Failure::not_connected(std::io::Error::from_raw_os_error(24));
    let of_the_instance = || Failure::not_connected(std::io::Error::from_raw_os_error(111));
    for (failure, verdict) in [
        (&of_descriptors as &dyn Fn() -> Failure, Verdict::Shed),
        (&of_the_instance, Verdict::Failure(FailureKind::ConnectFailed)),
        (&|| Failure::Unresolved, Verdict::Failure(FailureKind::ConnectFailed)),
    ] {
        let group = Group::default();
        let open = async || {
            settle().await;
            Err(failure())
        };
        let (first, second) =
            tokio::join!(group.open(open), group.open(async || panic!("one tries for both")));
        for failed in [first, second] {
            assert_eq!(failed.unwrap_err().verdict(), verdict);
        }
    }
}
