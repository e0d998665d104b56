//! The gRPC edge of the transparency log: wire in, wire out. Its listener lets only operators through.

use super::{Transparency, TransparencyError};
use crate::journal::Journal as _;
use agentgate_proto::transparency::hashes_to_wire;
use agentgate_proto::v1;
use agentgate_proto::v1::transparency_server;
use bytes::Bytes;
use std::sync::Arc;
use tonic::{Request, Response, Status};

#[derive(Clone, Debug)]
pub struct TransparencyRpc(pub Arc<Transparency>);

#[tonic::async_trait]
impl transparency_server::Transparency for TransparencyRpc {
    async fn show_log(&self, _: Request<v1::ShowLogRequest>) -> Result<Response<v1::ShowLogResponse>, Status> {
        Ok(Response::new(self.0.shown().await?))
    }

    async fn prove_inclusion(
        &self,
        request: Request<v1::ProveInclusionRequest>,
    ) -> Result<Response<v1::ProveInclusionResponse>, Status> {
        let (log, sequence) = (Arc::clone(&self.0), request.get_ref().sequence);
        // Tiles are read from a disk.
        let (newest, entry, proof) = proving(move || log.inclusion(sequence)).await?;
        let (checkpoint, entry) = (newest.note.clone(), Bytes::copy_from_slice(&entry.encode()));
        Ok(Response::new(v1::ProveInclusionResponse { checkpoint, entry, hashes: hashes_to_wire(&proof) }))
    }

    async fn prove_consistency(
        &self,
        request: Request<v1::ProveConsistencyRequest>,
    ) -> Result<Response<v1::ProveConsistencyResponse>, Status> {
        let v1::ProveConsistencyRequest { old_size, new_size } = *request.get_ref();
        let newest = self.0.newest();
        let new_size = if new_size == 0 { newest.as_ref().map_or(0, |newest| newest.size) } else { new_size };
        let log = Arc::clone(&self.0);
        let proof = proving(move || log.consistency(old_size, new_size)).await?;
        let checkpoint = newest.map(|newest| newest.note.clone()).unwrap_or_default();
        Ok(Response::new(v1::ProveConsistencyResponse { checkpoint, new_size, hashes: hashes_to_wire(&proof) }))
    }
}

// === impl Transparency ===

impl Transparency {
    /// What is signed, and who saw it.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn shown(&self) -> Result<v1::ShowLogResponse, TransparencyError> {
        let newest = self.newest();
        let newest = newest.as_deref();
        let trouble = self.trouble.told();
        Ok(v1::ShowLogResponse {
            checkpoint: newest.map(|newest| newest.note.clone()).unwrap_or_default(),
            size: newest.map_or(0, |newest| newest.size),
            root: newest.map(|newest| Bytes::copy_from_slice(newest.root.as_bytes())).unwrap_or_default(),
            head: self.journal.health().head,
            keys: self.verifier_keys(),
            stopped: self.stopped().unwrap_or_default(),
            witnessed: self.witnessed().map(|witnessed| witnessed.note.clone()).unwrap_or_default(),
            anchors: self.anchors().await?,
            witnesses: self.witnesses(),
            remembered: self.remembered.told(),
            trouble_since_us: trouble.as_ref().map_or(0, |(_, since)| since.micros()),
            trouble: trouble.map(|(why, _)| why).unwrap_or_default(),
            notices: self.notices.clone(),
        })
    }
}

async fn proving<T: Send + 'static>(prove: impl FnOnce() -> Result<T, TransparencyError> + Send + 'static) -> Result<T, Status> {
    let proved = tokio::task::spawn_blocking(prove).await;
    Ok(proved.map_err(|_| Status::internal("the proof failed; the log of this replica says more"))??)
}
