//! The gRPC edge of evidence: wire in, wire out. Its listener lets only operators through, and every operator is a viewer.

use super::{Evidence, EvidenceError, Scope};
use crate::config::Role;
use crate::identity::{Identity, rpc::operator};
use agentgate_proto::transparency::hashes_to_wire;
use agentgate_proto::v1;
use agentgate_proto::v1::evidence_server;
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

#[derive(Clone, Debug)]
pub struct EvidenceRpc {
    pub evidence: Arc<Evidence>,
    pub identity: Arc<Identity>,
    pub leaving: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl evidence_server::Evidence for EvidenceRpc {
    async fn prove_record(&self, request: Request<v1::ProveRecordRequest>) -> Result<Response<v1::ProveRecordResponse>, Status> {
        let proved = self.evidence.prove(request.get_ref().sequence).await?;
        Ok(Response::new(v1::ProveRecordResponse {
            checkpoint: proved.checkpoint.note.clone(),
            entry: Bytes::copy_from_slice(&proved.entry.encode()),
            hashes: hashes_to_wire(&proved.proof),
            record: proved.record,
        }))
    }

    async fn read_log_files(
        &self,
        request: Request<v1::ReadLogFilesRequest>,
    ) -> Result<Response<v1::ReadLogFilesResponse>, Status> {
        let files = self.evidence.log_files(request.into_inner().paths).await?;
        Ok(Response::new(v1::ReadLogFilesResponse { files }))
    }

    type GatherEvidenceStream = Pin<Box<dyn Stream<Item = Result<v1::GatherEvidenceResponse, Status>> + Send>>;

    async fn gather_evidence(
        &self,
        request: Request<v1::GatherEvidenceRequest>,
    ) -> Result<Response<Self::GatherEvidenceStream>, Status> {
        let by = operator(&self.identity, &request, Role::Viewer)?;
        let heeded = self.evidence.gather(Scope::read(request.into_inner())?, by, self.leaving.clone())?;
        let told = ReceiverStream::new(heeded).map(|told| told.map_err(|error: EvidenceError| Status::from(error)));
        Ok(Response::new(Box::pin(told)))
    }

    async fn open_evidence(
        &self,
        request: Request<v1::OpenEvidenceRequest>,
    ) -> Result<Response<v1::OpenEvidenceResponse>, Status> {
        operator(&self.identity, &request, Role::Viewer)?;
        let bodies = self.evidence.open(request.into_inner().bodies).await?;
        Ok(Response::new(v1::OpenEvidenceResponse { bodies }))
    }

    async fn sign_evidence(
        &self,
        request: Request<v1::SignEvidenceRequest>,
    ) -> Result<Response<v1::SignEvidenceResponse>, Status> {
        let by = operator(&self.identity, &request, Role::Viewer)?;
        let note = self.evidence.sign(&request.get_ref().files, &by)?;
        Ok(Response::new(v1::SignEvidenceResponse { note }))
    }
}
