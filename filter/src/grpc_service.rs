//! Envoy's name for a gRPC upstream, as the host wants it: a serialised `envoy.config.core.v3.GrpcService`.
//!
//! A bare cluster name must never reach the host: it first parses the bytes as this message, and a cluster that was
//! named `agentgate` ended the whole Envoy process.

use agentgate_core::config::CLUSTER_BYTES_MAX;
use prost::Message as _;

#[derive(Clone, PartialEq, prost::Message)]
struct GrpcService {
    #[prost(message, optional, tag = "1")]
    envoy_grpc: Option<EnvoyGrpc>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EnvoyGrpc {
    #[prost(string, tag = "1")]
    cluster_name: String,
}

/// None when the name is empty or too long: an empty one would match a cluster of any kind.
#[must_use]
#[cfg_attr(not(any(test, target_family = "wasm")), expect(dead_code, reason = "only the host opens streams"))]
pub(crate) fn encode(cluster: &str) -> Option<String> {
    if cluster.is_empty() || cluster.len() > CLUSTER_BYTES_MAX {
        return None;
    }
    let service = GrpcService { envoy_grpc: Some(EnvoyGrpc { cluster_name: cluster.to_owned() }) };
    String::from_utf8(service.encode_to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn a_cluster_name_never_travels_bare() {
        assert_eq!(encode("agentgate").unwrap(), "\n\u{b}\n\tagentgate");
        assert_eq!(encode(""), None);
        assert!(encode(&"c".repeat(100)).is_some());
        assert_eq!(encode(&"c".repeat(101)), None);
    }
}
