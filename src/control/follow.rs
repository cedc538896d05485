//! Follows the store: what another replica published comes into force here too, and a store that can't be
//! reached is told of while what is known goes on.

use std::sync::Arc;
use std::time::Duration;

use super::events::{Event, Kind};
use super::operator::Operator;
use crate::telemetry::metrics::Metrics;

/// How soon a load that failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Until the process ends.
pub async fn follow(operator: Arc<Operator>, metrics: Arc<Metrics>) {
    let mut watch = operator.store().watch();
    let up = metrics.delivery.store_up.with_label_values(&[operator.store().kind()]);
    up.set(1);
    let mut trouble = None;
    let mut behind = true;
    loop {
        watch.changes.borrow_and_update();
        if behind {
            behind = operator.refresh().await.is_err();
        }
        let said = watch.health.borrow_and_update().error().map(str::to_owned);
        if said != trouble {
            up.set(i64::from(said.is_none()));
            let message = said.clone().unwrap_or_else(|| "it can be reached again".to_owned());
            if said.is_some() {
                tracing::error!(error = message, "the traffic store; what is known goes on");
            }
            operator.events().tell(Event::other("", Kind::Store, "server", message));
            trouble = said;
        }
        let pause = async {
            match behind {
                true => tokio::time::sleep(AGAIN).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = watch.changes.changed() => match changed {
                Ok(()) => behind = true,
                Err(_) => return,
            },
            changed = watch.health.changed() => match changed {
                // What was missed while it was away.
                Ok(()) => behind = true,
                Err(_) => return,
            },
            () = pause => {}
        }
    }
}
