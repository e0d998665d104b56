//! What a report tells beside verdicts: what orders are about, and what calls were called with. Neither breaks out of it.

use crate::evidence::list::{Archived, render};
use crate::pack::Pack;
use crate::pack::reading::{ARGUMENT_COLUMNS_MAX, ARGUMENT_LINES_MAX, Line, Reading};
use crate::pack::report;
use crate::pack::tests::made::{ALICE, Call, Made, START_US};
use crate::screen::{Charset, Screen};
use crate::verify::Report;
use crate::verify::tests::book::signer;
use agentgate_proto::v1;
use agentgate_proto::v1::kill_target::Height;
use agentgate_proto::v1::record::What;
use prost::Message as _;
use serde_json::{Value, json};

const OPERATOR: &str = "spiffe://agentgate.local/operator/me";

fn kill(made: &mut Made, resumed: bool, height: Height) {
    let target = Some(v1::KillTarget { height: Some(height) });
    let words = v1::KillBody { target, reason: "why".into(), by: OPERATOR.into() };
    made.record(START_US, Some(words.encode_to_vec()), |_, body| What::Kill(v1::KillRecord { resumed, body }));
}

fn mode(made: &mut Made, mode: v1::Mode, server: &str, tool: &str) {
    let words = v1::ModeBody { server: server.into(), tool: tool.into(), by: OPERATOR.into(), ..Default::default() };
    made.record(START_US, Some(words.encode_to_vec()), |_, body| What::Mode(v1::ModeRecord { mode: mode.into(), body }));
}

fn hold(made: &mut Made, lifts: u64, extent: Option<v1::Extent>) {
    let words = v1::HoldBody { extent, reason: "why".into(), by: OPERATOR.into() };
    made.record(START_US, Some(words.encode_to_vec()), |_, body| What::Hold(v1::HoldRecord { lifts, body }));
}

fn purge(made: &mut Made, sessions: u8, (since_us, until_us): (u64, u64)) {
    let sessions = (0..sessions).map(|session| vec![session; 16].into()).collect();
    let purge = v1::PurgeRecord { sessions, since_us, until_us, ..v1::PurgeRecord::default() };
    made.record(START_US, None, |_, body| What::Purge(v1::PurgeRecord { body, ..purge }));
}

fn forget(made: &mut Made, subjects: u8) {
    let stream = |number: u8| v1::PurgedStream { stream: vec![number; 32].into(), version: 7 };
    let purge = v1::PurgeRecord { streams: (0..subjects).map(stream).collect(), ..v1::PurgeRecord::default() };
    made.record(START_US, None, |_, body| What::Purge(v1::PurgeRecord { body, ..purge }));
}

fn tool(server: &str, tool: &str) -> Height {
    Height::Tool(v1::ToolName { server: server.into(), tool: tool.into() })
}

fn extent(session: &str) -> Option<v1::Extent> {
    Some(v1::Extent { principal: ALICE.into(), session: session.into(), ..v1::Extent::default() })
}

#[test]
fn a_purge_says_what_of_all_that_it_can_erase_it_erased() {
    use v1::PurgeCause::{Ordered, Retention};
    let by_order = [
        (0, 0, true, "the key of a tenant's tokens was erased, by order"),
        (0, 1, false, "what led to 1 subject of whom nothing is kept was erased, by order"),
        (0, 2, false, "what led to 2 subjects of whom nothing is kept was erased, by order"),
        (1, 0, false, "1 session was erased, by order"),
        (1, 1, true, "1 session and the key of its tenant's tokens were erased, by order"),
        (2, 0, false, "2 sessions were erased, by order"),
        (2, 1, true, "2 sessions and the key of their tenant's tokens were erased, by order"),
    ];
    let of_age = [(1, 0, false, "1 session was erased, as old as they may get")];
    let cases = by_order.map(|case| (Ordered, case)).into_iter().chain(of_age.map(|case| (Retention, case)));
    for (cause, (sessions, streams, tokens, said)) in cases {
        let purge = v1::PurgeRecord {
            cause: cause.into(),
            sessions: vec![vec![5; 16].into(); sessions],
            streams: vec![v1::PurgedStream::default(); streams],
            tokens: vec![7; 32 * usize::from(tokens)].into(),
            ..v1::PurgeRecord::default()
        };
        let mut made = Made::new();
        made.record(START_US, None, |_, body| What::Purge(v1::PurgeRecord { body, ..purge }));
        assert_eq!(Reading::of(&made.pack(false)).lines.last().expect("a line").said, said);
    }
}

/// What is recorded, what its line says, and what it is about.
type Order<'a> = (&'a dyn Fn(&mut Made), &'a str, String);

const HOUR_US: u64 = 3_600_000_000;

