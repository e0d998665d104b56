//! Walks the engine's syntax tree and writes down what the lint, and whoever explains a rule, have to know of it. It judges
//! nothing.

use super::plain;
use crate::syntax::{self, Guard, Module, Shape, Step, Use, What};
use regorus::Value;
use regorus::unstable::{AssignOp, BoolOp, Expr, Literal, Query, Rule, RuleAssign, RuleHead};
use std::collections::BTreeSet;

/// Reads one file of Rego.
pub(crate) fn read(path: &str, rego: &str) -> Result<Module, String> {
    let mut engine = regorus::Engine::new();
    engine.add_policy(path.to_owned(), rego.to_owned()).map_err(|error| plain(&error.to_string()))?;
    let Some(parsed) = engine.get_modules().first() else {
        return Err("nothing was read".to_owned());
    };
    let mut module = Module { path: path.to_owned(), package: name_of(&parsed.package.refr), ..Module::default() };
    for import in &parsed.imports {
        module.imports.push(Use { line: import.span.line, what: What::Import(name_of(&import.refr)) });
    }
    for rule in &parsed.policy {
        module.rules.push(read_rule(rule));
    }
    Ok(module)
}

fn read_rule(rule: &Rule) -> syntax::Rule {
    let mut uses = Vec::new();
    let mut read = syntax::Rule { line: rule.span().line, text: rule.span().text().to_owned(), ..syntax::Rule::default() };
    let (refr, shape) = match rule {
        Rule::Default { refr, args, value, .. } => {
            read_all(args.iter().chain([value]), &mut uses);
            (refr.as_ref(), Shape::Value)
        }
        Rule::Spec { head, bodies, .. } => {
            for body in bodies {
                if body.is_else {
                    uses.push(Use { line: body.span.line, what: What::Else });
                }
                read_assign(body.assign.as_ref(), &mut uses);
                read_query(&body.query, &mut uses);
                read.guards.push(read_guard(&body.query));
                read.aliases.extend(body.query.stmts.iter().filter_map(|statement| alias(&statement.literal)));
            }
            read.element = element(head);
            read.stands_for = if bodies.is_empty() { stands_for(head) } else { None };
            read_head(head, &mut uses)
        }
    };
    let (name, whole) = read_name(refr, &mut uses);
    // `x.y contains …` and `x[y] := …` are parts of an object `x`, whatever stands behind them.
    if !whole {
        read.stands_for = None;
    }
    syntax::Rule { name, shape: if whole { shape } else { Shape::Value }, uses, ..read }
}

/// The literal `"rule"` of the element that a set's rule contributes.
fn element(head: &RuleHead) -> Option<String> {
    let RuleHead::Set { key: Some(key), .. } = head else { return None };
    let Expr::Object { fields, .. } = key.as_ref() else { return None };
    let named = fields.iter().find(|(_, key, _)| constant(key).as_deref() == Some("rule"));
    named.and_then(|(_, _, value)| constant(value))
}

/// The path that a rule without a body is another name of: `entry := data.tools[input.server]`.
fn stands_for(head: &RuleHead) -> Option<Vec<Step>> {
    match head {
        RuleHead::Compr { assign: Some(assign), .. } => path(&assign.value),
        RuleHead::Compr { assign: None, .. } | RuleHead::Set { .. } | RuleHead::Func { .. } => None,
    }
}

/// `x := path`.
fn alias(literal: &Literal) -> Option<(String, Vec<Step>)> {
    let Literal::Expr { expr, .. } = literal else { return None };
    let Expr::AssignExpr { op: AssignOp::ColEq, lhs, rhs, .. } = expr.as_ref() else { return None };
    let Expr::Var { span, .. } = lhs.as_ref() else { return None };
    Some((span.text().to_owned(), path(rhs)?))
}

