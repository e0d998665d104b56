//! A caller that is a filter itself: one conversation over mutual TLS, with many calls under way, and each call's id, verdict
//! and place in hand. When the conversation ends it opens the next one, and asks first what it was told last.

use super::calls;
use super::ledger::{Phase, Shared, Told, What};
use super::seeded::Seeded;
use super::wire::{Conversation, Tls};
use crate::Broken;
use agentgate_core::digest::Digest;
use agentgate_core::id::{Asker, CallId, Epoch};
use agentgate_proto::v1::converse_request::Message as Said;
use agentgate_proto::v1::converse_response::Message as Heard;
use agentgate_proto::{CONTRACT, v1};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Calls under way in one conversation.
const UNDER_WAY: usize = 8;

const AGAIN_AFTER: Duration = Duration::from_millis(10);

/// One caller, over all of its conversations.
pub(crate) struct Direct {
    pub(crate) caller: usize,
    pub(crate) control_plane: SocketAddr,
    pub(crate) tls: Tls,
    pub(crate) asker: Asker,
    pub(crate) shared: Arc<Shared>,
    pub(crate) seeded: Seeded,
}

/// One life of the caller: as long as the journal that it speaks to is the same one.
struct Life {
    epoch: Epoch,
    counter: u64,
    /// The last verdict that was told, with the question: to be asked again.
    last: Option<(v1::Ask, v1::Verdict, u64)>,
    /// By counter.
    asked: HashMap<u64, Asked>,
}

struct Asked {
    ask: v1::Ask,
    after: usize,
    /// What the same question was answered before.
    before: Option<(v1::Verdict, u64)>,
}

// === impl Direct ===

