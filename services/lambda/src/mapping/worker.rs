//! Brings mappings to the state that was asked for.

use super::{Standing, Stored};
use crate::error::Error;
use crate::room::Lambda;
use squall_service::{EventSources, StreamError};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a transition shows at least: on AWS it takes seconds, and clients that do not wait for it should find out here.
const TRANSITION_MIN: Duration = Duration::from_millis(100);
/// Pause after an error.
const PAUSE: Duration = Duration::from_secs(2);

impl Lambda {
    /// Connects what runs mappings, once, and starts those that are there.
    pub async fn connect_sources(&self, sources: Arc<dyn EventSources>) {
        if self.sources.set(sources.clone()).is_err() {
            tracing::error!("event sources are connected twice");
            return;
        }
        for stored in self.mappings.everything() {
            match stored.standing {
                Standing::Enabled => sources.run(stored.mapping.clone()).await,
                Standing::Disabled => {}
                _ => self.settle_mapping(&stored.mapping.uuid),
            }
        }
    }

    /// Finishes what an operation began, in the background.
    pub(crate) fn settle_mapping(&self, uuid: &str) {
        let (weak, uuid) = (self.me.clone(), uuid.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(TRANSITION_MIN).await;
            while let Some(Err(error)) = settle(&weak, &uuid).await {
                tracing::error!(uuid, %error, "finish a change of an event source mapping");
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
}

async fn settle(weak: &Weak<Lambda>, uuid: &str) -> Option<Result<(), Error>> {
    let room = weak.upgrade()?;
    let sources = room.sources.get()?.clone();
    let stored = room.mappings.everything().into_iter().find(|s| s.mapping.uuid == uuid)?;
    Some(step(&room, &*sources, &stored).await)
}

async fn step(room: &Lambda, sources: &dyn EventSources, stored: &Stored) -> Result<(), Error> {
    let uuid = &stored.mapping.uuid;
    let to = match stored.standing {
        Standing::Enabled | Standing::Disabled => return Ok(()),
        Standing::Deleting => {
            sources.forget(uuid).await.map_err(|e: StreamError| Error::internal("forget a mapping", e))?;
            return room.mappings.remove(uuid).await;
        }
        Standing::Creating | Standing::Enabling | Standing::Updating if stored.enabled => {
            sources.run(stored.mapping.clone()).await;
            Standing::Enabled
        }
        _ => {
            sources.pause(uuid).await;
            Standing::Disabled
        }
    };
    let from = stored.standing;
    room.mappings
        .change(uuid, |s| {
            // Deleted meanwhile: that goes on by itself.
            if s.standing == from {
                s.standing = to;
            }
            Ok(())
        })
        .await?;
    Ok(())
}
