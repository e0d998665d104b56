//! A tool server that keeps every byte that reached it and answers what the story says.
//! It judges nothing: what arrives is recorded before it is understood.

mod http1;
mod http2;
mod recorded;

use crate::{Broken, Doing, clock};
use std::fmt;
use std::mem;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use tokio::sync::{Semaphore, oneshot};

/// What the server speaks. It never guesses: the story knows what its Envoy was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// One request that arrived whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, Vec<u8>)>,
}

/// One answer, part by part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub parts: Vec<Part>,
    pub trailers: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Bytes(Vec<u8>),
    /// Goes on at the story's `release`.
    Wait,
    /// The connection is closed here, in the middle.
    Cut,
}

type Script = dyn Fn(&Arrived) -> Reply + Send + Sync;

/// What server and story share.
#[derive(Clone)]
struct Shared {
    script: Arc<Script>,
    bytes: Arc<Mutex<Vec<u8>>>,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    releases: Arc<Semaphore>,
}

/// The server, as the story sees it. It ends when this is dropped.
pub struct Upstream {
    pub address: SocketAddr,
    shared: Shared,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Reply ===

impl Reply {
    #[must_use]
    pub fn json(body: impl Into<String>) -> Self {
        Self::new("application/json", [Part::Bytes(body.into().into_bytes())])
    }

    /// An event stream of these parts.
    #[must_use]
    pub fn events(parts: impl Into<Vec<Part>>) -> Self {
        Self::new("text/event-stream", parts)
    }

    #[must_use]
    pub fn new(content_type: &str, parts: impl Into<Vec<Part>>) -> Self {
        let headers = vec![("content-type".into(), content_type.into())];
        Self { status: 200, headers, parts: parts.into(), trailers: Vec::new() }
    }

    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.into(), value.into()));
        self
    }
}

// === impl Part ===

impl Part {
    /// One server-sent event that carries this message.
    #[must_use]
    pub fn event(message: &str) -> Self {
        Self::Bytes(format!("event: message\ndata: {message}\n\n").into_bytes())
    }
}

// === impl Arrived ===

impl Arrived {
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<String> {
        let named = self.headers.iter().filter(|(n, _)| n == name);
        named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

// === impl Upstream ===

impl Upstream {
    /// Listens on a free port.
    ///
    /// # Errors
    /// No port, or no thread.
    pub fn start(protocol: Protocol, script: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Result<Self, Broken> {
        let listener = TcpListener::bind("127.0.0.1:0").doing("a port for the recording server")?;
        listener.set_nonblocking(true).doing("a port for the recording server")?;
        let address = listener.local_addr().doing("a port for the recording server")?;
        let shared = Shared {
            script: Arc::new(script),
            bytes: Arc::default(),
            arrived: Arc::default(),
            releases: Arc::new(Semaphore::new(0)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("a runtime")?;
        let (end, ended) = oneshot::channel();
        let served = shared.clone();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, protocol, served) => {}
                    _ = ended => {}
                }
            });
        });
        Ok(Self { address, shared, end: Some(end), thread: Some(thread) })
    }

    /// Every byte that reached this server, on whatever connection.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        held(&self.shared.bytes).clone()
    }

    /// Every request that arrived whole.
    #[must_use]
    pub fn arrived(&self) -> Vec<Arrived> {
        held(&self.shared.arrived).clone()
    }

    /// What has arrived since the last time, requests and bytes.
    pub fn take(&self) -> (Vec<Arrived>, Vec<u8>) {
        (mem::take(&mut *held(&self.shared.arrived)), mem::take(&mut *held(&self.shared.bytes)))
    }

    /// Waits until this many requests have arrived.
    ///
    /// # Errors
    /// They never did.
    pub fn until_arrived(&self, count: usize) -> Result<Vec<Arrived>, Broken> {
        clock::eventually(format_args!("{count} requests at the upstream"), || {
            let arrived = self.arrived();
            (arrived.len() >= count).then_some(arrived)
        })
    }

    /// Lets one waiting answer go on.
    pub fn release(&self) {
        self.shared.releases.add_permits(1);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            // An error says that it has ended by itself.
            let _ended = end.send(());
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Upstream").field("address", &self.address).finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    /// Keeps the request and says what to answer.
    fn take(&self, request: Arrived) -> Reply {
        let reply = (self.script)(&request);
        held(&self.arrived).push(request);
        reply
    }

    async fn released(&self) {
        if let Ok(permit) = self.releases.acquire().await {
            permit.forget();
        }
    }
}

fn held<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, protocol: Protocol, shared: Shared) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((socket, _)) = listener.accept().await {
        let recorded = recorded::Recorded::new(socket, Arc::clone(&shared.bytes));
        let shared = shared.clone();
        match protocol {
            Protocol::Http1 => drop(tokio::spawn(http1::serve(recorded, shared))),
            Protocol::Http2 => drop(tokio::spawn(http2::serve(recorded, shared))),
        }
    }
}
