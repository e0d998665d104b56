//! Agents that call through the gate without a pause, each one call after the other. They write down what they were told
//! and judge none of it.

use super::calls::{self, Answered};
use super::ledger::{Phase, Shared, Told, What};
use super::seeded::Seeded;
use crate::http1::{Answer, Connection, request};
use crate::{Broken, clock};
use agentgate_core::id::Asker;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// While nobody decides, an agent tries again after this, so that refusing takes no time from starting.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// One agent.
pub(crate) struct Agent {
    pub(crate) caller: usize,
    pub(crate) gate: SocketAddr,
    pub(crate) asker: Asker,
    pub(crate) shared: Arc<Shared>,
    pub(crate) seeded: Seeded,
}

// === impl Agent ===

impl Agent {
    pub(crate) fn start(mut self) -> JoinHandle<()> {
        thread::spawn(move || self.run())
    }

    fn run(&mut self) {
        let mut connection = None;
        let mut number = 0_u64;
        loop {
            match self.shared.phase() {
                Phase::Call => {}
                Phase::Rest => {
                    self.shared.rest();
                    continue;
                }
                Phase::Leave => return,
            }
            number += 1;
            let handle = calls::handle_at_gate(self.seeded.next());
            let mark = calls::marked(&handle, &format!("agent-{}-{number}", self.caller));
            let asked_after = self.shared.count(self.caller);
            let body = calls::body(self.seeded.next(), &mark);
            match self.call(&mut connection, &handle, &body) {
                Ok(answer) => self.take(&answer, mark, asked_after),
                Err(broken) => {
                    // Envoy lives through all of this: it owes every call an answer.
                    self.shared.fault(format!("agent {} got no answer: {broken}", self.caller));
                    connection = None;
                    clock::pause(AGAIN_AFTER);
                }
            }
        }
    }

    fn call(&self, connection: &mut Option<Connection>, handle: &str, body: &[u8]) -> Result<Answer, Broken> {
        let open = match connection {
            Some(open) => open,
            None => connection.insert(Connection::open(self.gate)?),
        };
        open.send(&request("POST", "/mcp", &calls::headers(handle), body))?;
        let answer = open.answer()?;
        if answer.body != calls::RESULT.as_bytes() {
            // A refusal may end the socket as well.
            *connection = None;
        }
        Ok(answer)
    }

    fn take(&self, answer: &Answer, mark: String, asked_after: usize) {
        let what = match calls::answered(answer.status, &answer.body, &self.asker) {
            Answered::Result => What::Result { mark },
            Answered::Refused { id, verdict } => {
                What::Verdict { id, verdict, sequence: None, handle: calls::handle_in(&mark).into() }
            }
            Answered::Undecided => {
                self.shared.undecided();
                return clock::pause(AGAIN_AFTER);
            }
            Answered::Withheld => return,
            Answered::Strange(said) => return self.shared.fault(format!("agent {} was answered strangely: {said}", self.caller)),
        };
        self.shared.tell(self.caller, Told { what, asked_after });
        self.shared.through_gate.fetch_add(1, Ordering::AcqRel);
    }
}