#[test]
fn an_order_says_what_it_is_about() {
    let sevens = |count: u8| (0..count).map(|session| format!("{session:02x}").repeat(16)).collect::<Vec<_>>().join(", ");
    let orders: Vec<Order<'_>> = vec![
        (&|made| kill(made, false, Height::Everything(v1::Everything {})), "killed", "everything".into()),
        (&|made| kill(made, true, Height::Agent(ALICE.into())), "resumed", format!("the agent `{ALICE}`")),
        (&|made| kill(made, false, Height::Session("run".into())), "killed", "the session `run`".into()),
        (&|made| kill(made, false, tool("notes", "")), "killed", "the server `notes`".into()),
        (&|made| mode(made, v1::Mode::Enforce, "notes", ""), "a mode was ordered", "enforce: the server `notes`".into()),
        (
            &|made| mode(made, v1::Mode::Observe, "notes", "add_note"),
            "a mode was ordered",
            "observe: the tool `add_note` of the server `notes`".into(),
        ),
        (
            &|made| mode(made, v1::Mode::Unspecified, "notes", ""),
            "a mode was ordered",
            "as its configuration says: the server `notes`".into(),
        ),
        (&|made| hold(made, 0, extent("run")), "held", format!("the session `run` of `{ALICE}`")),
        (&|made| hold(made, 2, extent("")), "the hold #2 was lifted", format!("`{ALICE}`")),
        (&|made| purge(made, 1, (0, 0)), "1 session was erased, by order", sevens(1)),
        (&|made| forget(made, 2), "what led to 2 subjects of whom nothing is kept was erased, by order", String::new()),
        (
            &|made| purge(made, 9, (START_US, START_US + HOUR_US)),
            "9 sessions were erased, by order",
            format!("{} and 5 more, of 2026-11-22T19:05:52.000Z to 2026-11-22T20:05:52.000Z", sevens(4)),
        ),
    ];
    for (order, said, about) in orders {
        let mut made = Made::new();
        order(&mut made);
        let line = |pack: &Pack| Reading::of(pack).lines.last().cloned().expect("a line");
        let pack = made.pack(false);
        let told = line(&pack);
        assert_eq!((told.said.as_str(), &told.about), (said, &about));
        assert_eq!(Reading::of(&pack).to_json()["timeline"][1]["about"].as_str().unwrap_or_default(), about);
        let page = report::html(&pack).expect("a page");
        assert!(page.contains(&askama_escaped(&about)), "{about}");
        let paper = report::texts(&pack).concat().concat().replace(' ', "");
        assert!(paper.contains(&about.replace(' ', "")), "{about}: {paper}");
        // What a purge names are random ids in its record.
        let sealed = line(&made.pack(true));
        assert_eq!(sealed.about, if sealed.kind == "purge" { about.as_str() } else { "" });
        if sealed.kind != "purge" {
            made.erase(2);
            assert_eq!(line(&made.pack(false)).about, "", "{about}");
        }
    }
}

fn askama_escaped(text: &str) -> String {
    text.replace('&', "&#38;").replace('<', "&#60;").replace('>', "&#62;").replace('"', "&#34;").replace('\'', "&#39;")
}

/// The line of one call with these arguments, and the pack that it stands in.
fn called(arguments: Value) -> (Line, Pack) {
    let mut made = Made::new();
    made.call(&Call { arguments, ..Call::default() });
    let pack = made.pack(false);
    (Reading::of(&pack).lines.last().cloned().expect("a line"), pack)
}

