//! Stories about calls of a REST server: read again by their rule, recorded as the tool calls that they are.

use super::super::{Question, Undecided};
use super::Scene;
use crate::journal::Memory;
use agentgate_proto::v1::{self, Verdict};
use std::sync::Arc;

fn rule() -> v1::Rest {
    let field = |name: &str, of: &str| v1::RestField { name: name.into(), r#type: of.into(), required: false };
    v1::Rest {
        tool: "read_note".into(),
        method: "GET".into(),
        path: "/api/notes/{id:integer}".into(),
        query: vec![field("words", "string")],
        ..v1::Rest::default()
    }
}

impl Scene {
    fn rest(&self, counter: u64, path: &str, rest: v1::Rest) -> Question {
        let mut question = self.call(counter, "", "");
        let head = v1::Head { method: "GET".into(), path: path.to_owned().into(), headers: Vec::new() };
        question.ask = v1::Ask { head: Some(head), body: "".into(), versions: Vec::new(), rest: Some(rest), ..question.ask };
        question
    }
}

#[tokio::test]
async fn a_rest_call_is_read_by_its_rule_and_recorded_as_a_tools_call() {
    let scene = Scene::on(Arc::new(Memory::new())).await;
    let unmapped = v1::Rest::default();
    let other = v1::Rest { tool: "delete_note".into(), ..rule() };
    for (counter, path, rest, verdict, wanted) in [
        (1, "/api/notes/1", rule(), Verdict::Allow, "tools/call read_note rest "),
        (2, "/api/notes/1?words=a%20b", rule(), Verdict::Allow, "tools/call read_note rest "),
        (3, "/api/notes/1", other, Verdict::Deny, "tools/call delete_note rest "),
        (4, "/api/notes/one", rule(), Verdict::Deny, "   argument_type"),
        (5, "/api/notes/1?Words=a", rule(), Verdict::Deny, "   query"),
        (6, "/api/notes/1%2f2", rule(), Verdict::Deny, "   path_encoding"),
        (7, "/api/other", rule(), Verdict::Deny, "   unmapped_request"),
        (8, "/api/notes/1", unmapped, Verdict::Deny, "   unmapped_request"),
    ] {
        let question = scene.rest(counter, path, rest);
        assert_eq!(scene.decide.decide(&question).await.unwrap().verdict(), verdict, "{path}");
        let found = scene.decide.session.find(&question.call.digest()).await.unwrap().unwrap();
        let body = found.body.unwrap();
        assert_eq!(format!("{} {} {} {}", body.method, body.target, body.version, body.malformed), wanted, "{path}");
    }
}

#[tokio::test]
async fn a_rule_that_is_none_is_no_ask_and_another_rule_is_another_request() {
    let scene = Scene::on(Arc::new(Memory::new())).await;
    let broken = v1::Rest { path: "notes".into(), ..rule() };
    let answer = scene.decide.decide(&scene.rest(1, "/api/notes/1", broken)).await;
    assert!(matches!(answer, Err(Undecided::Unreadable(_))), "{answer:?}");
    scene.decide.decide(&scene.rest(2, "/api/notes/1", rule())).await.unwrap();
    let wider = v1::Rest { path: "/api/notes/{id}".into(), ..rule() };
    let answer = scene.decide.decide(&scene.rest(2, "/api/notes/1", wider)).await;
    assert!(matches!(answer, Err(Undecided::Reused)), "{answer:?}");
}
