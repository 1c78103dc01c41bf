//! Tables that an earlier version wrote: their rows are brought to where this one looks for them.
//!
//! Layout 0 (before streams): a partition's rows lay after a hash of its key alone, which is not the service's order. All that
//! such a table has is its items and its indexes' rows. They are written anew under new ids, and one transaction then makes
//! the definition name those and the old rows garbage. Whenever the server ends before it, the old table is as it was, and
//! the next start begins again.

use crate::codec;
use crate::error::Error;
use crate::rules;
use crate::table::Table;
use crate::tables::{self, Rows};
use squall_store::{Mutations as _, Range, Row, State, StateExt as _, Txn, envelope, ids, limits};

/// The layout of rows that this version reads and writes.
pub const LAYOUT: u32 = 1;
/// Rows read at a time, and bytes of them.
const SLICE_ROWS: usize = 256;
const SLICE_BYTES: usize = 1 << 20;
/// Most definitions of a state.
const TABLES_MAX: usize = 1_000_000;

/// Brings every table to this version's layout.
///
/// # Errors
/// The state cannot be read or written, or holds a table of a later version.
pub(crate) async fn migrate(state: &dyn State) -> Result<(), Error> {
    for row in state.all(tables::definitions(), TABLES_MAX).await? {
        let table = Table::open(&row.value)?;
        if table.layout > LAYOUT {
            let (name, layout) = (&table.name, table.layout);
            return Err(Error::Internal(format!(
                "table {name} has layout {layout}, and this version knows {LAYOUT}: start a later version of squall"
            )));
        }
        if table.layout < LAYOUT {
            tracing::info!(table = table.name, "bringing a table of an earlier version to the layout of this one");
            move_table(state, row, table).await?;
        }
    }
    Ok(())
}

async fn move_table(state: &dyn State, definition: Row, old: Table) -> Result<(), Error> {
    let mut new = old.clone();
    new.layout = LAYOUT;
    new.id = ids::allocate(state).await?;
    for index in &mut new.indexes {
        index.id = ids::allocate(state).await?;
    }
    let all = || Range::prefix(&Rows::Table(old.id).prefix()).limit(SLICE_ROWS).max_bytes(SLICE_BYTES);
    let mut next = Some(all());
    while let Some(range) = next {
        let page = state.range(range).await?;
        let mut txn = Txn::new();
        let mut bytes = 0;
        for row in page.rows {
            let at = txn.muts.len();
            place(&new, &row, &mut txn)?;
            bytes += txn.muts[at..].iter().map(limits::bytes).sum::<usize>();
            if bytes > SLICE_BYTES {
                state.commit(std::mem::take(&mut txn).lazy()).await?;
                bytes = 0;
            }
        }
        if !txn.muts.is_empty() {
            state.commit(txn.lazy()).await?;
        }
        next = page.next.map(|key| all().starting(key));
    }
    let none = || envelope::seal(&[]);
    let mut txn = Txn::new().guard(definition.key.clone(), definition.ver).put(definition.key, new.seal()?);
    txn.muts.put(tables::garbage(Rows::Table(old.id)), none());
    for index in &old.indexes {
        txn.muts.put(tables::garbage(Rows::Index(index.id)), none());
    }
    state.commit(txn).await?;
    Ok(())
}

/// Writes an item and what indexes have of it to where they belong.
fn place(table: &Table, row: &Row, txn: &mut Txn) -> Result<(), Error> {
    let item = codec::decode(&row.value)?;
    let Some(primary) = table.schema.bytes(&item) else {
        return Err(Error::Internal(format!("an item of table {} has no key", table.name)));
    };
    rules::index_changes(table, &primary, None, Some(&item), &mut txn.muts);
    txn.muts.put(tables::item(table.id, &primary), row.value.clone());
    Ok(())
}
