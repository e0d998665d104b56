//! Standings, and calls that go on unasked: their copies, and then their outcomes.

use super::*;
use crate::conversation::reports::observations::{
    ACKNOWLEDGED_MS_MAX, BYTES_OF_OBSERVED_MAX, ENTRIES_OF_OBSERVED_MAX, FLYING_OBSERVED_MAX, OPEN_OBSERVED_MAX,
};

const SERVING: &str = "0 tick -> open
     0 opened 1 -> hello@1
     0 welcome 1 -> streams_opened+1";

fn check_serving(script: &str) {
    check(&format!("{SERVING}\n{script}"));
}

#[test]
fn a_standing_is_kept_and_each_one_is_answered() {
    check_serving(
        "1 standing 1 4 notes observe -> standings_kept+1, kept:4@1
         2 standing 1 5 notes enforce -> standings_kept+1, kept:5@1
         3 standing 1 5 -> standings_kept+1, kept:5@1
         4 standing 7 9 -> nothing",
    );
    // Before the welcome nothing counts.
    check(
        "0 tick -> open
         0 opened 1 -> hello@1
         0 standing 1 4 -> nothing
         0 welcome 1 -> streams_opened+1
         1 standing 1 3 -> standings_kept+1, kept:3@1",
    );
}

#[test]
fn a_stream_that_is_left_may_say_what_is_newer_and_nothing_older() {
    check_serving(
        "1 standing 1 4 -> standings_kept+1, kept:4@1
         2 draining 1 -> nothing
         2 ask 1 -> ask:1:2000ms@1
         100 tick -> open
         100 opened 2 -> hello@2
         101 welcome 2 -> streams_opened+1
         102 standing 2 6 -> standings_kept+1, kept:6@2
         103 standing 1 5 -> standings_kept+1, kept:6@1
         104 standing 1 7 -> standings_kept+1, kept:7@1
         # A replica that knows less serves now, and its word counts.
         105 standing 2 6 -> standings_kept+1, kept:6@2",
    );
}

#[test]
fn a_standing_outlives_its_stream() {
    let mut conversation = serving();
    conversation.on(input("standing 1 4 notes observe"), Moment::default());
    for words in ["closed 1", "tick", "not-opened"] {
        conversation.on(input(words), Moment::default());
    }
    assert_eq!(conversation.standing().epoch(), Some(4));
    assert!(!conversation.standing().spares(true), "what was said stands, though nobody is there any more");
}

#[test]
fn a_standing_that_cannot_be_read_ends_the_stream() {
    check_serving(
        "1 standing-of-no-name 1 4 -> reset@1, streams_lost+1
         2 tick -> open",
    );
}

#[test]
fn a_call_that_goes_on_undecided_is_never_said_to_have_been_held_back() {
    check_serving(
        "0 ask-of-an-observing-route 1 -> ask:1:2000ms@1
         0 ask 2 -> ask:2:2000ms@1
         9 closed 1 -> streams_lost+1, 1 stream_lost, 2 stream_lost
         10 tick -> open
         10 opened 2 -> hello@2
         10 welcome 2 -> streams_opened+1, report:2!@2
         11 ask-of-an-observing-route 3 -> ask:3:2000ms@2
         11 ask-of-an-observing-route 4 -> ask:4:2000ms@2
         12 forget 4 -> nothing
         1010 tick -> ping:1@2
         1010 echo 2 1 -> nothing
         2011 tick -> ping:2@2, 3 no_answer
         2012 answer 2 3 allow -> answers_late+1
         # Its client left before it could go anywhere.
         2012 answer 2 4 observed 3 -> answers_late+1, calls_not_released+1",
    );
    // Once orders are known, its configuration does not spare it any more.
    check_serving(
        "0 standing 1 4 notes consult -> standings_kept+1, kept:4@1
         0 ask-of-an-observing-route 1 -> ask:1:2000ms@1
         9 closed 1 -> streams_lost+1, 1 stream_lost
         10 tick -> open
         10 opened 2 -> hello@2
         10 welcome 2 -> streams_opened+1, report:1!@2",
    );
}

#[test]
fn a_verdict_that_is_not_enforced_says_so_in_so_many_words() {
    check_serving(
        "0 ask 1 -> ask:1:2000ms@1
         0 ask 2 -> ask:2:2000ms@1
         0 ask 3 -> ask:3:2000ms@1
         0 ask 4 -> ask:4:2000ms@1
         0 ask 5 -> ask:5:2000ms@1
         1 answer 1 1 observed 1 -> 1 observed
         1 answer 1 2 observed 2 -> 2 observed
         1 answer 1 3 observed 3 -> 3 observed
         1 answer 1 4 observed 0 -> 4 unreadable
         1 answer 1 5 observed 9 -> 5 unreadable",
    );
}

#[test]
fn an_outcome_never_overtakes_the_copy_of_its_call() {
    check_serving(
        "0 observe 1 -> nothing
         0 observe 2 -> nothing
         1 follow 1 -> nothing
         2 report 9 -> nothing
         100 tick -> report:9+1?+2?@1
         200 tick -> nothing
         201 acknowledged 1 1 -> nothing
         202 follow 2 -> nothing
         300 tick -> report:1@1
         301 acknowledged 1 1 2 -> nothing
         400 tick -> report:2@1
         401 acknowledged 1 2 -> nothing
         500 tick -> nothing",
    );
}

