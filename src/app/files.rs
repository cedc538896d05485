//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are open beside requests' connections: models, sockets, the admin API's.
const OTHERS: u64 = 256;

/// Raises the soft limit to the hard one, and warns if the connections still don't fit. The soft
/// one is low for the sake of programs that use `select`.
pub(super) fn raise_limit(connections: u64) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::warn!(%error, "can't raise the limit of open files");
            limit.current
        }
    };
    let needed = connections.saturating_add(OTHERS);
    if let Some(files) = now.filter(|files| *files < needed) {
        tracing::warn!(
            files,
            needed,
            "--max-connections, for each port, is more than the limit of open files allows: lower \
             it, or raise the limit (ulimit -n, LimitNOFILE=)"
        );
    }
}
