//! Bodies: what a record may not say, stored apart from it, so that it can be forgotten without changing the record.
//!
//! A body is stored as its key and its plaintext. The record holds where it lies and an HMAC of the plaintext under that
//! key: once the body is erased, nothing is left that could confirm a guess.

use crate::journal::{Journal, ReadError, body_address};
use agentgate_core::digest::Digest;
use agentgate_proto::v1;
use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, Mac};
use prost::Message;
use sha2::Sha256;
use thiserror::Error;

/// Length of a body's key: that of the digest below it.
pub const KEY_BYTES: usize = 32;

/// Where keys come from: the system's randomness, or a test's.
pub type Keys = fn() -> Result<[u8; KEY_BYTES], String>;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    #[error("the body is shorter than its key")]
    Short,
    #[error("the body is not what the record committed to")]
    Changed,
    #[error("the body cannot be read: {0}")]
    Unreadable(String),
}

/// Why a body cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FetchError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("its record names no body")]
    Unnamed,
    #[error("its body's address is no digest")]
    Address,
}

/// # Errors
/// When the system has no randomness to give.
pub fn system_keys() -> Result<[u8; KEY_BYTES], String> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| error.to_string())?;
    Ok(key)
}

/// The stored bytes of a body, and what its record says of it.
#[must_use]
pub fn seal(key: &[u8; KEY_BYTES], body: &impl Message) -> (Bytes, v1::BodyRef) {
    let mut stored = BytesMut::with_capacity(KEY_BYTES + body.encoded_len());
    stored.put_slice(key);
    // A BytesMut grows, and growing is the only way in which encoding can fail.
    let _ = body.encode(&mut stored);
    let stored = stored.freeze();
    let commitment = commit(key, stored.get(KEY_BYTES..).unwrap_or_default());
    let reference = v1::BodyRef { address: digest_bytes(&body_address(&stored)), commitment };
    (stored, reference)
}

/// The body, if it is the one that the record committed to.
///
/// # Errors
/// When it is not.
pub fn open<M: Message + Default>(stored: &Bytes, expected: &v1::BodyRef) -> Result<M, BodyError> {
    let (key, plaintext) = stored.split_at_checked(KEY_BYTES).ok_or(BodyError::Short)?;
    mac(key, plaintext).verify_slice(&expected.commitment).map_err(|_| BodyError::Changed)?;
    M::decode(plaintext).map_err(|error| BodyError::Unreadable(error.to_string()))
}

/// The body that a record refers to, or none when it was erased.
///
/// # Errors
/// When the journal cannot be read, or the body is not what the record says.
pub async fn fetch<M: Message + Default>(
    journal: &dyn Journal,
    reference: Option<&v1::BodyRef>,
) -> Result<Option<M>, FetchError> {
    let reference = reference.ok_or(FetchError::Unnamed)?;
    let address = Digest::try_from(reference.address.as_ref()).map_err(|_| FetchError::Address)?;
    match journal.fetch(address).await? {
        Some(stored) => Ok(open(&stored, reference).map(Some)?),
        None => Ok(None),
    }
}

/// A commitment to something that the body holds as well, under the body's key.
#[must_use]
pub fn commit(key: &[u8; KEY_BYTES], bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&mac(key, bytes).finalize().into_bytes())
}

#[must_use]
pub fn digest_bytes(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn mac(key: &[u8], plaintext: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("any key length");
    mac.update(plaintext);
    mac
}

#[cfg(test)]
mod tests {
    use super::{BodyError, open, seal};
    use agentgate_proto::v1::FloodBody;
    use bytes::Bytes;

    #[test]
    fn a_changed_body_is_not_opened() {
        let body = FloodBody { tenant: "t".into(), principal: "p".into() };
        let (stored, reference) = seal(&[7; 32], &body);
        assert_eq!(open::<FloodBody>(&stored, &reference), Ok(body.clone()));
        for at in 0..stored.len() {
            let mut changed = stored.to_vec();
            changed[at] ^= 1;
            assert_eq!(open::<FloodBody>(&Bytes::from(changed), &reference), Err(BodyError::Changed), "byte {at}");
        }
        assert_eq!(open::<FloodBody>(&stored.slice(..31), &reference), Err(BodyError::Short));
        assert_ne!(seal(&[8; 32], &body).1, reference, "another key leaves other traces of the same words");
    }
}
