//! `envoy/bootstrap.yaml`, taken as the one source of what is printed: each change names a line that stands there exactly once.
//!
//! A change that hits nothing, or hits twice, is an error: what is printed never lacks a setting in silence.

use thiserror::Error;

/// The configuration that the project ships.
pub(crate) const BOOTSTRAP: &str = include_str!("../../../../envoy/bootstrap.yaml");

/// Text under change. The first mistake stays, and is told at the end.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    text: String,
    broken: Option<TemplateError>,
}

/// The bootstrap and this program have grown apart.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{line}` stands {times} times in envoy/bootstrap.yaml, and must stand there once; this program was built from a broken tree"
)]
pub(crate) struct TemplateError {
    line: String,
    times: usize,
}

// === impl Template ===

impl Template {
    #[must_use]
    pub(crate) fn of(text: &str) -> Self {
        Self { text: text.into(), broken: None }
    }

    /// Puts other words in the place of these.
    #[must_use]
    pub(crate) fn put(mut self, from: &str, to: &str) -> Self {
        if self.stands_once(from) {
            self.text = self.text.replace(from, to);
        }
        self
    }

    /// Puts something else in the place of everything before this line.
    #[must_use]
    pub(crate) fn head(mut self, line: &str, head: &str) -> Self {
        if self.stands_once(line) {
            let rest = self.text.find(line).and_then(|at| self.text.get(at..)).unwrap_or_default();
            self.text = format!("{head}{rest}");
        }
        self
    }

    /// Puts something else in the place of this whole line and all that is indented below it.
    #[must_use]
    pub(crate) fn block(mut self, first: &str, to: &str) -> Self {
        if self.stands_once(&format!("\n{first}\n")) {
            let (before, _, after) = cut(&self.text, first);
            self.text = format!("{before}{to}{after}");
        }
        self
    }

    /// # Errors
    /// A change found its line nowhere, or more than once.
    pub(crate) fn finish(self) -> Result<String, TemplateError> {
        self.broken.map_or(Ok(self.text), Err)
    }

    fn stands_once(&mut self, line: &str) -> bool {
        let times = self.text.matches(line).count();
        if times != 1 && self.broken.is_none() {
            self.broken = Some(TemplateError { line: line.trim().into(), times });
        }
        times == 1
    }
}

/// One block of the bootstrap, as it stands there.
///
/// # Errors
/// It stands there not once.
pub(crate) fn taken(first: &str) -> Result<String, TemplateError> {
    let mut template = Template::of(BOOTSTRAP);
    template.stands_once(&format!("\n{first}\n"));
    template.clone().finish()?;
    Ok(cut(&template.text, first).1)
}

/// Before, the block, and after it.
fn cut(text: &str, first: &str) -> (String, String, String) {
    let depth = indent(first);
    let (mut before, mut block, mut after) = (String::new(), String::new(), String::new());
    for line in text.split_inclusive('\n') {
        let inside = !block.is_empty() && after.is_empty() && !line.trim().is_empty() && indent(line) > depth;
        if inside || (block.is_empty() && line.trim_end_matches('\n') == first) {
            block.push_str(line);
        } else if block.is_empty() {
            before.push_str(line);
        } else {
            after.push_str(line);
        }
    }
    (before, block, after)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The same lines, so much further to the right. Empty ones stay empty.
#[must_use]
pub(crate) fn indented(text: &str, columns: usize) -> String {
    let indent = " ".repeat(columns);
    let shift = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{indent}{line}\n") };
    text.lines().map(shift).collect()
}

#[cfg(test)]
mod tests {
    use super::{Template, taken};

    const TEXT: &str = "a:\n  b: 1\n  # why\n\nc:\n  d: 1\n";

    #[test]
    fn a_block_is_a_line_and_what_is_indented_below_it() {
        assert_eq!(Template::of(&format!("x\n{TEXT}")).block("a:", "e: 2\n").finish().expect("once"), "x\ne: 2\n\nc:\n  d: 1\n");
        assert!(taken("    - name: server").expect("the cluster").contains("SERVER"));
    }

    #[test]
    fn a_change_that_hits_nothing_or_twice_is_told() {
        for (from, times) in [("f: 1", 0), (": 1", 2)] {
            let error = Template::of(TEXT).put(from, "").put("c:", "g:").finish().expect_err(from);
            assert_eq!(error.times, times, "{error}");
        }
        assert!(Template::of(TEXT).head("nowhere", "").finish().is_err());
        assert!(Template::of(TEXT).block("  b: 2", "").finish().is_err());
        assert!(taken("    - name: nobody").is_err());
    }
}
