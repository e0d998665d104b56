//! A story about the snapshot of the traces' index: what is purged while a start takes it up is forgotten in it too.

use super::*;

#[tokio::test]
async fn no_row_of_a_snapshot_names_who_was_purged_while_it_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("traces.snapshot");
    // When the purge is carried out: while the snapshot is read, or around all of it.
    for is_within in [true, false] {
        let inner = memory();
        let before = Scene::on(Arc::clone(&inner)).await;
        let body = before.call("acme", AGENT, "one").await;
        before.call("acme", AGENT, "two").await;
        before.retention.rooms.session.save(&file, 2).await;
        before.call("acme", AGENT, "three").await;
        let sessions = vec![body.session.clone()];
        let purge = v1::PurgeRecord { sessions, until_us: u64::MAX, ..v1::PurgeRecord::default() };
        before.retention.write(None, |_| Ok(purge.clone())).await.unwrap();
        let cut = Arc::new(Cut::after(inner, i64::MAX));
        let limits = Limits { recovered_records_max: 2, ..Limits::default() };
        let (journal, clock, hands) = (Arc::clone(&cut) as Arc<dyn Journal>, before.clock.clone(), Arc::clone(&before.hands));
        let scene = Scene::within(limits, journal, clock, hands, config::Retention::default()).await;
        let session = Arc::clone(&scene.retention.rooms.session);
        let mut held = cut.hold_slot();
        let building = async { session.build(Some(&file)).await };
        let carrying = async { scene.retention.carry_out().await.unwrap() };
        if is_within {
            tokio::join!(building, async {
                held.is_there().await;
                tokio::join!(carrying, async { held.go_on() });
            });
        } else {
            tokio::join!(carrying, async {
                held.is_there().await;
                building.await;
                held.go_on();
            });
        }
        for (handle, lines) in [("one", 0), ("two", 1), ("three", 0)] {
            let filter = Some(v1::TraceFilter { handle: handle.into(), ..v1::TraceFilter::default() });
            let asked = v1::ListTracesRequest { filter, ..v1::ListTracesRequest::default() };
            let (listed, looked) = session.list_counted(&asked).await.unwrap();
            assert_eq!((listed.traces.len(), looked.lines), (usize::from(handle != "one"), lines), "{handle}, {is_within}");
        }
    }
}
