//! The gRPC edge of retention: wire in, wire out. Each rpc says which role it takes: to hold is an incident's business, to lift
//! and to purge an admin's alone.

use super::{Retention, RetentionError, Wanted};
use crate::config::Role;
use crate::identity::{Identity, rpc::operator};
use agentgate_core::time::Time;
use agentgate_proto::retention::{extent_from_wire, named_from_wire};
use agentgate_proto::v1;
use std::sync::Arc;
use tonic::{Request, Response, Status};

#[derive(Clone, Debug)]
pub struct RetentionRpc {
    pub retention: Arc<Retention>,
    pub identity: Arc<Identity>,
}

#[tonic::async_trait]
impl v1::retention_server::Retention for RetentionRpc {
    async fn place_hold(&self, request: Request<v1::PlaceHoldRequest>) -> Result<Response<v1::HoldResponse>, Status> {
        let by = operator(&self.identity, &request, Role::IncidentAdmin)?;
        let v1::PlaceHoldRequest { extent, reason } = request.into_inner();
        let extent = named_from_wire(extent.as_ref()).map_err(malformed)?;
        let retention = Arc::clone(&self.retention);
        let (hold, ack) = to_its_end(async move { retention.place(&extent, &reason, &by).await }).await?;
        Ok(Response::new(v1::HoldResponse { hold, sequence: ack.sequence, epoch: ack.epoch, changed: ack.changed }))
    }

    async fn lift_hold(&self, request: Request<v1::LiftHoldRequest>) -> Result<Response<v1::HoldResponse>, Status> {
        let by = operator(&self.identity, &request, Role::Admin)?;
        let v1::LiftHoldRequest { hold, reason } = request.into_inner();
        let retention = Arc::clone(&self.retention);
        let ack = to_its_end(async move { retention.lift(hold, &reason, &by).await }).await?;
        Ok(Response::new(v1::HoldResponse { hold, sequence: ack.sequence, epoch: ack.epoch, changed: ack.changed }))
    }

    async fn list_holds(&self, _: Request<v1::ListHoldsRequest>) -> Result<Response<v1::ListHoldsResponse>, Status> {
        Ok(Response::new(v1::ListHoldsResponse { holds: self.retention.holds() }))
    }

    async fn purge(&self, request: Request<v1::PurgeRequest>) -> Result<Response<v1::PurgeResponse>, Status> {
        let by = operator(&self.identity, &request, Role::Admin)?;
        let v1::PurgeRequest { extent, before_us, reason, dry_run } = request.into_inner();
        let extent = extent_from_wire(extent.as_ref()).map_err(malformed)?;
        let before = (before_us != 0).then(|| Time::from_micros(before_us));
        let wanted = Wanted { extent, before, reason };
        let retention = Arc::clone(&self.retention);
        let purged = to_its_end(async move { retention.purge(&wanted, &by, dry_run).await }).await?;
        let super::Purged { sessions, calls, sequences, finished, tokens, tokens_held } = purged;
        let tokens_held = tokens_held.unwrap_or_default();
        Ok(Response::new(v1::PurgeResponse { sessions, calls, sequences, finished, tokens, tokens_held }))
    }
}

/// Spawned: an order runs to its end even when its rpc is cancelled.
async fn to_its_end<T: Send + 'static>(
    order: impl Future<Output = Result<T, RetentionError>> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::spawn(order).await.map_err(|_| Status::internal("the order failed; look with `agentgate hold list`"))?;
    Ok(done?)
}

fn malformed(error: impl std::fmt::Display) -> Status {
    RetentionError::Malformed(error.to_string()).into()
}
