//! `agentgate enforce`, `agentgate observe` and `agentgate mode`: whether calls wait for their verdict, or are only observed.
//!
//! An order counts more than what a route's configuration says. Before somebody enforces, they are told whom it will refuse.

use crate::client::{Client, Connection};
use crate::failure::{Exit, Failure};
use crate::known;
use crate::moment::relative;
use crate::order::{self, Confirmation};
use crate::output::{Desk, moment_json};
use crate::policy::impact;
use crate::screen::{Palette, Screen};
use crate::span::Span;
use crate::table::{Cell, Column, Pairs, Table};
use crate::text::{escape, shell_word};
use crate::trace::line::absent;
use agentgate_core::id::Server;
use agentgate_core::mode::Mode;
use agentgate_core::time::Time;
use agentgate_proto::order::{mode_from_wire, mode_to_wire, tool_from_wire};
use agentgate_proto::v1;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// How far back whoever enforces is told of.
const IMPACT_DAYS: u32 = 7;

/// More tools with an order of their own are counted.
const TOOLS_TOLD_MAX: usize = 8;

const BY_ORDER_ALONE: &str = "the routes' own configuration observes: a filter VM that starts while no control plane is reachable \
                              still lets calls through; write `\"mode\": \"enforce\"` into the route once you enforce for good";

const MODES: [Column; 6] = [
    Column::cut("SERVER", u8::MAX),
    Column::cut("TOOL", u8::MAX),
    Column::whole("MODE", u8::MAX),
    Column::whole("SINCE", 5),
    Column::cut("BY", 2),
    Column::cut("REASON", 3),
];

#[derive(Debug, Args)]
pub struct EnforceArguments {
    #[command(flatten)]
    which: Which,
    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct ObserveArguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct ModeArguments {
    #[command(subcommand)]
    verb: ModeVerb,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Subcommand)]
