//! What status tells of what is kept, altered and signed.

use crate::world::{Setup, World, call, eventually};
use agentgate_proto::v1::status_client::StatusClient;
use agentgate_proto::v1::{Outlook, ShowStatusRequest, ShowStatusResponse, TenantPrivacy, TenantRetention};
use std::time::Duration;

async fn status(world: &World) -> ShowStatusResponse {
    let mut client = world.operator(StatusClient::new).await;
    client.show_status(ShowStatusRequest {}).await.unwrap().into_inner()
}

/// Until the log holds all that is in the journal and a sweep came to its end, if there is one.
async fn settled(world: &World, sweeps: bool) -> ShowStatusResponse {
    eventually("the log is grown", async || {
        world.hands.advance(Duration::from_millis(50));
        let status = status(world).await;
        let (log, retention) = (status.log.as_ref().unwrap(), status.retention.as_ref().unwrap());
        (log.size == world.head() && retention.outlook.is_some() == sweeps).then_some(status)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_altered_and_signed_is_told() {
    let configured = "[retention]\ndays = 30\ntenants = { acme = 7 }\n[privacy]\npii = \"redact\"\n\
                      [[privacy.tenant]]\nname = \"acme\"\npii = \"off\"\n";
    for (configured, days, tenants, privacy) in
        [("", 0, vec![], vec![("", "off")]), (configured, 30, vec![("acme", 7)], vec![("", "redact"), ("acme", "off")])]
    {
        let world = World::with(Setup { configured: configured.into(), ..Setup::default() }).await;
        let begun = status(&world).await.now_us;
        world.vm().await.decided(call(1, "search_notes")).await;
        let status = settled(&world, days > 0).await;
        let retention = status.retention.unwrap();
        let tenant = |(tenant, days): (&str, u32)| TenantRetention { tenant: tenant.into(), days };
        let tenants: Vec<TenantRetention> = tenants.into_iter().map(tenant).collect();
        assert_eq!((retention.days, retention.tenants, retention.holds), (days, tenants, 0));
        if let Some(Outlook { swept_at_us, .. }) = retention.outlook {
            assert!(swept_at_us >= status.started_at_us && swept_at_us <= status.now_us, "{swept_at_us}");
        }
        let mode = |(tenant, pii): (&str, &str)| TenantPrivacy { tenant: tenant.into(), pii: pii.into() };
        assert_eq!(status.privacy, privacy.into_iter().map(mode).collect::<Vec<_>>());
        let (journal, log) = (status.journal.unwrap(), status.log.unwrap());
        assert!(journal.oldest_us > 0 && journal.oldest_us <= begun, "the first record is the policy that was put in force");
        assert!(log.size > 1 && log.witnessed.is_empty() && log.anchors.is_empty() && log.stopped.is_empty());
    }
}
