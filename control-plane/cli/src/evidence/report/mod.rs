//! The page that a person reads: one file without scripts and without anything from elsewhere. The template escapes what it shows.

use super::pack::Pack;
use super::reading::Reading;
use crate::failure::{Exit, Failure};
use agentgate_core::error::chain;
use askama::Template;

/// A chart is so many units wide.
const CHART_WIDTH: usize = 600;

#[derive(Debug, Template)]
#[template(path = "evidence.html")]
struct Page<'a> {
    manifest: String,
    checkpoint: String,
    reading: &'a Reading,
    bars: Vec<Bar>,
}

/// One bar of the chart.
#[derive(Debug)]
struct Bar {
    name: &'static str,
    count: usize,
    x: usize,
    width: usize,
}

/// # Errors
/// Never, as long as memory can be had.
pub fn html(pack: &Pack) -> Result<String, Failure> {
    let reading = Reading::of(pack);
    let text = |note: &[u8]| String::from_utf8_lossy(note).split("\n\n").next().unwrap_or_default().to_owned();
    let page =
        Page { manifest: text(&pack.manifest), checkpoint: text(&pack.checkpoint), bars: bars(&reading), reading: &reading };
    page.render().map_err(|error| Failure::new(Exit::Local, chain(&error)))
}

fn bars(reading: &Reading) -> Vec<Bar> {
    let all = reading.calls().max(1);
    let mut x = 0;
    let counts = [("allow", reading.allow), ("pending", reading.pending), ("deny", reading.deny)];
    let bar = |(name, count): (&'static str, usize)| {
        let width = count * CHART_WIDTH / all;
        let bar = Bar { name, count, x, width };
        x += width;
        bar
    };
    counts.into_iter().map(bar).collect()
}
