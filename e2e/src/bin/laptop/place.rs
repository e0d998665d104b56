//! A JSON file that a person wrote, and where in it its fault lies. The strict reader names the fault alone, and is asked what
//! it says of less.

use agentgate_core::json::{self, Bounds, Fault, Json, Keys};

const BOUNDS: Bounds = Bounds { depth_max: 32, number_bytes_max: 64, values_max: 50_000 };

/// Reads it strictly; else what is wrong with it, and where.
pub(crate) fn read(bytes: &[u8]) -> Result<Json, String> {
    json::read(bytes, BOUNDS, Keys::Exact).map_err(|fault| told(bytes, fault))
}

/// The fault with its line and column, where there is one place for it.
fn told(bytes: &[u8], fault: Fault) -> String {
    let said = fault.to_string().replace("the body", "the file");
    match place(bytes, fault) {
        Some((line, column)) if fault == Fault::DuplicateKey => {
            format!("line {line}, column {column}: {said}; the object is the one that ends here: take one of the two out")
        }
        Some((line, column)) => format!("line {line}, column {column}: {said}; correct it there"),
        None => said,
    }
}

fn place(bytes: &[u8], fault: Fault) -> Option<(usize, usize)> {
    match fault {
        Fault::Empty | Fault::ByteOrderMark => None,
        Fault::NotUtf8 => std::str::from_utf8(bytes).err().map(|error| counted(bytes, error.valid_up_to())),
        Fault::Truncated | Fault::NotJson | Fault::TrailingData => {
            let error = serde_json::from_slice::<serde_json::Value>(bytes).err()?;
            Some((error.line(), error.column().max(1)))
        }
        Fault::LoneSurrogate
        | Fault::DuplicateKey
        | Fault::FoldedKey
        | Fault::ProtoKey
        | Fault::TooDeep
        | Fault::NumberTooLong
        | Fault::TooManyValues => first_with(bytes, fault),
    }
}

/// The last character of the shortest beginning that has this fault.
fn first_with(bytes: &[u8], fault: Fault) -> Option<(usize, usize)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let characters: Vec<(usize, char)> = text.char_indices().collect();
    let is_whole = |&(at, character): &(usize, char)| {
        let beginning = bytes.get(..at + character.len_utf8()).unwrap_or_default();
        json::read(beginning, BOUNDS, Keys::Exact) != Err(fault)
    };
    let first = characters.partition_point(is_whole);
    characters.get(first).map(|(at, _)| counted(bytes, *at))
}

/// Both from 1, the column in bytes, as `serde_json` counts them.
fn counted(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = bytes.get(..at).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS, read};

    #[test]
    fn a_fault_is_told_with_its_place() {
        let deep = format!("{{\n \"a\": {}", "[".repeat(BOUNDS.depth_max + 1));
        for (file, wanted) in [
            (&b"{\n  \"a\": 1,\n  }"[..], "line 3, column 3: the file is not JSON; correct it there"),
            (b"{\n  \"a\": 1", "line 2, column 8: the file ends in the middle"),
            (b"{}\n{}", "line 2, column 1: the file goes on after its JSON"),
            (b"{\n \"a\": {\"b\": 1,\n  \"b\": 2}, \"c\": 3}", "line 3, column 9: an object holds the same key twice"),
            (b"{\n \"a\": \"\xff\"}", "line 2, column 8: the file is not UTF-8"),
            (b"{\"a\":\n \"\\ud83d x\"}", "line 2, column 9: a string holds half a surrogate pair"),
            (deep.as_bytes(), "line 2, column 38: objects and arrays lie too deep"),
            (b"", "the file is empty"),
        ] {
            let said = read(file).unwrap_err();
            assert!(said.starts_with(wanted), "{}\n  gave: {said}\n  want: {wanted}", String::from_utf8_lossy(file));
        }
    }
}
