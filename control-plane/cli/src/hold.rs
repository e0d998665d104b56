//! `agentgate hold`: what is held is not erased, neither by order nor by its age, until the hold is lifted.

use crate::client::{Client, Connection};
use crate::extent::{self, Named};
use crate::failure::{Exit, Failure};
use crate::moment::{absolute, relative};
use crate::output::{Desk, moment_json};
use crate::screen::{Palette, Screen};
use crate::table::Pairs;
use crate::text::escape;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Hold what is named: everything that is, together
    Place(PlaceArguments),
    /// Lift a hold, so that what it held may be erased again
    Lift(LiftArguments),
    /// List the holds in force, and how each is lifted
    List,
}

#[derive(Debug, Args)]
pub struct PlaceArguments {
    #[command(flatten)]
    named: Named,
    /// Why, for whoever finds it later
    #[arg(long, num_args = 1, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Args)]
pub struct LiftArguments {
    /// Its number
    #[arg(value_name = "HOLD")]
    hold: u64,
    /// Why, for whoever asks later
    #[arg(long, num_args = 1, value_name = "TEXT")]
    reason: String,
}

pub async fn run(verb: &Verb, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Place(arguments) => place(arguments, client, desk).await,
        Verb::Lift(arguments) => lift(arguments, client, desk).await,
        Verb::List => list(client, desk).await,
    }
}

async fn place(arguments: &PlaceArguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let extent = arguments.named.to_wire().ok_or_else(|| {
        Failure::new(Exit::Usage, "it does not say what is to be held").then("add --session, --principal or --tenant")
    })?;
    arguments.named.check("agentgate hold place --principal", client).await?;
    let reason = arguments.reason.clone();
    let held = client.place_hold(v1::PlaceHoldRequest { extent: Some(extent.clone()), reason }).await?;
    let doubts = arguments.named.doubts(client).await;
    let what = extent::told(Some(&extent));
    desk.answer(
        |screen| {
            let mut pairs = Pairs::new(screen);
            pairs.heading(&format!("held: {}", escape(&what, screen.charset)));
            pairs.pair("hold", Palette::Good, &standing(&held));
            doubts.iter().for_each(|doubt| pairs.pair("warning", Palette::Waiting, doubt));
            pairs.pair("lift", Palette::Plain, &lift_command(held.hold));
            pairs.finish()
        },
        || {
            let order = order_json(&held);
            let (what, lift) = (extent::to_json(Some(&extent)), lift_command(held.hold));
            json!({ "held": what, "hold": held.hold, "order": order, "lift": lift, "warnings": &doubts })
        },
    )
}

async fn lift(arguments: &LiftArguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let reason = arguments.reason.clone();
    let lifted = client.lift_hold(v1::LiftHoldRequest { hold: arguments.hold, reason }).await?;
    desk.answer(
        |screen| {
            let mut pairs = Pairs::new(screen);
            pairs.heading(&format!("lifted: hold {}", lifted.hold));
            pairs.pair("since", Palette::Good, &standing(&lifted));
            pairs.pair(
                "now",
                Palette::Plain,
                "what it held may be erased, by order or by its age, unless another hold covers it",
            );
            pairs.finish()
        },
        || json!({ "lifted": lifted.hold, "order": order_json(&lifted) }),
    )
}

async fn list(client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let holds = client.list_holds().await?;
    let now = desk.now;
    desk.answer(|screen| render(&holds, now, screen), || json!({ "holds": holds.iter().map(hold_json).collect::<Vec<_>>() }))
}

fn render(holds: &[v1::Hold], now: Time, screen: &Screen) -> String {
    if holds.is_empty() {
        return "nothing is held\n".to_owned();
    }
    let mut pairs = Pairs::new(screen);
    for hold in holds {
        let what = escape(&extent::told(hold.extent.as_ref()), screen.charset);
        pairs.heading(&format!("hold {}: {what}", hold.hold));
        pairs.pair("since", Palette::Plain, &format!("{} ({})", relative(now, hold.at_us), absolute(hold.at_us)));
        pairs.pair("by", Palette::Plain, &hold.by);
        pairs.pair("reason", Palette::Plain, &hold.reason);
        pairs.pair("lift", Palette::Plain, &lift_command(hold.hold));
    }
    pairs.finish()
}

fn hold_json(hold: &v1::Hold) -> Value {
    json!({
        "hold": hold.hold,
        "held": extent::to_json(hold.extent.as_ref()),
        "reason": hold.reason,
        "by": hold.by,
        "at": moment_json(hold.at_us),
        "lift": lift_command(hold.hold),
    })
}

fn standing(order: &v1::HoldResponse) -> String {
    if order.changed {
        format!("{}, by #{} in epoch {}", order.hold, order.sequence, order.epoch)
    } else {
        format!("{}: it was so already, and nothing was written", order.hold)
    }
}

fn order_json(order: &v1::HoldResponse) -> Value {
    json!({ "sequence": order.sequence, "epoch": order.epoch, "changed": order.changed })
}

fn lift_command(hold: u64) -> String {
    format!("agentgate hold lift {hold} --reason TEXT")
}

#[cfg(test)]
mod tests {
    use super::{hold_json, render};
    use crate::screen::{Charset, Screen};
    use agentgate_core::time::Time;
    use agentgate_proto::v1;

    #[test]
    fn a_list_says_what_is_held_and_how_it_is_lifted() {
        let screen = Screen { color: false, charset: Charset::Unicode, columns: 100, terminal: false };
        assert_eq!(render(&[], Time::from_micros(0), &screen), "nothing is held\n");
        let extent = v1::Extent { tenant: "acme".into(), session: "5f\u{202e}0c".into(), ..v1::Extent::default() };
        for (extent, said) in [
            (Some(v1::Extent { session: "5f0c".into(), ..extent.clone() }), "the session `5f0c` of the tenant `acme`"),
            (Some(extent), "something that this program does not know"),
            (None, "everything: what it meant cannot be read any more"),
        ] {
            let hold = v1::Hold { hold: 17, extent, reason: "a case".into(), by: "spiffe://a/operator/me".into(), at_us: 5 };
            let text = render(std::slice::from_ref(&hold), Time::from_micros(9), &screen);
            assert!(text.contains("hold 17") && text.contains("agentgate hold lift 17 --reason TEXT"), "{text}");
            assert!(text.contains(said) && !text.contains('\u{202e}'), "{text}");
            assert_eq!(hold_json(&hold)["held"].is_null(), hold.extent.is_none());
        }
    }
}
