//! What no vector can show: chunks, bounds, and events written back.

extern crate std;
use super::*;
use std::vec;

const STREAM: &[u8] = "\u{feff}id: 1\r\ndata: é\r\n\r\n: c\rdata: b\rdata: c\r\rdata: d\n\ndata: e".as_bytes();

fn all(chunks: &[&[u8]]) -> (Vec<Event>, Vec<u8>) {
    let mut reader = Reader::new(1_000);
    let events = chunks.iter().flat_map(|chunk| reader.feed(chunk).unwrap()).collect();
    (events, reader.rest().to_vec())
}

#[test]
fn a_stream_reads_the_same_however_it_is_cut() {
    let whole = all(&[STREAM]);
    let data: Vec<_> = whole.0.iter().map(|event| event.data.clone().unwrap()).collect();
    assert_eq!(data, ["é".as_bytes(), b"b\nc", b"d"]);
    for first in 0..=STREAM.len() {
        for second in first..=STREAM.len() {
            let cut = all(&[&STREAM[..first], &STREAM[first..second], &STREAM[second..]]);
            assert_eq!(cut, whole, "cut at {first} and {second}");
        }
    }
}

#[test]
fn no_byte_of_a_stream_is_lost() {
    let (events, rest) = all(&[STREAM]);
    let raw: Vec<u8> = events.into_iter().flat_map(|event| event.raw).chain(rest).collect();
    assert_eq!(raw, STREAM);
}

#[test]
fn an_event_is_complete_at_its_last_carriage_return() {
    let mut reader = Reader::new(100);
    assert_eq!(reader.feed(b"data: a\r\n\r").unwrap().len(), 1);
    assert_eq!(reader.feed(b"\n").unwrap().len(), 0);
    assert_eq!(reader.rest(), b"\n");
    assert_eq!(reader.feed(b"data: b\n\n").unwrap()[0].data.as_deref(), Some(&b"b"[..]));
}

#[test]
fn an_event_may_be_as_large_as_the_bound_and_no_larger() {
    let event = b"data: abc\n\n";
    assert_eq!(Reader::new(event.len()).feed(event).unwrap().len(), 1);
    let bound = event.len() - 1;
    assert_eq!(Reader::new(bound).feed(event), Err(Overlong { event_bytes_max: bound }));
    let two = [&event[..], event].concat();
    assert_eq!(Reader::new(event.len()).feed(&two).unwrap().len(), 2, "the bound is for each event");
}

#[test]
fn an_event_is_written_back_with_other_data() {
    for (raw, data, written) in [
        ("data: a\n\n", "b", "data: b\n\n"),
        ("id: 1\r\ndata: a\r\ndata: b\r\nevent: message\r\n\r\n", "c", "id: 1\ndata: c\nevent: message\n\n"),
        ("data: a\r\r", "b\nc\r\nd\re", "data: b\ndata: c\ndata: d\ndata: e\n\n"),
        ("\u{feff}: c\ndata\n\n", "", ": c\ndata: \n\n"),
        ("id: 1\n\n", "a", "id: 1\ndata: a\n\n"),
        ("\u{feff}\u{feff}data: hidden\ndata: a\nx: y\n\n", "b", "data: b\n\n"),
    ] {
        let event = all(&[raw.as_bytes()]).0.remove(0);
        assert_eq!(event.with_data(data.as_bytes()), written.as_bytes(), "{raw:?}");
        let (again, rest) = all(&[written.as_bytes()]);
        assert_eq!((again.len(), rest), (1, vec![]), "{raw:?}");
    }
}
