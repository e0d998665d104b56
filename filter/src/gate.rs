//! Joins the exchanges of one VM with its one conversation. It does nothing either: it says what the host shall do.

use crate::clock::Moment;
use crate::conversation::{Conversation, Input, Output, StreamId};
use crate::count::Count;
use crate::exchange::{Action, Budget, Effect, Event, Exchange};
use crate::standing::SERVERS_MAX;
use agentgate_core::config::Config;
use agentgate_core::id::Epoch;
use agentgate_proto::v1;
use agentgate_proto::v1::entry::What;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

/// The host's number of an HTTP exchange.
pub type ContextId = u32;

/// The bytes that the host holds of an answer.
pub trait Bodies {
    /// None: the host could not give them.
    fn response(&self, context: ContextId) -> Option<Vec<u8>>;
}

#[derive(Debug)]
pub struct Gate {
    epoch: Epoch,
    /// Those of this VM, by the root that each was pushed to.
    configs: Vec<(ContextId, Rc<Config>)>,
    conversation: Conversation,
    budget: Rc<Budget>,
    exchanges: HashMap<ContextId, (u64, Exchange)>,
    calls: HashMap<u64, ContextId>,
    counter: u64,
    /// Of the last ask that the control plane was told of.
    number: u64,
}

/// What the host shall do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    Open,
    Send(StreamId, Vec<u8>),
    Close(StreamId),
    Reset(StreamId),
    Http(ContextId, Effect),
    Count(Count, u32),
}

// === impl Gate ===

impl Gate {
    #[must_use]
    pub fn new(epoch: [u8; 16], node: String, root: ContextId, config: &Rc<Config>) -> Self {
        let mut gate = Self {
            epoch: Epoch(epoch),
            configs: Vec::new(),
            conversation: Conversation::new(epoch, node, config.ask_timeout_ms),
            budget: Budget::new(config.held_bytes_max),
            exchanges: HashMap::new(),
            calls: HashMap::new(),
            counter: 0,
            number: 0,
        };
        gate.configure(root, config);
        gate
    }

    /// A configuration that came later holds for the calls from now on; the VM's life goes on.
    pub fn configure(&mut self, root: ContextId, config: &Rc<Config>) {
        self.conversation.set_ask_timeout_ms(config.ask_timeout_ms);
        self.budget.set_max(config.held_bytes_max);
        self.configs.push((root, Rc::clone(config)));
        self.say_what_is_served();
    }

    /// The configuration of this root is gone.
    pub fn retire(&mut self, root: ContextId) {
        self.configs.retain(|(of, _)| *of != root);
        self.say_what_is_served();
    }

    pub fn begin(&mut self, context: ContextId, config: Rc<Config>) {
        self.counter = self.counter.wrapping_add(1);
        let call_id = format!("{}-{}", self.epoch, self.counter);
        let exchange = Exchange::new(config, self.counter, call_id, self.budget.hold());
        self.calls.insert(self.counter, context);
        self.exchanges.insert(context, (self.counter, exchange));
    }

    /// The exchange has ended; the host's number may be used again.
    pub fn end(&mut self, context: ContextId, bodies: &dyn Bodies, now: Moment) -> Vec<Order> {
        let (_, orders) = self.http(context, Event::Gone, bodies, now);
        if let Some((counter, _)) = self.exchanges.remove(&context) {
            self.calls.remove(&counter);
        }
        orders
    }

    /// Something happened to an exchange. One that is not known is never let through.
    pub fn http(&mut self, context: ContextId, event: Event, bodies: &dyn Bodies, now: Moment) -> (Action, Vec<Order>) {
        let mut orders = Vec::new();
        let Some((_, exchange)) = self.exchanges.get_mut(&context) else { return (Action::Pause, orders) };
        let step = exchange.on(event, self.conversation.standing(), now);
        self.effects(context, step.effects, bodies, now, &mut orders);
        // A resume within the callback that pauses is lost: what was settled at once continues by the callback's own answer.
        let resumed =
            |order: &Order| matches!(order, Order::Http(of, Effect::ResumeRequest | Effect::ResumeResponse) if *of == context);
        let action = if orders.iter().any(resumed) { Action::Continue } else { step.action };
        orders.retain(|order| !resumed(order));
        (action, orders)
    }

