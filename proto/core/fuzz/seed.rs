//! Writes a corpus from the golden attempts: `cargo run --bin seed` in this folder.

#[allow(dead_code, unused_imports, reason = "its tests are not this crate's")]
#[path = "../tests/it/attempts.rs"]
mod attempts;

/// libFuzzer's own default: longer inputs are cut.
const INPUT_BYTES_MAX: usize = 4_096;

fn main() -> std::io::Result<()> {
    std::fs::create_dir_all("corpus/reads")?;
    for (index, attempt) in (0u16..).zip(attempts::attempts()) {
        let input = [&index.to_le_bytes()[..], &attempts::bytes_of(&attempt["body"])].concat();
        if input.len() <= INPUT_BYTES_MAX {
            std::fs::write(format!("corpus/reads/attempt-{index:03}"), input)?;
        }
    }
    Ok(())
}
