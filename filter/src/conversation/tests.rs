//! The conversation as scripts. A line is `ms input -> outputs`, the outputs in order; `-> nothing` says that there are none.

use super::{Answered, Cause, Conversation, Input, Listed, Output};
use crate::clock::Moment;
use crate::standing::tests::said;
use agentgate_proto::v1::{self, converse_request, converse_response};
use prost::Message as _;

mod observe;

/// Its first byte is the jitter: 8 means 2 ms.
const EPOCH: [u8; 16] = [8; 16];

fn check(script: &str) {
    let mut conversation = Conversation::new(EPOCH, "node".to_owned(), 2_000);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (said, wanted) = line.split_once(" -> ").expect("a line has an arrow");
        let (ms, words) = said.split_once(' ').expect("a line begins with a time");
        let now = Moment::from_micros(ms.parse::<u64>().unwrap() * 1_000);
        let outputs = conversation.on(input(words), now);
        let shown: Vec<String> = outputs.iter().map(show).collect();
        let shown = if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") };
        assert_eq!(shown, wanted, "at `{line}` of:{script}");
    }
}

fn input(words: &str) -> Input {
    let parts: Vec<&str> = words.split(' ').collect();
    let number = |at: usize| parts.get(at).map_or(0, |part| part.parse().expect("a number"));
    let stream = u32::try_from(number(1)).unwrap();
    match parts[0] {
        "tick" => Input::Tick,
        "opened" => Input::Opened(Some(stream)),
        "not-opened" => Input::Opened(None),
        "closed" => Input::Closed(stream),
        "leave" => Input::Leave,
        "ask" => Input::Ask(v1::Ask { counter: number(1), ..v1::Ask::default() }),
        "listing" => Input::Listing(v1::Listing { counter: number(1), tools: vec!["t".to_owned()] }),
        "forget" => Input::Forget(number(1)),
        "report" => Input::Report(outcome(number(1))),
        "ask-of-an-observing-route" => Input::Ask(v1::Ask { counter: number(1), observe: true, ..v1::Ask::default() }),
        "observe" => Input::Report(copy(number(1), 0)),
        "follow" => Input::Follow(outcome(number(1))),
        "unobserved" => Input::Unobserved,
        "standing" => received(stream, converse_response::Message::Standing(said(number(2), &parts[3..].join(" ")))),
        "standing-of-no-name" => received(stream, converse_response::Message::Standing(said(number(2), "\u{7} observe"))),
        "garbage" => Input::Received(stream, vec![0xff, 0xff, 0xff]),
        "empty" => Input::Received(stream, Vec::new()),
        "welcome" => received(stream, converse_response::Message::Welcome(v1::Welcome::default())),
        "echo" => received(stream, converse_response::Message::Echo(v1::Echo { number: number(2) })),
        "draining" => received(stream, converse_response::Message::Draining(v1::Draining {})),
        "acknowledged" => {
            let counters = (2..parts.len()).map(number).collect();
            received(stream, converse_response::Message::Acknowledged(v1::Acknowledged { counters }))
        }
        "hidden" => {
            let result = Some(v1::listed::Result::Hidden(v1::Hidden { tools: vec!["t".to_owned()] }));
            received(stream, converse_response::Message::Listed(v1::Listed { counter: number(2), result }))
        }
        "answer" => {
            let result = match parts[3] {
                "nothing" => None,
                "overloaded" => Some(v1::answer::Result::Undecided(v1::Undecided {
                    cause: v1::undecided::Cause::Overloaded.into(),
                    detail: String::new(),
                })),
                "observed" => Some(v1::answer::Result::Decided(v1::Decided {
                    verdict: number(4).try_into().unwrap(),
                    observed: true,
                    ..v1::Decided::default()
                })),
                verdict => Some(v1::answer::Result::Decided(v1::Decided {
                    verdict: match verdict {
                        "allow" => 1,
                        "pending" => 2,
                        "deny" => 3,
                        "unspecified" => 0,
                        "unknown" => 99,
                        other => panic!("{other}"),
                    },
                    ..v1::Decided::default()
                })),
            };
            received(stream, converse_response::Message::Answer(v1::Answer { counter: number(2), result }))
        }
        other => panic!("{other} is no input"),
    }
}

