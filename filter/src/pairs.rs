//! Header maps as the host writes them: a count, the lengths, then each name and value with a NUL behind it.
#![cfg_attr(not(any(test, target_family = "wasm")), expect(dead_code, reason = "only the host has header maps"))]

/// None when the bytes are not what they should be.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut sizes = bytes.chunks_exact(4).map(|size| <[u8; 4]>::try_from(size).map_or(u32::MAX, u32::from_le_bytes));
    let count = usize::try_from(sizes.next()?).ok()?;
    let mut rest = bytes.get(count.checked_mul(8)?.checked_add(4)?..)?;
    let mut take = |size: u32| {
        let size = usize::try_from(size).ok()?;
        let part = rest.get(..size)?.to_vec();
        rest = rest.get(size.checked_add(1)?..)?;
        Some(part)
    };
    (0..count).map(|_| Some((take(sizes.next()?)?, take(sizes.next()?)?))).collect()
}

/// None when a name or a value is too long to be written.
pub(crate) fn encode(headers: &[(&str, &str)]) -> Option<Vec<u8>> {
    let mut bytes = u32::try_from(headers.len()).ok()?.to_le_bytes().to_vec();
    for (name, value) in headers {
        bytes.extend(u32::try_from(name.len()).ok()?.to_le_bytes());
        bytes.extend(u32::try_from(value.len()).ok()?.to_le_bytes());
    }
    for (name, value) in headers {
        for part in [name, value] {
            bytes.extend(part.as_bytes());
            bytes.push(0);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn what_was_written_is_read_back_with_its_repetitions() {
        let headers = [("mcp-name", "one"), ("mcp-name", "two"), ("empty", "")];
        let read = decode(&encode(&headers).unwrap()).unwrap();
        let read: Vec<_> = read.iter().map(|(n, v)| (std::str::from_utf8(n).unwrap(), std::str::from_utf8(v).unwrap())).collect();
        assert_eq!(read, headers);
        assert_eq!(decode(&[]), Some(Vec::new()));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_read_as_they_are() {
        let read = decode(&[1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, b'a', 0, 0xff, 0xfe, 0]);
        assert_eq!(read, Some(vec![(b"a".to_vec(), vec![0xff, 0xfe])]));
    }

    #[test]
    fn a_map_that_is_cut_anywhere_is_no_map() {
        let whole = encode(&[("name", "value"), ("n", "v")]).unwrap();
        for length in 1..whole.len() {
            assert_eq!(decode(&whole[..length]), None, "cut to {length}");
        }
        assert_eq!(decode(&[255, 255, 255, 255]), None);
    }
}
