//! `agentgate approve list`: calls that wait, and with `--all` those that no longer do.

use super::seen::{Seen, lapses, state};
use crate::client::Client;
use crate::failure::Failure;
use crate::moment::relative;
use crate::output::Desk;
use crate::screen::{Palette, Screen};
use crate::table::{Cell, Column, Table};
use crate::trace::line::{shared_domain, short};
use agentgate_core::time::Time;
use agentgate_proto::v1::ApprovalState as State;
use clap::Args;
use serde_json::{Value, json};

/// So much of an id is quoted by people, and as a rule is unique.
const ID_DIGITS: usize = 8;

const COLUMNS: [Column; 7] = [
    Column::whole("ID", u8::MAX),
    Column::whole("STATE", u8::MAX),
    Column::whole("ASKED", 2),
    Column::whole("LAPSES", 8),
    Column::cut("CALL", u8::MAX).wishing(32),
    Column::cut("PRINCIPAL", 6).wishing(24),
    Column::cut("RULE", 4),
];

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Those that are decided, used or lapsed as well
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let approvals = client.list_approvals(arguments.all).await?;
    let seen = approvals.into_iter().map(Seen::read).collect::<Result<Vec<_>, _>>()?;
    let now = desk.now;
    let json = || json!({ "approvals": seen.iter().map(listed).collect::<Vec<_>>() });
    desk.answer(|screen| render(&seen, arguments.all, now, screen), json)
}

/// A list has no arguments: neither they, nor a digest that could be granted by, are in it.
fn listed(seen: &Seen) -> Value {
    let mut json = seen.to_json();
    if let Some(json) = json.as_object_mut() {
        json.remove("seen");
    }
    if let Some(request) = json.get_mut("request").and_then(Value::as_object_mut) {
        request.remove("params");
    }
    json
}

fn render(seen: &[Seen], all: bool, now: Time, screen: &Screen) -> String {
    if seen.is_empty() {
        return match all {
            true => "no call has asked for an approval\n".to_owned(),
            false => "no call waits for an approval; those that are over: agentgate approve list --all\n".to_owned(),
        };
    }
    let shared = shared_domain(seen.iter().map(|seen| seen.request.principal.as_str()));
    let mut table = Table::new(&COLUMNS);
    for one in seen {
        let (name, palette) = state(one.approval.state());
        table.row(vec![
            Cell::plain(one.approval.id.chars().take(ID_DIGITS).collect::<String>()),
            Cell::new(palette, name),
            Cell::plain(relative(now, one.request.requested_at_us)),
            Cell::plain(lapses(&one.approval, now).unwrap_or_else(|| "-".to_owned())),
            Cell::plain(one.call()),
            Cell::plain(short(&one.request.principal, shared)),
            Cell::plain(one.request.rule.clone()),
        ]);
    }
    let next = match seen.iter().any(|one| one.approval.state() == State::Pending) {
        true => "with all arguments: agentgate approve show ID; then approve grant ID, or deny ID",
        false => "with all arguments: agentgate approve show ID",
    };
    table.render(screen) + &screen.paint(Palette::Dim, next) + "\n"
}
