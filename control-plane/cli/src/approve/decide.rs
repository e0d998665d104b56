//! `agentgate approve grant` and `agentgate approve deny`: decides about one call, after showing it whole.
//!
//! A grant without a yes from somebody is refused, and so is one for something else than was shown.

use super::seen::{Seen, fetch, state};
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::moment::{absolute, relative};
use crate::output::{Desk, Output};
use crate::screen::{Palette, Screen};
use crate::table::Pairs;
use crate::text::escape;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use agentgate_proto::v1::ApprovalState as State;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct GrantArguments {
    #[command(flatten)]
    order: Order,
    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct DenyArguments {
    #[command(flatten)]
    order: Order,
    /// Changes nothing: a deny asks nobody. It is taken because a grant takes it
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
struct Order {
    /// Its id, or the unique beginning of it
    #[arg(value_name = "ID")]
    id: String,
    /// Why, for whoever reads the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only if it is still what `approve show` showed under this digest; asks nobody
    #[arg(long, value_name = "HEX")]
    seen: Option<String>,
}

pub(super) async fn grant(arguments: &GrantArguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let is_meant = arguments.yes || arguments.order.seen.is_some();
    if !is_meant && !desk.has_person() {
        return Err(Failure::new(Exit::Usage, "nobody is here to be asked whether this call is to pass")
            .then(format!("look at it: agentgate approve show {}", arguments.order.id))
            .then("then grant it with the --seen that is shown there, or with --yes"));
    }
    let seen = arguments.order.look(client, desk).await?;
    if !is_meant && !desk.ask("Grant this call?")? {
        return Err(Failure::new(Exit::Refused, "nothing was granted; the call goes on waiting"));
    }
    arguments.order.send(true, &seen, client, desk).await
}

pub(super) async fn deny(arguments: &DenyArguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    // A no is the same with a yes and without.
    let DenyArguments { order, yes: _ } = arguments;
    let seen = order.look(client, desk).await?;
    order.send(false, &seen, client, desk).await
}

fn render_call(seen: &Seen, now: Time, screen: &Screen) -> String {
    let mut pairs = Pairs::new(screen);
    seen.asked(&mut pairs);
    seen.standing(now, &mut pairs);
    seen.arguments(screen, &mut pairs);
    pairs.finish() + "\n"
}

fn render_done(seen: &Seen, now: Time, screen: &Screen) -> String {
    let (name, palette) = state(seen.approval.state());
    let call = escape(&seen.call(), screen.charset);
    let until = seen.approval.expires_at_us;
    let next = match seen.approval.state() {
        State::Granted => {
            format!("the call passes once, until {} ({}): the agent has to make it again", absolute(until), relative(now, until))
        }
        State::Pending => {
            let granted = seen.approval.steps.iter().filter(|step| step.granted).count();
            format!("granted {granted} of {} times; the next grant has to be somebody else's", seen.request.steps)
        }
        State::Denied => "the agent is told so when it makes the call again".to_owned(),
        State::Unspecified | State::Used | State::Voided | State::Lapsed => String::new(),
    };
    let id: String = seen.approval.id.chars().take(8).collect();
    format!("{} {id}  {call}\n{}\n", screen.paint(palette, name), screen.paint(Palette::Dim, &next))
}

// === impl Order ===

impl Order {
    /// Fetches it and shows it, unless it can no longer be decided or is not what was seen before.
    async fn look(&self, client: &Client, desk: &mut Desk<'_>) -> Result<Seen, Failure> {
        let seen = fetch(&self.id, client).await?;
        if seen.approval.state() != State::Pending {
            let (name, _) = state(seen.approval.state());
            return Err(Failure::new(Exit::Refused, format!("`{}` is {name} already", seen.approval.id))
                .then(format!("agentgate approve show {}", seen.approval.id)));
        }
        if let Some(wanted) = &self.seen
            && !wanted.eq_ignore_ascii_case(&seen.digest.to_string())
        {
            return Err(Failure::new(Exit::Refused, format!("`{}` is not what was seen as `{wanted}`", seen.approval.id))
                .then(format!("look again, then decide: agentgate approve show {}", seen.approval.id)));
        }
        if desk.output == Output::Table {
            let (now, screen) = (desk.now, desk.screen);
            desk.write(&render_call(&seen, now, &screen))?;
        }
        Ok(seen)
    }

    async fn send(&self, grant: bool, seen: &Seen, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
        let request = v1::DecideApprovalRequest {
            id: seen.approval.id.clone(),
            grant,
            reason: self.reason.clone().unwrap_or_default(),
            seen: seen.digest.as_bytes().to_vec().into(),
        };
        let answer = client.decide_approval(request).await?;
        let gone = || Failure::new(Exit::Unreachable, "the control plane did not say what became of it");
        let done = Seen::read(answer.ok_or_else(gone)?)?;
        let now = desk.now;
        desk.answer(|screen| render_done(&done, now, screen), || done.to_json())
    }
}
