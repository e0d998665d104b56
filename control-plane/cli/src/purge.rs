//! `agentgate purge`: erases what calls said, for ever and in every copy, by erasing the keys that open it. Records stay, name
//! nobody, and prove what they proved.
//!
//! It says first what it would erase, and without a yes from somebody it erases nothing.

use crate::client::{Client, Connection};
use crate::extent::{self, Named};
use crate::failure::{Exit, Failure};
use crate::moment::{absolute, counted};
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
    named: Named,
    /// Only sessions whose day was over by then: `90d` (ago), `2026-11-22`, or `2026-11-22T10:00:00Z`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = Moment::past)]
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
    #[command(flatten)]
    pub connection: Connection,
}

pub async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let request = arguments.request(desk)?;
    arguments.named.check("agentgate purge --principal", client).await?;
    // What is held is said before anything is asked for.
    let first = client.purge(v1::PurgeRequest { dry_run: true, ..request.clone() }).await?;
    if arguments.dry_run || (first.sessions == 0 && !first.tokens) {
        return desk.answer(|screen| render(&request, &first, screen), || to_json(&request, &first));
    }
    if !arguments.yes && !desk.has_person() {
        return Err(Failure::new(Exit::Usage, "nobody is here to be asked whether this is to be erased")
            .then("see what it is with --dry-run, then give --yes"));
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
    let purged = client.purge(request.clone()).await.map_err(unanswered)?;
    desk.answer(|screen| render(&request, &purged, screen), || to_json(&request, &purged))
}

/// Of an order that nobody answered, records may be written, and the rest never is unless it is ordered again.
fn unanswered(failure: Failure) -> Failure {
    if failure.exit == Exit::Unreachable {
        return failure.then("some of it may be erased: --dry-run says what is left, and the same order again erases it");
    }
    failure
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
        Ok(v1::PurgeRequest { extent, before_us, reason, dry_run: true })
    }
}

/// What was meant, in words.
fn told(request: &v1::PurgeRequest) -> String {
    let who = request.extent.as_ref().map(|extent| extent::told(Some(extent)));
    let when = (request.before_us != 0).then(|| format!("sessions whose day was over by {}", absolute(request.before_us)));
    [who, when].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn render(request: &v1::PurgeRequest, purged: &v1::PurgeResponse, screen: &Screen) -> String {
    let mut pairs = Pairs::new(screen);
    let what = escape(&told(request), screen.charset);
    let held = |pairs: &mut Pairs<'_>| {
        if purged.tokens_held != 0 {
            let hold = purged.tokens_held;
            let stays = format!("their key stays, since hold {hold} may hold something of the tenant; lift it and purge again");
            pairs.pair("tokens", Palette::Waiting, &stays);
        }
    };
    if purged.sessions == 0 && !purged.tokens {
        pairs.heading(&format!("nothing is kept of {what}"));
        held(&mut pairs);
        let next =
            "agentgate trace list shows the calls that there are; agentgate trace show SEQ the principal and the session of one";
        pairs.pair("next", Palette::Dim, next);
        return pairs.finish();
    }
    let done = if request.dry_run { "would erase" } else { "erased" };
    pairs.heading(&format!("{done}: {what}"));
    let count = format!("{}, {}", counted(purged.sessions, "session"), counted(purged.calls, "call"));
    pairs.pair("in all", Palette::Plain, &count);
    if purged.tokens {
        let goes = "with the key of the tenant's tokens: nobody says any more what one of them stood for";
        pairs.pair("tokens", Palette::Plain, goes);
    }
    held(&mut pairs);
    if request.dry_run {
        return pairs.finish();
    }
    let records: Vec<String> = purged.sequences.iter().map(|sequence| format!("#{sequence}")).collect();
    pairs.pair("on record", Palette::Good, &records.join(" "));
    if purged.finished {
        pairs.pair("keys", Palette::Good, "erased: nothing opens what they sealed, here and in copies made from now on");
        let backups = "a backup made before has the keys too (wrapped): erase it, or purge again after a restore";
        pairs.pair("backups", Palette::Waiting, backups);
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
        "tokens": purged.tokens,
        "tokens_held_by": Some(purged.tokens_held).filter(|hold| *hold != 0),
    })
}

