//! What a report says beyond its tables: of which call a line is, where nothing could be looked at, and which pack a page is of.

use super::made::{ALICE, Call, Made, START_US};
use crate::pack::reading::{Line, Reading, USUAL_CALLS};
use crate::pack::report;
use crate::pack::{Body, Pack};
use crate::verify::tests::book::call;
use agentgate_proto::v1;
use agentgate_proto::v1::approval_record::What as Step;
use agentgate_proto::v1::record::What;
use prost::Message as _;
use serde_json::json;

/// As of everything, and then the call of record 7 spends what record 4 asked for.
fn spent() -> Made {
    let mut made = Made::of_everything();
    let id = call(7, 7).as_bytes().to_vec();
    let words = v1::ApprovalBody { by: "ag1-what-people-quote".into(), ..v1::ApprovalBody::default() };
    let spent = v1::ApprovalSpent { call_id: id.into(), ..v1::ApprovalSpent::default() };
    made.record(START_US + 11, Some(words.encode_to_vec()), |_, body| {
        What::Approval(v1::ApprovalRecord { approval: vec![9; 32].into(), what: Some(Step::Spent(spent)), body })
    });
    made
}

fn line(pack: &Pack, sequence: u64) -> Line {
    let found = Reading::of(pack).lines.into_iter().find(|line| line.sequence == sequence);
    found.expect("a line")
}

#[test]
fn what_became_of_a_call_says_of_which_one() {
    let (open, sealed) = (spent().pack(false), spent().pack(true));
    let mut without = open.clone();
    without.records.retain(|packed| ![4, 7].contains(&packed.entry.sequence));
    for (sequence, said, linked, alone) in [
        (5, "asked for, of #4", ", of <a href=\"#r4\">#4</a>", "asked for"),
        (6, "granted, of #4", ", of <a href=\"#r4\">#4</a>", "granted"),
        (8, "completed, of #7", "completed, of <a href=\"#r7\">#7</a>", "completed, of #7"),
        (15, "spent, by #7, of #4", "spent, by <a href=\"#r7\">#7</a>, of <a href=\"#r4\">#4</a>", "spent"),
    ] {
        for (pack, said) in [(&open, said), (&sealed, said), (&without, alone)] {
            assert_eq!(line(pack, sequence).happened(), said);
            let json = Reading::of(pack).to_json();
            let told = json["timeline"].as_array().expect("lines").iter().find(|line| line["sequence"] == sequence);
            assert_eq!(told.expect("a line")["said"], said);
        }
        let page = report::html(&open).expect("a page");
        assert!(page.contains(linked), "{linked}");
        assert!(!report::html(&without).expect("a page").contains(linked), "{linked} leads nowhere");
    }
    let spender = line(&open, 15);
    assert_eq!((spender.principal.as_str(), spender.said.as_str()), ("", "spent"), "a call is nobody");
    assert!(!report::html(&open).expect("a page").contains("ag1-what-people-quote"));
    let page = report::html(&open).expect("a page");
    let writes = page.split("<h2>Writes</h2>").nth(1).expect("a part").split("<h2>").next().expect("a part");
    assert!(writes.contains("<a href=\"#r7\">#7</a>"), "{writes}");
}

#[test]
fn what_nobody_could_look_at_is_not_said_to_be_in_order() {
    let one = || {
        let mut made = Made::new();
        made.call(&Call::default());
        made
    };
    let (mut erased, mut half) = (one(), one());
    erased.erase(2);
    half.erase(2);
    half.call(&Call { at_us: START_US + 1, ..Call::default() });
    for (case, pack, said) in [
        ("no call", Made::new().pack(false), true),
        ("open", one().pack(false), true),
        ("half of it erased", half.pack(false), true),
        ("erased", erased.pack(false), false),
        ("sealed", one().pack(true), false),
    ] {
        let (page, paper) = (report::html(&pack).expect("a page"), report::texts(&pack).concat().join(" "));
        for words in ["Nothing that this report looks for", "No call that is known to write"] {
            assert_eq!((page.contains(words), paper.contains(words)), (said, said), "{case}: {words}");
        }
        assert_eq!(page.contains("1 call could not be looked at: its body is"), !said || case.starts_with("half"), "{case}");
    }
}

