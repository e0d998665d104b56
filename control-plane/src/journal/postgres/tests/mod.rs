//! What only a real database can show.

use super::{Postgres, Settings};
use crate::clock::Clock;
use agentgate_e2e::postgres::Postgres as Server;

/// A journal in a new database of the shared server.
pub(in crate::journal) async fn fresh() -> Postgres {
    let server = Server::shared().unwrap();
    let database = server.database().unwrap();
    Postgres::open(Settings::new(server.url(&database), Clock::system())).await.unwrap()
}