fn received(stream: u32, message: converse_response::Message) -> Input {
    Input::Received(stream, v1::ConverseResponse { message: Some(message) }.encode_to_vec())
}

fn outcome(counter: u64) -> v1::Entry {
    let what = Some(v1::entry::What::Outcome(v1::Outcome { kind: 1, ..v1::Outcome::default() }));
    v1::Entry { counter, what, reason: String::new() }
}

/// Of a call that went on unasked.
fn copy(counter: u64, bytes: usize) -> v1::Entry {
    let ask = v1::Ask { counter, body: vec![0; bytes].into(), ..v1::Ask::default() };
    v1::Entry { counter, what: Some(v1::entry::What::Observed(ask)), reason: String::new() }
}

fn show(output: &Output) -> String {
    match output {
        Output::Open => "open".to_owned(),
        Output::Close(stream) => format!("close@{stream}"),
        Output::Reset(stream) => format!("reset@{stream}"),
        Output::Count(count, by) => format!("{}+{by}", count.name().trim_start_matches("agentgate.")),
        Output::Answered(counter, answered) => format!("{counter} {}", show_answered(answered)),
        Output::Listed(counter, Listed::Hidden(tools)) => format!("{counter} hides {}", tools.join("+")),
        Output::Listed(counter, Listed::Undecided(undecided)) => format!("{counter} unlisted:{}", undecided.cause.name()),
        Output::Send(stream, bytes) => {
            let message = v1::ConverseRequest::decode(bytes.as_slice()).unwrap().message.unwrap();
            format!("{}@{stream}", show_sent(&message))
        }
    }
}

fn show_answered(answered: &Answered) -> String {
    match answered {
        Answered::Allow => "allow".to_owned(),
        Answered::Observed => "observed".to_owned(),
        Answered::Pending { .. } => "pending".to_owned(),
        Answered::Deny { .. } => "deny".to_owned(),
        Answered::Undecided(undecided) => undecided.cause.name().to_owned(),
    }
}

fn show_sent(message: &converse_request::Message) -> String {
    match message {
        converse_request::Message::Hello(hello) => {
            assert_eq!((hello.epoch.as_ref(), hello.contract), (EPOCH.as_slice(), agentgate_proto::CONTRACT));
            "hello".to_owned()
        }
        converse_request::Message::Ask(ask) => format!("ask:{}:{}ms", ask.counter, ask.deadline_ms),
        converse_request::Message::Listing(listing) => format!("listing:{}", listing.counter),
        converse_request::Message::Kept(kept) => format!("kept:{}", kept.epoch),
        converse_request::Message::Ping(ping) => format!("ping:{}", ping.number),
        converse_request::Message::Report(report) => {
            let entry = |entry: &v1::Entry| {
                let mark = match &entry.what {
                    Some(v1::entry::What::Outcome(o)) if o.kind() == v1::OutcomeKind::NotReleased => "!",
                    Some(v1::entry::What::Observed(_)) => "?",
                    _ => "",
                };
                format!("{}{mark}", entry.counter)
            };
            let lost = if report.observations_lost == 0 { String::new() } else { format!(":lost-{}", report.observations_lost) };
            format!("report:{}{lost}", report.entries.iter().map(entry).collect::<Vec<_>>().join("+"))
        }
    }
}

#[test]
fn a_stream_counts_once_its_hello_is_answered() {
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         1 ask 7 -> nothing
         2 answer 1 7 allow -> answers_late+1
         3 welcome 1 -> streams_opened+1, ask:7:1998ms@1
         4 answer 1 7 allow -> 7 allow",
    );
}

