//! The gRPC edge of traces: wire in, wire out. Its listener lets only operators through.

use super::{Session, TraceError};
use agentgate_proto::v1;
use agentgate_proto::v1::trace_server::Trace;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

#[derive(Debug)]
pub struct TraceRpc {
    session: Arc<Session>,
    leaving: watch::Receiver<bool>,
}

// === impl TraceRpc ===

impl TraceRpc {
    #[must_use]
    pub fn new(session: Arc<Session>, leaving: watch::Receiver<bool>) -> Self {
        Self { session, leaving }
    }
}

#[tonic::async_trait]
impl Trace for TraceRpc {
    async fn list_traces(&self, request: Request<v1::ListTracesRequest>) -> Result<Response<v1::ListTracesResponse>, Status> {
        Ok(Response::new(self.session.list(request.get_ref()).await?))
    }

    async fn show_trace(&self, request: Request<v1::ShowTraceRequest>) -> Result<Response<v1::ShowTraceResponse>, Status> {
        Ok(Response::new(self.session.show(&request.get_ref().id).await?))
    }

    type TailTracesStream = Pin<Box<dyn Stream<Item = Result<v1::TailTracesResponse, Status>> + Send>>;

    async fn tail_traces(&self, request: Request<v1::TailTracesRequest>) -> Result<Response<Self::TailTracesStream>, Status> {
        let mut tail = self.session.tail(request.into_inner())?;
        let mut leaving = self.leaving.clone();
        // From hand to hand: what waits is in the journal.
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = tail.next() => next,
                    _ = leaving.wait_for(|leaving| *leaving) => return,
                    () = sender.closed() => return,
                };
                let last = next.is_err();
                if sender.send(next.map_err(|error: TraceError| error.into())).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
