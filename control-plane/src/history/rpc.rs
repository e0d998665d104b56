//! The gRPC edge of what operators ask of the past: wire in, wire out. Its listener lets only operators through, and every
//! operator is a viewer.

use super::{Heeded, History, HistoryError, Told};
use agentgate_proto::v1;
use agentgate_proto::v1::learn_tools_response::What as Learned;
use agentgate_proto::v1::policy_server::Policy;
use agentgate_proto::v1::show_impact_response::What as Shown;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

#[derive(Clone, Debug)]
pub struct PolicyRpc {
    pub history: Arc<History>,
    pub leaving: watch::Receiver<bool>,
}

type Said<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Policy for PolicyRpc {
    type LearnToolsStream = Said<v1::LearnToolsResponse>;

    async fn learn_tools(&self, request: Request<v1::LearnToolsRequest>) -> Result<Response<Self::LearnToolsStream>, Status> {
        let heeded = self.history.learn(request.into_inner(), self.leaving.clone())?;
        Ok(said(heeded, |told| {
            let what = match told {
                Told::Progress(progress) => Learned::Progress(progress),
                Told::Done(tools) => Learned::Tools(tools),
            };
            v1::LearnToolsResponse { what: Some(what) }
        }))
    }

    type ShowImpactStream = Said<v1::ShowImpactResponse>;

    async fn show_impact(&self, request: Request<v1::ShowImpactRequest>) -> Result<Response<Self::ShowImpactStream>, Status> {
        let heeded = self.history.impact(request.into_inner(), self.leaving.clone())?;
        Ok(said(heeded, |told| {
            let what = match told {
                Told::Progress(progress) => Shown::Progress(progress),
                Told::Done(impact) => Shown::Impact(impact),
            };
            v1::ShowImpactResponse { what: Some(what) }
        }))
    }

    async fn explain_call(&self, request: Request<v1::ExplainCallRequest>) -> Result<Response<v1::ExplainCallResponse>, Status> {
        Ok(Response::new(self.history.explain(&request.get_ref().id).await?))
    }
}

fn said<T: Send + 'static, M: Send + 'static>(
    heeded: Heeded<T>,
    to_wire: impl Fn(Told<T>) -> M + Send + 'static,
) -> Response<Said<M>> {
    let to_wire = move |told: Result<Told<T>, HistoryError>| told.map(&to_wire).map_err(Status::from);
    Response::new(Box::pin(ReceiverStream::new(heeded).map(to_wire)))
}
