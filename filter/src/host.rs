//! The only file that names the SDK: Envoy's callbacks become events, orders become host calls.
//!
//! It decides nothing. It reads headers as bytes and all of them, never by name. What the host refuses is counted, and a
//! request that could not be handled stays paused or is refused.

mod abi;

use crate::clock::Moment;
use crate::conversation::{Input, StreamId};
use crate::count::Count;
use crate::exchange::{Action, Answerer, Effect, Event, claim};
use crate::gate::{Bodies, ContextId, Gate, Order};
use crate::grpc_service;
use abi::{Buffer, Direction, Hosted, Level, Map};
use agentgate_core::config::Config;
use agentgate_core::error::chain;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action as HostAction, ContextType};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Deadlines, heartbeats and reopening move in steps of this.
const TICK_MS: u32 = 100;
const SERVICE: &str = "agentgate.v1.Gate";
const METHOD: &str = "Converse";
/// What `response.code_details` says of an answer that the upstream gave.
const VIA_UPSTREAM: &[u8] = b"via_upstream";

thread_local! {
    /// Everything that outlives a configuration: a pushed one makes a new root in the same VM.
    static VM: RefCell<Vm> = const { RefCell::new(Vm { seats: Vec::new(), counters: Vec::new() }) };
}

#[derive(Debug)]
struct Vm {
    /// One for each control plane that a configuration named.
    seats: Vec<Seat>,
    /// The host's numbers of the counters, in the order of `Count::ALL`.
    counters: Vec<u32>,
}

#[derive(Debug)]
struct Seat {
    cluster: String,
    gate: Gate,
    /// The roots that were configured for it. The last one owns new streams.
    roots: Vec<ContextId>,
    /// Which root owns which stream.
    streams: Vec<(StreamId, ContextId)>,
}

#[derive(Debug)]
struct Root {
    id: ContextId,
    config: Option<Rc<Config>>,
}

#[derive(Debug)]
struct Http {
    id: ContextId,
    cluster: String,
    /// Its end was told to the gate.
    ended: bool,
}

/// Reads the answer's body of any exchange, from any callback.
struct HostBodies {
    current: ContextId,
}

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|id| Box::new(Root { id, config: None }));
}}

// === impl Root ===

impl Context for Root {
    fn on_grpc_stream_message(&mut self, stream: u32, _size: usize) {
        match abi::buffer(Buffer::GrpcMessage) {
            Ok(bytes) => self.stream(Input::Received(stream, bytes)),
            Err(_) => {
                // A message that was lost may have been a verdict: nothing of this stream can be relied upon.
                let _ = abi::cancel(stream);
                self.stream(Input::Closed(stream));
            }
        }
    }

    fn on_grpc_stream_close(&mut self, stream: u32, _status: u32) {
        self.stream(Input::Closed(stream));
        if let Some(config) = &self.config {
            with_seat(&config.cluster, |seat, _| seat.forget(stream));
        }
    }

