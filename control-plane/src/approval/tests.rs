//! Stories about approvals are with the decisions that need them: `decide/tests/approvals.rs`. Here is what no decision shows.

use super::view::View;
use agentgate_core::digest::Digest;
use agentgate_core::time::Time;

#[test]
fn an_empty_view_knows_of_nothing() {
    let view = View::default();
    assert_eq!(view.live(&Digest::of("test", b""), Time::from_micros(0)), super::Live::None);
    assert!(view.list(true, Time::from_micros(0)).is_empty());
}
