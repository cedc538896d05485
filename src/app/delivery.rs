//! Puts progressive delivery together: the store, who changes it, who follows it, who moves rollouts.

use std::path::Path;
use std::sync::Arc;

use super::{StartError, other};
use crate::config::{ServeConfig, TrafficStore};
use crate::control::events::Events;
use crate::control::rollout::driver::Driver;
use crate::control::store::{FileStore, KubernetesStore, MemoryStore, Store};
use crate::control::{Control, Figures, Ledgers, Operator, Prometheus, Publisher, follow};
use crate::telemetry::metrics::Metrics;
use crate::vision::ImageLimits;

/// Traffic's place in the model directory.
const PLACE: &str = ".ocelli/traffic";

/// Opens the store and takes over what is in it, so that nothing is served by files alone that a document
/// has something to say about.
pub(super) async fn open(
    config: &ServeConfig,
    models: &Path,
    publisher: &Arc<Publisher>,
    metrics: &Arc<Metrics>,
) -> Result<Control, StartError> {
    let store = store(config, models).await?;
    let events = Events::new(config.audit_log.path(), metrics.clone())
        .map_err(|e| StartError::Other(format!("can't open --audit-log: {e}")))?;
    let operator = Arc::new(Operator::new(publisher.clone(), store, Arc::new(events)));
    if let Err(error) = operator.refresh().await {
        tracing::error!(%error, "the traffic store can't be read yet; it is tried again");
    }
    let ledgers = Arc::new(Ledgers::new(metrics.clone()));
    let prometheus = Some(&config.prometheus_url).filter(|url| !url.is_empty());
    let figures = Figures::new(ledgers.clone(), prometheus.map(|url| Prometheus::new(url)));
    Ok(Control { operator, figures: Arc::new(figures), ledgers })
}

/// Follows the store and moves rollouts, until the process ends.
pub(super) fn start(control: &Control, metrics: &Arc<Metrics>, limits: ImageLimits) {
    tokio::spawn(follow(control.operator.clone(), metrics.clone()));
    let driver = Driver {
        operator: control.operator.clone(),
        figures: control.figures.clone(),
        ledgers: control.ledgers.clone(),
        metrics: metrics.clone(),
        limits,
    };
    tokio::spawn(driver.run());
}

/// Whether a directory that need not exist yet could be written to. Nothing is made there until there is
/// something to keep.
fn may_write(dir: &Path) -> bool {
    let there = dir.ancestors().find(|a| a.exists());
    there.is_some_and(|a| rustix::fs::access(a, rustix::fs::Access::WRITE_OK).is_ok())
}

async fn store(config: &ServeConfig, models: &Path) -> Result<Arc<dyn Store>, StartError> {
    let store: Arc<dyn Store> = match &config.traffic_store {
        TrafficStore::Memory => Arc::new(MemoryStore::new()),
        TrafficStore::File(Some(dir)) => {
            // What is not there can't be watched, only polled. A place that can't be made is told of by the
            // store.
            drop(std::fs::create_dir_all(dir));
            Arc::new(FileStore::open(dir).map_err(other)?)
        }
        TrafficStore::File(None) => {
            let dir = models.join(PLACE);
            if may_write(&dir) {
                Arc::new(FileStore::open(&dir).map_err(other)?)
            } else {
                tracing::warn!(dir = %dir.display(), "can't write there: changes of traffic are lost \
                    with the process; name another place with --traffic-store");
                Arc::new(MemoryStore::new())
            }
        }
        TrafficStore::Kubernetes { namespace, name } => {
            let store = KubernetesStore::infer(namespace.as_deref(), name).await;
            Arc::new(store.map_err(other)?)
        }
    };
    Ok(store)
}
