//! Export and import.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use squall_types::Millis;

use super::{Fixture, ix, kv, val};
use crate::{ClaimSpec, Error, FORMAT, Mutation, Part, Queue, Record, Result, StateExt, Txn};

pub(super) async fn run(make: &impl Fn() -> Fixture) {
    cuts_round_trip(make(), make()).await;
    broken_cuts_are_refused(make).await;
}

pub(super) async fn cut(f: &dyn crate::State) -> Vec<Record> {
    f.export().try_collect().await.expect("export")
}

async fn import(f: &Fixture, records: Vec<Record>) -> Result<()> {
    f.state.import(stream::iter(records.into_iter().map(Ok)).boxed()).await
}

async fn cuts_round_trip(from: Fixture, to: Fixture) {
    let (queue, part) = (Queue(9), Part::sole(9));
    let lane =
        |name: &'static str, due| Mutation::Enqueue { queue, lane: Some(name.into()), due, value: Bytes::from(name) };
    let mut txn = Txn::new().put(kv("a"), val("1")).put(ix("b"), val("2")).put_until(kv("c"), val("3"), from.after(99));
    txn = txn.put_until(kv("gone"), val("4"), from.state.now()).enqueue(queue, from.after(5), "entry");
    txn = txn.mutation(lane("one", from.state.now())).mutation(lane("two", from.after(1)));
    txn = (0..5).fold(txn, |txn, n: u8| txn.emit(part, vec![n]));
    txn = txn.mutation(Mutation::Trim { part, upto: 2 });
    from.state.commit(txn).await.expect("fill");
    let held = from.state.claim(queue, ClaimSpec::new(1, Millis(50))).await.expect("claim");
    assert_eq!(&held[0].value[..], b"one");
    let records = cut(from.state.as_ref()).await;
    assert!(!records.iter().any(|record| matches!(record, Record::Row { key, .. } if *key == kv("gone"))));
    import(&to, records.clone()).await.expect("import");
    assert_eq!(cut(to.state.as_ref()).await, records);
    assert_eq!(to.value(&kv("a")).await.as_deref(), Some(&b"1"[..]));
    assert_eq!(to.state.head(part).await.expect("head"), 5);
    let change = to.state.watch(part, 2).next().await.expect("change").expect("change");
    assert_eq!((change.seq, &change.body[..]), (3, &[2][..]));
    to.advance(50).await;
    let got = to.state.claim(queue, ClaimSpec::new(9, Millis(50))).await.expect("claim");
    let got: Vec<_> = got.iter().map(|claimed| (&claimed.value[..], claimed.tries)).collect();
    assert_eq!(got, [(&b"two"[..], 1), (&b"entry"[..], 1), (&b"one"[..], 2)]);
    assert!(matches!(import(&to, records).await, Err(Error::Invalid(_))), "not empty");
}

async fn broken_cuts_are_refused(make: &impl Fn() -> Fixture) {
    let begin = || Record::Begin { format: FORMAT, at: Millis(0) };
    let row = || Record::Row { key: kv("a"), value: val("1"), expires: None };
    let end = |records| Record::End { records };
    let cases = [
        vec![],
        vec![row(), end(1)],
        vec![begin(), row()],
        vec![begin(), row(), end(2)],
        vec![begin(), row(), end(1), row()],
        vec![begin(), begin(), end(1)],
        vec![Record::Begin { format: FORMAT + 1, at: Millis(0) }, end(0)],
        vec![begin(), Record::Row { key: crate::Key::from_bytes(&b"x"[..]), value: val("1"), expires: None }, end(1)],
    ];
    let f = make();
    for (n, records) in cases.into_iter().enumerate() {
        assert!(matches!(import(&f, records).await, Err(Error::Invalid(_))), "case {n}");
        assert_eq!(f.value(&kv("a")).await, None);
    }
    let lost = stream::iter([Ok(begin()), Ok(row()), Err(Error::Unavailable("gone".into()))]).boxed();
    assert!(matches!(f.state.import(lost).await, Err(Error::Unavailable(_))));
    import(&f, vec![begin(), row(), end(1)]).await.expect("whole");
    assert!(f.value(&kv("a")).await.is_some());
}
