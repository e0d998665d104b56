//! Panics inside an evaluation: one line each for whoever keeps the log, instead of the report on stderr. It quotes nothing
//! of a call, and leaves every other panic of the process alone.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::OnceLock;

type Tell = Box<dyn Fn(&str) + Send + Sync>;

static TELL: OnceLock<Tell> = OnceLock::new();

thread_local! {
    static EVALUATING: Cell<bool> = const { Cell::new(false) };
    static LINE: Cell<Option<String>> = const { Cell::new(None) };
}

/// From now on, hands each panic of an evaluation to `tell`. Only the first call counts; the hook that was there keeps all
/// other panics.
pub fn tell(tell: impl Fn(&str) + Send + Sync + 'static) {
    if TELL.set(Box::new(tell)).is_err() {
        return;
    }
    let others = take_hook();
    set_hook(Box::new(move |panic| {
        if EVALUATING.get() {
            // A log that cannot be written may panic, and in here that would end the process: it is told after the unwinding.
            LINE.set(Some(line(panic)));
        } else {
            others(panic);
        }
    }));
}

/// What `evaluation` comes to. None: it panicked, and that is told.
pub(crate) fn catch<T>(evaluation: impl FnOnce() -> T) -> Option<T> {
    EVALUATING.set(true);
    let came = catch_unwind(AssertUnwindSafe(evaluation));
    EVALUATING.set(false);
    if let (Some(line), Some(tell)) = (LINE.take(), TELL.get()) {
        tell(&line);
    }
    came.ok()
}

/// Where it was, and what the source says of it. A text that was put together while it ran may quote the call.
fn line(panic: &PanicHookInfo<'_>) -> String {
    let what = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("a panic");
    match panic.location() {
        Some(place) => format!("{}:{}: {}", place.file(), place.line(), what.escape_debug()),
        None => what.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests;
