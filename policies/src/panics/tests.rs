//! Who hears of which panic. The hook is the process's own, so one test holds all of it.

use super::{catch, tell};
use std::cell::RefCell;
use std::panic::{catch_unwind, set_hook};

thread_local! {
    static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static OTHERS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What was told of `work`, and what the hook of all others heard, on this thread.
fn heard(work: impl FnOnce()) -> (Vec<String>, Vec<String>) {
    work();
    (TOLD.take(), OTHERS.take())
}

#[test]
fn a_panic_of_an_evaluation_is_one_line_and_all_others_go_where_they_went() {
    let before = std::panic::take_hook();
    set_hook(Box::new(move |panic| {
        OTHERS.with_borrow_mut(|others| others.push(panic.to_string()));
        before(panic);
    }));
    tell(|line| TOLD.with_borrow_mut(|told| told.push(line.to_owned())));
    tell(|_| panic!("only the first counts"));

    let place = |line: &str, what: &str| line.contains("panics/tests.rs:") && line.ends_with(what) && !line.contains('\n');
    for (panics, what) in [
        ((|| panic!("words of the source")) as fn(), ": words of the source"),
        (|| panic!("two\nlines"), r": two\nlines"),
        (|| panic!("of call {}", std::process::id()), ": a panic"),
        (|| std::panic::panic_any(7), ": a panic"),
    ] {
        let (told, others) = heard(|| assert!(catch(panics).is_none()));
        assert!(told.len() == 1 && place(&told[0], what) && others.is_empty(), "{told:?} {others:?}");
    }
    let (told, others) = heard(|| assert_eq!(catch(|| 7), Some(7)));
    assert!(told.is_empty() && others.is_empty(), "{told:?} {others:?}");
    let (told, others) = heard(|| assert!(catch_unwind(|| panic!("elsewhere")).is_err()));
    assert!(told.is_empty() && others.len() == 1, "{told:?} {others:?}");
    std::thread::scope(|scope| {
        catch(|| scope.spawn(|| assert_eq!(heard(|| drop(catch_unwind(|| panic!("beside")))).1.len(), 1)).join().unwrap());
    });
}
