//! What processes cost: CPU time to the nanosecond from the scheduler's own books, and resident memory. It guesses nothing: what `/proc` hides is an error.

use agentgate_e2e::{Broken, Doing};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One process to watch, under the name that the report gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    pub(crate) name: &'static str,
    pub(crate) id: u32,
}

/// CPU nanoseconds so far, by process and thread name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent(BTreeMap<(&'static str, String), u64>);

// === impl Watched ===

impl Watched {
    pub(crate) fn new(name: &'static str, id: u32) -> Self {
        Self { name, id }
    }

    pub(crate) fn resident_mb(&self) -> Result<f64, Broken> {
        let path = format!("/proc/{}/status", self.id);
        let status = fs::read_to_string(&path).doing(&path)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).doing(format_args!("`VmRSS` in {path}"))?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().doing(&path)?;
        Ok(kib / 1024.0)
    }

    /// CPU nanoseconds of each of its threads. One that ends in the middle is not counted: ours live as long as their process.
    fn spent(&self) -> Result<BTreeMap<(&'static str, String), u64>, Broken> {
        let tasks = format!("/proc/{}/task", self.id);
        let mut spent = BTreeMap::new();
        for task in fs::read_dir(&tasks).doing(&tasks)?.flatten() {
            if let Some((name, nanoseconds)) = thread(&task.path()) {
                *spent.entry((self.name, name)).or_default() += nanoseconds;
            }
        }
        Ok(spent)
    }
}

fn thread(task: &Path) -> Option<(String, u64)> {
    let name = fs::read_to_string(task.join("comm")).ok()?;
    let books = fs::read_to_string(task.join("schedstat")).ok()?;
    Some((name.trim().to_owned(), books.split(' ').next()?.parse().ok()?))
}

// === impl Spent ===

impl Spent {
    pub(crate) fn now(watched: &[Watched]) -> Result<Self, Broken> {
        let all = watched.iter().map(Watched::spent).collect::<Result<Vec<_>, _>>()?;
        Ok(Self(all.into_iter().flatten().collect()))
    }

    /// Microseconds since `before`, by process and thread.
    pub(crate) fn since(&self, before: &Self) -> BTreeMap<(&'static str, String), f64> {
        let micros = |key: &(&'static str, String), nanoseconds: u64| {
            let earlier = before.0.get(key).copied().unwrap_or_default();
            std::time::Duration::from_nanos(nanoseconds.saturating_sub(earlier)).as_secs_f64() * 1e6
        };
        self.0.iter().map(|(key, nanoseconds)| (key.clone(), micros(key, *nanoseconds))).collect()
    }
}
