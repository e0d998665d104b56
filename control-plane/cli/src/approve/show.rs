//! `agentgate approve show`: one call that waits, with everything that its approver decides about.

use super::seen::{Seen, fetch};
use crate::client::Client;
use crate::failure::Failure;
use crate::moment::{absolute, relative};
use crate::output::Desk;
use crate::screen::{Palette, Screen};
use crate::table::Pairs;
use crate::text::hex;
use agentgate_core::time::Time;
use agentgate_proto::v1::ApprovalState as State;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Its id as the refused call quotes it, or the unique beginning of it
    #[arg(value_name = "ID")]
    id: String,
}

pub(super) async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let seen = fetch(&arguments.id, client).await?;
    let now = desk.now;
    desk.answer(|screen| render(&seen, now, screen), || seen.to_json())
}

fn render(seen: &Seen, now: Time, screen: &Screen) -> String {
    let mut pairs = Pairs::new(screen);
    pairs.heading("Approval");
    pairs.pair("id", Palette::Plain, &seen.approval.id);
    seen.standing(now, &mut pairs);
    let asked_at = seen.request.requested_at_us;
    pairs.pair("asked", Palette::Plain, &format!("{} ({})", relative(now, asked_at), absolute(asked_at)));
    seen.asked(&mut pairs);
    pairs.pair("call id", Palette::Plain, &seen.request.call_id);
    pairs.pair("call digest", Palette::Plain, &hex(&seen.request.call_digest));
    pairs.pair("asker", Palette::Plain, &seen.request.asker);
    pairs.pair("policy", Palette::Plain, &hex(&seen.request.policy_digest));
    seen.arguments(screen, &mut pairs);
    seen.decided(now, &mut pairs);
    let id = &seen.approval.id;
    match seen.approval.state() {
        State::Pending => {
            pairs.heading("To decide about exactly this");
            pairs.pair("grant", Palette::Plain, &format!("agentgate approve grant {id} --seen {}", seen.digest));
            pairs.pair("deny", Palette::Plain, &format!("agentgate approve deny {id} --seen {}", seen.digest));
        }
        State::Unspecified | State::Granted | State::Denied | State::Used | State::Voided | State::Lapsed => {}
    }
    pairs.finish()
}