#[test]
fn a_fresh_vm_lets_asks_wait_for_the_first_welcome_but_not_beyond_their_deadline() {
    check(
        "0 ask 1 -> nothing
         0 tick -> open
         0 opened 1 -> hello@1
         1500 ask 2 -> nothing
         1999 tick -> nothing
         2000 tick -> reset@1, streams_refused+1, 1 unreachable, 2 unreachable",
    );
}

#[test]
fn every_verdict_but_allow_lets_nothing_through() {
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         0 welcome 1 -> streams_opened+1
         0 ask 1 -> ask:1:2000ms@1
         0 ask 2 -> ask:2:2000ms@1
         0 ask 3 -> ask:3:2000ms@1
         0 ask 4 -> ask:4:2000ms@1
         0 ask 5 -> ask:5:2000ms@1
         0 ask 6 -> ask:6:2000ms@1
         0 ask 7 -> ask:7:2000ms@1
         1 answer 1 1 allow -> 1 allow
         1 answer 1 2 pending -> 2 pending
         1 answer 1 3 deny -> 3 deny
         1 answer 1 4 unspecified -> 4 unreadable
         1 answer 1 5 unknown -> 5 unreadable
         1 answer 1 6 nothing -> 6 unreadable
         1 answer 1 7 overloaded -> 7 overloaded",
    );
}

#[test]
fn a_late_allow_releases_nothing_and_is_reported() {
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         0 welcome 1 -> streams_opened+1
         0 ask 1 -> ask:1:2000ms@1
         0 ask 2 -> ask:2:2000ms@1
         1000 tick -> ping:1@1
         1000 echo 1 1 -> nothing
         1999 tick -> nothing
         2000 tick -> ping:2@1, 1 no_answer, 2 no_answer
         2001 answer 1 1 allow -> answers_late+1, calls_not_released+1
         2001 answer 1 2 deny -> answers_late+1
         2100 tick -> report:1!@1
         2100 answer 1 1 allow -> answers_late+1",
    );
}

#[test]
fn an_answer_to_a_client_that_left_is_late_as_well() {
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         0 welcome 1 -> streams_opened+1
         0 ask 1 -> ask:1:2000ms@1
         5 forget 1 -> nothing
         9 answer 1 1 allow -> answers_late+1, calls_not_released+1",
    );
}

#[test]
fn an_answer_that_comes_twice_does_not_undo_the_release() {
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         0 welcome 1 -> streams_opened+1
         0 ask 1 -> ask:1:2000ms@1
         1 answer 1 1 allow -> 1 allow
         2 answer 1 1 allow -> answers_late+1
         3 tick -> nothing",
    );
}

#[test]
fn a_stream_that_dies_refuses_at_once_who_waited_and_is_opened_again() {
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         0 welcome 1 -> streams_opened+1
         0 ask 1 -> ask:1:2000ms@1
         0 listing 2 -> listing:2@1
         9 closed 1 -> streams_lost+1, 1 stream_lost, 2 unlisted:stream_lost
         10 answer 1 1 allow -> nothing
         10 ask 3 -> nothing
         100 tick -> open
         100 opened 2 -> hello@2
         101 welcome 2 -> streams_opened+1, ask:3:1909ms@2, report:1!@2",
    );
}

#[test]
fn what_cannot_be_read_ends_the_stream() {
    for said in ["garbage", "empty"] {
        check(&format!(
            "0 tick -> open
             0 opened 1 -> hello@1
             0 welcome 1 -> streams_opened+1
             0 ask 1 -> ask:1:2000ms@1
             1 {said} 1 -> reset@1, streams_lost+1, 1 stream_lost
             2 tick -> open"
        ));
    }
}

#[test]
fn a_refused_opening_is_tried_again_later_and_later() {
    check(
        "0 tick -> open
         0 not-opened -> streams_refused+1
         0 ask 1 -> 1 unreachable
         101 tick -> nothing
         102 tick -> open
         102 opened 1 -> hello@1
         102 ask 2 -> nothing
         103 closed 1 -> streams_refused+1, 2 unreachable
         304 tick -> nothing
         305 tick -> open
         305 not-opened -> streams_refused+1
         706 tick -> nothing
         707 tick -> open
         707 not-opened -> streams_refused+1
         1509 tick -> open
         1509 not-opened -> streams_refused+1
         3111 tick -> open
         3111 not-opened -> streams_refused+1
         5112 tick -> nothing
         5113 tick -> open
         5113 opened 9 -> hello@9
         5114 welcome 9 -> streams_opened+1",
    );
}

