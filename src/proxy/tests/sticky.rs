//! Sessions that stay on their fleet.

use std::collections::BTreeSet;

use http::HeaderName;

use super::kit::{Client, Origin, Rig, Setup};
use crate::route::Sticky;

const BLUE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nblue";
const GREEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\ngreen";

fn rig(sticky: Sticky) -> Rig {
    let (blue, green) = (Origin::saying(BLUE), Origin::saying(GREEN));
    let mut setup = Setup::new(&[blue.address]);
    setup.green = vec![green.address];
    setup.sticky = Some(sticky);
    setup.start()
}

fn ask(client: &mut Client, header: &str) -> String {
    client.send(format!("GET / HTTP/1.1\r\nhost: test\r\n{header}\r\n\r\n"));
    client.answer().text().to_owned()
}

/// The sessions of two hundred that green serves.
fn on_green(client: &mut Client, header: impl Fn(u32) -> String) -> BTreeSet<u32> {
    (0..200).filter(|session| ask(client, &header(*session)) == "green").collect()
}

#[test]
fn a_session_moves_to_green_once_and_back_only_with_a_rollback() {
    let in_header = |session: u32| format!("x-session-id: s{session}");
    let in_cookie = |session: u32| format!("cookie: theme=dark; sid=s{session}");
    let ways: [(Sticky, &dyn Fn(u32) -> String); 2] = [
        (Sticky::Header(HeaderName::from_static("x-session-id")), &in_header),
        (Sticky::Cookie("sid".to_owned()), &in_cookie),
    ];
    for (sticky, header) in ways {
        let rig = rig(sticky);
        let mut client = rig.client();
        let mut before = BTreeSet::new();
        for (share, least) in [("0%", 0), ("10%", 5), ("50%", 70), ("75%", 110), ("100%", 200)] {
            rig.give(share);
            let now = on_green(&mut client, header);
            assert_eq!(now, on_green(&mut client, header), "the same twice at {share}");
            assert!(now.is_superset(&before), "at {share} a session went back");
            assert!(now.len() >= least, "{} at {share}", now.len());
            before = now;
        }
        rig.give("0%");
        assert!(on_green(&mut client, header).is_empty());
    }
}

#[test]
fn requests_without_a_session_are_dealt() {
    let rig = rig(Sticky::Cookie("sid".to_owned()));
    rig.give("50%");
    let mut client = rig.client();
    let green = (0..40).filter(|_| ask(&mut client, "cookie: theme=dark") == "green").count();
    assert_eq!(green, 20);
}
