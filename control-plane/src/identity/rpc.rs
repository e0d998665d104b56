//! The edge of every rpc: who is at the other end of its connection. A listener's services all stand behind one of these,
//! so that a new rpc is refused to strangers before anybody thinks of it.

use super::{Identity, Peer, Refused};
use std::sync::Arc;
use tonic::{Extensions, Request, Status};

/// Lets only filters in.
pub fn filters_only(identity: Arc<Identity>) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |request| {
        identity.filter(&*peer(request.extensions())?).map_err(refused)?;
        Ok(request)
    }
}

/// Lets only operators in.
pub fn operators_only(identity: Arc<Identity>) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone {
    move |request| {
        identity.operator(&*peer(request.extensions())?).map_err(refused)?;
        Ok(request)
    }
}

/// The other end of the connection that a request came on.
fn peer(extensions: &Extensions) -> Result<Arc<Peer>, Status> {
    extensions.get::<Arc<Peer>>().cloned().ok_or_else(|| Refused::Nobody.into())
}

fn refused(why: Refused) -> Status {
    metrics::counter!("agentgate_rpcs_refused_total").increment(1);
    tracing::debug!(%why, "refused an rpc");
    why.into()
}