#[test]
fn a_peer_that_does_not_echo_is_dead_however_open_its_stream_is() {
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         0 welcome 1 -> streams_opened+1
         999 tick -> nothing
         1000 tick -> ping:1@1
         1100 echo 1 1 -> nothing
         2000 tick -> ping:2@1
         3000 tick -> nothing
         4000 ask 7 -> ask:7:2000ms@1
         4000 echo 1 1 -> nothing
         4999 tick -> nothing
         5000 tick -> reset@1, streams_lost+1, open, 7 stream_lost",
    );
}

#[test]
fn an_opening_that_is_never_welcomed_is_given_up() {
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         1999 tick -> nothing
         2000 tick -> reset@1, streams_refused+1
         2102 tick -> open",
    );
}

#[test]
fn a_replica_that_drains_is_left_only_when_the_next_one_serves() {
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         0 welcome 1 -> streams_opened+1
         0 ask 1 -> ask:1:2000ms@1
         1 draining 1 -> nothing
         100 tick -> open
         100 opened 2 -> hello@2
         101 ask 2 -> ask:2:2000ms@1
         102 welcome 2 -> streams_opened+1
         103 ask 3 -> ask:3:2000ms@2
         104 answer 1 1 allow -> 1 allow
         200 tick -> nothing
         201 answer 1 2 allow -> 2 allow
         202 answer 1 3 allow -> answers_late+1
         203 answer 2 3 allow -> 3 allow
         300 tick -> close@1
         301 closed 1 -> nothing",
    );
}

#[test]
fn a_replica_that_drains_and_dies_first_takes_its_answers_along() {
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         0 welcome 1 -> streams_opened+1
         0 ask 1 -> ask:1:2000ms@1
         1 leave -> nothing
         100 tick -> open
         100 not-opened -> streams_refused+1
         101 ask 2 -> ask:2:2000ms@1
         102 closed 1 -> streams_lost+1, 1 stream_lost, 2 stream_lost
         103 tick -> open",
    );
}

#[test]
fn a_stream_that_is_left_has_an_end_even_if_it_owes_an_answer() {
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         0 welcome 1 -> streams_opened+1
         0 report 1 -> nothing
         1 tick -> report:1@1
         2 leave -> nothing
         100 tick -> open
         100 opened 2 -> hello@2
         101 welcome 2 -> streams_opened+1
         1200 tick -> ping:1@2
         1201 echo 2 1 -> nothing
         5100 tick -> ping:2@2
         5101 tick -> close@1, report:1@2",
    );
}

#[test]
fn reports_are_sent_again_until_they_are_acknowledged() {
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         0 report 1 -> nothing
         0 report 2 -> nothing
         1 welcome 1 -> streams_opened+1, report:1+2@1
         2 report 3 -> nothing
         3 acknowledged 1 2 -> nothing
         4 closed 1 -> streams_lost+1
         5 tick -> open
         5 opened 2 -> hello@2
         6 welcome 2 -> streams_opened+1, report:1+3@2
         7 acknowledged 2 1 3 -> nothing
         8 closed 2 -> streams_lost+1
         9 tick -> open
         9 opened 3 -> hello@3
         9 welcome 3 -> streams_opened+1",
    );
}

#[test]
fn a_listing_is_answered_by_a_listing_only() {
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         0 welcome 1 -> streams_opened+1
         0 listing 1 -> listing:1@1
         1 answer 1 1 allow -> answers_late+1
         2 hidden 1 1 -> 1 hides t
         3 hidden 1 1 -> answers_late+1
         4 ask 2 -> ask:2:2000ms@1
         5 hidden 1 2 -> answers_late+1
         6 listing 3 -> listing:3@1
         2004 tick -> ping:1@1, 2 no_answer
         2006 tick -> 3 unlisted:no_answer",
    );
}

