use super::*;
use crate::store::Resource;

fn resource(kind: &'static str, name: &str, text: &str) -> Resource {
    Resource { kind, name: name.to_owned(), document: json!({ "text": text }) }
}

fn put(resource: &Resource) -> Record {
    Record::Resource(Box::new(resource.clone()))
}

#[test]
fn documents_of_other_faces_outlast_the_process_and_go_by_kind_and_name() {
    let place = Place::new();
    let journal = place.open();
    let [a, b, other] =
        [resource("model", "a", "1"), resource("model", "b", "2"), resource("config", "a", "3")];
    journal.commit(&[put(&b), put(&a), put(&other)]).unwrap();
    let newer = resource("model", "b", "4");
    journal.commit(&[put(&newer)]).unwrap();
    drop(journal);
    let journal = place.open();
    assert_eq!(journal.resources("model").unwrap(), [a, newer.clone()]);
    assert_eq!(journal.resource("model", "b").unwrap(), Some(newer.clone()));
    journal.commit(&[Record::ResourceGone("model", "a".to_owned())]).unwrap();
    assert_eq!(journal.resources("model").unwrap(), [newer]);
    assert_eq!(journal.resource("model", "a").unwrap(), None);
    assert_eq!(journal.resources("config").unwrap(), [other]);
}
