//! What cleans up when we cannot: a shell that outlives this program by a moment, kills the process groups that are still on its
//! list and removes the directories of our worlds. It never kills a group that was taken off the list.

use crate::{Broken, Doing};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Reads `+ GROUP`, `- GROUP` and `/ DIRECTORY`; at the end of its input, which is our end, it acts.
const SCRIPT: &str = r#"
while read -r sign group; do
  case $sign in
    +) groups="$groups $group " ;;
    -) groups=$(printf '%s' "$groups" | sed "s/ $group //") ;;
    /) directories="$directories$group
" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
printf '%s' "$directories" | while IFS= read -r directory; do rm -rf -- "$directory"; done
"#;

static LIST: OnceLock<Mutex<Option<ChildStdin>>> = OnceLock::new();

pub(crate) fn watch(group: u32) -> Result<(), Broken> {
    tell(&format!("+ {group}\n"))
}

/// A directory of ours, gone with us even when we are killed.
pub(crate) fn remove(directory: &Path) -> Result<(), Broken> {
    tell(&format!("/ {}\n", directory.display()))
}

pub(crate) fn forget(group: u32) {
    // Not told: the reaper is gone, and then there is nobody who could kill the wrong group.
    drop(tell(&format!("- {group}\n")));
}

fn tell(line: &str) -> Result<(), Broken> {
    let list = LIST.get_or_init(|| Mutex::new(begun()));
    let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
    let reaper = list.as_mut().doing("`sh` could not be started")?;
    reaper.write_all(line.as_bytes()).doing("telling the reaper")
}

fn begun() -> Option<ChildStdin> {
    let mut command = Command::new("sh");
    // A group of its own, or a Ctrl-C would end it together with us.
    command.args(["-c", SCRIPT]).process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().ok()?.stdin.take()
}