    /// Something happened to the stream, or time went by.
    pub fn stream(&mut self, input: Input, bodies: &dyn Bodies, now: Moment) -> Vec<Order> {
        let mut orders = Vec::new();
        let outputs = self.conversation.on(input, now);
        self.outputs(outputs, bodies, now, &mut orders);
        orders
    }

    fn say_what_is_served(&mut self) {
        let routes = self.configs.iter().flat_map(|(_, config)| &config.routes);
        let served: BTreeSet<(&str, bool)> = routes.map(|route| (route.server.as_str(), route.observes())).collect();
        let served = served.into_iter().take(SERVERS_MAX).map(|(server, observes)| {
            let mode = if observes { v1::Mode::Observe } else { v1::Mode::Enforce };
            v1::Served { server: server.to_owned(), mode: mode.into() }
        });
        self.conversation.set_served(served.collect());
    }

    #[must_use]
    pub fn exchange(&self, context: ContextId) -> Option<&Exchange> {
        self.exchanges.get(&context).map(|(_, exchange)| exchange)
    }

    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    fn effects(&mut self, context: ContextId, effects: Vec<Effect>, bodies: &dyn Bodies, now: Moment, orders: &mut Vec<Order>) {
        for effect in effects {
            let input = match effect {
                Effect::Ask(ask) => Input::Ask(self.numbered(*ask)),
                Effect::Listing(listing) => Input::Listing(listing),
                Effect::Forget(counter) => Input::Forget(counter),
                Effect::Report(entry) => Input::Report(self.told(*entry)),
                Effect::Follow(entry) => Input::Follow(*entry),
                Effect::Unobserved => Input::Unobserved,
                Effect::Count(count) => {
                    orders.push(Order::Count(count, 1));
                    continue;
                }
                effect @ (Effect::RemoveRequestHeader(_)
                | Effect::SetRequestHeader(..)
                | Effect::RemoveRequestTrailer(_)
                | Effect::RemoveResponseHeader(_)
                | Effect::SetResponseHeader(..)
                | Effect::RemoveResponseTrailer(_)
                | Effect::ReplaceResponseBody(_)
                | Effect::ResumeRequest
                | Effect::ResumeResponse
                | Effect::Refuse(_)) => {
                    orders.push(Order::Http(context, effect));
                    continue;
                }
            };
            let outputs = self.conversation.on(input, now);
            // What was ordered before must be done before the host is asked for the answer's bytes again.
            self.outputs(outputs, bodies, now, orders);
        }
    }

    /// Whoever reads the log sees by the numbers whether the control plane admitted to every ask.
    fn numbered(&mut self, ask: v1::Ask) -> v1::Ask {
        self.number = self.number.wrapping_add(1);
        v1::Ask { number: self.number, ..ask }
    }

    fn told(&mut self, entry: v1::Entry) -> v1::Entry {
        let what = entry.what.map(|what| match what {
            What::Refused(ask) => What::Refused(self.numbered(ask)),
            What::Observed(ask) => What::Observed(self.numbered(ask)),
            What::Outcome(outcome) => What::Outcome(outcome),
        });
        v1::Entry { what, ..entry }
    }

    fn outputs(&mut self, outputs: Vec<Output>, bodies: &dyn Bodies, now: Moment, orders: &mut Vec<Order>) {
        for output in outputs {
            let (counter, event) = match output {
                Output::Open => {
                    orders.push(Order::Open);
                    continue;
                }
                Output::Send(stream, bytes) => {
                    orders.push(Order::Send(stream, bytes));
                    continue;
                }
                Output::Close(stream) => {
                    orders.push(Order::Close(stream));
                    continue;
                }
                Output::Reset(stream) => {
                    orders.push(Order::Reset(stream));
                    continue;
                }
                Output::Count(count, by) => {
                    orders.push(Order::Count(count, by));
                    continue;
                }
                Output::Answered(counter, answered) => (counter, Event::Answered(answered)),
                Output::Listed(counter, listed) => {
                    let bytes = self.calls.get(&counter).and_then(|context| bodies.response(*context));
                    (counter, Event::Listed { listed, bytes })
                }
            };
            let Some(context) = self.calls.get(&counter).copied() else { continue };
            let Some((_, exchange)) = self.exchanges.get_mut(&context) else { continue };
            let step = exchange.on(event, self.conversation.standing(), now);
            self.effects(context, step.effects, bodies, now, orders);
        }
    }
}

#[cfg(test)]
mod tests;