#[test]
fn a_rule_and_its_reason_are_told_apart() {
    for (rule, reason, said) in [("a.b", "too late", "a.b: too late"), ("a.b", "", "a.b"), ("", "late", "late"), ("", "", "")] {
        let line = Line { rule: rule.into(), reason: reason.into(), ..Line::default() };
        assert_eq!(line.why(), said);
    }
    let pack = Made::of_everything().pack(false);
    let call = Reading::of(&pack).lines.into_iter().find(|line| !line.rule.is_empty() && !line.reason.is_empty());
    let Line { rule, reason, .. } = call.expect("a call with both");
    let page = report::html(&pack).expect("a page");
    assert!(page.contains(&format!("{rule}: <span class=\"soft\">{reason}</span>")), "{rule} {reason}");
    let paper = report::texts(&pack).concat().concat().replace(' ', "");
    assert!(paper.contains(&format!("{rule}:{reason}").replace(' ', "")), "{rule} {reason}: {paper}");
}

#[test]
fn a_tool_that_was_called_once_says_what_became_of_the_call() {
    use v1::Verdict::{Allow, Deny, Pending};
    for (verdict, enforced, said) in [
        (Allow, true, "was let through"),
        (Pending, true, "was put before a person"),
        (Deny, true, "was refused"),
        (Deny, false, "went on, since it was only observed"),
    ] {
        let mut made = Made::new();
        for at in 1..USUAL_CALLS {
            made.call(&Call { at_us: START_US + at as u64 * 60_000_000, ..Call::default() });
        }
        made.call(&Call {
            tool: "list_notes",
            at_us: START_US + 3_600_000_000,
            instead: Some((verdict, "a.rule")),
            enforced,
            ..Call::default()
        });
        let found = Reading::of(&made.pack(false)).anomalies;
        assert_eq!(found[0].said, format!("{ALICE} called notes list_notes once in {USUAL_CALLS} calls, and it {said}"));
    }
}

/// The page, the paper and the reading.
fn told(pack: &Pack) -> [String; 3] {
    let page = report::html(pack).expect("a page");
    let paper = report::texts(pack).concat().join(" ");
    [page, paper, Reading::of(pack).to_json().to_string()]
}

#[test]
fn a_verdict_that_was_not_enforced_is_not_told_as_what_became_of_the_call() {
    let called = |enforced: bool| {
        let mut made = Made::new();
        for tool in ["read_note", "add_note", "delete_note"] {
            made.call(&Call { tool, arguments: json!({ "id": 1, "title": "x", "text": "y" }), enforced, ..Call::default() });
        }
        made
    };
    let went_on = "3 calls were only observed: whatever their verdicts, they were not enforced";
    for (enforced, sealed) in [(true, false), (false, false), (true, true), (false, true)] {
        let pack = called(enforced).pack(sealed);
        let reading = Reading::of(&pack);
        let [page, paper, json] = told(&pack);
        for (words, text) in [(went_on, &page), (went_on, &paper), (", only observed", &page), ("\"observed\":3", &json)] {
            assert_eq!(text.contains(words), !enforced, "{enforced} {sealed} {words}");
        }
        assert_eq!(line(&pack, 4).happened(), if enforced { "deny" } else { "deny, only observed" });
        let written: Vec<u64> = reading.writes.iter().map(|written| written.sequence).collect();
        assert_eq!(written, if enforced || sealed { vec![] } else { vec![3, 4] }, "{enforced} {sealed}");
        assert!(reading.writes.iter().all(|written| written.unagreed() == "nobody was asked: it was only observed"));
        let none = "No call that is known to write was let through";
        assert_eq!(page.contains(none), enforced && !sealed, "{enforced} {sealed}");
    }
    let mut one = called(true);
    one.call(&Call { enforced: false, ..Call::default() });
    assert!(told(&one.pack(false))[0].contains("1 call was only observed: whatever its verdict"));
}

