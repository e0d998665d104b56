//! The gRPC edge of orders: wire in, wire out. Each rpc says which role it takes.

use super::{Ack, Control, OrderError, Ordered};
use crate::config::Role;
use crate::identity::{Identity, rpc::operator};
use agentgate_core::id::Server;
use agentgate_proto::order::{mode_from_wire, mode_to_wire, target_from_wire, target_to_wire, tool_from_wire};
use agentgate_proto::v1;
use std::collections::BTreeSet;
use std::sync::Arc;
use tonic::{Request, Response, Status};

#[derive(Clone, Debug)]
pub struct ControlRpc {
    pub control: Arc<Control>,
    pub identity: Arc<Identity>,
}

#[tonic::async_trait]
impl v1::control_server::Control for ControlRpc {
    async fn kill(&self, request: Request<v1::KillRequest>) -> Result<Response<v1::OrderResponse>, Status> {
        let by = operator(&self.identity, &request, Role::IncidentAdmin)?;
        let v1::KillRequest { target, reason } = request.into_inner();
        let target = target_from_wire(target.as_ref()).map_err(malformed)?;
        let control = Arc::clone(&self.control);
        to_its_end(async move { control.kill(target, &reason, &by).await }).await
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Result<Response<v1::OrderResponse>, Status> {
        let by = operator(&self.identity, &request, Role::IncidentAdmin)?;
        let v1::ResumeRequest { target, reason } = request.into_inner();
        let target = target_from_wire(target.as_ref()).map_err(malformed)?;
        let control = Arc::clone(&self.control);
        to_its_end(async move { control.resume(target, &reason, &by).await }).await
    }

    async fn set_mode(&self, request: Request<v1::SetModeRequest>) -> Result<Response<v1::OrderResponse>, Status> {
        let by = operator(&self.identity, &request, Role::PolicyAdmin)?;
        let message = request.into_inner();
        let server = Server::try_from(message.server.as_str()).map_err(malformed)?;
        let tool = tool_from_wire(&message.tool).map_err(malformed)?;
        if !self.identity.servers().any(|known| *known == server) {
            let known: BTreeSet<&str> = self.identity.servers().map(Server::as_str).collect();
            let known: Vec<&str> = known.into_iter().collect();
            let why =
                format!("no [[filter]] of the configuration may ask for the server `{server}`; known are {}", known.join(", "));
            return Err(OrderError::Malformed(why).into());
        }
        let mode = v1::Mode::try_from(message.mode).map_err(malformed)?;
        let (control, reason) = (Arc::clone(&self.control), message.reason);
        to_its_end(async move { control.set_mode(server, tool, mode_from_wire(mode), &reason, &by).await }).await
    }

    async fn list_orders(&self, _: Request<v1::ListOrdersRequest>) -> Result<Response<v1::ListOrdersResponse>, Status> {
        let now = self.control.now();
        Ok(Response::new(v1::ListOrdersResponse { kills: kill_orders(&now), modes: mode_orders(&now) }))
    }
}

/// Spawned: an order runs to its end even when its rpc is cancelled, or nobody would know what is in force.
async fn to_its_end(
    order: impl Future<Output = Result<Ack, OrderError>> + Send + 'static,
) -> Result<Response<v1::OrderResponse>, Status> {
    let ack = tokio::spawn(order).await.map_err(|_| Status::internal("the order failed; look with `agentgate status`"))??;
    Ok(Response::new(ack.into()))
}

pub(crate) fn kill_orders(now: &super::Now) -> Vec<v1::KillOrder> {
    let order = |(target, order): (&agentgate_core::kill::KillTarget, &Ordered)| v1::KillOrder {
        target: Some(target_to_wire(target)),
        reason: order.reason.clone(),
        by: order.by.clone(),
        at_us: order.at.micros(),
        sequence: order.sequence,
    };
    now.kills.iter().map(order).collect()
}

pub(crate) fn mode_orders(now: &super::Now) -> Vec<v1::ModeOrder> {
    let order = |((server, tool), order): (&(Server, Option<String>), &Ordered)| v1::ModeOrder {
        server: server.to_string(),
        tool: tool.clone().unwrap_or_default(),
        mode: mode_to_wire(now.modes.ordered(server, tool.as_deref())).into(),
        reason: order.reason.clone(),
        by: order.by.clone(),
        at_us: order.at.micros(),
        sequence: order.sequence,
    };
    now.ordered_modes.iter().map(order).collect()
}

fn malformed(error: impl std::fmt::Display) -> Status {
    OrderError::Malformed(error.to_string()).into()
}

impl From<Ack> for v1::OrderResponse {
    fn from(ack: Ack) -> Self {
        Self { sequence: ack.sequence, epoch: ack.epoch, changed: ack.changed }
    }
}
