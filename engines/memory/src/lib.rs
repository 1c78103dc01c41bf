//! The state engine in memory: the engine of `--state memory` and the oracle of the property tests.
//!
//! Shape: one [`Model`](model::Model) of ordered maps behind one lock. A transaction is a pure function of the model,
//! the transaction and the time; what it changed is undone when a later part of it is refused. Nothing survives the
//! process: `Durability` makes no difference here. Long ranges are read under the lock, bounded by their page.

mod apply;
mod dump;
mod model;
mod queues;
mod read;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use parking_lot::RwLock;
use squall_store::engine::Signals;
use squall_store::{
    Change, ClaimSpec, Claimed, Committed, Consistency, Error, Part, Queue, ReadOp, ReadOut, Record, Result, State,
    Txn, limits,
};
use squall_types::{Clock, Millis};

use model::Model;

/// Longest time between two looks at a queue that somebody waits for: due times follow the engine's clock, which a
/// test moves by hand.
const LOOK: Duration = Duration::from_millis(50);

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Memory(Arc<Inner>);

struct Inner {
    model: RwLock<Model>,
    clock: Arc<dyn Clock>,
    parts: Signals<Part>,
    queues: Signals<Queue>,
}

impl Memory {
    /// An empty state.
    pub fn new(clock: Arc<dyn Clock>) -> Memory {
        let (parts, queues) = (Signals::default(), Signals::default());
        Memory(Arc::new(Inner { model: RwLock::default(), clock, parts, queues }))
    }
}

#[async_trait]
impl State for Memory {
    async fn read(&self, ops: Vec<ReadOp>, _: Consistency) -> Result<Vec<ReadOut>> {
        limits::read(&ops)?;
        let now = self.now();
        let model = self.0.model.read();
        Ok(ops.into_iter().map(|op| read::one(&model, op, now)).collect())
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        limits::txn(&txn)?;
        let now = self.now();
        let mut model = self.0.model.write();
        let committed = apply::txn(&mut model, txn, now);
        let touched = model.take_touched();
        drop(model);
        self.0.parts.notify(&touched.parts);
        self.0.queues.notify(&touched.queues);
        committed
    }

    async fn claim(&self, queue: Queue, spec: ClaimSpec) -> Result<Vec<Claimed>> {
        limits::claim(&spec)?;
        let deadline = self.now().0.saturating_add(spec.wait.0);
        loop {
            let mut changed = self.0.queues.listen(queue);
            let now = self.now();
            // No await follows a successful claim: what is leased is also handed over.
            let next_due = {
                let mut model = self.0.model.write();
                let claimed = queues::claim(&mut model, queue, &spec, now);
                if !claimed.is_empty() || now.0 >= deadline {
                    return Ok(claimed);
                }
                queues::next_due(&model, queue)
            };
            let until = next_due.map_or(deadline, |due| due.0.min(deadline)) - now.0;
            let pause = Duration::from_millis(u64::try_from(until).unwrap_or(0)).min(LOOK);
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn watch(&self, part: Part, after: u64) -> BoxStream<'static, Result<Change>> {
        let inner = Arc::clone(&self.0);
        let pages = stream::unfold(Some(after), move |after| {
            let inner = Arc::clone(&inner);
            async move {
                let after = after?;
                loop {
                    let mut changed = inner.parts.listen(part);
                    let page = inner.model.read().changes_after(part, after);
                    match page {
                        Err(error) => return Some((vec![Err(error)], None)),
                        Ok(page) => {
                            if let Some(last) = page.last().map(|change| change.seq) {
                                return Some((page.into_iter().map(Ok).collect(), Some(last)));
                            }
                        }
                    }
                    // The sender lives as long as the engine, which this stream holds.
                    changed.changed().await.ok()?;
                }
            }
        });
        pages.flat_map(stream::iter).boxed()
    }

    fn export(&self) -> BoxStream<'static, Result<Record>> {
        let records = dump::export(&self.0.model.read(), self.now());
        stream::iter(records.into_iter().map(Ok)).boxed()
    }

    async fn import(&self, mut records: BoxStream<'static, Result<Record>>) -> Result<()> {
        let mut import = dump::Import::default();
        while let Some(record) = records.next().await {
            import.record(record?)?;
        }
        let filled = import.finish()?;
        let mut model = self.0.model.write();
        if !model.is_empty() {
            return Err(Error::invalid("import into a state that is not empty"));
        }
        *model = filled;
        Ok(())
    }

    fn now(&self) -> Millis {
        self.0.clock.now()
    }
}
