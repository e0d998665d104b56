//! Where Envoy's configuration is read from: a file, or the admin port of a running Envoy. It changes nothing there.

use super::yaml::{self, Document};
use crate::failure::{Exit, Failure};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

/// A configuration larger than this is no plain Envoy's.
const BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// A person waits so long for a local port.
const ANSWER_S_MAX: u64 = 10;

/// What a running Envoy says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admin {
    pub(crate) config_dump: Document,
    pub(crate) server_info: Value,
    pub(crate) certs: Value,
    pub(crate) stats: String,
}

/// # Errors
/// It cannot be read, or is neither YAML nor JSON.
pub(crate) fn file(path: &Path) -> Result<Document, Failure> {
    let unreadable = |error| Failure::new(Exit::Local, format!("cannot read {}", path.display())).because(error);
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if usize::try_from(size).is_ok_and(|size| size > BYTES_MAX) {
        return Err(Failure::new(Exit::Local, format!("{} is larger than {BYTES_MAX} bytes", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    yaml::read(&text)
        .map_err(|error| Failure::new(Exit::Local, format!("{} is no configuration of Envoy", path.display())).because(error))
}

/// # Errors
/// Nobody is there, or it is no Envoy.
pub(crate) async fn admin(address: &str) -> Result<Admin, Failure> {
    let json = |path: &str, text: &str| {
        serde_json::from_str::<Value>(text).map_err(|error| nobody(address).because(io::Error::other(format!("{path}: {error}"))))
    };
    let config_dump = json("/config_dump", &fetched(address, "/config_dump?include_eds").await?)?;
    let server_info = json("/server_info", &fetched(address, "/server_info").await?)?;
    let certs = json("/certs", &fetched(address, "/certs").await?)?;
    let stats = fetched(address, "/stats?filter=wasm").await?;
    Ok(Admin { config_dump: Document { value: config_dump, lines: BTreeMap::new() }, server_info, certs, stats })
}

fn nobody(address: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("no Envoy's admin port answers at {address}"))
        .then("write it like http://127.0.0.1:9901; Envoy's configuration names it under `admin`")
}

async fn fetched(address: &str, path: &str) -> Result<String, Failure> {
    let answer = tokio::time::timeout(Duration::from_secs(ANSWER_S_MAX), get(address, path)).await;
    let late = || io::Error::other(format!("no answer within {ANSWER_S_MAX} s"));
    answer.map_err(|_| late()).and_then(|answer| answer).map_err(|error| nobody(address).because(error))
}

async fn get(address: &str, path: &str) -> io::Result<String> {
    let uri: Uri = address.parse().map_err(io::Error::other)?;
    if uri.scheme_str() != Some("http") {
        return Err(io::Error::other("it is no `http://` address"));
    }
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let tcp = tokio::net::TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.map_err(io::Error::other)?;
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let request = Request::get(path).header(HOST, authority).body(String::new()).map_err(io::Error::other)?;
    // It carries both directions, and ends with the answer.
    drop(tokio::spawn(connection));
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    if !response.status().is_success() {
        return Err(io::Error::other(format!("it answers {} to {path}", response.status())));
    }
    text(response.into_body()).await
}

async fn text(body: Incoming) -> io::Result<String> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            if bytes.len() + data.len() > BYTES_MAX {
                return Err(io::Error::other(format!("it says more than {BYTES_MAX} bytes")));
            }
            bytes.extend_from_slice(&data);
        }
    }
    String::from_utf8(bytes).map_err(io::Error::other)
}
