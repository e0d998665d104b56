//! The command line of operators and policy authors, as a library: a client like any other.
//!
//! It decides nothing and keeps nothing: what it shows was asked for, and what an agent wrote is escaped before it is shown.

pub mod approve;
pub mod arguments;
pub mod authority;
pub mod check;
pub mod client;
pub mod clock;
pub mod diff;
pub mod envoy;
pub mod evidence;
pub mod explain;
pub mod extent;
pub mod failure;
pub mod file;
pub mod hold;
pub mod journal;
pub mod kill;
pub mod known;
pub mod log;
pub mod mode;
pub mod moment;
pub mod openapi;
pub mod order;
pub mod output;
pub mod pack;
pub mod policy;
pub mod purge;
pub mod screen;
pub mod span;
pub mod status;
pub mod table;
pub mod text;
pub mod trace;
pub mod verify;

use arguments::{Arguments, Verb};
use clap::FromArgMatches as _;
use client::Client;
use failure::{Exit, Failure};
use output::{Desk, Output};
use screen::{ColorChoice, Screen, Surroundings};
use std::ffi::OsString;
use std::io::{BufRead, Write as _};
use std::process::ExitCode;

/// Runs one command line and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>, surroundings: &Surroundings) -> ExitCode {
    let matches = arguments::command().try_get_matches_from(arguments);
    let arguments = match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code());
            // Help and version come this way too, with code 0. A closed pipe is nobody's business here.
            if error.use_stderr() {
                let screen = Screen::new(&surroundings.of_errors(), ColorChoice::Auto);
                let _ = std::io::stderr().write_all(failure::misspoken(error, &screen).as_bytes());
            } else {
                let _ = error.print();
            }
            return ExitCode::from(code);
        }
    };
    let screen = Screen::new(surroundings, arguments.color);
    let mut out = std::io::stdout().lock();
    let mut typed = std::io::stdin().lock();
    let person: Option<&mut dyn BufRead> = if surroundings.person { Some(&mut typed) } else { None };
    let mut desk = Desk { screen, output: arguments.output, now: clock::now(), out: &mut out, person };
    match dispatch(&arguments, &mut desk) {
        Ok(()) => ExitCode::from(Exit::Done.code()),
        Err(failure) => {
            let said = match arguments.output {
                _ if failure.exit == Exit::Done => String::new(),
                Output::Table => failure.render(&Screen::new(&surroundings.of_errors(), arguments.color)),
                Output::Json => output::failure_line(&failure),
            };
            // Whoever closed standard error does not want to know; the exit code remains.
            let _ = std::io::stderr().write_all(said.as_bytes());
            ExitCode::from(failure.exit.code())
        }
    }
}

fn dispatch(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::Authority(verb) => authority::verb::run(verb, desk),
        Verb::Check(verb) => wait(check::run(verb, desk)),
        Verb::Envoy(verb) => envoy::run(verb, desk),
        Verb::Trace(verb) => wait(async { trace::run(&verb.verb, &Client::connect(&verb.connection).await?, desk).await }),
        Verb::Explain(verb) => wait(async { explain::run(verb, &Client::connect(&verb.connection).await?, desk).await }),
        Verb::Approve(verb) => wait(async { approve::run(verb, &Client::connect(&verb.connection).await?, desk).await }),
        Verb::Enforce(verb) => wait(async { mode::enforce(verb, &Client::connect(&verb.connection).await?, desk).await }),
        Verb::Observe(verb) => wait(async { mode::observe(verb, &Client::connect(&verb.connection).await?, desk).await }),
        Verb::Mode(verb) => wait(async { mode::run(verb, &Client::connect(&verb.connection).await?, desk).await }),
        Verb::Journal(verb) => journal::run(verb, desk),
        Verb::Evidence(verb) => evidence::run(verb, desk),
        Verb::Hold(verb) => wait(async { hold::run(&verb.verb, &Client::connect(&verb.connection).await?, desk).await }),
        Verb::Purge(verb) => wait(async { purge::run(verb, &Client::connect(&verb.connection).await?, desk).await }),
        Verb::Log(verb) => wait(log::run(verb, desk)),
        Verb::Verify(verb) => wait(verify::run(verb, desk)),
        Verb::SettleAgain => verify::apart::answer(desk.out),
        Verb::Kill(verb) => wait(async { kill::kill(verb, &Client::connect(&verb.connection).await?, desk).await }),
        Verb::Resume(verb) => wait(async { kill::resume(verb, &Client::connect(&verb.connection).await?, desk).await }),
        Verb::Openapi(verb) => openapi::run(verb, desk),
        Verb::Policy(verb) => policy::run(verb, desk),
        Verb::Status(verb) => wait(async { status::run(verb, &Client::connect(&verb.connection).await?, desk).await }),
    }
}

/// One thread is enough for one question.
fn wait(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Local, error))?.block_on(work)
}
