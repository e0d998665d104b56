//! The edge of every rpc: who is at the other end of its connection. A listener's services all stand behind one of these,
//! so that a new rpc is refused to strangers before anybody thinks of it.

use super::{Identity, Peer, Refused};
use crate::config::Role;
use agentgate_core::id::SpiffeId;
use std::sync::Arc;
use tonic::{Extensions, Request, Status};

/// Lets only filters in.
pub fn filters_only(identity: Arc<Identity>) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |request| {
        let peer = peer(request.extensions())?;
        if let Err(why) = identity.filter(&peer) {
            if why.is_outlived() {
                // A proxy keeps a connection for as long as it may; the next one is opened under the next certificate.
                peer.end();
            }
            return Err(refused(&identity, why));
        }
        Ok(request)
    }
}

/// Lets only operators in.
pub fn operators_only(identity: Arc<Identity>) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |request| {
        let peer = peer(request.extensions())?;
        identity.operator(&peer, Role::Viewer).map_err(|why| refused(&identity, why))?;
        Ok(request)
    }
}

/// The operator who called, if they have the role.
///
/// # Errors
/// When they have not.
pub fn operator<T>(identity: &Identity, request: &Request<T>, role: Role) -> Result<SpiffeId, Status> {
    let peer = peer(request.extensions())?;
    identity.operator(&peer, role).map_err(|why| refused(identity, why))
}

/// Whether the operator who called has the role. Nobody is turned away by it.
pub fn has_role<T>(identity: &Identity, request: &Request<T>, role: Role) -> bool {
    peer(request.extensions()).is_ok_and(|peer| identity.operator(&peer, role).is_ok())
}

/// The other end of the connection that a request came on.
fn peer(extensions: &Extensions) -> Result<Arc<Peer>, Status> {
    extensions.get::<Arc<Peer>>().cloned().ok_or_else(|| Refused::Nobody.into())
}

fn refused(identity: &Identity, why: Refused) -> Status {
    metrics::counter!("agentgate_rpcs_refused_total").increment(1);
    identity.tell(&why);
    why.into()
}