#[test]
fn arguments_are_told_as_far_as_people_read_them() {
    // One line for each value, and one for each bracket.
    let many = |values: usize| json!(vec![1; values]);
    for (case, arguments, lines, cut) in [
        ("none", json!({}), 1, false),
        ("two", json!({ "id": 1, "title": "x" }), 4, false),
        ("as many as there may be", json!({ "list": many(ARGUMENT_LINES_MAX - 4) }), ARGUMENT_LINES_MAX, false),
        ("one more", json!({ "list": many(ARGUMENT_LINES_MAX - 3) }), ARGUMENT_LINES_MAX, true),
        ("as long as it may be", json!({ "x": "y".repeat(ARGUMENT_COLUMNS_MAX) }), 3, false),
        ("one longer", json!({ "x": "y".repeat(ARGUMENT_COLUMNS_MAX + 1) }), 3, true),
        ("a long name", json!({ "y".repeat(ARGUMENT_COLUMNS_MAX + 1): 1 }), 3, true),
        ("longer in bytes alone", json!({ "x": "é".repeat(ARGUMENT_COLUMNS_MAX) }), 3, false),
        ("a megabyte", json!({ "x": "y".repeat(1 << 20), "z": many(100_000) }), ARGUMENT_LINES_MAX, true),
    ] {
        let (line, pack) = called(arguments);
        assert_eq!((line.arguments.lines.len(), line.arguments.cut), (lines, cut), "{case}");
        let told = &Reading::of(&pack).to_json()["timeline"][1];
        assert_eq!((told["arguments"].as_array().map(Vec::len), told["arguments_cut"] == true), (Some(lines), cut), "{case}");
        let page = report::html(&pack).expect("a page");
        assert_eq!(page.contains("Cut here"), cut, "{case}");
        assert!(page.len() < 80_000 && page.contains("<details>"), "{case}: {}", page.len());
        let texts = report::texts(&pack).concat();
        let with: Vec<&String> = texts.iter().filter(|text| text.starts_with("with ")).collect();
        assert_eq!(with.len(), 1, "{case}");
        assert!(!cut || texts.iter().any(|text| text.ends_with('…')), "{case}");
        assert!(report::texts(&pack).len() <= 3, "{case}");
    }
    let mut made = Made::of_everything();
    made.erase(2);
    for (pack, told) in [(made.pack(false), false), (made.pack(true), false), (Made::of_everything().pack(false), true)] {
        assert_eq!(!Reading::of(&pack).lines[1].arguments.lines.is_empty(), told);
    }
}

const HOSTILE: &str =
    "\u{202e}gpj.exe\u{2066}\u{1b}[2J\u{7}\u{9b}\u{200b}\u{feff}<b onclick=x>&lt;/pre></pre><script>\r\n\u{2028}";

#[test]
fn nothing_breaks_out_of_a_page_or_a_paper_wherever_it_stands() {
    let mut made = Made::new();
    made.asked = HOSTILE;
    made.call(&Call {
        principal: HOSTILE,
        tool: HOSTILE,
        arguments: json!({ HOSTILE: [HOSTILE, HOSTILE.repeat(9_000)] }),
        instead: Some((v1::Verdict::Deny, HOSTILE)),
        ..Call::default()
    });
    let words = v1::HoldBody { reason: HOSTILE.into(), by: HOSTILE.into(), ..Default::default() };
    made.record(START_US, Some(words.encode_to_vec()), |_, body| What::Hold(v1::HoldRecord { lifts: 0, body }));
    kill(&mut made, false, Height::Session(HOSTILE.into()));
    kill(&mut made, false, Height::Agent(HOSTILE.into()));
    mode(&mut made, v1::Mode::Enforce, HOSTILE, HOSTILE);
    hold(&mut made, 0, Some(v1::Extent { session: HOSTILE.into(), ..Default::default() }));
    let words = v1::FloodBody { tenant: HOSTILE.into(), principal: HOSTILE.into() };
    made.record(START_US, Some(words.encode_to_vec()), |_, body| {
        What::Flood(v1::FloodRecord { reason: HOSTILE.into(), count: 3, body, ..Default::default() })
    });
    let mut pack = made.pack(false);
    let spoiled = |note: &[u8]| [HOSTILE.as_bytes(), b"\n", note].concat();
    let acts = |text: &str| {
        let hides = |c: char| c != '\n' && (c.is_control() || "\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}".contains(c));
        text.chars().find(|c| hides(*c))
    };
    for notes_too in [false, true] {
        if notes_too {
            (pack.manifest, pack.checkpoint) = (spoiled(&pack.manifest), spoiled(&pack.checkpoint));
        }
        let page = report::html(&pack).expect("a page");
        assert_eq!(acts(&page), None, "notes {notes_too}");
        assert!(!page.contains("<script") && !page.contains("<b ") && page.contains("\\u{202e}gpj.exe\\u{2066}"));
        assert_eq!(page.matches("<pre>").count(), page.matches("</pre>").count());
        for text in report::texts(&pack).concat() {
            assert_eq!(acts(&text), None, "{text:?}");
            assert!(!text.contains('\n'), "{text:?}");
        }
        let reading = Reading::of(&pack).to_json();
        let arguments = reading["timeline"][1]["arguments"].as_array().expect("lines");
        assert!(arguments.iter().all(|line| acts(line.as_str().expect("text")).is_none()), "{arguments:?}");
    }
}