impl Direct {
    pub(crate) async fn run(mut self) {
        let mut life = self.born();
        loop {
            match self.shared.phase() {
                Phase::Call => {
                    // It ends when the control plane does: that is what is tested.
                    drop(self.converse(&mut life).await);
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                Phase::Rest => {
                    self.shared.resting.fetch_add(1, Ordering::AcqRel);
                    while self.shared.phase() == Phase::Rest {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    self.shared.resting.fetch_sub(1, Ordering::AcqRel);
                    life = self.born();
                }
                Phase::Leave => return,
            }
        }
    }

    fn born(&mut self) -> Life {
        let epoch = [self.seeded.next().to_be_bytes(), self.seeded.next().to_be_bytes()].concat();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&epoch);
        Life { epoch: Epoch(bytes), counter: 0, last: None, asked: HashMap::new() }
    }

    async fn converse(&mut self, life: &mut Life) -> Result<(), Broken> {
        let mut conversation = Conversation::open(self.control_plane, &self.tls).await?;
        let hello = v1::Hello {
            epoch: life.epoch.0.to_vec().into(),
            contract: CONTRACT,
            filter_version: "crash".into(),
            node: format!("direct-{}", self.caller),
            served: Vec::new(),
        };
        conversation.say(Said::Hello(hello))?;
        life.asked.clear();
        if let Some((ask, verdict, sequence)) = life.last.clone() {
            self.ask(life, &mut conversation, ask, Some((verdict, sequence)))?;
        }
        while let Some(heard) = conversation.hear().await? {
            match heard {
                Heard::Answer(answer) => self.answered(life, &mut conversation, answer)?,
                Heard::Acknowledged(counters) => {
                    for counter in counters.counters {
                        let what = What::Outcome { id: self.id(life, counter) };
                        self.shared.tell(self.caller, Told { what, asked_after: 0 });
                    }
                }
                Heard::Welcome(_) | Heard::Listed(_) | Heard::Echo(_) | Heard::Draining(_) => {}
                Heard::Standing(standing) => conversation.say(Said::Kept(v1::Kept { epoch: standing.epoch }))?,
            }
            while life.asked.len() < UNDER_WAY && self.shared.phase() == Phase::Call {
                let ask = self.new_ask(life);
                self.ask(life, &mut conversation, ask, None)?;
            }
        }
        Ok(())
    }

    fn id(&self, life: &Life, counter: u64) -> Digest {
        CallId { asker: self.asker.clone(), epoch: life.epoch, counter }.digest()
    }

    fn new_ask(&mut self, life: &mut Life) -> v1::Ask {
        life.counter += 1;
        let draw = self.seeded.next();
        let peer = calls::peer(draw);
        let handle = calls::handle_of_peer(peer);
        let mark = calls::marked(&handle, &format!("direct-{}-{}-{}", self.caller, life.epoch, life.counter));
        let headers = calls::headers(&handle)
            .map(|(name, value)| v1::Header { name: name.as_bytes().to_vec().into(), value: value.to_vec().into() });
        v1::Ask {
            counter: life.counter,
            deadline_ms: 5_000,
            server: "notes".into(),
            peer: format!("spiffe://agentgate.local/agent/{peer}"),
            head: Some(v1::Head { method: "POST".into(), path: "/mcp".into(), headers: headers.into() }),
            body: calls::body(draw / 8, &mark).into(),
            versions: vec!["2025-11-25".into()],
            ..v1::Ask::default()
        }
    }

    fn ask(
        &self,
        life: &mut Life,
        conversation: &mut Conversation,
        ask: v1::Ask,
        before: Option<(v1::Verdict, u64)>,
    ) -> Result<(), Broken> {
        let after = self.shared.count(self.caller);
        life.asked.insert(ask.counter, Asked { ask: ask.clone(), after, before });
        conversation.say(Said::Ask(ask))
    }

    fn answered(&self, life: &mut Life, conversation: &mut Conversation, answer: v1::Answer) -> Result<(), Broken> {
        let Some(Asked { ask, after, before }) = life.asked.remove(&answer.counter) else {
            self.shared.fault(format!("caller {} was answered what it had not asked", self.caller));
            return Ok(());
        };
        let decided = match answer.result {
            Some(v1::answer::Result::Decided(decided)) => decided,
            Some(v1::answer::Result::Undecided(undecided)) => {
                // Of a call whose session was purged nobody can say any more that it is the same request.
                let may_be_purged = before.is_some() && self.shared.is_ordered(&handle_of(&ask));
                if undecided.cause() == v1::undecided::Cause::Reused && !may_be_purged {
                    self.shared.fault(format!("caller {}: {undecided:?}", self.caller));
                }
                self.shared.undecided();
                return Ok(());
            }
            None => return Ok(()),
        };
        let (verdict, sequence) = (decided.verdict(), decided.sequence);
        if let Some(before) = before {
            if before != (verdict, sequence) {
                let now = (verdict, sequence);
                self.shared.fault(format!("caller {} was told {before:?} before a kill and {now:?} after it", self.caller));
            }
            return Ok(());
        }
        let handle = handle_of(&ask);
        let what = What::Verdict { id: self.id(life, ask.counter), verdict, sequence: Some(sequence), handle };
        self.shared.tell(self.caller, Told { what, asked_after: after });
        self.shared.direct.fetch_add(1, Ordering::AcqRel);
        if verdict == v1::Verdict::Allow && ask.counter % 2 == 0 {
            conversation.say(Said::Report(v1::Report { entries: vec![completed(ask.counter)], observations_lost: 0 }))?;
        }
        life.last = Some((ask, verdict, sequence));
        Ok(())
    }
}

/// The session that an ask names in its head.
fn handle_of(ask: &v1::Ask) -> String {
    let headers = ask.head.iter().flat_map(|head| &head.headers);
    let handle = headers.filter(|header| header.name.as_ref() == calls::SESSION.as_bytes()).map(|header| &header.value);
    handle.map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

fn completed(counter: u64) -> v1::Entry {
    let kind = v1::OutcomeKind::Completed.into();
    let outcome = v1::Outcome { kind, http_status: 200, duration_us: 1_000, ..v1::Outcome::default() };
    v1::Entry { counter, what: Some(v1::entry::What::Outcome(outcome)), ..v1::Entry::default() }
}
