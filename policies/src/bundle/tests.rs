//! The default policy, and what a folder may not be.

use super::Bundle;
use crate::folder;
use std::path::Path;

#[test]
fn the_default_policy_passes_its_cases() {
    let bundle = Bundle::load(folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("default")).unwrap()).unwrap();
    let report = bundle.try_cases();
    assert!(report.passed(), "{report:#?}");
    println!("{report:#?}");
}
