//! Checkpoints' bodies.

use agentgate_core::transparency::checkpoint::{Checkpoint, CheckpointError};
use agentgate_core::transparency::key::KeyName;
use agentgate_core::transparency::note::NoteError;
use agentgate_core::transparency::tree::{Hash, SIZE_MAX};

const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
const EMPTY: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

#[test]
fn the_published_checkpoint_is_read_as_it_is_written() {
    for text in [
        format!("example.com/behind-the-sofa\n20852163\n{ROOT}\n"),
        format!("o\n0\n{EMPTY}\n"),
        format!("o\n{SIZE_MAX}\n{ROOT}\nan extension\nanother\n"),
    ] {
        let checkpoint = Checkpoint::parse(&text).unwrap();
        assert_eq!((checkpoint.to_string(), checkpoint.note().unwrap().text()), (text.clone(), text.as_str()));
    }
}

#[test]
fn what_is_no_checkpoint_is_refused_by_name() {
    let size = |text: &str| CheckpointError::Size(text.into());
    for (text, wanted) in [
        (String::new(), CheckpointError::Lines),
        ("o\n1\n".into(), CheckpointError::Lines),
        (format!("o\n1\n{ROOT}"), CheckpointError::Lines),
        (format!("\n1\n{ROOT}\n"), CheckpointError::Origin(String::new())),
        (format!("go.sum database tree\n1\n{ROOT}\n"), CheckpointError::Origin("go.sum database tree".into())),
        (format!("o\n\n{ROOT}\n"), size("")),
        (format!("o\n01\n{ROOT}\n"), size("01")),
        (format!("o\n00\n{EMPTY}\n"), size("00")),
        (format!("o\n+1\n{ROOT}\n"), size("+1")),
        (format!("o\n-1\n{ROOT}\n"), size("-1")),
        (format!("o\n1 \n{ROOT}\n"), size("1 ")),
        (format!("o\n1.0\n{ROOT}\n"), size("1.0")),
        (format!("o\n9223372036854775808\n{ROOT}\n"), size("9223372036854775808")),
        (format!("o\n99999999999999999999\n{ROOT}\n"), size("99999999999999999999")),
        ("o\n1\nCsUY\n".into(), CheckpointError::Root("CsUY".into())),
        (format!("o\n1\n{}\n", ROOT.trim_end_matches('=')), CheckpointError::Root(ROOT.trim_end_matches('=').into())),
        (format!("o\n1\n {ROOT}\n"), CheckpointError::Root(format!(" {ROOT}"))),
        (format!("o\n0\n{ROOT}\n"), CheckpointError::EmptyRoot),
        (format!("o\n1\n{ROOT}\n\n"), CheckpointError::Extension),
        (format!("o\n1\n{ROOT}\na\n\nb\n"), CheckpointError::Extension),
    ] {
        assert_eq!(Checkpoint::parse(&text), Err(wanted), "{text}");
    }
    let origin = KeyName::try_from("o").unwrap();
    let checkpoint = Checkpoint { origin, size: 0, root: Hash::EMPTY, extensions: vec!["a\tb".into()] };
    assert_eq!(checkpoint.note(), Err(NoteError::Control(4)));
}
