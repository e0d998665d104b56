//! `agentgate purge`: erases what calls said, for ever and in every copy, by erasing the keys that open it. Records stay, name
//! nobody, and prove what they proved.
//!
//! It says first what it would erase, and without a yes from somebody it erases nothing.

use crate::client::{Client, Connection};
use crate::extent::{self, Named};
use crate::failure::{Exit, Failure};
use crate::moment::{absolute, grouped};
use crate::output::{Desk, Output, moment_json};
use crate::screen::{Palette, Screen};
use crate::span::Moment;
use crate::table::Pairs;
use crate::text::escape;
use agentgate_proto::v1;
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    named: Named,
    /// Only sessions that took their last call before: `2026-11-22T10:00:00Z`, or `-90d`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = Moment::parse)]
    before: Option<Moment>,
    /// Why; it is kept when the rest is gone, so it names nobody
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only say what would be erased
    #[arg(long)]
    dry_run: bool,
    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,
}

pub async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let request = arguments.request(desk)?;
    let first = client.purge(v1::PurgeRequest { dry_run: true, ..request.clone() }).await?;
    if arguments.dry_run || first.sessions == 0 {
        return desk.answer(|screen| render(&request, &first, screen), || to_json(&request, &first));
    }
    if !arguments.yes {
        if desk.output == Output::Table {
            let text = render(&request, &first, &desk.screen);
            desk.write(&text)?;
        }
        if !desk.ask("Erase this for ever?")? {
            return Err(Failure::new(Exit::Refused, "nothing was erased"));
        }
    }
    let request = v1::PurgeRequest { dry_run: false, ..request };
    let purged = client.purge(request.clone()).await?;
    desk.answer(|screen| render(&request, &purged, screen), || to_json(&request, &purged))
}

// === impl Arguments ===

impl Arguments {
    fn request(&self, desk: &Desk<'_>) -> Result<v1::PurgeRequest, Failure> {
        let (extent, before_us) = (self.named.to_wire(), self.before.map_or(0, |before| before.resolve(desk.now).micros()));
        if extent.is_none() && before_us == 0 {
            return Err(Failure::new(Exit::Usage, "it does not say what is to be erased")
                .then("add --session, --principal, --tenant or --before"));
        }
        let reason = self.reason.clone().unwrap_or_default();
        if !self.dry_run && reason.trim().is_empty() {
            return Err(Failure::new(Exit::Usage, "a purge wants its reason, which is kept")
                .then("add --reason TEXT, that names nobody; or --dry-run to see what it would erase"));
        }
        if !self.dry_run && !self.yes && !desk.has_person() {
            return Err(Failure::new(Exit::Usage, "nobody is here to be asked whether this is to be erased")
                .then("see what it is with --dry-run, then give --yes"));
        }
        Ok(v1::PurgeRequest { extent, before_us, reason, dry_run: true })
    }
}

/// What was meant, in words.
fn told(request: &v1::PurgeRequest) -> String {
    let who = request.extent.as_ref().map_or_else(|| "everybody".to_owned(), |extent| extent::told(Some(extent)));
    match request.before_us {
        0 => who,
        before_us => format!("{who}, sessions that ended before {}", absolute(before_us)),
    }
}

fn render(request: &v1::PurgeRequest, purged: &v1::PurgeResponse, screen: &Screen) -> String {
    let mut pairs = Pairs::new(screen);
    let what = escape(&told(request), screen.charset);
    if purged.sessions == 0 {
        pairs.heading(&format!("nothing is kept of {what}"));
        return pairs.finish();
    }
    let done = if request.dry_run { "would erase" } else { "erased" };
    pairs.heading(&format!("{done}: {what}"));
    pairs.pair("sessions", Palette::Plain, &grouped(purged.sessions));
    pairs.pair("calls", Palette::Plain, &grouped(purged.calls));
    if request.dry_run {
        return pairs.finish();
    }
    let records: Vec<String> = purged.sequences.iter().map(|sequence| format!("#{sequence}")).collect();
    pairs.pair("on record", Palette::Good, &records.join(" "));
    if purged.finished {
        pairs.pair("keys", Palette::Good, "erased: nothing opens what they sealed, here or in a copy of the journal");
        pairs.pair(
            "copies",
            Palette::Waiting,
            "a backup from before has the keys too, wrapped under the data key: erase it as well",
        );
    } else {
        let later = "not all could be erased yet; it is tried until they are: the control plane's log says why";
        pairs.pair("keys", Palette::Waiting, later);
    }
    pairs.finish()
}

fn to_json(request: &v1::PurgeRequest, purged: &v1::PurgeResponse) -> Value {
    json!({
        "purged": extent::to_json(request.extent.as_ref()),
        "before": moment_json(request.before_us),
        "dry_run": request.dry_run,
        "sessions": purged.sessions,
        "calls": purged.calls,
        "sequences": purged.sequences,
        "finished": purged.finished,
    })
}

#[cfg(test)]
mod tests {
    use super::{render, to_json};
    use crate::screen::{Charset, Screen};
    use agentgate_proto::v1;

    #[test]
    fn it_says_what_was_erased_or_would_be() {
        let screen = Screen { color: false, charset: Charset::Unicode, columns: 120, terminal: false };
        let extent = Some(v1::Extent { tenant: "acme".into(), ..v1::Extent::default() });
        for (sessions, dry_run, finished, said, unsaid) in [
            (0, true, true, "nothing is kept of the tenant `acme`", "erased"),
            (3, true, true, "would erase: the tenant `acme`", "on record"),
            (3, false, true, "nothing opens what they sealed", "would"),
            (3, false, false, "not all could be erased yet", "nothing opens"),
        ] {
            let request = v1::PurgeRequest { extent: extent.clone(), before_us: 0, reason: String::new(), dry_run };
            let purged = v1::PurgeResponse { sessions, calls: 1_204, sequences: vec![7], finished };
            let text = render(&request, &purged, &screen);
            assert!(text.contains(said) && !text.contains(unsaid), "{text}");
            assert_eq!(to_json(&request, &purged)["sessions"], sessions);
        }
    }
}
