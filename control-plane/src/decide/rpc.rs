//! The gRPC edge of the gate: a conversation read message by message, and the unary Decide. Wire in, wire out.

use super::answer::{answer_to_wire, undecided_to_wire};
use super::report::Reporter;
use super::{Decide, Question, Undecided};
use crate::clock::Clock;
use crate::config::{Filter, Limits};
use crate::control::{Control, Now, standing};
use crate::error::Hangup;
use crate::identity::{Identity, Peer, Refused, SERVED_MAX, Vm};
use crate::telemetry::Counted;
use agentgate_core::id::{CallId, Epoch, Server};
use agentgate_proto::v1;
use agentgate_proto::v1::converse_request::Message as Heard;
use agentgate_proto::v1::converse_response::Message as Said;
use agentgate_proto::v1::gate_server::Gate;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

/// Answers of one conversation on their way into its stream.
const SAID_MAX: usize = 256;

/// After Draining, a conversation without a call in flight is ended after this long: the filter had time to open the next.
pub const QUIET: Duration = Duration::from_millis(500);

/// A conversation is told to leave after its connection got its GOAWAY, so that the next one gets a connection of its own.
const AFTER_GOAWAY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct GateRpc {
    pub decide: Arc<Decide>,
    pub control: Arc<Control>,
    pub identity: Arc<Identity>,
    pub clock: Clock,
    pub limits: Limits,
    pub connection_age_max: Duration,
    pub replica: String,
    pub leaving: watch::Receiver<bool>,
    /// What runs to its end whether anybody waits for it or not.
    pub under_way: TaskTracker,
}

/// What is said, and that it waits for its stream.
type Saying = (Result<v1::ConverseResponse, Status>, Counted);
type Out = mpsc::Sender<Saying>;

/// One message's place among those of its stream.
type Slot = (OwnedSemaphorePermit, Counted);

/// One filter VM's stream.
struct Conversation {
    gate: GateRpc,
    peer: Arc<Peer>,
    said: Out,
    slots: Arc<Semaphore>,
    known: Option<(Reporter, Arc<Vm>)>,
}

#[tonic::async_trait]
impl Gate for GateRpc {
    type ConverseStream = Pin<Box<dyn Stream<Item = Result<v1::ConverseResponse, Status>> + Send>>;

    async fn converse(&self, request: Request<Streaming<v1::ConverseRequest>>) -> Result<Response<Self::ConverseStream>, Status> {
        let peer = peer(&request)?;
        let (said, stream) = mpsc::channel(SAID_MAX);
        let slots = Arc::new(Semaphore::new(self.limits.messages_per_stream_max as usize));
        let conversation = Conversation { gate: self.clone(), peer, said, slots, known: None };
        self.under_way.spawn(conversation.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream).map(|(said, _)| said))))
    }

    async fn decide(&self, request: Request<v1::DecideRequest>) -> Result<Response<v1::DecideResponse>, Status> {
        let peer = peer(&request)?;
        let filter = self.identity.filter(&peer)?;
        let message = request.into_inner();
        let epoch = epoch(&message.epoch)?;
        let ask = message.ask.ok_or(Hangup::Malformed { field: "ask", why: "is missing" })?;
        let counter = ask.counter;
        let question = self.question(filter, epoch, ask);
        let decide = Arc::clone(&self.decide);
        // Spawned: a decision runs to its end even when this rpc is cancelled.
        let answer = self.under_way.spawn(async move { decide.decide(&question).await });
        let answer = answer.await.map_err(|_| Status::internal("the decision failed; the call is not let through"))?;
        Ok(Response::new(v1::DecideResponse { answer: Some(answer_to_wire(counter, answer)) }))
    }
}

// === impl GateRpc ===

impl GateRpc {
    fn question(&self, filter: Arc<Filter>, epoch: Epoch, ask: v1::Ask) -> Question {
        let call = CallId { asker: filter.identity.clone(), epoch, counter: ask.counter };
        let max = self.limits.deadline_ms_max;
        let wait_ms = if ask.deadline_ms == 0 { max } else { ask.deadline_ms.min(max) };
        Question::new(filter, call, ask, self.clock.elapsed() + Duration::from_millis(wait_ms.into()))
    }
}

// === impl Conversation ===

