//! Watching a stream part: pages of changes behind a position.

use std::time::Duration;

use squall_store::{Bytes, Change, Error, Part, Result};
use squall_types::Millis;

use crate::conn::{Conn, Trouble, answered};
use crate::read::Snapshots;
use crate::shared::Shared;

/// One statement, one snapshot: the part's head, and the changes behind it.
const PAGE: &str = "select h.seq, h.low, c.seq, c.at, c.body from heads h
  left join (select stream, part, seq, at, body from changes where stream = $1 and part = $2 and seq > $3
    order by seq limit 64) c on true
  where h.stream = $1 and h.part = $2 order by c.seq";

/// Changes behind `after`; waits for a database that is away as long as it takes: a watch is followed for ever.
pub(crate) async fn changes_after(
    shared: &Shared,
    snapshots: &Snapshots,
    part: Part,
    after: u64,
) -> Result<Vec<Change>> {
    let mut pause = Duration::from_millis(50);
    loop {
        let read = async {
            let lent = snapshots.take(shared, shared.link.options.patience).await?;
            let page = page(&lent.conn, part, after).await;
            if !matches!(page, Err(Trouble::Lost(_))) {
                lent.put_back();
            }
            page
        };
        match read.await {
            Ok(page) => return page,
            Err(Trouble::Refused(why)) => return Err(Error::Unavailable(why)),
            Err(Trouble::Lost(_) | Trouble::Again(_)) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

async fn page(conn: &Conn, part: Part, after: u64) -> std::result::Result<Result<Vec<Change>>, Trouble> {
    let Ok(after) = i64::try_from(after) else { return Ok(Ok(Vec::new())) };
    let (stream, number) = (part.stream.cast_signed(), i32::from(part.part));
    let rows = answered(conn.query(PAGE, &[&stream, &number, &after])).await?;
    let Some(head) = rows.first() else { return Ok(Ok(Vec::new())) };
    if after < head.get::<_, i64>(1) {
        return Ok(Err(Error::Trimmed));
    }
    let mut page = Vec::with_capacity(rows.len());
    for row in &rows {
        // A head without changes behind the position comes as one row of nothing.
        let Some(seq) = row.get::<_, Option<i64>>(2) else { continue };
        let body = Bytes::copy_from_slice(row.get(4));
        page.push(Change { seq: seq.unsigned_abs(), at: Millis(row.get(3)), body });
    }
    Ok(Ok(page))
}
