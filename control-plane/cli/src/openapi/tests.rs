//! Documents and what is proposed for them. Each is shown in the fewest words that still tell all.

use super::document::{Document, REASONS_MAX, REFERENCES_MAX};
use super::proposal::{OPERATIONS_MAX, Proposal, TOOLS_MAX, Wanted};
use super::render;
use super::schema::{JOINED_MAX, LOOKED_MAX};
use crate::screen::{Charset, Screen};
use agentgate_core::error::chain;
use agentgate_core::rest::FIELDS_MAX;
use serde_json::Value;

fn proposal(text: &str, wanted: &Wanted<'_>) -> Result<Proposal, String> {
    let document = Document::parse(text).map_err(|error| chain(&error))?;
    Proposal::of(&document, wanted).map_err(|error| chain(&error))
}

fn with_paths(paths: &str) -> String {
    format!("openapi: 3.1.0\ninfo: {{title: 'My Billing'}}\nservers: [{{url: 'https://billing.example/api/'}}]\npaths:\n{paths}")
}

/// One operation, as JSON of the route's tool, then what was said of it.
fn check(operation: &str, wanted: &str) {
    let text = with_paths(&format!("  /a/{{id}}:\n    post: {operation}\n  /keep: {{get: {{operationId: keep}}}}\n"));
    let proposal = proposal(&text, &Wanted::default()).expect(operation);
    let json = render::json(&proposal);
    let tools = json["route"]["rest"]["tools"].as_array().expect("tools");
    let tool = tools.iter().filter(|tool| tool["tool"] != "keep").map(ToString::to_string);
    let said = proposal.reasons().into_iter().map(|why| format!("left out: {why}")).chain(proposal.notes.iter().cloned());
    assert_eq!(tool.chain(said).collect::<Vec<_>>().join(" | "), wanted, "{operation}");
}

fn body(schema: &str) -> String {
    format!("{{operationId: x, requestBody: {{content: {{application/json: {{schema: {schema}}}}}}}}}")
}

fn parameter(parameter: &str) -> String {
    format!("{{operationId: x, parameters: [{parameter}]}}")
}

