//! The gRPC edge of ext_authz: Envoy's messages in, Envoy's messages out. What it cannot say in them it refuses.

use super::request::Request;
use super::{Answer, Decide};
use crate::identity::{Identity, Peer, Refused};
use agentgate_core::id::{CallId, Epoch};
use agentgate_core::reply::Reply;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::{HttpStatus, StatusCode};
use envoy_types::pb::google::rpc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::task::TaskTracker;
use tonic::{Code, Response, Status};

#[derive(Clone, Debug)]
pub struct AuthzRpc {
    pub decide: Arc<Decide>,
    pub identity: Arc<Identity>,
    /// New for each life of this process: Envoy has no name for its requests that a client could not choose.
    pub epoch: Epoch,
    pub asked: Arc<AtomicU64>,
    /// What runs to its end whether anybody waits for it or not.
    pub under_way: TaskTracker,
}

#[tonic::async_trait]
impl Authorization for AuthzRpc {
    async fn check(&self, request: tonic::Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let peer = request.extensions().get::<Arc<Peer>>().cloned().ok_or(Refused::Nobody)?;
        let filter = self.identity.filter(&peer)?;
        let counter = self.asked.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let call = CallId { asker: filter.identity.clone(), epoch: self.epoch, counter };
        let (decide, request) = (Arc::clone(&self.decide), of_wire(request.into_inner()));
        // Spawned: a decision runs to its end even when Envoy does not wait for it.
        let answer = self.under_way.spawn(async move { decide.check(filter, call, request).await });
        let answer = answer.await.map_err(|_| Status::internal("the decision failed; the call is not let through"))?;
        Ok(Response::new(to_wire(answer)))
    }
}

fn of_wire(request: CheckRequest) -> Request {
    let attributes = request.attributes.unwrap_or_default();
    let http = attributes.request.and_then(|request| request.http).unwrap_or_default();
    let bytes = |header: HeaderValue| {
        let value = if header.raw_value.is_empty() { header.value.into_bytes() } else { header.raw_value };
        (header.key.into_bytes(), value)
    };
    let HeaderMap { headers } = http.header_map.unwrap_or_default();
    Request {
        extensions: attributes.context_extensions,
        peer: attributes.source.map(|source| source.principal).unwrap_or_default(),
        headers: headers.into_iter().map(bytes).collect(),
        body: if http.raw_body.is_empty() { http.body.into_bytes() } else { http.raw_body },
    }
}

fn to_wire(answer: Answer) -> CheckResponse {
    match answer {
        Answer::Observed => said(Code::Ok, HttpResponse::OkResponse(OkHttpResponse::default())),
        Answer::Released { remove } => {
            // One verdict is one execution, whatever the route's retry policy says.
            let headers = vec![header("x-envoy-max-retries", "0")];
            let on = OkHttpResponse { headers, headers_to_remove: remove, ..OkHttpResponse::default() };
            said(Code::Ok, HttpResponse::OkResponse(on))
        }
        Answer::Refused(reply) => said(Code::PermissionDenied, HttpResponse::DeniedResponse(denied(reply))),
    }
}

fn denied(reply: Reply) -> DeniedHttpResponse {
    // Envoy knows some statuses by name, and refuses a message with another one.
    let code = StatusCode::try_from(i32::from(reply.http_status)).unwrap_or(StatusCode::ServiceUnavailable);
    let mut headers = vec![header("content-type", "application/json")];
    headers.extend(reply.retry_after_s.map(|seconds| header("retry-after", seconds)));
    // It is ours, and JSON.
    let body = String::from_utf8(reply.body).unwrap_or_default();
    DeniedHttpResponse { status: Some(HttpStatus { code: code.into() }), headers, body }
}

fn header(name: &str, value: &str) -> HeaderValueOption {
    let header = HeaderValue { key: name.into(), value: value.into(), ..HeaderValue::default() };
    let append_action = HeaderAppendAction::OverwriteIfExistsOrAdd.into();
    HeaderValueOption { header: Some(header), append_action, ..HeaderValueOption::default() }
}

fn said(code: Code, response: HttpResponse) -> CheckResponse {
    let status = rpc::Status { code: code.into(), ..rpc::Status::default() };
    CheckResponse { status: Some(status), http_response: Some(response), ..CheckResponse::default() }
}
