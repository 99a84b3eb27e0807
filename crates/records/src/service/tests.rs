//! Bounds of the answers.

use super::*;

#[test]
fn an_answer_that_would_be_too_large_has_the_latest_messages() {
    let size = |text: &String| text.len();
    let mut few = vec!["a".repeat(10); 3];
    shorten(&mut few, size);
    assert_eq!(few.len(), 3);
    let mut many: Vec<_> =
        (0..10).map(|at: u8| char::from(b'0' + at).to_string().repeat(1024 * 1024)).collect();
    shorten(&mut many, size);
    assert_eq!(many.iter().map(|text| &text[..1]).collect::<Vec<_>>(), ["8", "9"]);
}

#[test]
fn the_places_of_one_caller_and_of_all_are_bounded_and_come_back() {
    let streams = Arc::default();
    let mut places: Vec<_> = (0..STREAMS_OF_ONE).map(|_| Streams::enter(&streams, "a").unwrap()).collect();
    Streams::enter(&streams, "a").unwrap_err();
    places.pop();
    places.push(Streams::enter(&streams, "a").unwrap());
    for caller in 0..(STREAMS - STREAMS_OF_ONE) {
        places.push(Streams::enter(&streams, &caller.to_string()).unwrap());
    }
    Streams::enter(&streams, "b").unwrap_err();
    drop(places);
    assert!(streams.0.lock().unwrap().is_empty());
}
