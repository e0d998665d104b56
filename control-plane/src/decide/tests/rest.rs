//! Stories about calls of a REST server: read again by their rule, recorded as the tool calls that they are.

use super::super::{Question, Undecided};
use super::Scene;
use crate::journal::Memory;
use agentgate_core::approval::{Order, shown_digest};
use agentgate_core::id::SpiffeId;
use agentgate_proto::v1::{self, Verdict};
use prost::Message as _;
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
        self.rest_by(counter, ("GET", ""), path, rest)
    }

    /// Of this method of HTTP, for this host.
    fn rest_by(&self, counter: u64, (method, host): (&str, &str), path: &str, rest: v1::Rest) -> Question {
        let mut question = self.call(counter, "", "");
        let hosts = (!host.is_empty()).then(|| v1::Header { name: "host".into(), value: host.to_owned().into() });
        let (method, path) = (method.to_owned().into(), path.to_owned().into());
        let head = v1::Head { method, path, headers: hosts.into_iter().collect() };
        question.ask = v1::Ask { head: Some(head), body: "".into(), versions: Vec::new(), rest: Some(rest), ..question.ask };
        question
    }
}

impl Scene {
    /// What the approver was shown who granted it.
    async fn granted_rest(&self, id: &str) -> v1::ApprovalRequest {
        let shown = self.approvals.show(id).await.unwrap();
        let by = SpiffeId::try_from("spiffe://a/operator/boss").unwrap();
        let order = Order { by, grant: true, seen: shown_digest(&shown.request) };
        self.approvals.decide(id, order, "because").await.unwrap();
        v1::ApprovalRequest::decode(shown.request).unwrap()
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

/// One tool in several rules stays one tool, and its calls are told apart all the same.
#[tokio::test]
async fn a_grant_is_for_one_method_host_and_path_of_a_tool_that_has_several() {
    let scene = Scene::on(Arc::new(Memory::new())).await;
    let rule = |method: &str, host: &str, path: &str, query: Vec<v1::RestField>| v1::Rest {
        tool: "add_note".into(),
        method: method.into(),
        host: host.into(),
        path: path.into(),
        query,
        ..v1::Rest::default()
    };
    let title = || v1::RestField { name: "title".into(), r#type: "string".into(), required: true };
    let put = |host: &str| rule("PUT", host, "/api/notes/{title}", Vec::new());
    let granted = ("PUT", "a.example", "/api/notes/x");
    let asked = scene.decide.decide(&scene.rest_by(1, (granted.0, granted.1), granted.2, put(""))).await.unwrap();
    let shown = scene.granted_rest(&asked.approval).await;
    assert_eq!((shown.http_method.as_str(), shown.host.as_str(), shown.path.as_str()), granted);
    for (counter, method, host, path, rest) in [
        (2, "DELETE", "a.example", "/api/notes/x", rule("DELETE", "", "/api/notes/{title}", Vec::new())),
        (3, "PUT", "b.example", "/api/notes/x", put("")),
        (4, "PUT", "a.example:8080", "/api/notes/x", put("a.example")),
        (5, "PUT", "", "/api/notes/x", put("")),
        (6, "POST", "a.example", "/api/purge?title=x", rule("POST", "", "/api/purge", vec![title()])),
    ] {
        let answer = scene.decide.decide(&scene.rest_by(counter, (method, host), path, rest)).await.unwrap();
        assert_eq!(answer.verdict(), Verdict::Pending, "{method} {host} {path}");
        assert_ne!(answer.approval, asked.approval, "{method} {host} {path}");
    }
    let again = scene.decide.decide(&scene.rest_by(7, (granted.0, granted.1), granted.2, put("a.example"))).await.unwrap();
    assert_eq!(again.verdict(), Verdict::Allow, "the very call that was granted passes, by whatever rule it was read");
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