#[test]
fn letters_that_are_read_from_the_right_do_not_turn_what_stands_beside_them() {
    const WORDS: &str = "\u{5d0}1\u{5d1}2 \u{627}";
    let mut made = Made::of_everything();
    made.asked = WORDS;
    for instead in [v1::Verdict::Allow, v1::Verdict::Deny] {
        made.call(&Call {
            principal: WORDS,
            tool: WORDS,
            arguments: json!({ WORDS: WORDS }),
            instead: Some((instead, WORDS)),
            ..Call::default()
        });
    }
    (0..super::RAPID_CALLS).for_each(|_| {
        made.call(&Call { principal: WORDS, instead: Some((v1::Verdict::Deny, WORDS)), ..Call::default() });
    });
    mode(&mut made, v1::Mode::Enforce, WORDS, WORDS);
    kill(&mut made, false, Height::Session(WORDS.repeat(20)));
    let page = report::html(&made.pack(false)).expect("a page");
    let (style, body) = page.split_once("</style>").expect("a style");
    let rule = style.lines().find_map(|line| line.strip_suffix(" { direction: ltr; unicode-bidi: isolate-override; }"));
    let covered: Vec<&str> = rule.expect("a rule").split(", ").collect();
    // What is open, and what each text stands in, but for what is only a part of a line.
    let (mut open, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
    for part in body.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("a tag");
        match tag.strip_prefix('/') {
            Some(_) => drop(open.pop()),
            None if tag.starts_with("meta") => {}
            None => open.push(tag),
        }
        if text.contains(['\u{5d0}', '\u{627}']) {
            let is_part = |tag: &&&str| **tag == "span class=\"soft\"" || tag.starts_with("a ");
            let inner = open.iter().rev().find(|tag| !is_part(tag)).expect("an element");
            let name = if inner.contains("class=\"long\"") { ".long" } else { inner.split(' ').next().expect("a name") };
            assert!(covered.contains(&name), "{inner}: {text}");
            seen.insert(name);
        }
    }
    assert_eq!(Vec::from_iter(seen), [".long", "code", "dd", "li", "pre"]);
    assert_eq!(covered, ["pre", "code", "dd", "td", "li", "summary", ".long"]);
}

#[test]
fn whoever_reads_a_pack_learns_what_its_name_did_not_find() {
    let question = crate::verify::question(&[signer(1).verifier().to_string()]).expect("a question");
    for (unmatched, told) in [("", false), ("unmatched 3; purges 2, the last at 2026-11-22T19:05:52.000Z\n", true)] {
        let (at, mut made) = (tempfile::tempdir().expect("a directory"), Made::of_everything());
        made.unmatched = unmatched;
        made.write(false, at.path());
        let report = crate::verify::judge(at.path(), &question, &[]).expect("a report");
        assert!(report.holds(), "{:?}", report.all_wrong());
        let words = "whose the erased records of that time were, which no name finds any longer: 3; purges 2, the last at";
        assert_eq!(report.all_not_shown().concat().contains(words), told, "{unmatched}");
        let page = report::html(&made.pack(false)).expect("a page");
        assert_eq!(page.contains("<dd>3; purges 2, the last at 2026-11-22T19:05:52.000Z</dd>"), told, "{unmatched}");
        assert_eq!(report::texts(&made.pack(false)).concat().contains(&"erased, so nobody's".to_owned()), told, "{unmatched}");
    }
}

#[test]
fn a_list_of_packs_fits_where_it_is_read() {
    let archived = |name: &str, wrong: &[&str]| {
        let mut report = Report::new("pack");
        wrong.iter().for_each(|wrong| report.wrong((*wrong).to_owned()));
        Archived { name: name.into(), at: "2026-11-22T19:05:52.123456Z".into(), by: OPERATOR.into(), report }
    };
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    let wrong =
        "`report.html` is not the file that was signed, and so nobody is to read it before he asked whoever gave it to him";
    let all = [archived(&one, &[]), archived(&two, &[wrong])];
    let screen = |columns: u16| Screen { color: false, charset: Charset::Unicode, columns, terminal: true };
    let piped = Screen { terminal: false, ..screen(80) };
    let signed = format!("2026-11-22T19:05:52.123456Z {OPERATOR}");
    let (first, second) = wrong.split_at(wrong.find(" it before").expect("words"));
    let below = format!("       {signed}\n");
    let narrow = format!("holds  {one}\n{below}wrong  {two}\n{below}       {first}\n      {second}\n2 packs, 1 wrong\n");
    let wide = format!("holds  {one}  {signed}\nwrong  {two}  {signed}\n       {wrong}\n2 packs, 1 wrong\n");
    for (columns, shown) in [(80, &narrow), (160, &wide)] {
        let text = render(&all, &screen(columns));
        assert_eq!(&text, shown, "{columns}");
    }
    for columns in [80, 100, 120, 160] {
        let text = render(&all, &screen(columns));
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(columns)), "{columns}: {text}");
    }
    assert_eq!(render(&all, &piped), wide, "whoever searches for a sentence finds it in one line");
    assert!(render(&all[..1], &screen(80)).ends_with("1 pack, none of it wrong\n"));
    assert_eq!(render(&[], &screen(80)), "The archive holds no pack\n");
}
