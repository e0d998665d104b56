//! One conversation with the control plane as a filter has it: mutual TLS, HTTP/2, length-prefixed messages. It knows no call.

use crate::{Broken, Certificate, Certificates, Doing};
use agentgate_proto::v1::converse_request::Message as Said;
use agentgate_proto::v1::converse_response::Message as Heard;
use agentgate_proto::v1::{ConverseRequest, ConverseResponse};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::Request;
use prost::Message as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// Not compressed, then the length.
const PREFIX_BYTES: usize = 5;

/// Who we are and whom we trust.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

pub(crate) struct Conversation {
    saying: h2::SendStream<Bytes>,
    hearing: Hearing,
    connection: JoinHandle<()>,
    received: BytesMut,
}

/// The answer's head comes with its first message at the latest.
enum Hearing {
    Head(h2::client::ResponseFuture),
    Body(h2::RecvStream),
}

// === impl Tls ===

impl Tls {
    pub(crate) fn new(own: &Certificate, certificates: &Certificates) -> Result<Self, Broken> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificates.authority()).doing("the authority")?).doing("the authority")?;
        let chain = vec![CertificateDer::from_pem_file(&own.certificate).doing("a certificate")?];
        let key = PrivateKeyDer::from_pem_file(&own.key).doing("a key")?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .doing("TLS")?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .doing("TLS")?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

// === impl Conversation ===

impl Conversation {
    pub(crate) async fn open(control_plane: SocketAddr, tls: &Tls) -> Result<Self, Broken> {
        let socket = TcpStream::connect(control_plane).await.doing(control_plane)?;
        socket.set_nodelay(true).doing(control_plane)?;
        let name = ServerName::try_from("localhost").doing("a name")?;
        let socket = tls.0.connect(name, socket).await.doing("the handshake")?;
        let (client, connection) = h2::client::handshake(socket).await.doing("HTTP/2")?;
        // Its end shows in the stream's.
        let connection = tokio::spawn(async move { drop(connection.await) });
        let mut client = client.ready().await.doing("HTTP/2")?;
        let head = Request::post("https://localhost/agentgate.v1.Gate/Converse")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .doing("a head")?;
        let (answer, saying) = client.send_request(head, false).doing("a conversation")?;
        Ok(Self { saying, hearing: Hearing::Head(answer), connection, received: BytesMut::new() })
    }

    pub(crate) fn say(&mut self, message: Said) -> Result<(), Broken> {
        let message = ConverseRequest { message: Some(message) };
        let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + message.encoded_len());
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(message.encoded_len()).doing("a message's length")?);
        message.encode(&mut bytes).doing("a message")?;
        self.saying.send_data(bytes.freeze(), false).doing("saying")
    }

    /// The next message that is one; none: the other side has ended it.
    pub(crate) async fn hear(&mut self) -> Result<Option<Heard>, Broken> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(Some(message));
            }
            match &mut self.hearing {
                Hearing::Head(answer) => self.hearing = Hearing::Body(answer.await.doing("the answer's head")?.into_body()),
                Hearing::Body(body) => {
                    let Some(piece) = body.data().await else { return Ok(None) };
                    let piece = piece.doing("hearing")?;
                    body.flow_control().release_capacity(piece.len()).doing("hearing")?;
                    self.received.extend_from_slice(&piece);
                }
            }
        }
    }

    fn whole(&mut self) -> Result<Option<Heard>, Broken> {
        while let Some(mut prefix) = self.received.get(1..PREFIX_BYTES) {
            let length = prefix.get_u32() as usize;
            if self.received.len() < PREFIX_BYTES + length {
                return Ok(None);
            }
            self.received.advance(PREFIX_BYTES);
            let message = self.received.split_to(length).freeze();
            if let Some(message) = ConverseResponse::decode(message).doing("a message")?.message {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tls").finish_non_exhaustive()
    }
}