    /// The configuration that this root stands for is gone: its streams go with it.
    fn on_done(&mut self) -> bool {
        with_vm(|vm| {
            let id = self.id;
            for seat in &mut vm.seats {
                seat.roots.retain(|root| *root != id);
                seat.gate.retire(id);
                let gone: Vec<StreamId> =
                    seat.streams.iter().filter(|(_, root)| *root == id).map(|(stream, _)| *stream).collect();
                for stream in gone {
                    let orders = seat.gate.stream(Input::Closed(stream), &HostBodies { current: id }, now());
                    seat.run(orders, id, &vm.counters);
                }
                seat.streams.retain(|(_, root)| *root != id);
            }
        });
        true
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match self.configure() {
            Ok(()) => true,
            Err(message) => {
                abi::log(Level::Error, &format!("agentgate: {message}"));
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let id = self.id;
        if let Some(config) = self.config.clone() {
            with_vm(|vm| {
                // Two roots of one gate would tick twice; the last one does.
                if let Some(seat) =
                    vm.seats.iter_mut().find(|seat| seat.cluster == config.cluster && seat.roots.last() == Some(&id))
                {
                    let orders = seat.gate.stream(Input::Tick, &HostBodies { current: id }, now());
                    seat.run(orders, id, &vm.counters);
                }
            });
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let mut cluster = String::new();
        if let Some(config) = &self.config {
            cluster.clone_from(&config.cluster);
            with_seat(&cluster, |seat, _| seat.gate.begin(id, Rc::clone(config)));
        }
        Some(Box::new(Http { id, cluster, ended: false }))
    }
}

impl Root {
    fn configure(&mut self) -> Result<(), String> {
        let bytes = abi::buffer(Buffer::Configuration).unwrap_or_default();
        let config = Rc::new(Config::parse(&bytes).map_err(|error| chain(&error))?);
        abi::tick_every_ms(TICK_MS).map_err(|error| format!("no timer: {error:?}"))?;
        let epoch = abi::random().map_err(|error| format!("no random numbers: {error:?}"))?;
        abi::monotonic_ns().map_err(|error| format!("no monotonic clock: {error:?}"))?;
        let node = abi::property("xds\0node\0id").map(|id| String::from_utf8_lossy(&id).into_owned()).unwrap_or_default();
        let id = self.id;
        with_vm(|vm| {
            if vm.counters.is_empty() {
                vm.counters = Count::ALL.iter().map(|count| abi::define_counter(count.name()).unwrap_or_default()).collect();
            }
            if let Some(seat) = vm.seats.iter_mut().find(|seat| seat.cluster == config.cluster) {
                seat.gate.configure(id, &config);
                let orders = seat.gate.stream(Input::Leave, &HostBodies { current: id }, now());
                seat.roots.push(id);
                seat.run(orders, id, &vm.counters);
            } else {
                let gate = Gate::new(epoch, node, id, &config);
                vm.seats.push(Seat { cluster: config.cluster.clone(), gate, roots: vec![id], streams: Vec::new() });
            }
        });
        abi::log(Level::Info, &format!("agentgate: {} routes, control plane `{}`", config.routes.len(), config.cluster));
        self.config = Some(config);
        Ok(())
    }

    fn stream(&self, input: Input) {
        let id = self.id;
        let Some(config) = &self.config else { return };
        with_seat(&config.cluster, |seat, counters| {
            let orders = seat.gate.stream(input, &HostBodies { current: id }, now());
            seat.run(orders, id, counters);
        });
    }
}

// === impl Http ===

impl Context for Http {
    fn on_done(&mut self) -> bool {
        self.end();
        true
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, end: bool) -> HostAction {
        let Ok(headers) = abi::headers(Map::RequestHeaders) else { return self.broken() };
        let peer = abi::property("connection\0uri_san_peer_certificate").unwrap_or_default();
        // A name that is not UTF-8 is nobody's: the control plane refuses an unknown peer.
        let peer = String::from_utf8_lossy(&peer).into_owned();
        let wanted = self.of_exchange(Vec::new(), |exchange| exchange.claims(&headers));
        let read = |(name, path): (String, String)| match abi::property(&path) {
            Ok(bytes) => Some(claim(&name, Some(bytes))),
            Err(error) if error.is_not_found() => None,
            Err(_) => Some(claim(&name, None)),
        };
        let claims = wanted.into_iter().filter_map(read).collect();
        self.event(Event::RequestHeaders { headers, peer, claims, end })
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> HostAction {
        let max = self.of_exchange(0, |exchange| exchange.body_bytes_max());
        let whole = end.then(|| if size <= max { abi::buffer(Buffer::RequestBody).ok() } else { None });
        self.event(Event::RequestBody { size, whole })
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> HostAction {
        let Ok(trailers) = abi::headers(Map::RequestTrailers) else { return self.broken() };
        let body = abi::buffer(Buffer::RequestBody).ok();
        self.event(Event::RequestTrailers { names: names(trailers), body })
    }

    fn on_http_response_headers(&mut self, _count: usize, end: bool) -> HostAction {
        let Ok(headers) = abi::headers(Map::ResponseHeaders) else { return self.broken() };
        let answerer = match abi::property("response\0code_details") {
            Ok(details) if details == VIA_UPSTREAM => Answerer::Upstream,
            Ok(details) => Answerer::Local(String::from_utf8_lossy(&details).into_owned()),
            Err(_) => Answerer::Local("unknown".to_owned()),
        };
        self.event(Event::ResponseHeaders { headers, answerer, end })
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> HostAction {
        let looks = self.of_exchange(false, |exchange| exchange.looks_at_response(end));
        let bytes = if looks { abi::buffer(Buffer::ResponseBody).ok() } else { None };
        self.event(Event::ResponseBody { size, bytes, end })
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> HostAction {
        let Ok(trailers) = abi::headers(Map::ResponseTrailers) else { return self.broken() };
        let looks = self.of_exchange(false, |exchange| exchange.looks_at_response(true));
        let bytes = if looks { abi::buffer(Buffer::ResponseBody).ok() } else { None };
        self.event(Event::ResponseTrailers { names: names(trailers), bytes })
    }

    fn on_log(&mut self) {
        self.end();
    }
}

impl Http {
    fn event(&self, event: Event) -> HostAction {
        let id = self.id;
        let action = with_seat(&self.cluster, |seat, counters| {
            let (action, orders) = seat.gate.http(id, event, &HostBodies { current: id }, now());
            let broken = seat.run(orders, id, counters);
            if broken.contains(&id) { Action::Pause } else { action }
        });
        match action {
            Some(Action::Continue) => HostAction::Continue,
            // No gate, no verdict.
            Some(Action::Pause) | None => HostAction::Pause,
        }
    }

    fn of_exchange<T>(&self, otherwise: T, look: impl FnOnce(&crate::exchange::Exchange) -> T) -> T {
        with_seat(&self.cluster, |seat, _| seat.gate.exchange(self.id).map(look)).flatten().unwrap_or(otherwise)
    }

    /// The host gave no headers: nothing can be known of this request.
    fn broken(&self) -> HostAction {
        with_seat(&self.cluster, |_, counters| count(Count::HostErrors, 1, counters));
        let _ = abi::answer(503, &[], b"");
        HostAction::Pause
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let id = self.id;
        with_seat(&self.cluster, |seat, counters| {
            let orders = seat.gate.end(id, &HostBodies { current: id }, now());
            seat.run(orders, id, counters);
        });
    }
}

// === impl Seat ===

impl Seat {
    /// Does what was ordered, and names the exchanges for which it could not be done: those were ended instead, because a
    /// header that was not removed or a list that was not shortened must not go on. `current` is the callback's context.
    fn run(&mut self, orders: Vec<Order>, current: ContextId, counters: &[u32]) -> Vec<ContextId> {
        let mut orders = VecDeque::from(orders);
        let mut broken = Vec::new();
        while let Some(order) = orders.pop_front() {
            match order {
                Order::Open => {
                    let stream = self.open(current);
                    let opened = self.gate.stream(Input::Opened(stream), &HostBodies { current }, now());
                    opened.into_iter().rev().for_each(|order| orders.push_front(order));
                }
                // A stream that is gone has said so, or its heartbeat will.
                Order::Send(stream, bytes) => self.with_stream(stream, current, |stream| abi::send(stream, &bytes), counters),
                Order::Close(stream) => self.with_stream(stream, current, abi::close, counters),
                Order::Reset(stream) => {
                    self.with_stream(stream, current, abi::cancel, counters);
                    self.forget(stream);
                }
                Order::Http(context, _) if broken.contains(&context) => {}
                Order::Http(context, effect) => {
                    if let Err(error) = within(context, current, || apply(effect)) {
                        refused(error, counters);
                        broken.push(context);
                        let _ = within(context, current, || abi::reset(Direction::Response));
                    }
                }
                Order::Count(which, by) => count(which, by, counters),
            }
        }
        broken
    }

    /// Only from a root's own callback: the SDK delivers a stream's messages to the context that was called last.
    fn open(&mut self, current: ContextId) -> Option<StreamId> {
        let service = grpc_service::encode(&self.cluster)?;
        let stream = proxy_wasm::hostcalls::open_grpc_stream(&service, SERVICE, METHOD, Vec::new()).ok()?;
        self.streams.push((stream, current));
        Some(stream)
    }

    fn with_stream(&self, stream: StreamId, current: ContextId, act: impl FnOnce(StreamId) -> Hosted<()>, counters: &[u32]) {
        if let Some((_, root)) = self.streams.iter().find(|(known, _)| *known == stream)
            && let Err(error) = within(*root, current, || act(stream))
        {
            refused(error, counters);
        }
    }

    /// The host delivers nothing of this stream any more.
    fn forget(&mut self, stream: StreamId) {
        self.streams.retain(|(known, _)| *known != stream);
    }
}

// === impl HostBodies ===

impl Bodies for HostBodies {
    fn response(&self, context: ContextId) -> Option<Vec<u8>> {
        within(context, self.current, || abi::buffer(Buffer::ResponseBody)).ok()
    }
}

fn apply(effect: Effect) -> Hosted<()> {
    match effect {
        Effect::RemoveRequestHeader(name) => abi::remove_header(Map::RequestHeaders, &name),
        Effect::SetRequestHeader(name, value) => abi::set_header(Map::RequestHeaders, name, value),
        Effect::RemoveRequestTrailer(name) => abi::remove_header(Map::RequestTrailers, &name),
        Effect::RemoveResponseHeader(name) => abi::remove_header(Map::ResponseHeaders, name.as_bytes()),
        Effect::SetResponseHeader(name, value) => abi::set_header(Map::ResponseHeaders, name, value),
        Effect::RemoveResponseTrailer(name) => abi::remove_header(Map::ResponseTrailers, &name),
        Effect::ReplaceResponseBody(bytes) => abi::replace_buffer(Buffer::ResponseBody, &bytes),
        Effect::ResumeRequest => abi::resume(Direction::Request),
        Effect::ResumeResponse => abi::resume(Direction::Response),
        Effect::Refuse(reply) => {
            let mut headers = vec![("content-type", "application/json")];
            headers.extend(reply.retry_after_s.map(|seconds| ("retry-after", seconds)));
            abi::answer(reply.http_status, &headers, &reply.body)
        }
        // The gate keeps these.
        Effect::Ask(_)
        | Effect::Listing(_)
        | Effect::Forget(_)
        | Effect::Report(_)
        | Effect::Follow(_)
        | Effect::Unobserved
        | Effect::Count(_) => Ok(()),
    }
}

/// Runs `act` on behalf of another context than the one that was called.
fn within<T>(context: ContextId, current: ContextId, act: impl FnOnce() -> Hosted<T>) -> Hosted<T> {
    if context == current {
        return act();
    }
    abi::set_effective_context(context)?;
    let done = act();
    abi::set_effective_context(current)?;
    done
}

fn with_vm<T>(act: impl FnOnce(&mut Vm) -> T) -> Option<T> {
    VM.with(|vm| vm.try_borrow_mut().ok().map(|mut vm| act(&mut vm)))
}

fn with_seat<T>(cluster: &str, act: impl FnOnce(&mut Seat, &[u32]) -> T) -> Option<T> {
    with_vm(|vm| vm.seats.iter_mut().find(|seat| seat.cluster == cluster).map(|seat| act(seat, &vm.counters))).flatten()
}

fn refused(error: abi::HostError, counters: &[u32]) {
    count(Count::HostErrors, 1, counters);
    abi::log(Level::Warn, &format!("agentgate: the host refused an effect: {}", error.0));
}

fn count(which: Count, by: u32, counters: &[u32]) {
    let place = Count::ALL.iter().position(|count| *count == which);
    if let Some(id) = place.and_then(|place| counters.get(place)) {
        let _ = abi::increment(*id, by);
    }
}

fn names(headers: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<Vec<u8>> {
    headers.into_iter().map(|(name, _)| name).collect()
}

fn now() -> Moment {
    Moment::from_micros(abi::monotonic_ns().unwrap_or_default() / 1_000)
}
