//! Every rpc of every service against everybody who may not call it. The list comes from the descriptors: a new rpc without
//! a row here fails.

use crate::world::{DAY, World, authority, certificate, connect};
use agentgate_core::time::Time;
use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Filters,
    Operators,
}

/// Envoy's own service, of which there are no descriptors here.
const AUTHZ: &str = "/envoy.service.auth.v3.Authorization/Check";

const ROWS: &[(&str, For)] = &[
    (AUTHZ, For::Filters),
    ("/agentgate.v1.Gate/Converse", For::Filters),
    ("/agentgate.v1.Gate/Decide", For::Filters),
    ("/agentgate.v1.Trace/ListTraces", For::Operators),
    ("/agentgate.v1.Trace/ShowTrace", For::Operators),
    ("/agentgate.v1.Trace/TailTraces", For::Operators),
    ("/agentgate.v1.Status/ShowStatus", For::Operators),
    ("/agentgate.v1.Control/Kill", For::Operators),
    ("/agentgate.v1.Control/Resume", For::Operators),
    ("/agentgate.v1.Control/SetMode", For::Operators),
    ("/agentgate.v1.Control/ListOrders", For::Operators),
    ("/agentgate.v1.Policy/LearnTools", For::Operators),
    ("/agentgate.v1.Policy/ShowImpact", For::Operators),
    ("/agentgate.v1.Policy/ExplainCall", For::Operators),
    ("/agentgate.v1.Approvals/ListApprovals", For::Operators),
    ("/agentgate.v1.Approvals/ShowApproval", For::Operators),
    ("/agentgate.v1.Approvals/DecideApproval", For::Operators),
    ("/agentgate.v1.Evidence/ProveRecord", For::Operators),
    ("/agentgate.v1.Evidence/ReadLogFiles", For::Operators),
    ("/agentgate.v1.Evidence/GatherEvidence", For::Operators),
    ("/agentgate.v1.Evidence/OpenEvidence", For::Operators),
    ("/agentgate.v1.Evidence/SignEvidence", For::Operators),
    ("/agentgate.v1.Retention/PlaceHold", For::Operators),
    ("/agentgate.v1.Retention/LiftHold", For::Operators),
    ("/agentgate.v1.Retention/ListHolds", For::Operators),
    ("/agentgate.v1.Retention/Purge", For::Operators),
    ("/agentgate.v1.Transparency/ShowLog", For::Operators),
    ("/agentgate.v1.Transparency/ProveInclusion", For::Operators),
    ("/agentgate.v1.Transparency/ProveConsistency", For::Operators),
    ("/grpc.health.v1.Health/Check", For::Operators),
    ("/grpc.health.v1.Health/Watch", For::Operators),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", For::Operators),
];

fn rpcs() -> Vec<String> {
    let sets =
        [agentgate_proto::DESCRIPTORS, tonic_health::pb::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET];
    let files = sets.into_iter().flat_map(|set| prost_types::FileDescriptorSet::decode(set).unwrap().file);
    let mut rpcs = vec![AUTHZ.to_owned()];
    for file in files {
        for service in &file.service {
            for method in &service.method {
                rpcs.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    rpcs.retain(|rpc| rpc != "/grpc.health.v1.Health/List");
    rpcs
}

/// Calls an rpc with one empty message, and gives what it said: Ok also when only its beginning was.
async fn call(channel: Channel, path: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unknown(format!("{error:?}")))?;
    let messages = Request::new(tokio_stream::iter([Bytes::new()]));
    let mut answers = client.streaming(messages, path.parse().unwrap(), Raw).await?.into_inner();
    let first = tokio::time::timeout(Duration::from_millis(500), answers.message()).await;
    first.map_or(Ok(()), |message| message.map(|_| ()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_is_refused_to_everybody_but_its_own() {
    let rows: BTreeMap<&str, For> = ROWS.iter().copied().collect();
    let rpcs = rpcs();
    for rpc in &rpcs {
        assert!(rows.contains_key(rpc.as_str()), "`{rpc}` has no row: who may call it?");
    }
    assert_eq!(rpcs.len(), rows.len(), "a row without an rpc");

    let world = World::new().await;
    let now = world.clock.now();
    let stranger = tempfile::tempdir().unwrap();
    authority(stranger.path(), now);
    certificate(stranger.path(), "filter/laptop", now, DAY);
    certificate(stranger.path(), "operator/me", now, DAY);
    let expired = tempfile::tempdir().unwrap();
    for file in ["authority.pem", "authority.key"] {
        std::fs::copy(world.path().join(file), expired.path().join(file)).unwrap();
    }
    let yesterday = Time::from_micros(now.micros() - 86_400_000_000);
    certificate(expired.path(), "filter/laptop", yesterday, Duration::from_secs(3_600));
    certificate(expired.path(), "operator/me", yesterday, Duration::from_secs(3_600));

    for rpc in rpcs {
        let whose = rows[rpc.as_str()];
        let (to, own, foreign, list) = match whose {
            For::Filters => (world.running.filters, "filter-laptop", "operator-me", "[[filter]]"),
            For::Operators => (world.running.operators, "operator-me", "filter-laptop", "[[operator]]"),
        };
        for (who, identity) in
            [("nobody", None), ("a stranger", Some((stranger.path(), own))), ("an expired one", Some((expired.path(), own)))]
        {
            // The handshake's refusal reaches a TLS 1.3 client with its first request.
            if let Ok(channel) = connect(to, identity, world.path()).await {
                let status = call(channel, &rpc).await.expect_err(who);
                assert!(
                    matches!(status.code(), Code::Unknown | Code::Unavailable | Code::Cancelled),
                    "{rpc} for {who}: {status:?}"
                );
            }
        }
        for (file, name) in [("agent-laptop", "agent/laptop"), (foreign, &foreign.replace('-', "/"))] {
            let channel = connect(to, Some((world.path(), file)), world.path()).await.unwrap();
            let status = call(channel, &rpc).await.expect_err(name);
            assert_eq!(status.code(), Code::PermissionDenied, "{rpc} for {name}: {status:?}");
            let says = format!("`spiffe://agentgate.local/{name}` is not");
            assert!(status.message().contains(&says) && status.message().contains(list), "{rpc}: {}", status.message());
        }
        let channel = connect(to, Some((world.path(), own)), world.path()).await.unwrap();
        if let Err(status) = call(channel, &rpc).await {
            let served = !matches!(
                status.code(),
                Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented | Code::Unavailable
            );
            assert!(served, "{rpc} for its own: {status:?}");
        }
    }
}

/// Bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }
}