/// What all calls have in common for which a body can hold.
fn read_guard(query: &Query) -> Guard {
    let mut guard = Guard::default();
    for statement in query.stmts.iter().filter(|statement| statement.with_mods.is_empty()) {
        match &statement.literal {
            Literal::Expr { expr, .. } => {
                if let Some((field, names)) = demand(expr) {
                    guard.demand(&field, names);
                }
            }
            Literal::NotExpr { expr, .. } if input_field(expr).as_deref() == Some("tool") => guard.no_tool = true,
            Literal::NotExpr { .. } | Literal::SomeVars { .. } | Literal::SomeIn { .. } | Literal::Every { .. } => {}
        }
    }
    guard
}

/// `input.tool == "a"`, or `input.tool in {"a", "b"}`: the field, and the texts that it may be.
fn demand(expr: &Expr) -> Option<(String, BTreeSet<String>)> {
    if let Expr::BoolExpr { op: BoolOp::Eq, lhs, rhs, .. } | Expr::AssignExpr { op: AssignOp::Eq, lhs, rhs, .. } = expr {
        let one = |field: &Expr, text: &Expr| Some((input_field(field)?, BTreeSet::from([constant(text)?])));
        return one(lhs, rhs).or_else(|| one(rhs, lhs));
    }
    let Expr::Membership { key: None, value, collection, .. } = expr else { return None };
    let (Expr::Array { items, .. } | Expr::Set { items, .. }) = collection.as_ref() else { return None };
    Some((input_field(value)?, items.iter().map(|item| constant(item)).collect::<Option<_>>()?))
}

/// `tool` of `input.tool`.
fn input_field(expr: &Expr) -> Option<String> {
    match path(expr)?.as_slice() {
        [Step::Name(input), Step::Name(field)] if input == "input" => Some(field.clone()),
        _ => None,
    }
}

fn read_head<'a>(head: &'a RuleHead, uses: &mut Vec<Use>) -> (&'a Expr, Shape) {
    match head {
        RuleHead::Compr { refr, assign, .. } => {
            read_assign(assign.as_ref(), uses);
            (refr, Shape::Value)
        }
        RuleHead::Set { refr, key, .. } => {
            read_all(key.iter(), uses);
            (refr, Shape::Set)
        }
        RuleHead::Func { refr, args, assign, .. } => {
            read_all(args.iter(), uses);
            read_assign(assign.as_ref(), uses);
            (refr, Shape::Function)
        }
    }
}

/// The name that a rule is called by, and whether that is all of its head's path.
fn read_name(refr: &Expr, uses: &mut Vec<Use>) -> (String, bool) {
    let begins = read_steps(refr, uses);
    (begins.span().text().to_owned(), std::ptr::eq(begins, refr))
}

fn read_assign(assign: Option<&RuleAssign>, uses: &mut Vec<Use>) {
    if let Some(assign) = assign {
        read_expr(&assign.value, uses);
    }
}

fn read_all<'a, E: AsRef<Expr> + 'a>(exprs: impl IntoIterator<Item = &'a E>, uses: &mut Vec<Use>) {
    for expr in exprs {
        read_expr(expr.as_ref(), uses);
    }
}

fn read_query(query: &Query, uses: &mut Vec<Use>) {
    for statement in &query.stmts {
        for with in &statement.with_mods {
            uses.push(Use { line: with.span.line, what: What::With });
        }
        match &statement.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn { key, value, collection, .. } => read_all(key.iter().chain([value, collection]), uses),
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => read_expr(expr, uses),
            Literal::Every { domain, query, .. } => {
                read_expr(domain, uses);
                read_query(query, uses);
            }
        }
    }
}

