//! What a database must be set to before it may keep a journal. It refuses one that would lose what it acknowledged.

use super::OpenError;
use super::link::{Failure, Link};

/// The oldest that is known to do all that is asked of it here.
const VERSION_NUM_MIN: i32 = 130_000;

/// What each setting must be, and what makes it so.
const WANTED: [(&str, &[&str]); 3] =
    [("fsync", &["on"]), ("full_page_writes", &["on"]), ("synchronous_commit", &["on", "remote_apply"])];

/// The same for each group, as one column.
pub(super) const IS_DURABLE: &str = "current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' \
     AND current_setting('synchronous_commit') IN ('on', 'remote_apply')";

/// What is said when it no longer is.
pub(super) const WEAKENED: &str =
    "the database was set to lose what it acknowledges; set fsync, full_page_writes and synchronous_commit to on";

pub(super) async fn check(link: &Link) -> Result<(), OpenError> {
    let failed = |error: tokio_postgres::Error| OpenError::Unreachable(Failure::from(error).to_string());
    let version = "SELECT current_setting('server_version_num')::integer, \
                   pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'";
    let row = link.client.query_one(version, &[]).await.map_err(failed)?;
    let (version, reads_only): (i32, bool) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
    if version < VERSION_NUM_MIN {
        return Err(OpenError::Version { found: version / 10_000, least: VERSION_NUM_MIN / 10_000 });
    }
    if reads_only {
        return Err(OpenError::ReadOnly);
    }
    for (setting, wanted) in WANTED {
        let row = link.client.query_one("SELECT current_setting($1)", &[&setting]).await.map_err(failed)?;
        let found: String = row.try_get(0).map_err(failed)?;
        if !wanted.contains(&found.as_str()) {
            return Err(OpenError::Weakened { setting, found });
        }
    }
    Ok(())
}
