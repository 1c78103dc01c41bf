//! Export and import of the model.

use squall_store::engine::is_live;
use squall_store::{Change, Error, FORMAT, Record, Result};
use squall_types::Millis;

use crate::model::{self, Log, Model};
use crate::queues;

pub(crate) fn export(model: &Model, now: Millis) -> Vec<Record> {
    let mut records = vec![Record::Begin { format: FORMAT, at: now }];
    for (key, record) in model.rows.iter().filter(|(_, record)| is_live(record.expires, now)) {
        records.push(Record::Row { key: key.clone(), value: record.value.clone(), expires: record.expires });
    }
    for entry in model.entries.values() {
        let due = entry.armed.map_or(entry.due, |armed| armed.min(entry.due));
        let (lane, value) = (entry.lane.clone(), entry.value.clone());
        records.push(Record::Entry { queue: entry.queue, lane, due, tries: entry.tries, value });
    }
    for (part, log) in &model.logs {
        records.push(Record::Head { part: *part, seq: log.seq, low: log.low });
        for (seq, (at, body)) in &log.changes {
            let change = Change { seq: *seq, at: *at, body: body.clone() };
            records.push(Record::Change { part: *part, change });
        }
    }
    records.push(Record::End { records: records.len() as u64 - 1 });
    records
}

/// A cut being read into a new model.
#[derive(Default)]
pub(crate) struct Import {
    model: Model,
    progress: Progress,
    records: u64,
}

#[derive(Default, PartialEq)]
enum Progress {
    #[default]
    Nothing,
    Begun,
    Ended,
}

impl Import {
    pub fn record(&mut self, record: Record) -> Result<()> {
        match (&self.progress, record) {
            (Progress::Nothing, Record::Begin { format: FORMAT, .. }) => self.progress = Progress::Begun,
            (Progress::Nothing, Record::Begin { format, .. }) => {
                return Err(Error::invalid(format!("the export has format {format}, this program reads {FORMAT}")));
            }
            (Progress::Begun, Record::End { records }) if records == self.records => self.progress = Progress::Ended,
            (Progress::Begun, Record::End { .. }) => return Err(Error::invalid("the export lacks records")),
            (Progress::Begun, record) => {
                self.records += 1;
                self.place(record)?;
            }
            _ => return Err(Error::invalid("the export does not begin or end as it should")),
        }
        Ok(())
    }

    fn place(&mut self, record: Record) -> Result<()> {
        let model = &mut self.model;
        match record {
            Record::Row { key, value, expires } => {
                squall_store::limits::key(&key)?;
                let ver = model.next_stamp();
                model.set_row(key, Some(model::Record { value, ver, expires }));
            }
            Record::Entry { queue, lane, due, tries, value } => {
                let id = queues::enqueue(model, queue, lane, due, value);
                if let Some(entry) = model.entries.get_mut(&id) {
                    entry.tries = tries;
                }
            }
            Record::Head { part, seq, low } => {
                model.set_log(part, Log { seq, low, ..Log::default() });
            }
            Record::Change { part, change } => {
                let log = model.logs.get_mut(&part).ok_or_else(|| Error::invalid("a change without its head"))?;
                log.changes.insert(change.seq, (change.at, change.body));
            }
            Record::Begin { .. } | Record::End { .. } => return Err(Error::invalid("the export begins twice")),
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<Model> {
        if self.progress != Progress::Ended {
            return Err(Error::invalid("the export is incomplete"));
        }
        let stamp = self.model.next_stamp();
        self.model.keep(None, stamp, Millis(i64::MIN));
        self.model.take_touched();
        Ok(self.model)
    }
}