fn read_expr(expr: &Expr, uses: &mut Vec<Use>) {
    match expr {
        Expr::String { .. } | Expr::RawString { .. } | Expr::Number { .. } | Expr::Bool { .. } | Expr::Null { .. } => {}
        Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => read_reference(expr, uses),
        Expr::Array { items, .. } | Expr::Set { items, .. } => read_all(items, uses),
        Expr::Object { fields, .. } => {
            for (_, key, value) in fields {
                read_all([key, value], uses);
            }
        }
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            read_expr(term, uses);
            read_query(query, uses);
        }
        Expr::ObjectCompr { key, value, query, .. } => {
            read_all([key, value], uses);
            read_query(query, uses);
        }
        Expr::Call { span, fcn, params, .. } => {
            let arguments = params.iter().map(|param| constant(param)).collect();
            uses.push(Use { line: span.line, what: What::Call { name: name_of(fcn), arguments } });
            uses.extend(looked_up(fcn, params).map(|steps| Use { line: span.line, what: What::Reference(steps) }));
            read_all(params, uses);
        }
        Expr::UnaryExpr { expr, .. } => read_expr(expr, uses),
        // What is on the left is given its name here.
        Expr::AssignExpr { op: AssignOp::ColEq, lhs, rhs, .. } if matches!(lhs.as_ref(), Expr::Var { .. }) => {
            read_expr(rhs, uses);
        }
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => read_all([lhs, rhs], uses),
        Expr::Membership { key, value, collection, .. } => read_all(key.iter().chain([value, collection]), uses),
    }
}

/// Writes down a path, and what the computed steps of it use.
fn read_reference(expr: &Expr, uses: &mut Vec<Use>) {
    let line = expr.span().line;
    let begins = read_steps(expr, uses);
    match path(expr) {
        Some(steps) => uses.push(Use { line, what: What::Reference(steps) }),
        // `f(x).y` and the like: the path begins at no variable.
        None => read_expr(begins, uses),
    }
}

/// Writes down what the computed steps of a path use, and says where the path begins.
fn read_steps<'a>(path: &'a Expr, uses: &mut Vec<Use>) -> &'a Expr {
    let mut node = path;
    loop {
        if let Expr::RefDot { refr, .. } = node {
            node = refr;
        } else if let Expr::RefBrack { refr, index, .. } = node {
            read_expr(index, uses);
            node = refr;
        } else {
            return node;
        }
    }
}

/// The steps of a path that begins at a variable.
fn path(expr: &Expr) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut node = expr;
    loop {
        if let Expr::RefDot { refr, field, .. } = node {
            steps.push(Step::Name(field.0.text().to_owned()));
            node = refr;
        } else if let Expr::RefBrack { refr, index, .. } = node {
            steps.push(constant(index).map_or_else(|| computed(index), Step::Name));
            node = refr;
        } else if let Expr::Var { span, .. } = node {
            steps.push(Step::Name(span.text().to_owned()));
            steps.reverse();
            return Some(steps);
        } else {
            return None;
        }
    }
}

fn computed(index: &Expr) -> Step {
    let of_input =
        |steps: &[Step]| matches!(steps.first(), Some(Step::Name(root)) if root == "input") && steps.iter().all(Step::is_fixed);
    let fixed = matches!(index, Expr::Number { .. }) || path(index).is_some_and(|steps| of_input(&steps));
    let rego = index.span().text().split_whitespace().collect::<Vec<_>>().join(" ");
    Step::Computed { rego, fixed }
}

/// The path that `object.get(object, key, default)` reads, where the key is written into the call.
fn looked_up(fcn: &Expr, params: &[regorus::unstable::Ref<Expr>]) -> Option<Vec<Step>> {
    let [object, key, _] = params else { return None };
    if name_of(fcn) != "object.get" {
        return None;
    }
    let names = if let Expr::Array { items, .. } = key.as_ref() {
        items.iter().map(|item| constant(item)).collect::<Option<Vec<_>>>()?
    } else {
        vec![constant(key)?]
    };
    let mut steps = path(object)?;
    steps.extend(names.into_iter().map(Step::Name));
    Some(steps)
}

/// The text of a string that stands in the source.
fn constant(expr: &Expr) -> Option<String> {
    if let Expr::String { value: Value::String(text), .. } | Expr::RawString { value: Value::String(text), .. } = expr {
        Some(text.to_string())
    } else {
        None
    }
}

/// `a.b.c` of a path; the source's own text of anything else.
fn name_of(expr: &Expr) -> String {
    if let Expr::RefDot { refr, field, .. } = expr {
        format!("{}.{}", name_of(refr), field.0.text())
    } else if let Expr::RefBrack { refr, index, .. } = expr {
        format!("{}.{}", name_of(refr), constant(index).unwrap_or_else(|| "…".to_owned()))
    } else {
        expr.span().text().to_owned()
    }
}