#[test]
fn copies_are_sent_again_over_the_next_stream_and_their_outcomes_wait_for_that() {
    check_serving(
        "0 observe 1 -> nothing
         0 observe 2 -> nothing
         1 tick -> report:1?+2?@1
         2 follow 1 -> nothing
         3 acknowledged 1 2 -> nothing
         4 closed 1 -> streams_lost+1
         5 tick -> open
         5 opened 2 -> hello@2
         6 welcome 2 -> streams_opened+1, report:1?@2
         7 acknowledged 2 1 -> nothing
         8 tick -> report:1@2
         9 follow 2 -> nothing
         10 tick -> report:2@2
         11 closed 2 -> streams_lost+1
         12 tick -> open
         12 opened 3 -> hello@3
         13 welcome 3 -> streams_opened+1, report:1+2@3",
    );
}

#[test]
fn a_copy_that_nobody_could_decide_is_sent_again() {
    let late = ACKNOWLEDGED_MS_MAX;
    let mut conversation = serving();
    let mut sent = |ms: u64, words: &str| {
        let outputs = conversation.on(input(words), Moment::from_micros(ms * 1_000));
        outputs.iter().map(show).filter(|output| output.starts_with("report")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(sent(0, "observe 1"), "");
    assert_eq!(sent(0, "tick"), "report:1?@1");
    for second in 1..5 {
        sent(second * 1_000, "tick");
        sent(second * 1_000, &format!("echo 1 {second}"));
    }
    assert_eq!(sent(late - 1, "tick"), "");
    assert_eq!(sent(late, "tick"), "report:1?@1");
    assert_eq!(sent(late, "acknowledged 1 1"), "");
}

#[test]
fn a_lost_observation_is_told_to_every_stream_and_its_outcome_to_none() {
    check_serving(
        "0 unobserved -> observations_lost+1
         1 tick -> report::lost-1@1
         2 tick -> nothing
         3 observe 1 -> nothing
         3 unobserved -> observations_lost+1
         4 tick -> report:1?:lost-2@1
         5 follow 7 -> nothing
         6 tick -> nothing
         7 closed 1 -> streams_lost+1
         8 tick -> open
         8 opened 2 -> hello@2
         9 welcome 2 -> streams_opened+1, report:1?:lost-2@2
         10 acknowledged 2 1 -> nothing",
    );
}

#[test]
fn observations_crowd_out_nothing_of_a_call_that_was_decided() {
    let lost = |outputs: &[Output]| outputs.iter().map(show).collect::<Vec<_>>() == ["observations_lost+1"];
    let mut conversation = Conversation::new(EPOCH, String::new(), 2_000);
    for counter in 0..ENTRIES_OF_OBSERVED_MAX as u64 {
        assert_eq!(conversation.on(input(&format!("observe {counter}")), Moment::default()), [], "{counter}");
    }
    assert!(lost(&conversation.on(input("observe 5000"), Moment::default())));
    // There is no room for the outcome of one that was taken either, and that of the lost one is nobody's.
    let outputs = conversation.on(input("follow 1"), Moment::default());
    assert_eq!(outputs.iter().map(show).collect::<Vec<_>>(), ["reports_lost+1"]);
    assert_eq!(conversation.on(input("follow 5000"), Moment::default()), []);
    for counter in 10_000..18_192 {
        assert_eq!(conversation.on(input(&format!("report {counter}")), Moment::default()), [], "{counter}");
    }

    let mut conversation = Conversation::new(EPOCH, String::new(), 2_000);
    let mebibyte = 1 << 20;
    for counter in 0..BYTES_OF_OBSERVED_MAX as u64 / mebibyte - 1 {
        assert_eq!(conversation.on(Input::Report(copy(counter, 1 << 20)), Moment::default()), []);
    }
    assert!(lost(&conversation.on(Input::Report(copy(99, 1 << 20)), Moment::default())), "8 MiB and a little more");
    assert_eq!(conversation.on(Input::Report(copy(100, 1 << 19)), Moment::default()), []);
}

#[test]
fn calls_that_went_on_and_are_not_answered_yet_are_bounded() {
    let mut conversation = serving();
    for counter in 0..OPEN_OBSERVED_MAX as u64 {
        conversation.on(input(&format!("observe {counter}")), Moment::default());
        conversation.on(input("tick"), Moment::default());
        assert_eq!(conversation.on(input(&format!("acknowledged 1 {counter}")), Moment::default()), [], "{counter}");
    }
    let full = |conversation: &mut Conversation| conversation.on(input("observe 99999"), Moment::default()).len();
    assert_eq!(full(&mut conversation), 1);
    conversation.on(input("follow 7"), Moment::default());
    assert_eq!(full(&mut conversation), 0, "one was answered");
}

#[test]
fn what_is_only_observed_flies_a_few_at_a_time() {
    let mut conversation = serving();
    let sent = |outputs: Vec<Output>| {
        let entries = |output: &Output| match output {
            Output::Send(_, bytes) => match v1::ConverseRequest::decode(bytes.as_slice()).unwrap().message {
                Some(converse_request::Message::Report(report)) => report.entries.len(),
                _ => 0,
            },
            _ => 0,
        };
        outputs.iter().map(entries).sum::<usize>()
    };
    let mut flying = 0;
    for counter in 0..1_000 {
        flying += sent(conversation.on(input(&format!("observe {counter}")), Moment::default()));
    }
    flying += sent(conversation.on(Input::Tick, Moment::default()));
    assert_eq!(flying, FLYING_OBSERVED_MAX);
    // An acknowledgement makes room, and what waits does not wait for the tick.
    assert_eq!(sent(conversation.on(input("acknowledged 1 0 1 2"), Moment::default())), 3);
    // What became of a call that was decided does not wait behind them.
    conversation.on(input("report 5000"), Moment::default());
    assert_eq!(sent(conversation.on(Input::Tick, Moment::default())), 1);
}
