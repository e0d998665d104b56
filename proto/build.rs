//! Compiles the contract without protoc, and leaves its descriptors for reflection.

use std::path::PathBuf;
use std::{env, error::Error, fs};

use prost::Message as _;

const FILES: [&str; 10] = [
    "agentgate/v1/approval.proto",
    "agentgate/v1/control.proto",
    "agentgate/v1/evidence.proto",
    "agentgate/v1/gate.proto",
    "agentgate/v1/policy.proto",
    "agentgate/v1/record.proto",
    "agentgate/v1/retention.proto",
    "agentgate/v1/status.proto",
    "agentgate/v1/trace.proto",
    "agentgate/v1/transparency.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let grpc = env::var_os("CARGO_FEATURE_GRPC").is_some();
    tonic_prost_build::configure().build_client(grpc).build_server(grpc).bytes(".agentgate.v1").compile_fds(descriptors)?;
    Ok(())
}
