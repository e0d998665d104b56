//! Stories about a call that one replica decided and another one is told of at once, on a real PostgreSQL.

use super::super::report::Reporter;
use super::*;
use crate::journal::postgres::{Postgres, Settings};
use agentgate_e2e::postgres::Postgres as Server;

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_on_record_that_another_replica_than_its_calls_acknowledged() {
    let server = Server::shared().unwrap();
    let database = server.database().unwrap();
    let open = async || {
        let journal = Postgres::open(Settings::new(server.url(&database), Clock::system())).await.unwrap();
        let scene = Scene::on(Arc::new(journal)).await;
        scene.decide.session.follow();
        scene
    };
    let (one, other) = (open().await, open().await);
    for counter in 1..=20 {
        assert_eq!(one.decide.decide(&one.question(counter)).await.unwrap().verdict(), v1::Verdict::Allow);
        let (filter, call) = (other.question(counter).filter, other.question(counter).call.digest());
        let outcome = v1::Outcome { kind: v1::OutcomeKind::Completed.into(), ..v1::Outcome::default() };
        let entry = v1::Entry { counter, what: Some(v1::entry::What::Outcome(outcome)), ..v1::Entry::default() };
        assert!(other.decide.report(&Reporter { filter, epoch: Epoch([1; 16]) }, entry).await);
        for scene in [&one, &other] {
            assert!(scene.decide.session.find(&call).await.unwrap().is_some(), "{counter}");
            assert!(scene.decide.session.reported(&call).await.unwrap().is_some(), "{counter}");
        }
    }
}