#[test]
fn an_operation_is_proposed_with_what_can_be_mapped() {
    const TOOL: &str = r#""method":"POST","path":"/a/{id}""#;
    let bare = format!("{{{TOOL},\"tool\":\"x\"}}");
    let any = format!("{{\"body\":\"any\",{TOOL},\"tool\":\"x\"}}");
    check("{operationId: x}", &bare);
    check("{}", &format!("{{{TOOL},\"tool\":\"post_a_id\"}}"));
    check("{operationId: 'a b'}", &format!("{{{TOOL},\"tool\":\"post_a_id\"}}"));
    check(
        &parameter("{name: id, in: path, schema: {type: integer}}"),
        r#"{"method":"POST","path":"/a/{id:integer}","tool":"x"}"#,
    );
    check(
        &parameter("{name: id, in: path, schema: {type: array}}"),
        &format!("{bare} | POST /a/{{id}}: `id` in the path is a text here: it is written as array"),
    );
    check(
        &parameter("{name: n, in: query, required: true, schema: {type: [number]}}"),
        &format!(r#"{{{TOOL},"query":{{"n":"number"}},"required":["n"],"tool":"x"}}"#),
    );
    check(
        &parameter("{name: n, in: query, schema: {type: array}}"),
        &format!("{bare} | POST /a/{{id}}: the parameter `n` is not mapped, and refused: it is array in the query"),
    );
    check(
        &parameter("{name: n, in: query, required: true, schema: {type: object}}"),
        "left out: POST /a/{id}: its required parameter `n` is object in the query",
    );
    check(
        &parameter("{name: n, in: query, schema: {nullable: true, type: string}}"),
        &format!(
            r#"{{{TOOL},"query":{{"n":"string"}},"tool":"x"}} | POST /a/{{id}}: the parameter `n` is taken as a text: it may be null"#
        ),
    );
    check(
        &parameter("{name: X-Key, in: header, schema: {type: string}}"),
        &format!("{bare} | POST /a/{{id}}: the header `X-Key` is no argument: rules do not see it"),
    );
    check(
        &parameter("{name: id, in: query, schema: {type: string}}"),
        "left out: POST /a/{id}: `id` and `id` would be one argument from two places",
    );
    check(
        &body("{type: object, required: [a], properties: {a: {type: number}, b: {type: string, readOnly: true}, c: {}}}"),
        &format!(
            r#"{{"body":{{"a":"number","c":"any"}},{TOOL},"required":["a"],"tool":"x"}} | POST /a/{{id}}: its member `c` may be anything: its schema names no type"#
        ),
    );
    check(
        &body("{allOf: [{properties: {a: {type: boolean}}}, {properties: {b: {type: integer}}}]}"),
        &format!(r#"{{"body":{{"a":"boolean","b":"integer"}},{TOOL},"tool":"x"}}"#),
    );
    check(
        &body("{type: object}"),
        &format!("{any} | POST /a/{{id}}: its body may have any members: its schema names no members"),
    );
    check(
        &body("{properties: {a: {type: string}}, additionalProperties: true}"),
        &format!("{any} | POST /a/{{id}}: its body may have any members: its schema has `additionalProperties`"),
    );
    check(
        &body("{type: array, items: {}}"),
        &format!(
            "{any} | POST /a/{{id}}: its body may have any members: its type is \"array\", and arguments are members of an object"
        ),
    );
    check(
        "{operationId: x, requestBody: {content: {multipart/form-data: {}}}}",
        "left out: POST /a/{id}: its body is multipart/form-data, and only application/json is read",
    );
    check(
        "{operationId: x, requestBody: {content: {application/json: {schema: {properties: {a: {type: string}}}}, text/xml: {}}}}",
        &format!(
            r#"{{"body":{{"a":"string"}},{TOOL},"tool":"x"}} | POST /a/{{id}}: a body of text/xml is refused: only application/json is read"#
        ),
    );
    check(
        "{operationId: keep2, parameters: [{$ref: 'other.yaml#/a'}]}",
        "left out: POST /a/{id}: `other.yaml#/a` leads out of the document, and other files are not opened",
    );
}

#[test]
fn a_type_is_looked_for_in_all_that_a_schema_is_joined_from() {
    const TOOL: &str = r#""method":"POST","path":"/a/{id}""#;
    let member = |schema: &str, holds: &str, note: &str| {
        let note =
            if note.is_empty() { String::new() } else { format!(" | POST /a/{{id}}: its member `m` may be anything: {note}") };
        check(
            &body(&format!("{{properties: {{m: {schema}}}}}")),
            &format!(r#"{{"body":{{"m":"{holds}"}},{TOOL},"tool":"x"}}{note}"#),
        );
    };
    member("{allOf: [{type: string}], default: asc}", "string", "");
    member("{allOf: [{allOf: [{type: integer}]}, {description: x}]}", "integer", "");
    member("{type: object, allOf: []}", "object", "");
    member("{allOf: [{properties: {}}]}", "object", "");
    member("{allOf: [{type: string}, {oneOf: [{}]}]}", "string", "");
    member("{allOf: [{type: number}, {type: string}]}", "any", "its `allOf` is string and number at once");
    member("{allOf: [{type: integer}], nullable: true}", "any", "it may be null");
    member("{allOf: [{description: x}]}", "any", "its schema names no type");
    member("{allOf: [{$ref: '#/nowhere'}]}", "any", "`#/nowhere` leads to nothing");
    member("{type: ['null']}", "any", "its type is `null`");
    check(
        &parameter("{name: q, in: query, schema: {allOf: [{type: string}]}}"),
        &format!(r#"{{{TOOL},"query":{{"q":"string"}},"tool":"x"}}"#),
    );
}

#[test]
fn what_is_not_read_is_told() {
    const BARE: &str = r#"{"method":"POST","path":"/a/{id}","tool":"x"}"#;
    let noted = |operation: &str, note: &str| check(operation, &format!("{BARE} | POST /a/{{id}}: {note}"));
    noted("{operationId: x, servers: [{url: 'https://admin.example'}]}", "it names servers of its own, which are not followed");
    noted(
        "{operationId: x, parameters: {name: q, in: query}}",
        "its `parameters` are no list, and not read: they are refused when they come",
    );
    noted(
        &parameter("{name: ID, in: path, schema: {type: integer}}"),
        "the parameter `ID` is said to be in the path, and no segment is `{ID}`",
    );
    noted(&parameter("{name: q, in: querry}"), "the parameter `q` is in `querry`, which is unknown");
    check("hello", "left out: POST /a/{id}: it is no operation: a map is wanted");
    check(
        "{operationId: x, requestBody: hello}",
        "left out: POST /a/{id}: its body is of no type that is named, and only application/json is read",
    );
    let with_a = |said: &str| {
        format!(r#"{{"body":{{"a":"string"}},"method":"POST","path":"/a/{{id}}","tool":"x"}} | POST /a/{{id}}: {said}"#)
    };
    check(
        &body("{required: [ghost, r], properties: {a: {type: string}, r: {readOnly: true}}}"),
        &with_a("its body requires `ghost`, and describes no such member: refused when it comes"),
    );
    check(
        &body("{allOf: [{properties: {a: {type: string}}}, {properties: [b]}]}"),
        &with_a("the `properties` of its body are no map, and not read"),
    );
    let components = "components: {schemas: {A: {properties: {a: {type: string}}}, S: {type: string}}, parameters: {P: {name: p, in: query}}}\n";
    let notes = |paths: &str| proposal(&(with_paths(paths) + components), &Wanted::default()).expect(paths).notes;
    let post =
        |schema: &str| format!("  /a: {{post: {{requestBody: {{content: {{application/json: {{schema: {schema}}}}}}}}}}}\n");
    assert_eq!(
        notes(&post("{$ref: '#/components/schemas/A', properties: {b: {}}, required: [b]}")),
        ["POST /a: `properties`, `required` beside a `$ref` in its body: not read"]
    );
    assert_eq!(
        notes(&post("{properties: {b: {$ref: '#/components/schemas/S', nullable: true, description: x}}}")),
        ["POST /a: `nullable` beside the `$ref` of `b`: not read"]
    );
    assert_eq!(
        notes("  /a: {get: {parameters: [{$ref: '#/components/parameters/P', required: true}]}}\n").first().expect("a note"),
        "GET /a: `required` beside the `$ref` of the parameter `p`: not read"
    );
    assert_eq!(
        notes("  /a: {$ref: '#/paths/~1b', parameters: [{name: q, in: query}]}\n  /b: {get: {operationId: b}}\n")
            .first()
            .expect("a note"),
        "`/a`: `parameters` beside a `$ref`: not read"
    );
    assert_eq!(
        notes("  /a: {get: {}, query: {}, x-more: {}}\n  /z: null\n"),
        [
            "`/a` has the key `query`, which is not known, and not mapped",
            "`/z` is no path item, and names no operation: a map is wanted"
        ]
    );
}

/// What stays of the paths, and what is left out though it could be mapped by itself.
fn stays(paths: &str, kept: &[&str], left_out: &[&str]) {
    let text = with_paths(&format!("{paths}  /keep: {{get: {{}}}}\n"));
    let proposal = proposal(&text, &Wanted::default()).expect(paths);
    let tools = proposal.tools.iter().map(|tool| format!("{} {}", tool.rule.parts().method, tool.path));
    assert_eq!(tools.filter(|tool| tool != "GET /keep").collect::<Vec<_>>(), kept, "{paths}");
    assert_eq!(proposal.left_out.iter().map(|one| one.called.as_str()).collect::<Vec<_>>(), left_out, "{paths}");
    // What the title says of them is so.
    for one in &proposal.left_out {
        let tools = proposal.tools.iter().filter(|tool| one.rules.iter().any(|rule| rule.overlaps(&tool.rule)));
        tools.for_each(|tool| assert!(!tool.path.contains('{') || one.called.contains('{'), "{} {paths}", tool.path));
    }
}

#[test]
fn a_tool_that_would_take_what_is_left_out_is_left_out_too() {
    const LIST: &str = "parameters: [{name: q, in: query, required: true, schema: {type: array}}]";
    let purge = |one: &str| format!("  {one}: {{get: {{}}}}\n  /d/purge: {{get: {{{LIST}}}}}\n");
    let item = |item: &str| format!("  /d/{{id}}: {{get: {{}}}}\n  /d/purge: {item}\n");
    stays(&purge("/d/{id}"), &[], &["GET /d/purge", "GET /api/d/{id}"]);
    stays(&purge("/{a}/{b}"), &[], &["GET /d/purge", "GET /api/{a}/{b}"]);
    stays(&purge("/d/{id}/"), &[], &["GET /d/purge", "GET /api/d/{id}/"]);
    // Another method, length or type is not taken for it.
    stays(&purge("/d/{id}/x"), &["GET /d/{id}/x"], &["GET /d/purge"]);
    stays(
        "  /d/{id}: {get: {}}\n  /d/purge: {post: {requestBody: {content: {a/b: {}}}}}\n",
        &["GET /d/{id}"],
        &["POST /d/purge"],
    );
    let typed = "{parameters: [{name: id, in: path, schema: {type: integer}}]}";
    stays(
        &format!("  /d/{{id}}: {{get: {typed}}}\n  /d/purge: {{get: {{{LIST}}}}}\n"),
        &["GET /d/{id:integer}"],
        &["GET /d/purge"],
    );
    // A fixed path counts before one with names in it.
    stays(&format!("  /d/{{id}}: {{get: {{{LIST}}}}}\n  /d/me: {{get: {{}}}}\n"), &["GET /d/me"], &["GET /d/{id}"]);
    stays("  /{t}/status: {get: {}}\n  /admin/{op}: {get: {}}\n", &[], &["GET /api/{t}/status", "GET /api/admin/{op}"]);
    // The gate takes no other letter case and no other slash at the end.
    stays("  /F/{ID}: {get: {}}\n  /f/{id}: {get: {}}\n", &["GET /F/{ID}"], &["GET /api/f/{id}"]);
    stays("  /g/{id}/: {get: {}}\n  /g/{id}: {get: {}}\n", &["GET /g/{id}"], &["GET /api/g/{id}/"]);
    // Whatever keeps it from being one: its form, or that it is none.
    for hidden in ["{GET: {}}", "{get: hello}", "{get: {parameters: [{$ref: 'other.yaml'}]}}"] {
        stays(&item(hidden), &[], &["GET /d/purge", "GET /api/d/{id}"]);
    }
    stays(&item("{$ref: '#/info', get: {}}"), &[], &["GET /d/purge", "GET /api/d/{id}"]);
    for path in ["/d/{x}.json", "/d/a b", "/d/%7Bx", "/d/purge?now=yes", "/d/{x:integer}", "d/x", "/d//x"] {
        stays(
            &format!("  /d/{{id}}: {{get: {{}}}}\n  '{path}': {{get: {{}}}}\n"),
            &[],
            &[&format!("GET {path}"), "GET /api/d/{id}"],
        );
    }
    // A name that stands for several segments.
    for path in ["/{+rest}", "/{rest*}", "/{rest...}"] {
        let paths = format!("  /{{a}}/b/{{c}}: {{get: {{}}}}\n  /a/b: {{get: {{}}}}\n  '{path}': {{get: {{}}}}\n");
        let text = with_paths(&paths);
        let proposal = proposal(&text, &Wanted::default()).expect(path);
        let kept: Vec<&str> = proposal.tools.iter().map(|tool| tool.path.as_str()).collect();
        assert_eq!(kept, ["/a/b", "/{a}/b/{c}"], "narrower than {path}");
        let paths = format!("  /x/{{a}}/{{b}}: {{get: {{}}}}\n  '/x{path}/y': {{get: {{}}}}\n");
        stays(&paths, &[], &[&format!("GET /x{path}/y"), "GET /api/x/{a}/{b}"]);
    }
}

#[test]
fn paths_that_cannot_be_told_apart_or_written_are_left_out() {
    let paths = "  /a/{x}: {get: {}, delete: {}}
  /a/me: {get: {}}
  /b/{x}.json: {get: {}}
  /c: {options: {}}
  /a/{n}/c: {get: {parameters: [{name: n, in: path, schema: {type: integer}}]}}
  /a/all/c: {get: {}}
";
    let proposal = proposal(&with_paths(paths), &Wanted::default()).expect("a proposal");
    let tools: Vec<&str> = proposal.tools.iter().map(|tool| tool.rule.parts().tool.as_str()).collect();
    assert_eq!(tools, ["get_a_all_c", "get_a_me", "get_a_n_c", "delete_a_x"]);
    assert_eq!(
        proposal.reasons(),
        [
            "GET /b/{x}.json: the path `/api/b/{x}.json` cannot be read: `{x}.json` is neither fixed nor one name in braces: `{id}`, `{id:integer}`",
            "OPTIONS /c: the HTTP method `OPTIONS` cannot be mapped: take one of GET, HEAD, POST, PUT, PATCH, DELETE",
            "GET /api/a/{x}: it overlaps with GET /api/a/me; a request could be taken for either",
        ]
    );
}

#[test]
fn a_loop_is_named_and_one_that_ends_is_followed() {
    let components = |more: &str| format!("components:\n{more}");
    let looped = with_paths("  /a: {get: {parameters: [{$ref: '#/components/parameters/a'}]}}\n")
        + &components("  parameters: {a: {$ref: '#/components/parameters/b'}, b: {$ref: '#/components/parameters/a'}}\n");
    assert_eq!(
        proposal(&looped, &Wanted::default()).expect_err("a loop"),
        "its references run in a loop: #/components/parameters/a → #/components/parameters/b → #/components/parameters/a"
    );
    let item = with_paths("  /a: {$ref: '#/paths/~1a'}\n");
    assert_eq!(
        proposal(&item, &Wanted::default()).expect_err("a loop"),
        "its references run in a loop: #/paths/~1a → #/paths/~1a"
    );
    // A tree is an object with trees in it; a schema that is nothing but itself says nothing.
    for (schemas, wanted) in [
        ("Tree: {type: object, properties: {left: {$ref: '#/components/schemas/Tree'}}}", r#"{"left":"object"}"#),
        (
            "Tree: {properties: {left: {$ref: '#/components/schemas/Self'}}}, Self: {$ref: '#/components/schemas/Self'}",
            r#"{"left":"any"}"#,
        ),
        ("Tree: {$ref: '#/components/schemas/Tree'}", r#""any""#),
        ("Tree: {allOf: [{$ref: '#/components/schemas/Tree'}], properties: {a: {type: string}}}", r#""any""#),
    ] {
        let text = with_paths(
            "  /a: {post: {requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/Tree'}}}}}}\n",
        ) + &components(&format!("  schemas: {{{schemas}}}\n"));
        let proposal = proposal(&text, &Wanted::default()).expect(schemas);
        assert_eq!(render::json(&proposal)["route"]["rest"]["tools"][0]["body"].to_string(), wanted, "{schemas}");
    }
}

#[test]
fn references_have_a_bound() {
    for (count, taken) in [(REFERENCES_MAX, true), (REFERENCES_MAX + 1, false)] {
        let chained: Vec<String> = (1..count).map(|n| format!("p{n}: {{$ref: '#/components/parameters/p{}'}}", n + 1)).collect();
        let text = with_paths("  /a: {get: {parameters: [{$ref: '#/components/parameters/p1'}]}}\n")
            + &format!(
                "components: {{parameters: {{{}, p{count}: {{name: q, in: query, schema: {{type: string}}}}}}}}\n",
                chained.join(", ")
            );
        assert_eq!(proposal(&text, &Wanted::default()).is_ok(), taken, "{count}");
    }
}

#[test]
fn tools_have_a_bound() {
    for (count, taken) in [(TOOLS_MAX, true), (TOOLS_MAX + 1, false)] {
        let paths: String = (0..count).map(|n| format!("  /p{n}: {{get: {{}}}}\n")).collect();
        assert_eq!(proposal(&with_paths(&paths), &Wanted::default()).is_ok(), taken, "{count}");
    }
}

#[test]
fn all_that_a_document_can_hold_much_of_has_a_bound() {
    let left_out = |operation: &str| {
        let text = with_paths(&format!("  /a: {{post: {operation}}}\n  /keep: {{get: {{}}}}\n"));
        proposal(&text, &Wanted::default()).expect("a proposal").reasons()
    };
    let many = |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<Vec<_>>().join(", ");
    for (over, wanted) in [
        (0, None),
        (1, Some("POST /a: it has more than 128 parameters")),
        (5_000, Some("POST /a: it has more than 128 parameters")),
    ] {
        let parameters = many(FIELDS_MAX + over, &|n| format!("{{name: p{n}, in: query}}"));
        assert_eq!(left_out(&parameter(&parameters)).first().map(String::as_str), wanted, "{over}");
    }
    const TOO_MANY: Option<&str> = Some("POST /a: it has more than 128 arguments");
    for (over, wanted) in [(0, None), (1, TOO_MANY), (5_000, TOO_MANY)] {
        let members = many(FIELDS_MAX + over, &|n| format!("m{n}: {{type: string}}"));
        assert_eq!(left_out(&body(&format!("{{properties: {{{members}}}}}"))).first().map(String::as_str), wanted, "{over}");
    }
    for (over, wanted) in [(0, None), (1, TOO_MANY)] {
        let members = many(LOOKED_MAX + over, &|n| format!("m{n}: {{readOnly: true}}"));
        assert_eq!(left_out(&body(&format!("{{properties: {{{members}}}}}"))).first().map(String::as_str), wanted, "{over}");
        let required = many(LOOKED_MAX + over, &|n| format!("m{n}"));
        assert_eq!(left_out(&body(&format!("{{required: [{required}]}}"))).first().map(String::as_str), wanted, "{over}");
    }
    // The schema itself is one of those that are joined.
    for (count, holds) in [(JOINED_MAX - 1, "string"), (JOINED_MAX, "any")] {
        let joined = many(count, &|_| "{type: string}".to_owned());
        let text = with_paths(&format!("  /a: {{post: {}}}\n", body(&format!("{{properties: {{m: {{allOf: [{joined}]}}}}}}"))));
        let proposal = proposal(&text, &Wanted::default()).expect("a proposal");
        assert_eq!(render::json(&proposal)["route"]["rest"]["tools"][0]["body"]["m"], holds, "{count}");
    }
    for (count, taken) in [(OPERATIONS_MAX, true), (OPERATIONS_MAX + 1, false)] {
        let paths: String = (1..count).map(|n| format!("  /a{n}: {{options: {{}}}}\n")).collect();
        assert_eq!(proposal(&with_paths(&(paths + "  /b: {get: {}}\n")), &Wanted::default()).is_ok(), taken, "{count}");
    }
    for (count, more) in [(REASONS_MAX, false), (REASONS_MAX + 3, true)] {
        let paths: String = (0..count).map(|n| format!("  /a{n}: {{options: {{}}}}\n")).collect();
        let said = proposal(&with_paths(&paths), &Wanted::default()).expect_err("nothing");
        assert_eq!(said.ends_with("; and 3 more"), more, "{said}");
    }
}

#[test]
fn a_document_that_gives_no_mapping_is_told() {
    for (text, wanted) in [
        ("swagger: '2.0'", "it is Swagger 2.0; convert it to OpenAPI 3.0 or 3.1 first"),
        ("openapi: 3.2.0", "it names no `openapi` version of 3.0 or 3.1"),
        ("openapi: 2", "it names no `openapi` version of 3.0 or 3.1"),
        ("[]", "it names no `openapi` version of 3.0 or 3.1"),
        ("openapi: 3.0.3", "it has no `paths`"),
        ("openapi: 3.0\npaths: {}", "nothing in it can be mapped: "),
        ("a: [", "it is neither YAML nor JSON: line 2"),
        ("openapi: 3.0.0\nopenapi: 3.0.0", "it is neither YAML nor JSON: line 2: `openapi` is here twice"),
        ("openapi: 3.0.0\npaths: {/a: {get: {<<: {}}}}", "`paths./a.get` has the key `<<`, which OpenAPI does not know"),
        ("openapi: 3.0.0\nservers: [{url: '/{tenant}'}]\npaths: {}", "the base path `/{tenant}` must begin with a slash"),
    ] {
        let said = proposal(text, &Wanted::default()).expect_err(text);
        assert!(said.starts_with(wanted), "{text}: {said}");
    }
}

#[test]
fn the_command_line_counts_more_than_the_document() {
    let text = with_paths("  /a: {get: {}}\n");
    let shown = |wanted: &Wanted<'_>| proposal(&text, wanted).map(|proposal| render::json(&proposal)["route"].clone());
    let route = shown(&Wanted::default()).expect("a route");
    assert_eq!(
        (&route["server"], &route["rest"]["prefix"], &route["mode"]),
        (&"my-billing".into(), &"/api".into(), &"observe".into())
    );
    let wanted = Wanted { server: Some("billing"), base_path: Some("/"), host: Some("billing.example") };
    let route = shown(&wanted).expect("a route");
    assert_eq!((&route["server"], &route["rest"]["host"]), (&"billing".into(), &"billing.example".into()));
    assert_eq!(route["rest"].get("prefix"), None::<&Value>);
    for (wanted, said) in [
        (Wanted { server: Some("a b"), ..Wanted::default() }, "`a b` is no name of a server: give one with --server"),
        (Wanted { base_path: Some("api"), ..Wanted::default() }, "the base path `api` must begin with a slash"),
        (Wanted { base_path: Some("/api/"), ..Wanted::default() }, "the base path `/api/` must begin with a slash"),
        (Wanted { host: Some("A:1"), ..Wanted::default() }, "`A:1` is no host: write it in lower case and without a port"),
    ] {
        let error = shown(&wanted).expect_err(said);
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn rows_are_yaml_whatever_a_name_looks_like() {
    let text = with_paths(
        "  /a/{id}:
    get: {operationId: 'on', parameters: [{name: 'filter[n]', in: query, schema: {type: integer}}]}
    put: {operationId: put, requestBody: {content: {application/json: {}}}}
    delete: {operationId: drop}
",
    );
    let rows = render::json(&proposal(&text, &Wanted::default()).expect("a proposal"))["tools_yaml"].clone();
    let wanted = r#"my-billing:
  drop: { tag: gated, scope: write, arguments: { id: string } }
  "on": { tag: open, scope: read, arguments: { id: string, "filter[n]": integer } }
  put: { tag: gated, scope: write }
"#;
    assert_eq!(rows, wanted);
}

#[test]
fn what_people_paste_is_what_programs_read() {
    let paths =
        "  /a/{id}: {get: {}, put: {requestBody: {content: {application/json: {schema: {properties: {n: {type: integer}}}}}}}}\n";
    for wanted in [
        Wanted::default(),
        Wanted { base_path: Some("/"), ..Wanted::default() },
        Wanted { base_path: Some("/"), host: Some("billing.example"), ..Wanted::default() },
    ] {
        let proposal = proposal(&with_paths(paths), &wanted).expect("a proposal");
        let screen = Screen { color: false, charset: Charset::Unicode, columns: 80, terminal: false };
        let text = render::text(&proposal, &screen);
        let route: String = text.lines().skip(1).take_while(|line| !line.is_empty()).collect();
        assert_eq!(serde_json::from_str::<Value>(&route).expect(&route), render::json(&proposal)["route"]);
    }
}
