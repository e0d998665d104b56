//! Whether anybody listens where a server is said to be. It sends nothing, and a server that is not there yet is no fault.

use agentgate_e2e::now;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// For all servers together, names included: a person waits for this.
const WAIT: Duration = Duration::from_secs(1);

/// Those of `urls` at which nobody took a connection.
pub(crate) fn silent<'a>(urls: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let until = now() + WAIT;
    let asked: Vec<(&str, Receiver<()>)> = urls.map(|url| (url, asked(url))).collect();
    let is_silent = |reached: &Receiver<()>| reached.recv_timeout(until.saturating_duration_since(now())).is_err();
    asked.into_iter().filter(|(_, reached)| is_silent(reached)).map(|(url, _)| url).collect()
}

/// Hears of a connection, or of the end without one.
fn asked(url: &str) -> Receiver<()> {
    let (reached, asked) = mpsc::channel();
    let at = host_and_port(url);
    // A name may be looked up for longer than anybody waits.
    thread::spawn(move || {
        let Some(addresses) = at.and_then(|(host, port)| (host.as_str(), port).to_socket_addrs().ok()) else { return };
        for address in addresses {
            if TcpStream::connect_timeout(&address, WAIT).is_ok() {
                // Nobody may wait any more.
                let _ = reached.send(());
                return;
            }
        }
    });
    asked
}

/// What `agentgate envoy` has taken already.
fn host_and_port(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        Some(_) | None => (authority, if scheme == "https" { 443 } else { 80 }),
    };
    Some((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::{host_and_port, silent};
    use std::net::TcpListener;

    #[test]
    fn a_url_names_a_host_and_a_port() {
        for (url, wanted) in [
            ("http://127.0.0.1:8000/mcp", Some(("127.0.0.1", 8000))),
            ("http://[::1]:8000/mcp", Some(("::1", 8000))),
            ("http://[::1]/mcp", Some(("::1", 80))),
            ("https://files.example", Some(("files.example", 443))),
            ("http://files.example:x/", None),
            ("files.example", None),
        ] {
            assert_eq!(host_and_port(url), wanted.map(|(host, port)| (host.to_owned(), port)), "{url}");
        }
    }

    #[test]
    fn who_takes_no_connection_is_named() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let there = format!("http://{}/mcp", listener.local_addr().unwrap());
        let gone = format!("http://{}/mcp", TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap());
        assert_eq!(silent([there.as_str(), &gone].into_iter()), [gone.as_str()]);
    }
}
