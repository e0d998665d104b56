//! The gRPC edge of evidence: wire in, wire out. Its listener lets only operators through, and every operator is a viewer.

use super::Evidence;
use agentgate_core::transparency::proof::Proof;
use agentgate_proto::v1;
use agentgate_proto::v1::evidence_server;
use bytes::Bytes;
use std::sync::Arc;
use tonic::{Request, Response, Status};

#[derive(Clone, Debug)]
pub struct EvidenceRpc {
    pub evidence: Arc<Evidence>,
}

#[tonic::async_trait]
impl evidence_server::Evidence for EvidenceRpc {
    async fn prove_record(&self, request: Request<v1::ProveRecordRequest>) -> Result<Response<v1::ProveRecordResponse>, Status> {
        let proved = self.evidence.prove(request.get_ref().sequence).await?;
        Ok(Response::new(v1::ProveRecordResponse {
            checkpoint: proved.checkpoint.note.clone(),
            entry: Bytes::copy_from_slice(&proved.entry.encode()),
            hashes: hashes(&proved.proof),
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
}

fn hashes(proof: &Proof) -> Vec<Bytes> {
    proof.hashes().iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect()
}
