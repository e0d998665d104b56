//! The recording server's HTTP/1.1: requests one after the other, as Envoy sends them. It accepts whatever it can find an end of.

use super::recorded::Recorded;
use super::{Arrived, Part, Reply, Shared};
use std::io;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

pub(super) async fn serve(socket: Recorded, shared: Shared) {
    let mut reader = BufReader::new(socket);
    // A connection that breaks has said all that it will.
    while let Ok(Some(request)) = read(&mut reader).await {
        let reply = shared.take(request);
        if write(&mut reader, &reply, &shared).await.is_err() {
            return;
        }
    }
}

async fn read(reader: &mut BufReader<Recorded>) -> io::Result<Option<Arrived>> {
    let first = line(reader).await?;
    let mut words = first.splitn(3, |byte| *byte == b' ').map(text);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let mut request = Arrived { method, path, headers: fields(reader).await?, ..Arrived::default() };
    if request.values("expect").iter().any(|value| value == "100-continue") {
        reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    if request.values("transfer-encoding").iter().any(|value| value.contains("chunked")) {
        chunks(reader, &mut request).await?;
    } else if let Some(length) = request.values("content-length").first().and_then(|value| value.parse().ok()) {
        reader.take(length).read_to_end(&mut request.body).await?;
    }
    Ok(Some(request))
}

async fn chunks(reader: &mut BufReader<Recorded>, request: &mut Arrived) -> io::Result<()> {
    loop {
        let size = text(&line(reader).await?);
        let size = u64::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        if size == 0 {
            request.trailers = fields(reader).await?;
            return Ok(());
        }
        reader.take(size).read_to_end(&mut request.body).await?;
        line(reader).await?;
    }
}

async fn write(reader: &mut BufReader<Recorded>, reply: &Reply, shared: &Shared) -> io::Result<()> {
    let socket = reader.get_mut();
    let whole = matches!(reply.parts.as_slice(), [Part::Bytes(_)] | []) && reply.trailers.is_empty();
    let mut head = format!("HTTP/1.1 {} -\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if whole {
        let length: usize = reply.parts.iter().map(|part| if let Part::Bytes(bytes) = part { bytes.len() } else { 0 }).sum();
        head += &format!("content-length: {length}\r\n\r\n");
    } else {
        head += "transfer-encoding: chunked\r\n\r\n";
    }
    socket.write_all(head.as_bytes()).await?;
    for part in &reply.parts {
        match part {
            Part::Bytes(bytes) if whole => socket.write_all(bytes).await?,
            Part::Bytes(bytes) => {
                socket.write_all(&[format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()).await?;
            }
            Part::Wait => shared.released().await,
            Part::Cut => return Err(io::Error::other("the story cuts it here")),
        }
    }
    if !whole {
        let trailers = reply.trailers.iter().fold(String::new(), |all, (name, value)| all + &format!("{name}: {value}\r\n"));
        socket.write_all(format!("0\r\n{trailers}\r\n").as_bytes()).await?;
    }
    socket.flush().await
}

async fn fields(reader: &mut BufReader<Recorded>) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(reader).await?;
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else { return Ok(fields) };
        fields.push((text(name).to_lowercase(), value.trim_ascii().to_vec()));
    }
}

async fn line(reader: &mut BufReader<Recorded>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).await?;
    Ok(line.trim_ascii_end().to_vec())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
