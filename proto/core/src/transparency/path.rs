//! Where a tile lies beneath the log's address: its number in groups of three digits, `x001/x234/067`, and `.p/` with its width
//! while it is not full. One place has one path; another way to write it is no path.

use super::tile::TILE_WIDTH;
use alloc::format;
use alloc::string::String;
use core::ops::RangeInclusive;

/// The widths of what is not full.
const PARTIAL: RangeInclusive<u16> = 1..=TILE_WIDTH - 1;

pub(super) fn print(prefix: &str, index: u64, width: u16) -> String {
    let mut number = format!("{:03}", index % 1_000);
    let mut rest = index / 1_000;
    while rest > 0 {
        number = format!("x{:03}/{number}", rest % 1_000);
        rest /= 1_000;
    }
    if PARTIAL.contains(&width) { format!("{prefix}{number}.p/{width}") } else { format!("{prefix}{number}") }
}

/// The index and the width that `print` was given with this prefix.
pub(super) fn parse(prefix: &str, path: &str) -> Option<(u64, u16)> {
    let rest = path.strip_prefix(prefix)?;
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, width.parse().ok().filter(|width| PARTIAL.contains(width))?),
        None => (rest, TILE_WIDTH),
    };
    let index = number.split('/').try_fold(0_u64, |index, group| {
        let digits = group.strip_prefix('x').unwrap_or(group);
        index.checked_mul(1_000)?.checked_add(digits.parse().ok()?)
    })?;
    (print(prefix, index, width) == path).then_some((index, width))
}