impl Conversation {
    async fn run(mut self, mut heard: Streaming<v1::ConverseRequest>) {
        let (clock, mut leaving) = (self.gate.clock.clone(), self.gate.leaving.clone());
        let old = self.peer.since() + self.gate.connection_age_max + AFTER_GOAWAY;
        // Once it was told to leave: when it is ended, however much it still says.
        let mut late: Option<Duration> = None;
        let mut orders = self.gate.control.follow();
        let ended = loop {
            let quiet = clock.elapsed() + QUIET;
            tokio::select! {
                message = heard.message() => match message {
                    Ok(Some(message)) => if let Err(hangup) = self.hear(message).await { break Some(hangup) },
                    Ok(None) => break None,
                    Err(status) => {
                        tracing::debug!(%status, "a conversation broke");
                        break None;
                    }
                },
                // The sender lives in `gate`: waiting cannot end in its loss.
                Ok(()) = orders.changed() => {
                    let now = Arc::clone(&orders.borrow_and_update());
                    self.stand(&now).await;
                }
                () = left_or_old(&mut leaving, &clock, old), if late.is_none() => {
                    late = Some(clock.elapsed() + self.gate.limits.drain());
                    self.say(Said::Draining(v1::Draining {})).await;
                }
                () = clock.sleep_until(late.map_or(quiet, |late| late.min(quiet))), if late.is_some() => {
                    if self.idle() || late.is_some_and(|late| late <= clock.elapsed()) {
                        let age_s = self.gate.connection_age_max.as_secs();
                        break Some(if *leaving.borrow() { Hangup::Gone } else { Hangup::Age { age_s } });
                    }
                }
            }
        };
        if let Some(hangup) = ended {
            if let Hangup::Refused(why) = &hangup {
                self.gate.identity.tell(why);
            }
            let _ = self.said.send(saying(Err(hangup.into()))).await;
        }
    }

    async fn hear(&mut self, message: v1::ConverseRequest) -> Result<(), Hangup> {
        let message = message.message.ok_or(Hangup::Empty)?;
        let Some((reporter, vm)) = &self.known else { return self.hello(message).await };
        vm.heard(self.gate.clock.elapsed(), self.gate.clock.now());
        let (reporter, vm) = (reporter.clone(), Arc::clone(vm));
        let filter = match self.gate.identity.filter(&self.peer) {
            Ok(filter) => filter,
            Err(refused) => {
                self.turn_away(message, &refused).await;
                return Err(refused.into());
            }
        };
        match message {
            Heard::Hello(_) => return Err(Hangup::SecondHello),
            Heard::Ask(ask) => self.ask(filter, reporter.epoch, ask).await,
            Heard::Listing(listing) => self.listing(reporter, listing).await,
            Heard::Report(report) => {
                let lost = vm.lost(report.observations_lost);
                if lost > 0 {
                    metrics::counter!("agentgate_observations_lost_total").increment(lost);
                }
                self.report(reporter, report).await;
            }
            Heard::Ping(ping) => self.say(Said::Echo(v1::Echo { number: ping.number })).await,
            Heard::Kept(kept) => vm.kept(kept.epoch),
        }
        Ok(())
    }

    async fn hello(&mut self, message: Heard) -> Result<(), Hangup> {
        let Heard::Hello(hello) = message else { return Err(Hangup::NoHello) };
        if hello.contract != agentgate_proto::CONTRACT {
            return Err(Hangup::Contract { theirs: hello.contract, ours: agentgate_proto::CONTRACT });
        }
        let epoch = epoch(&hello.epoch)?;
        let filter = self.gate.identity.filter(&self.peer)?;
        let served = served(&hello.served)?;
        for (server, _) in served.iter().filter(|(server, _)| !filter.servers.contains(server)) {
            let why = Refused::Server { asker: filter.identity.clone(), server: server.to_string() };
            tracing::warn!(%why, node = hello.node, "no call of a server that a filter's route names can be decided");
        }
        let vm = self.gate.identity.heard.hello(&filter.identity, epoch, hello.node, hello.filter_version);
        vm.serves(served);
        vm.heard(self.gate.clock.elapsed(), self.gate.clock.now());
        self.known = Some((Reporter { filter, epoch }, vm));
        self.say(Said::Welcome(v1::Welcome { replica: self.gate.replica.clone() })).await;
        let now = self.gate.control.now();
        self.stand(&now).await;
        Ok(())
    }

    /// Tells the filter what it must know without asking. A verdict that is given later stands behind it in the stream.
    async fn stand(&self, now: &Now) {
        if let Some((reporter, vm)) = &self.known {
            let served = vm.served();
            let served = served.iter().map(|(server, _)| server);
            self.say(Said::Standing(standing(now, &reporter.filter, served))).await;
        }
    }

    /// The last message before the end: who asks is told why, and a report is repeated under the next certificate.
    async fn turn_away(&self, message: Heard, refused: &Refused) {
        match message {
            Heard::Ask(ask) => self.say(Said::Answer(answer_to_wire(ask.counter, Err(refused.clone().into())))).await,
            Heard::Listing(listing) => {
                let result = Some(v1::listed::Result::Undecided(undecided_to_wire(&refused.clone().into())));
                self.say(Said::Listed(v1::Listed { counter: listing.counter, result })).await;
            }
            Heard::Hello(_) | Heard::Report(_) | Heard::Ping(_) | Heard::Kept(_) => {}
        }
    }

