//! Exchanges and conversation together: a verdict finds its call, and only its call.

use super::{Bodies, ContextId, Gate, Order, What};
use crate::clock::Moment;
use crate::conversation::Input;
use crate::count::Count;
use crate::exchange::{Action, Answerer, Effect, Event};
use agentgate_core::config::Config;
use agentgate_proto::v1::{self, converse_request, converse_response};
use prost::Message as _;
use std::rc::Rc;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"}}"#;
const LIST_CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"}]}}"#;

/// What the host holds of every answer.
struct Held(Option<&'static str>);

impl Bodies for Held {
    fn response(&self, _context: ContextId) -> Option<Vec<u8>> {
        self.0.map(|body| body.as_bytes().to_vec())
    }
}

const HELD: Held = Held(Some(LIST));

fn now(ms: u64) -> Moment {
    Moment::from_micros(ms * 1_000)
}

fn config() -> Rc<Config> {
    Rc::new(Config::parse(br#"{"routes":[{"path":"/mcp","server":"notes"}]}"#).unwrap())
}

fn observing() -> Rc<Config> {
    Rc::new(Config::parse(br#"{"routes":[{"path":"/mcp","server":"notes","mode":"observe"}]}"#).unwrap())
}

/// A gate whose stream 1 is welcomed.
fn serving() -> Gate {
    let mut gate = Gate::new([7; 16], "node".to_owned(), 0, &config());
    gate.stream(Input::Tick, &HELD, now(0));
    gate.stream(Input::Opened(Some(1)), &HELD, now(0));
    gate.stream(said(converse_response::Message::Welcome(v1::Welcome::default())), &HELD, now(0));
    gate
}

fn said(message: converse_response::Message) -> Input {
    Input::Received(1, v1::ConverseResponse { message: Some(message) }.encode_to_vec())
}

fn answer(counter: u64, verdict: v1::Verdict) -> Input {
    let decided = v1::Decided { verdict: verdict.into(), ..v1::Decided::default() };
    said(converse_response::Message::Answer(v1::Answer { counter, result: Some(v1::answer::Result::Decided(decided)) }))
}

/// Begins an exchange and sends its request to the end; the counters that were asked.
fn ask(gate: &mut Gate, context: ContextId, body: &str) -> (Action, Vec<Order>) {
    ask_under(config(), gate, context, body)
}

fn ask_under(config: Rc<Config>, gate: &mut Gate, context: ContextId, body: &str) -> (Action, Vec<Order>) {
    gate.begin(context, config);
    let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    let headers = vec![
        pair(":method", "POST"),
        pair(":path", "/mcp"),
        pair("content-type", "application/json"),
        pair("mcp-protocol-version", "2025-11-25"),
    ];
    let (action, _) =
        gate.http(context, Event::RequestHeaders { headers, peer: String::new(), claims: Vec::new(), end: false }, &HELD, now(0));
    assert_eq!(action, Action::Pause);
    let event = Event::RequestBody { size: body.len(), whole: Some(Some(body.as_bytes().to_vec())) };
    gate.http(context, event, &HELD, now(0))
}

fn asked(orders: &[Order]) -> Vec<u64> {
    let counter = |order: &Order| match order {
        Order::Send(_, bytes) => match v1::ConverseRequest::decode(bytes.as_slice()).unwrap().message {
            Some(converse_request::Message::Ask(ask)) => Some(ask.counter),
            _ => None,
        },
        _ => None,
    };
    orders.iter().filter_map(counter).collect()
}

fn resumed(orders: &[Order]) -> Vec<ContextId> {
    let context = |order: &Order| match order {
        Order::Http(context, Effect::ResumeRequest | Effect::ResumeResponse) => Some(*context),
        _ => None,
    };
    orders.iter().filter_map(context).collect()
}

fn refused(orders: &[Order]) -> Vec<(ContextId, u16)> {
    let reply = |order: &Order| match order {
        Order::Http(context, Effect::Refuse(reply)) => Some((*context, reply.http_status)),
        _ => None,
    };
    orders.iter().filter_map(reply).collect()
}

#[test]
fn a_verdict_belongs_to_one_exchange_even_where_ids_repeat() {
    let mut gate = serving();
    let one = asked(&ask(&mut gate, 10, CALL).1);
    let two = asked(&ask(&mut gate, 11, CALL).1);
    assert_eq!((one.as_slice(), two.as_slice()), ([1].as_slice(), [2].as_slice()));
    assert_eq!(resumed(&gate.stream(answer(2, v1::Verdict::Allow), &HELD, now(1))), [11]);
    assert_eq!(refused(&gate.stream(answer(1, v1::Verdict::Deny), &HELD, now(1))), [(10, 200)]);
}

#[test]
fn a_context_number_that_is_used_again_does_not_inherit_a_verdict() {
    let mut gate = serving();
    assert_eq!(asked(&ask(&mut gate, 10, CALL).1), [1]);
    gate.end(10, &HELD, now(1));
    assert_eq!(asked(&ask(&mut gate, 10, CALL).1), [2]);
    let orders = gate.stream(answer(1, v1::Verdict::Allow), &HELD, now(2));
    assert_eq!(resumed(&orders), [0; 0]);
    assert!(orders.contains(&Order::Count(Count::CallsNotReleased, 1)), "{orders:?}");
    assert_eq!(resumed(&gate.stream(answer(2, v1::Verdict::Allow), &HELD, now(2))), [10]);
}

#[test]
fn an_exchange_that_is_not_known_is_paused() {
    let mut gate = serving();
    let headers = Event::RequestHeaders { headers: Vec::new(), peer: String::new(), claims: Vec::new(), end: true };
    assert_eq!(gate.http(99, headers, &HELD, now(0)), (Action::Pause, Vec::new()));
    assert_eq!(gate.end(99, &HELD, now(0)), []);
}

#[test]
fn whoever_cannot_be_asked_for_is_refused_within_the_same_callback() {
    let mut gate = Gate::new([7; 16], String::new(), 0, &config());
    gate.stream(Input::Tick, &HELD, now(0));
    gate.stream(Input::Opened(None), &HELD, now(0));
    let (action, orders) = ask(&mut gate, 10, CALL);
    assert_eq!((action, refused(&orders)), (Action::Pause, vec![(10, 200)]));
}

#[test]
fn a_stream_that_ends_refuses_everybody_who_waits() {
    let mut gate = serving();
    for context in 10..20 {
        ask(&mut gate, context, CALL);
    }
    let orders = gate.stream(Input::Closed(1), &HELD, now(1));
    assert_eq!(refused(&orders).len(), 10);
    assert_eq!(resumed(&orders), [0; 0]);
    for context in 10..20 {
        gate.end(context, &HELD, now(2));
    }
    assert_eq!(gate.budget().held(), 0);
}

fn list(gate: &mut Gate) -> (Action, Vec<Order>) {
    ask(gate, 10, LIST_CALL);
    gate.stream(answer(1, v1::Verdict::Allow), &HELD, now(1));
    let headers = vec![(b":status".to_vec(), b"200".to_vec()), (b"content-type".to_vec(), b"application/json".to_vec())];
    gate.http(10, Event::ResponseHeaders { headers, answerer: Answerer::Upstream, end: false }, &HELD, now(2));
    let event = Event::ResponseBody { size: LIST.len(), bytes: Some(LIST.into()), end: true };
    gate.http(10, event, &HELD, now(2))
}

#[test]
fn a_list_goes_on_when_the_stream_says_what_to_hide() {
    let mut gate = serving();
    let (action, orders) = list(&mut gate);
    assert_eq!((action, resumed(&orders)), (Action::Pause, Vec::new()));
    let hidden = v1::listed::Result::Hidden(v1::Hidden { tools: vec!["a".to_owned()] });
    let listed = v1::Listed { counter: 1, result: Some(hidden) };
    let orders = gate.stream(said(converse_response::Message::Listed(listed)), &HELD, now(3));
    assert_eq!(resumed(&orders), [10]);
    let shown = |order: &Order| matches!(order, Order::Http(10, Effect::ReplaceResponseBody(body)) if body.ends_with(br#"{"tools":[]}}"#));
    assert!(orders.iter().any(shown), "{orders:?}");
}

#[test]
fn a_list_that_cannot_be_asked_about_is_settled_by_its_own_callback() {
    let mut gate = serving();
    ask(&mut gate, 10, LIST_CALL);
    gate.stream(answer(1, v1::Verdict::Allow), &HELD, now(1));
    gate.stream(Input::Closed(1), &HELD, now(1));
    gate.stream(Input::Tick, &HELD, now(1));
    gate.stream(Input::Opened(None), &HELD, now(1));
    let headers = vec![(b":status".to_vec(), b"200".to_vec()), (b"content-type".to_vec(), b"application/json".to_vec())];
    gate.http(10, Event::ResponseHeaders { headers, answerer: Answerer::Upstream, end: false }, &HELD, now(2));
    let event = Event::ResponseBody { size: LIST.len(), bytes: Some(LIST.into()), end: true };
    let (action, orders) = gate.http(10, event, &HELD, now(2));
    // A resume within the callback would be lost, so the callback itself continues.
    assert_eq!((action, resumed(&orders)), (Action::Continue, Vec::new()));
    assert!(orders.contains(&Order::Count(Count::ResponsesWithheld, 1)), "{orders:?}");
}

#[test]
fn a_client_that_leaves_while_its_list_is_asked_about_leaves_nothing_behind() {
    let mut gate = serving();
    list(&mut gate);
    gate.end(10, &HELD, now(3));
    let listed = v1::Listed { counter: 1, result: Some(v1::listed::Result::Hidden(v1::Hidden::default())) };
    let orders = gate.stream(said(converse_response::Message::Listed(listed)), &HELD, now(4));
    assert_eq!(orders, [Order::Count(Count::AnswersLate, 1)]);
    assert_eq!(gate.budget().held(), 0);
}

#[test]
fn a_pushed_configuration_keeps_the_counters_of_this_life() {
    let mut gate = serving();
    assert_eq!(asked(&ask(&mut gate, 10, CALL).1), [1]);
    gate.configure(7, &config());
    assert_eq!(asked(&ask(&mut gate, 11, CALL).1), [2]);
    assert_eq!(resumed(&gate.stream(answer(1, v1::Verdict::Allow), &HELD, now(1))), [10]);
}

fn standing(epoch: u64, text: &str) -> Input {
    said(converse_response::Message::Standing(crate::standing::tests::said(epoch, text)))
}

/// What was sent, of each message the kind and its counters.
fn sent(orders: &[Order]) -> Vec<String> {
    let message = |order: &Order| match order {
        Order::Send(_, bytes) => v1::ConverseRequest::decode(bytes.as_slice()).unwrap().message,
        _ => None,
    };
    let entry = |entry: &v1::Entry| match &entry.what {
        Some(v1::entry::What::Observed(_)) => format!("observed {}", entry.counter),
        Some(v1::entry::What::Outcome(outcome)) => format!("{} {}", outcome.kind().as_str_name(), entry.counter),
        other => panic!("{other:?}"),
    };
    let said = |message| match message {
        converse_request::Message::Report(report) => report.entries.iter().map(entry).collect(),
        converse_request::Message::Kept(kept) => vec![format!("kept {}", kept.epoch)],
        converse_request::Message::Ask(ask) => vec![format!("ask {}", ask.counter)],
        _ => Vec::new(),
    };
    orders.iter().filter_map(message).flat_map(said).collect()
}

#[test]
fn an_observed_call_goes_on_within_its_callback_and_its_copy_follows_with_the_tick() {
    let mut gate = serving();
    assert_eq!(sent(&gate.stream(standing(3, ""), &HELD, now(0))), ["kept 3"]);
    let (action, orders) = ask_under(observing(), &mut gate, 10, CALL);
    assert_eq!((action, orders), (Action::Continue, vec![Order::Count(Count::CallsObserved, 1)]));
    gate.end(10, &HELD, now(1));
    assert_eq!(sent(&gate.stream(Input::Tick, &HELD, now(100))), ["observed 1"]);
    let acknowledged = v1::Acknowledged { counters: vec![1] };
    gate.stream(said(converse_response::Message::Acknowledged(acknowledged)), &HELD, now(101));
    assert_eq!(sent(&gate.stream(Input::Tick, &HELD, now(200))), ["OUTCOME_KIND_CUT 1"]);
    assert_eq!(gate.budget().held(), 0);
}

#[test]
fn an_order_is_obeyed_by_the_call_that_comes_right_behind_it() {
    let mut gate = serving();
    for (epoch, orders, asks) in
        [(1, "notes observe", false), (2, "notes/read enforce", true), (3, "notes consult", true), (4, "notes observe", false)]
    {
        gate.stream(standing(epoch, orders), &HELD, now(0));
        let (action, sent_on) = ask(&mut gate, 10, CALL);
        assert_eq!(action, if asks { Action::Pause } else { Action::Continue }, "{orders}");
        assert_eq!(asked(&sent_on).len(), usize::from(asks), "{orders}");
        gate.end(10, &HELD, now(0));
    }
}

#[test]
fn an_observing_route_waits_for_the_first_opening_and_not_for_the_second() {
    let mut gate = Gate::new([7; 16], String::new(), 0, &observing());
    gate.stream(Input::Tick, &HELD, now(0));
    let (action, orders) = ask_under(observing(), &mut gate, 10, CALL);
    assert_eq!((action, orders), (Action::Pause, Vec::new()));
    let orders = gate.stream(Input::Opened(None), &HELD, now(1));
    assert_eq!((resumed(&orders), refused(&orders).len()), (vec![10], 0));
    assert!(orders.contains(&Order::Count(Count::ObservationsLost, 1)), "{orders:?}");
    let (action, orders) = ask_under(observing(), &mut gate, 11, CALL);
    assert_eq!((action, orders), (Action::Continue, vec![Order::Count(Count::CallsObserved, 1)]));
    // A route that enforces is not let off.
    let (action, orders) = ask(&mut gate, 12, CALL);
    assert_eq!((action, refused(&orders).len()), (Action::Pause, 1));
    gate.stream(Input::Tick, &HELD, now(500));
    gate.stream(Input::Opened(Some(1)), &HELD, now(500));
    let orders = gate.stream(said(converse_response::Message::Welcome(v1::Welcome::default())), &HELD, now(501));
    assert_eq!(sent(&orders), ["observed 2"]);
}

#[test]
fn whoever_is_spared_and_cannot_be_asked_for_goes_on_within_the_same_callback() {
    let mut gate = serving();
    for context in (100..).take(crate::conversation::WAITING_MAX) {
        ask(&mut gate, context, CALL);
    }
    let (action, orders) = ask_under(observing(), &mut gate, 9_000, CALL);
    // A resume within the callback would be lost, so the callback itself continues.
    assert_eq!((action, resumed(&orders), refused(&orders).len()), (Action::Continue, Vec::new(), 0));
    assert!(orders.contains(&Order::Count(Count::UndecidedCrowded, 1)), "{orders:?}");
}

#[test]
fn a_hello_names_what_the_configurations_of_its_vm_serve() {
    let served = |orders: &[Order]| -> Vec<String> {
        let hello = |order: &Order| match order {
            Order::Send(_, bytes) => match v1::ConverseRequest::decode(bytes.as_slice()).unwrap().message {
                Some(converse_request::Message::Hello(hello)) => Some(hello),
                _ => None,
            },
            _ => None,
        };
        let served = orders.iter().find_map(hello).unwrap().served;
        served.iter().map(|one| format!("{} {}", one.server, one.mode().as_str_name())).collect()
    };
    let mut gate = Gate::new([7; 16], String::new(), 1, &config());
    gate.stream(Input::Tick, &HELD, now(0));
    assert_eq!(served(&gate.stream(Input::Opened(Some(1)), &HELD, now(0))), ["notes MODE_ENFORCE"]);
    gate.stream(said(converse_response::Message::Welcome(v1::Welcome::default())), &HELD, now(0));
    assert_eq!(gate.stream(Input::Tick, &HELD, now(1)), []);
    // Another configuration beside it, and then in its place: said by the next stream, which is opened at the next tick.
    gate.configure(2, &observing());
    assert_eq!(gate.stream(Input::Tick, &HELD, now(2)), [Order::Open]);
    assert_eq!(served(&gate.stream(Input::Opened(Some(2)), &HELD, now(2))), ["notes MODE_ENFORCE", "notes MODE_OBSERVE"]);
    gate.retire(1);
    gate.stream(Input::Closed(2), &HELD, now(3));
    assert_eq!(gate.stream(Input::Tick, &HELD, now(5_000)).last(), Some(&Order::Open));
    assert_eq!(served(&gate.stream(Input::Opened(Some(3)), &HELD, now(5_000))), ["notes MODE_OBSERVE"]);
}

#[test]
fn a_pushed_configuration_keeps_the_orders() {
    let mut gate = serving();
    gate.stream(standing(1, "notes/read observe"), &HELD, now(0));
    gate.configure(7, &config());
    assert_eq!(ask(&mut gate, 10, CALL).0, Action::Continue);
}

/// Numbers of all asks that left in these orders, whether somebody waits for them or not.
fn numbered(orders: &[Order]) -> Vec<u64> {
    let messages = orders.iter().filter_map(|order| match order {
        Order::Send(_, bytes) => v1::ConverseRequest::decode(bytes.as_slice()).unwrap().message,
        _ => None,
    });
    let numbers = |message| match message {
        converse_request::Message::Ask(ask) => vec![ask.number],
        converse_request::Message::Report(report) => {
            let asks = report.entries.into_iter().filter_map(|entry| match entry.what {
                Some(What::Refused(ask) | What::Observed(ask)) => Some(ask.number),
                Some(What::Outcome(_)) | None => None,
            });
            asks.collect()
        }
        _ => Vec::new(),
    };
    messages.flat_map(numbers).collect()
}

#[test]
fn whatever_the_control_plane_is_told_of_has_the_next_number_and_nothing_else_has_one() {
    let mut gate = serving();
    let mut seen = numbered(&ask(&mut gate, 10, CALL).1);
    // An exchange that ends before anybody is asked.
    gate.begin(11, config());
    gate.end(11, &HELD, now(1));
    let mut orders = ask_under(observing(), &mut gate, 12, CALL).1;
    orders.extend(ask(&mut gate, 13, "[]").1);
    orders.extend(ask(&mut gate, 14, CALL).1);
    orders.extend(gate.stream(Input::Tick, &HELD, now(1_000)));
    seen.extend(numbered(&orders));
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4]);
}