fn serving() -> Conversation {
    let mut conversation = Conversation::new(EPOCH, String::new(), 2_000);
    for words in ["tick", "opened 1", "welcome 1"] {
        conversation.on(input(words), Moment::default());
    }
    conversation
}

#[test]
fn those_who_wait_are_bounded() {
    let mut conversation = serving();
    for counter in 0..4_096 {
        let outputs = conversation.on(input(&format!("ask {counter}")), Moment::default());
        assert_eq!(outputs.len(), 1);
        assert!(matches!(outputs[0], Output::Send(..)));
    }
    let outputs = conversation.on(input("ask 5000"), Moment::default());
    assert!(
        matches!(&outputs[..], [Output::Answered(5_000, Answered::Undecided(undecided))] if undecided.cause == Cause::Crowded)
    );
}

#[test]
fn a_full_batch_does_not_wait_for_the_tick() {
    let mut conversation = serving();
    for counter in 1..128 {
        assert_eq!(conversation.on(input(&format!("report {counter}")), Moment::default()), []);
    }
    assert_eq!(conversation.on(input("report 128"), Moment::default()).len(), 1);
}

#[test]
fn reports_that_nobody_takes_are_bounded_and_their_loss_is_counted() {
    let mut conversation = Conversation::new(EPOCH, String::new(), 2_000);
    for counter in 0..8_192 {
        assert_eq!(conversation.on(input(&format!("report {counter}")), Moment::default()), [], "{counter}");
    }
    let outputs = conversation.on(input("report 9000"), Moment::default());
    assert_eq!(outputs.iter().map(show).collect::<Vec<_>>(), ["reports_lost+1"]);
}

#[test]
fn a_flood_of_refused_calls_leaves_room_for_outcomes() {
    let mut conversation = Conversation::new(EPOCH, String::new(), 2_000);
    let refused = |counter, bytes: usize| {
        let ask = v1::Ask { body: vec![0; bytes].into(), ..v1::Ask::default() };
        Input::Report(v1::Entry { counter, what: Some(v1::entry::What::Refused(ask)), reason: "not_json".to_owned() })
    };
    for counter in 0..7 {
        assert_eq!(conversation.on(refused(counter, 1 << 20), Moment::default()), []);
    }
    assert_eq!(conversation.on(refused(8, 1 << 20), Moment::default()).len(), 1, "8 MiB and a little more");
    for counter in 10..(10 + 4_096 - 7) {
        assert_eq!(conversation.on(refused(counter, 0), Moment::default()), []);
    }
    assert_eq!(conversation.on(refused(9_000, 0), Moment::default()).len(), 1);
    assert_eq!(conversation.on(input("report 9001"), Moment::default()), []);
}

#[test]
fn what_is_refused_in_one_callback_is_bounded_and_the_rest_follows() {
    let refused = |outputs: Vec<Output>| outputs.iter().filter(|output| matches!(output, Output::Answered(..))).count();
    for lost in [Input::Tick, Input::Closed(1)] {
        let mut conversation = Conversation::new(EPOCH, "node".to_owned(), 2_000);
        for words in ["tick", "opened 1", "welcome 1"] {
            conversation.on(input(words), Moment::default());
        }
        for counter in 0..150 {
            conversation.on(input(&format!("ask {counter}")), Moment::default());
        }
        let later = Moment::from_micros(2_000_000);
        assert_eq!(refused(conversation.on(lost, later)), super::REFUSED_AT_ONCE_MAX);
        assert_eq!(refused(conversation.on(input("ask 200"), later)), 0, "an exchange's own callback refuses no other");
        let rest: Vec<usize> = (0..4).map(|_| refused(conversation.on(Input::Tick, later))).collect();
        assert_eq!(rest, [64, 22, 0, 0]);
    }
}