#[cfg(test)]
mod tests {
    use super::{render, to_json, unanswered};
    use crate::failure::{Exit, Failure};
    use crate::screen::{Charset, Screen};
    use agentgate_proto::v1;

    #[test]
    fn whoever_gets_no_answer_is_told_that_some_of_it_may_be_erased() {
        for (exit, is_told) in [(Exit::Unreachable, true), (Exit::Refused, false), (Exit::Usage, false)] {
            let failure = unanswered(Failure::new(exit, "x"));
            assert_eq!(failure.next().iter().any(|next| next.contains("--dry-run says what is left")), is_told, "{failure:?}");
        }
    }

    #[test]
    fn it_says_what_was_erased_or_would_be() {
        let screen = Screen { color: false, charset: Charset::Unicode, columns: 120, terminal: false };
        let extent = Some(v1::Extent { tenant: "acme".into(), ..v1::Extent::default() });
        let backups = "a backup made before has the keys too (wrapped): erase it, or purge again after a restore";
        let (none, gone, held) = ((false, 0), (true, 0), (false, 7));
        for (extent, before_us, sessions, dry_run, finished, (tokens, tokens_held), said, unsaid) in [
            (extent.clone(), 0, 0, true, true, none, "nothing is kept of the tenant `acme`\n  next ", "erased"),
            (
                None,
                1,
                0,
                true,
                true,
                none,
                "nothing is kept of sessions whose day was over by 1970-01-01 00:00:00.000Z\n",
                "everybody",
            ),
            (
                extent.clone(),
                1,
                3,
                true,
                true,
                none,
                "erase: the tenant `acme`, sessions whose day was over by 1970",
                "on record",
            ),
            (extent.clone(), 0, 3, true, true, none, "would erase: the tenant `acme`\n", "on record"),
            (extent.clone(), 0, 3, true, true, none, "  3 sessions, 1,204 calls\n", "3 sessionss"),
            (extent.clone(), 0, 1, true, true, none, "  1 session, 1,204 calls\n", "1 sessions"),
            (
                extent.clone(),
                0,
                3,
                false,
                true,
                none,
                "nothing opens what they sealed, here and in copies made from now on\n",
                "would",
            ),
            (extent.clone(), 0, 3, false, true, none, backups, "in a copy of the journal"),
            (extent.clone(), 0, 3, false, false, none, "not all could be erased yet", "nothing opens"),
            (extent.clone(), 0, 3, false, true, none, "nothing opens what they sealed", "tokens"),
            (extent.clone(), 0, 3, false, true, gone, "with the key of the tenant's tokens", "stays"),
            (extent.clone(), 0, 0, true, true, gone, "would erase: the tenant `acme`", "nothing is kept"),
            (extent.clone(), 0, 3, false, true, held, "their key stays, since hold 7 may hold", "with the key"),
            (extent, 0, 0, true, true, held, "their key stays, since hold 7 may hold", "would erase"),
        ] {
            let request = v1::PurgeRequest { extent, before_us, reason: String::new(), dry_run };
            let purged = v1::PurgeResponse { sessions, calls: 1_204, sequences: vec![7], finished, tokens, tokens_held };
            let text = render(&request, &purged, &screen);
            assert!(text.contains(said) && !text.contains(unsaid), "{text}");
            let json = to_json(&request, &purged);
            assert_eq!((json["sessions"].as_u64(), json["tokens"].as_bool()), (Some(sessions), Some(tokens)));
            assert_eq!(json["tokens_held_by"].as_u64(), Some(tokens_held).filter(|hold| *hold != 0));
        }
    }
}