#[test]
fn words_that_no_record_committed_to_are_told_apart() {
    let mut pack = Made::of_everything().pack(false);
    let altered = |pack: &mut Pack, at: usize| {
        let Body::Open { plain, .. } = pack.records[at].body.clone() else { panic!("open") };
        pack.records[at].body = Body::Altered { plain, pii: "redact".into() };
    };
    assert!(told(&pack).iter().all(|text| !text.contains("altered")));
    altered(&mut pack, 1);
    let one = "1 body was altered for this pack: its record did not commit to what is left of it";
    assert!(told(&pack)[..2].iter().all(|text| text.contains(one)));
    altered(&mut pack, 4);
    let [page, paper, json] = told(&pack);
    let two = "2 bodies were altered for this pack: their records did not commit to what is left of them";
    assert!(page.contains(two) && paper.contains(two) && json.contains("\"altered\":2"), "{json}");
    assert!(page.contains("allow, altered") && line(&pack, 2).happened() == "allow, altered", "{page}");
}

#[test]
fn a_page_that_lies_alone_says_which_pack_it_is_of() {
    let pack = Made::of_everything().pack(false);
    let checkpoint = String::from_utf8(pack.checkpoint.clone()).expect("text");
    let root = checkpoint.lines().nth(2).expect("a root").get(..12).expect("characters");
    let foot = report::foot(&pack);
    assert!(foot.starts_with(&format!("AgentGate evidence, root {root}…, ")), "{foot}");
    assert!(foot.ends_with(&format!(", principal {ALICE}")) || foot.contains(&format!("principal {ALICE}, since 20")), "{foot}");
    let mut other = Made::of_everything();
    other.call(&Call::default());
    assert_ne!(report::foot(&other.pack(false)), foot);
}

#[test]
fn no_heading_and_no_titles_stand_alone_at_the_end_of_a_page() {
    let alone = ["Summary", "Out of the ordinary", "Writes", "Policy analysis", "Timeline", "Integrity"];
    let last_titles = ["Records", "Outcome", "Denied", "Its text", "Why"];
    let mut made = Made::new();
    // A row that is higher than what a heading asks for by itself.
    let rule = "a rule ".repeat(200);
    let mut pages = 0;
    for at in 0..40 {
        // Writes come before the rules, so that each heading comes by the end of a page.
        let arguments = serde_json::json!({ "title": "x", "text": "many words ".repeat(at % 7 * 20) });
        let instead = Some((v1::Verdict::Allow, rule.as_str()));
        made.call(&Call { tool: "add_note", arguments, instead, at_us: START_US + at as u64 * 60_000_000, ..Call::default() });
        let paper = report::texts(&made.pack(false));
        pages += paper.len();
        for page in &paper {
            let last = page.last().map_or("", String::as_str);
            assert!(!alone.contains(&last) && !last_titles.contains(&last), "{at}: a page ends with {last}");
        }
        let all = paper.concat();
        for heading in alone {
            assert_eq!(all.iter().filter(|text| *text == heading).count(), 1, "{at}: {heading}");
        }
    }
    assert!(pages > 80, "{pages} pages are few");
}

#[test]
fn what_a_report_does_not_show_is_said_in_the_report_itself() {
    let pack = Made::of_everything().pack(false);
    let (page, paper) = (report::html(&pack).expect("a page"), report::texts(&pack).concat().join(" "));
    let paper = paper.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["Nothing here shows that the facts were so", "only witnesses", "that this is all that there was to give"] {
        assert!(page.contains(words), "{words}");
        assert!(paper.contains(words), "{words}: {paper}");
    }
    assert!(!page.contains("docs/") && !paper.contains("docs/"));
}