    async fn ask(&self, filter: Arc<Filter>, epoch: Epoch, ask: v1::Ask) {
        let counter = ask.counter;
        let question = self.gate.question(filter, epoch, ask);
        let (Some(slot), decide, said) = (self.slot().await, Arc::clone(&self.gate.decide), self.said.clone()) else { return };
        let identity = Arc::clone(&self.gate.identity);
        // Spawned: a decision runs to its end even when this conversation is cut.
        self.gate.under_way.spawn(async move {
            let answer = decide.decide(&question).await;
            if let Err(Undecided::Identity(why)) = &answer {
                identity.tell(why);
            }
            tell(&said, Said::Answer(answer_to_wire(counter, answer))).await;
            drop(slot);
        });
    }

    async fn listing(&self, reporter: Reporter, listing: v1::Listing) {
        let counter = listing.counter;
        let (Some(slot), gate, said) = (self.slot().await, self.gate.clone(), self.said.clone()) else { return };
        self.gate.under_way.spawn(async move {
            let result = match gate.decide.listing(&reporter, &listing).await {
                Ok(tools) => v1::listed::Result::Hidden(v1::Hidden { tools }),
                Err(undecided) => {
                    gate.decide.tell(&undecided);
                    v1::listed::Result::Undecided(undecided_to_wire(&undecided))
                }
            };
            tell(&said, Said::Listed(v1::Listed { counter, result: Some(result) })).await;
            drop(slot);
        });
    }

    async fn report(&self, reporter: Reporter, report: v1::Report) {
        let (Some(slot), decide, said) = (self.slot().await, Arc::clone(&self.gate.decide), self.said.clone()) else { return };
        self.gate.under_way.spawn(async move {
            // An outcome finds its decision on record, though both came in one report.
            let (outcomes, calls): (Vec<_>, Vec<_>) =
                report.entries.into_iter().partition(|entry| matches!(entry.what, Some(v1::entry::What::Outcome(_))));
            for some in [calls, outcomes] {
                let mut entries = JoinSet::new();
                for entry in some {
                    let (decide, reporter, counter) = (Arc::clone(&decide), reporter.clone(), entry.counter);
                    entries.spawn(async move { decide.report(&reporter, entry).await.then_some(counter) });
                }
                while let Some(first) = entries.join_next().await {
                    let more = std::iter::from_fn(|| entries.try_join_next());
                    let done = std::iter::once(first).chain(more);
                    let counters: Vec<u64> = done.filter_map(|done| done.ok().flatten()).collect();
                    if !counters.is_empty() {
                        tell(&said, Said::Acknowledged(v1::Acknowledged { counters })).await;
                    }
                }
            }
            drop(slot);
        });
    }

    fn idle(&self) -> bool {
        self.slots.available_permits() == self.gate.limits.messages_per_stream_max as usize
    }

    /// Room for one more message under way; until there is, the stream is read no further.
    async fn slot(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        Some((permit, Counted::by(metrics::gauge!("agentgate_messages_under_way"))))
    }

    async fn say(&self, message: Said) {
        tell(&self.said, message).await;
    }
}

async fn left_or_old(leaving: &mut watch::Receiver<bool>, clock: &Clock, old: Duration) {
    tokio::select! {
        _ = leaving.wait_for(|leaving| *leaving) => {}
        () = clock.sleep_until(old) => {}
    }
}

/// A filter that left is told nothing; what it asked is on record.
async fn tell(said: &Out, message: Said) {
    let _ = said.send(saying(Ok(v1::ConverseResponse { message: Some(message) }))).await;
}

fn saying(message: Result<v1::ConverseResponse, Status>) -> Saying {
    (message, Counted::by(metrics::gauge!("agentgate_messages_said")))
}

/// The other end of the connection that a request came on.
fn peer<T>(request: &Request<T>) -> Result<Arc<Peer>, Refused> {
    request.extensions().get::<Arc<Peer>>().cloned().ok_or(Refused::Nobody)
}

/// The servers that a hello names, and whether their routes observe.
fn served(said: &[v1::Served]) -> Result<BTreeSet<(Server, bool)>, Hangup> {
    if said.len() > SERVED_MAX {
        return Err(Hangup::Malformed { field: "served", why: "names too many servers" });
    }
    let one = |served: &v1::Served| Some((Server::try_from(served.server.as_str()).ok()?, served.mode() == v1::Mode::Observe));
    said.iter().map(one).collect::<Option<_>>().ok_or(Hangup::Malformed { field: "served", why: "is no name of a server" })
}

fn epoch(bytes: &[u8]) -> Result<Epoch, Hangup> {
    bytes.try_into().map(Epoch).map_err(|_| Hangup::Malformed { field: "epoch", why: "is not 16 bytes" })
}
