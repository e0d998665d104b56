//! The gRPC edge of approvals: wire in, wire out. Each rpc says which role it takes, and shows what somebody wrote as it came
//! to approvers alone.

use super::{ApprovalError, Approvals};
use crate::config::Role;
use crate::identity::{Identity, rpc::has_role, rpc::operator};
use crate::privacy::Privacy;
use agentgate_core::approval::Order;
use agentgate_core::digest::Digest;
use agentgate_proto::v1;
use std::sync::Arc;
use tonic::{Request, Response, Status};

#[derive(Clone, Debug)]
pub struct ApprovalsRpc {
    pub approvals: Arc<Approvals>,
    pub identity: Arc<Identity>,
    pub privacy: Arc<Privacy>,
}

// === impl ApprovalsRpc ===

impl ApprovalsRpc {
    /// As whoever asks may see it: an approver must see what he approves.
    async fn shown_to<T>(&self, request: &Request<T>, approval: v1::Approval) -> Result<v1::Approval, ApprovalError> {
        if has_role(&self.identity, request, Role::ApprovalAdmin) {
            return Ok(approval);
        }
        self.privacy.shown(approval).await.map_err(ApprovalError::Unaltered)
    }
}

#[tonic::async_trait]
impl v1::approvals_server::Approvals for ApprovalsRpc {
    async fn list_approvals(
        &self,
        request: Request<v1::ListApprovalsRequest>,
    ) -> Result<Response<v1::ListApprovalsResponse>, Status> {
        self.approvals.look_again().await?;
        let mut approvals = Vec::new();
        for approval in self.approvals.list(request.get_ref().all) {
            approvals.push(self.shown_to(&request, approval).await?);
        }
        Ok(Response::new(v1::ListApprovalsResponse { approvals }))
    }

    async fn show_approval(
        &self,
        request: Request<v1::ShowApprovalRequest>,
    ) -> Result<Response<v1::ShowApprovalResponse>, Status> {
        self.approvals.look_again().await?;
        let approval = self.approvals.show(&request.get_ref().id).await?;
        let approval = self.shown_to(&request, approval).await?;
        Ok(Response::new(v1::ShowApprovalResponse { approval: Some(approval) }))
    }

    async fn decide_approval(
        &self,
        request: Request<v1::DecideApprovalRequest>,
    ) -> Result<Response<v1::DecideApprovalResponse>, Status> {
        let by = operator(&self.identity, &request, Role::ApprovalAdmin)?;
        let v1::DecideApprovalRequest { id, grant, reason, seen } = request.into_inner();
        let unseen = || ApprovalError::Malformed("`seen` is no digest of what was shown".into());
        let seen = Digest::try_from(seen.as_ref()).map_err(|_| unseen())?;
        let approvals = Arc::clone(&self.approvals);
        // Spawned: an order runs to its end even when this rpc is cancelled.
        let decided = tokio::spawn(async move { approvals.decide(&id, Order { by, grant, seen }, &reason).await }).await;
        let approval = decided.map_err(|_| Status::internal("the order failed; look with `agentgate approve show`"))??;
        Ok(Response::new(v1::DecideApprovalResponse { approval: Some(approval) }))
    }
}