enum ModeVerb {
    /// List what is ordered; servers without an order do as their routes say
    List,
    /// Forget an order: as the routes say, or as is ordered for the whole server
    Clear(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// The server, by its name in the filters' routes
    #[arg(value_name = "SERVER")]
    server: String,
    /// Only this tool of it
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub async fn enforce(arguments: &EnforceArguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    arguments.which.check()?;
    if !arguments.yes {
        if !desk.has_person() {
            let again = arguments.which.impact();
            return Err(Failure::new(Exit::Usage, "nobody is here to be asked whether calls are to be refused from now on")
                .then(format!("look at `{again}`, then add --yes")));
        }
        let mut said = vec![foretold(&arguments.which, client, desk).await?];
        said.extend(arguments.which.doubts(client).await.iter().map(|doubt| escape(doubt, desk.screen.charset)));
        desk.write(&format!("{}\n", said.join("\n")))?;
        if !desk.ask(&format!("Enforce {}?", escape(&arguments.which.told(), desk.screen.charset)))? {
            return Err(Failure::new(Exit::Refused, "nothing was ordered"));
        }
    }
    set(&arguments.which, Some(Mode::Enforce), client, desk).await
}

pub async fn observe(arguments: &ObserveArguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    set(&arguments.which, Some(Mode::Observe), client, desk).await
}

pub async fn run(arguments: &ModeArguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    match &arguments.verb {
        ModeVerb::Clear(which) => set(which, None, client, desk).await,
        ModeVerb::List => {
            let modes = client.list_orders().await?.modes;
            let now = desk.now;
            let json = || json!({ "modes": modes.iter().map(mode_json).collect::<Vec<_>>() });
            desk.answer(|screen| render_list(&modes, now, screen), json)
        }
    }
}

/// A mode's name in an order; none where the routes say.
#[must_use]
pub fn name(mode: v1::Mode) -> &'static str {
    mode_from_wire(mode).map_or("as the routes say", Mode::name)
}

#[must_use]
pub fn mode_json(order: &v1::ModeOrder) -> Value {
    json!({
        "server": order.server,
        "tool": absent(&order.tool),
        "mode": mode_from_wire(order.mode()).map(Mode::name),
        "reason": order.reason,
        "by": order.by,
        "at": moment_json(order.at_us),
        "sequence": order.sequence,
    })
}

/// One line: what enforcing would have refused lately. That it is not known stops nobody.
async fn foretold(which: &Which, client: &Client, desk: &mut Desk<'_>) -> Result<String, Failure> {
    let since = desk.now.micros().saturating_sub(Span::days(IMPACT_DAYS).micros());
    let (server, tool) = (which.server.clone(), which.tool.clone().unwrap_or_default());
    let request = v1::ShowImpactRequest { since_us: since, candidate: Vec::new(), server, tool };
    let read = impact::read(request, client, desk).await;
    let see = which.impact();
    let said = match read {
        Ok(impact) => format!("in the last {IMPACT_DAYS} days it {}; see `{see}`", impact::in_short(&impact)),
        Err(failure) if failure.exit == Exit::Done => return Err(failure),
        Err(failure) => format!("whom it would have refused is not known: {}", failure.chain().join(": ")),
    };
    Ok(escape(&said, desk.screen.charset))
}

async fn set(which: &Which, mode: Option<Mode>, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    which.check()?;
    let request = v1::SetModeRequest {
        server: which.server.clone(),
        tool: which.tool.clone().unwrap_or_default(),
        mode: mode_to_wire(mode).into(),
        reason: which.reason.clone().unwrap_or_default(),
    };
    let ordered = client.set_mode(request).await?;
    let seen = order::confirm(client, ordered.epoch, desk).await?;
    let doubts = if mode.is_some() { which.doubts(client).await } else { Vec::new() };
    // What stands beside an order is told where it is known, and stops no answer.
    let status = client.show_status().await.unwrap_or_default();
    let what = || json!({ "server": which.server, "tool": which.tool, "mode": mode.map(Mode::name) });
    let told = |screen: &Screen| {
        let mut warnings: Vec<(&str, String)> = doubts.iter().map(|doubt| ("warning", doubt.clone())).collect();
        warnings.extend(beside(which, mode, &status));
        render(which, mode, &ordered, &seen, &warnings, screen)
    };
    desk.answer(told, || order::to_json(&what(), &ordered, &seen, &doubts))
}

/// What else decides about these calls: orders for single tools, and the routes' own configuration.
fn beside(which: &Which, mode: Option<Mode>, status: &v1::ShowStatusResponse) -> Vec<(&'static str, String)> {
    let mut told = Vec::new();
    let server = shell_word(&which.server);
    if which.tool.is_none() {
        let modes = status.orders.iter().flat_map(|orders| &orders.modes);
        let other = |order: &&v1::ModeOrder| {
            order.server == which.server && !order.tool.is_empty() && mode_from_wire(order.mode()) != mode
        };
        let tools: Vec<&v1::ModeOrder> = modes.filter(other).collect();
        for order in tools.iter().take(TOOLS_TOLD_MAX) {
            let is = match mode_from_wire(order.mode()) {
                Some(Mode::Enforce) => "enforced",
                Some(Mode::Observe) | None => "observed",
            };
            let clear = format!("agentgate mode clear {server} --tool {}", shell_word(&order.tool));
            told.push(("still", format!("`{}` is {is} by an order of its own; to let it go: {clear}", order.tool)));
        }
        if tools.len() > TOOLS_TOLD_MAX {
            told.push(("still", format!("{} more tools; all: agentgate mode list", tools.len() - TOOLS_TOLD_MAX)));
        }
    }
    let observes = status.routes.iter().any(|route| route.observes && route.server == which.server);
    if observes && mode == Some(Mode::Enforce) {
        told.push(("mind", BY_ORDER_ALONE.to_owned()));
    }
    told
}

fn render(
    which: &Which,
    mode: Option<Mode>,
    ordered: &v1::OrderResponse,
    seen: &Confirmation,
    warnings: &[(&str, String)],
    screen: &Screen,
) -> String {
    let mut pairs = Pairs::new(screen);
    let told = escape(&which.told(), screen.charset);
    pairs.heading(&match mode {
        Some(Mode::Enforce) => format!("enforced: {told}"),
        Some(Mode::Observe) => format!("only observed: {told}"),
        None => format!("as the routes say: {told}"),
    });
    order::render(ordered, seen, &mut pairs);
    warnings.iter().for_each(|(name, warning)| pairs.pair(name, Palette::Waiting, warning));
    let back = match mode {
        Some(Mode::Enforce) => "observe",
        Some(Mode::Observe) => "enforce",
        None => return pairs.finish(),
    };
    pairs.pair("back", Palette::Plain, &format!("agentgate {back} {}{}", shell_word(&which.server), which.tool_option()));
    pairs.finish()
}

fn render_list(modes: &[v1::ModeOrder], now: Time, screen: &Screen) -> String {
    if modes.is_empty() {
        return "nothing is ordered: every server does as its routes say (`agentgate status` shows which observe)\n".to_owned();
    }
    let mut table = Table::new(&MODES);
    for order in modes {
        let palette = match mode_from_wire(order.mode()) {
            Some(Mode::Enforce) => Palette::Good,
            Some(Mode::Observe) | None => Palette::Waiting,
        };
        table.row(vec![
            Cell::plain(order.server.clone()),
            Cell::plain(absent(&order.tool).unwrap_or("(all)")),
            Cell::new(palette, name(order.mode())),
            Cell::plain(relative(now, order.at_us)),
            Cell::plain(order.by.clone()),
            Cell::plain(order.reason.clone()),
        ]);
    }
    table.render(screen)
}

// === impl Which ===

impl Which {
    fn check(&self) -> Result<(), Failure> {
        let named = Server::try_from(self.server.as_str()).and_then(|_| tool_from_wire(self.tool.as_deref().unwrap_or_default()));
        named.map(drop).map_err(|error| Failure::new(Exit::Usage, error))
    }

    async fn doubts(&self, client: &Client) -> Vec<String> {
        known::doubts(&self.server, self.tool.as_deref(), client).await
    }

    /// The command that shows whom enforcing would refuse.
    fn impact(&self) -> String {
        format!("agentgate policy impact --server {}{}", shell_word(&self.server), self.tool_option())
    }

    fn tool_option(&self) -> String {
        self.tool.as_ref().map(|tool| format!(" --tool {}", shell_word(tool))).unwrap_or_default()
    }

    fn told(&self) -> String {
        match &self.tool {
            Some(tool) => format!("the tool `{tool}` of the server `{}`", self.server),
            None => format!("the server `{}`", self.server),
        }
    }
}
