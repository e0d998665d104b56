//! The gRPC edge of status. Its listener lets only operators through.

use super::Status;
use agentgate_proto::v1;
use std::sync::Arc;
use tonic::{Request, Response};

#[derive(Clone, Debug)]
pub struct StatusRpc(pub Arc<Status>);

#[tonic::async_trait]
impl v1::status_server::Status for StatusRpc {
    async fn show_status(&self, _: Request<v1::ShowStatusRequest>) -> Result<Response<v1::ShowStatusResponse>, tonic::Status> {
        Ok(Response::new(self.0.show_with_log().await))
    }
}
