//! A client that keeps to nobody's limits but its own: frames of HTTP/2 written by hand.

use crate::world::{PATIENCE, World, shake_hands, tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;

const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;

/// The code with which a stream beyond the announced number is refused.
pub(crate) const REFUSED_STREAM: u32 = 7;

pub(crate) struct Raw(TlsStream<TcpStream>);

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Became {
    Answered,
    Reset { code: u32 },
}

// === impl Raw ===

impl Raw {
    pub(crate) async fn connect(world: &World) -> Self {
        let connected = TcpStream::connect(world.running.filters).await.unwrap();
        let mut stream = shake_hands(&tls(Some((world.path(), "filter-laptop")), world.path()), connected).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut raw = Self(stream);
        raw.write(SETTINGS, 0, 0, &[]).await;
        raw
    }

    /// Begins a conversation and leaves it open.
    pub(crate) async fn open(&mut self, stream: u32) {
        // POST and http stand in HPACK's static table; the rest is written out.
        let mut head = vec![0x83, 0x86];
        for (name, value) in [
            (&b"\x04"[..], "/agentgate.v1.Gate/Converse"),
            (&b"\x01"[..], "localhost"),
            (&b"\x0f\x10"[..], "application/grpc"),
            (&b"\x00\x02te"[..], "trailers"),
        ] {
            head.extend_from_slice(name);
            head.push(u8::try_from(value.len()).unwrap());
            head.extend_from_slice(value.as_bytes());
        }
        self.write(HEADERS, END_HEADERS, stream, &head).await;
    }

    pub(crate) async fn cancel(&mut self, stream: u32) {
        self.write(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()).await;
    }

    /// The next stream that was answered or reset.
    pub(crate) async fn next(&mut self) -> (u32, Became) {
        loop {
            let mut head = [0; 9];
            self.read(&mut head).await;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let mut payload = vec![0; length as usize];
            self.read(&mut payload).await;
            match head[3] {
                HEADERS => return (stream, Became::Answered),
                RST_STREAM => return (stream, Became::Reset { code: u32::from_be_bytes(payload.try_into().unwrap()) }),
                _ => {}
            }
        }
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.0.write_all(&frame).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn read(&mut self, into: &mut [u8]) {
        tokio::time::timeout(PATIENCE, self.0.read_exact(into)).await.unwrap().unwrap();
    }
}
