//! The policy in force, folded from the global stream.

use super::{Now, PolicyError};
use crate::journal::{Epochs, Journal, Stream, Version};
use agentgate_core::digest::Digest;
use agentgate_core::time::Time;
use agentgate_policies::Bundle;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use prost::Message;
use std::sync::Arc;

/// Records of the global stream read at once.
const PAGE: u32 = 256;

/// A bundle that decides, and since when.
#[derive(Clone, Debug)]
pub struct InForce {
    pub since: Time,
    pub bundle: Bundle,
}

/// The policy in force. Without a bundle there never was one, or it cannot be used, and then why.
pub(super) async fn read(journal: &dyn Journal) -> Result<(Now, Option<String>), PolicyError> {
    let mut last = None;
    let mut after: Version = 0;
    loop {
        let page = journal.read(Stream::global(), after, PAGE).await.map_err(PolicyError::Read)?;
        let Some(newest) = page.last() else { break };
        after = newest.version;
        for record in &page {
            let unreadable = PolicyError::Unreadable { sequence: record.sequence };
            let parsed = v1::Record::decode(record.bytes.clone()).map_err(|_| unreadable.clone())?;
            match parsed.what {
                Some(What::Policy(policy)) => last = Some((Time::from_micros(parsed.at_us), policy)),
                Some(What::Decision(_) | What::Outcome(_) | What::Flood(_)) | None => return Err(unreadable),
            }
        }
    }
    let epochs = Epochs { global: after };
    let Some((since, policy)) = last else { return Ok((Now { epochs, in_force: None }, None)) };
    Ok(match bundle(journal, &policy).await? {
        Ok(bundle) => (Now { epochs, in_force: Some(Arc::new(InForce { since, bundle })) }, None),
        Err(why) => (Now { epochs, in_force: None }, Some(format!("the policy in force since {since} cannot be used: {why}"))),
    })
}

async fn bundle(journal: &dyn Journal, policy: &v1::PolicyRecord) -> Result<Result<Bundle, String>, PolicyError> {
    let Ok(address) = Digest::try_from(policy.address.as_ref()) else { return Ok(Err("its address is no digest".into())) };
    let Some(bytes) = journal.fetch(address).await.map_err(PolicyError::Read)? else {
        return Ok(Err("the journal no longer keeps its bundle".into()));
    };
    Ok(match Bundle::from_bytes(&bytes) {
        Ok(bundle) if bundle.digest().as_bytes().as_slice() == policy.digest.as_ref() => Ok(bundle),
        Ok(_) => Err("its bundle is another one".into()),
        Err(error) => Err(agentgate_core::error::chain(&error)),
    })
}
