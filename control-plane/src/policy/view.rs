//! Bundles as the journal keeps them.

use super::PolicyError;
use crate::control::PolicyMark;
use crate::journal::{Journal, Stream, Version};
use agentgate_core::digest::Digest;
use agentgate_core::time::Time;
use agentgate_policies::Bundle;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use prost::Message;

/// Records of the global stream read at once.
const PAGE: u32 = 256;

/// A bundle that decides, and since when.
#[derive(Clone, Debug)]
pub struct InForce {
    pub since: Time,
    pub bundle: Bundle,
}

/// The bundle under this mark, or why it cannot be used.
pub(super) async fn bundle(journal: &dyn Journal, mark: &PolicyMark) -> Result<Result<Bundle, String>, PolicyError> {
    let Some(bytes) = journal.fetch(mark.address).await.map_err(PolicyError::Read)? else {
        return Ok(Err("the journal no longer keeps its bundle".into()));
    };
    Ok(match Bundle::from_bytes(&bytes) {
        Ok(bundle) if bundle.digest() == mark.digest => Ok(bundle),
        Ok(_) => Err("its bundle is another one".into()),
        Err(error) => Err(agentgate_core::error::chain(&error)),
    })
}

/// When a bundle of this digest last came into force, and where it lies.
pub(super) async fn mark_of(journal: &dyn Journal, digest: &Digest) -> Result<Option<PolicyMark>, PolicyError> {
    let mut found = None;
    let mut after: Version = 0;
    loop {
        let page = journal.read(Stream::global(), after, PAGE).await.map_err(PolicyError::Read)?;
        let Some(newest) = page.last() else { return Ok(found) };
        after = newest.version;
        for record in &page {
            let Ok(record) = v1::Record::decode(record.bytes.clone()) else { continue };
            let Some(What::Policy(policy)) = record.what else { continue };
            if policy.digest.as_ref() == digest.as_bytes()
                && let Ok(address) = Digest::try_from(policy.address.as_ref())
            {
                found = Some(PolicyMark { digest: *digest, address, since: Time::from_micros(record.at_us) });
            }
        }
    }
}
