//! Rows: writes, reads, ranges, folds, sifts, expiry.

use std::ops::Bound;

use super::{Fixture, IX, KV, ix, kv, names, val};
use crate::{Consistency, Error, Fold, Keep, Key, Mutation, Page, Range, ReadOp, ReadOut, StateExt, Txn, limits};

pub(super) async fn run(make: &impl Fn() -> Fixture) {
    puts_and_deletes(make()).await;
    one_snapshot_answers_in_order(make()).await;
    ranges_page_both_ways(make()).await;
    ranges_stay_in_their_table(make()).await;
    folds_skip_groups(make()).await;
    sifts_filter_and_stop(make()).await;
    rows_expire(make()).await;
    slices_delete(make()).await;
    limits_hold(make()).await;
}

async fn puts_and_deletes(f: Fixture) {
    for key in [kv("a"), ix("a")] {
        assert_eq!(f.value(&key).await, None);
        let first = f.state.commit(Txn::new().put(key.clone(), val("1"))).await.expect("put");
        let row = f.state.get(key.clone()).await.expect("get").expect("row");
        assert_eq!((&row.key, &row.value, row.ver), (&key, &val("1"), first.stamp));
        let second = f.state.commit(Txn::new().put(key.clone(), val("2")).lazy()).await.expect("put");
        assert_ne!(first.stamp, second.stamp);
        assert_eq!(f.value(&key).await.as_deref(), Some(&b"2"[..]));
        f.state.commit(Txn::new().delete(key.clone()).delete(kv("none"))).await.expect("delete");
        assert_eq!(f.value(&key).await, None);
        // The last mutation of a row wins.
        let both = Txn::new().put(key.clone(), val("x")).delete(key.clone()).put(key.clone(), val("y"));
        f.state.commit(both).await.expect("put");
        assert_eq!(f.value(&key).await.as_deref(), Some(&b"y"[..]));
        let odd = key.clone().raw(&[0, 0xff, 1]);
        f.state.commit(Txn::new().put(odd.clone(), val(""))).await.expect("put");
        assert_eq!(f.value(&odd).await.as_deref(), Some(&b""[..]));
    }
    f.state.commit(Txn::new()).await.expect("an empty transaction");
}

async fn one_snapshot_answers_in_order(f: Fixture) {
    f.state.commit(Txn::new().put(kv("a"), val("1")).put(ix("b"), val("2"))).await.expect("put");
    let ops = vec![
        ReadOp::Get(ix("b")),
        ReadOp::Range(Range::prefix(&kv(""))),
        ReadOp::Get(kv("none")),
        ReadOp::Depth(crate::Queue(1)),
        ReadOp::Head(crate::Part::sole(1)),
    ];
    let outs = f.state.read(ops, Consistency::Eventual).await.expect("read");
    assert!(matches!(&outs[0], ReadOut::Row(Some(row)) if row.key == ix("b")));
    assert!(matches!(&outs[1], ReadOut::Rows(page) if names(&page.rows) == ["a"]));
    assert!(matches!(&outs[2], ReadOut::Row(None)));
    assert!(matches!(&outs[3], ReadOut::Depth { ready: 0, leased: 0, delayed: 0 }));
    assert!(matches!(&outs[4], ReadOut::Head(0)));
    assert_eq!(outs.len(), 5);
    let many = f.state.get_many(vec![kv("a"), kv("x"), ix("b")], Consistency::Strong).await.expect("read");
    assert_eq!(many.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
}

async fn fill(f: &Fixture, key: fn(&str) -> Key, names: &[&str]) {
    let txn = names.iter().fold(Txn::new(), |txn, name| txn.put(key(name), val(name)));
    f.state.commit(txn).await.expect("fill");
}

async fn page(f: &Fixture, range: Range) -> Page {
    f.state.range(range).await.expect("range")
}

async fn ranges_page_both_ways(f: Fixture) {
    for key in [kv, ix] {
        fill(&f, key, &["a", "b", "c", "d", "e"]).await;
        let all = || Range::prefix(&key(""));
        let cases: [(Range, &[&str], Option<&str>); 12] = [
            (all(), &["a", "b", "c", "d", "e"], None),
            (all().limit(5), &["a", "b", "c", "d", "e"], None),
            (all().limit(2), &["a", "b"], Some("c")),
            (all().limit(0), &[], Some("a")),
            (all().limit(2).resume(key("c")), &["c", "d"], Some("e")),
            (all().reversed(true).limit(2), &["e", "d"], Some("c")),
            (all().reversed(true).limit(2).resume(key("c")), &["c", "b"], Some("a")),
            (all().after(key("b")).before(key("d")), &["c"], None),
            (all().starting(key("b")).upto(key("d")), &["b", "c", "d"], None),
            (all().starting(key("d")).upto(key("b")), &[], None),
            (all().after(key("c")).before(key("c")), &[], None),
            // Each row has 13 bytes of key and 6 of value; the first is examined in any case.
            (all().max_bytes(38), &["a", "b"], Some("c")),
        ];
        for (n, (range, rows, next)) in cases.into_iter().enumerate() {
            let got = page(&f, range).await;
            assert_eq!(names(&got.rows), rows, "case {n}");
            assert_eq!(got.next, next.map(key), "case {n}");
        }
        assert_eq!(names(&page(&f, all().max_bytes(1)).await.rows), ["a"]);
        assert_eq!(f.state.all(key(""), 5).await.expect("all").len(), 5);
        assert!(matches!(f.state.all(key(""), 4).await, Err(Error::Invalid(_))));
    }
    let txn = (0..2_500).fold(Txn::new(), |txn, n| txn.put(Key::new(KV, 9, 1).u64(n), val("x")));
    f.state.commit(txn).await.expect("fill");
    assert_eq!(f.state.all(Key::new(KV, 9, 1), 5_000).await.expect("all").len(), 2_500);
    assert_eq!(f.state.delete_prefix(Key::new(KV, 9, 1)).await.expect("delete"), 2_500);
    assert_eq!(f.state.delete_prefix(Key::new(KV, 9, 1)).await.expect("delete"), 0);
}

async fn ranges_stay_in_their_table(f: Fixture) {
    let (last_kv, first_ix) = (Key::new(KV, u64::MAX, u16::MAX), Key::new(IX, 0, 0));
    f.state.commit(Txn::new().put(last_kv.clone(), val("k")).put(first_ix.clone(), val("i"))).await.expect("put");
    let cases = [
        (Bound::Included(kv("")), Bound::Unbounded, &last_kv),
        (Bound::Included(kv("")), Bound::Included(ix("zzz")), &last_kv),
        (Bound::Unbounded, Bound::Included(ix("zzz")), &first_ix),
        (Bound::Unbounded, Bound::Unbounded, &last_kv),
    ];
    for (n, (from, to, only)) in cases.into_iter().enumerate() {
        for reverse in [false, true] {
            let got = page(&f, Range::new(from.clone(), to.clone()).reversed(reverse)).await;
            let keys: Vec<_> = got.rows.iter().map(|row| &row.key).collect();
            assert_eq!(keys, [only], "case {n} reverse {reverse}");
        }
    }
}

async fn folds_skip_groups(f: Fixture) {
    let names_in = ["a", "b/1", "b/2", "b/x/3", "c", "d//e", "d//f", "e/"];
    for key in [kv, ix] {
        fill(&f, key, &names_in).await;
        let folded = || Range::prefix(&key("")).fold(Key::HEAD, "/");
        let groups = |page: &Page| -> Vec<String> {
            page.groups.iter().map(|g| String::from_utf8_lossy(g.parts().rest()).into_owned()).collect()
        };
        let got = page(&f, folded()).await;
        assert_eq!(names(&got.rows), ["a", "c"]);
        assert_eq!((groups(&got), got.next), (vec!["b/".into(), "d/".into(), "e/".into()], None));
        let got = page(&f, folded().reversed(true)).await;
        assert_eq!(names(&got.rows), ["c", "a"]);
        assert_eq!(groups(&got), ["e/", "d/", "b/"]);
        let got = page(&f, folded().limit(2)).await;
        assert_eq!((names(&got.rows), groups(&got)), (vec!["a".into()], vec!["b/".into()]));
        assert_eq!(got.next, Some(key("c")));
        let got = page(&f, Range::prefix(&key("b/")).fold(Key::HEAD + 2, "/")).await;
        assert_eq!((names(&got.rows), groups(&got)), (vec!["b/1".into(), "b/2".into()], vec!["b/x/".into()]));
        // A group appears when one of its rows is taken.
        let hidden = |name: &'static str| {
            move |key: &[u8], _: &[u8]| if key.ends_with(name.as_bytes()) { Keep::Skip } else { Keep::Take }
        };
        let got = page(&f, folded().sift(hidden("/"))).await;
        assert_eq!(groups(&got), ["b/", "d/"]);
        let got = page(&f, folded().sift(hidden("1"))).await;
        assert_eq!(groups(&got), ["b/", "d/", "e/"]);
    }
    let empty = Range { fold: Some(Fold { skip: 0, delim: "".into() }), ..Range::prefix(&kv("")) };
    assert!(matches!(f.state.range(empty).await, Err(Error::Invalid(_))));
}

async fn sifts_filter_and_stop(f: Fixture) {
    fill(&f, kv, &["a", "b", "c", "d", "e"]).await;
    let mut seen = 0;
    let sift = move |_: &[u8], value: &[u8]| {
        seen += 1;
        match (seen, value.ends_with(b"b")) {
            (4, _) => Keep::Stop,
            (_, true) => Keep::Skip,
            _ => Keep::Take,
        }
    };
    let got = page(&f, Range::prefix(&kv("")).sift(sift)).await;
    assert_eq!((names(&got.rows), got.next), (vec!["a".into(), "c".into()], Some(kv("d"))));
    let got = page(&f, Range::prefix(&kv("")).sift(|_, _| Keep::Skip).max_bytes(40)).await;
    assert_eq!((names(&got.rows), got.next), (vec![], Some(kv("c"))));
}

async fn rows_expire(f: Fixture) {
    let soon = f.after(1_000);
    for key in [kv, ix] {
        let txn = Txn::new().put_until(key("a"), val("1"), soon).put(key("b"), val("2"));
        f.state.commit(txn.put_until(key("c"), val("3"), soon)).await.expect("put");
        f.state.commit(Txn::new().put(key("c"), val("for ever"))).await.expect("put");
    }
    f.advance(999).await;
    assert!(f.value(&kv("a")).await.is_some());
    f.advance(1).await;
    for key in [kv, ix] {
        assert_eq!(f.value(&key("a")).await, None);
        assert_eq!(names(&page(&f, Range::prefix(&key("")).limit(2)).await.rows), ["b", "c"]);
        f.state.commit(Txn::new().absent(key("a")).put(key("a"), val("new"))).await.expect("absent");
        assert_eq!(f.value(&key("a")).await.as_deref(), Some(&b"new"[..]));
    }
}

async fn slices_delete(f: Fixture) {
    for key in [kv, ix] {
        fill(&f, key, &["a", "b", "c", "d", "e"]).await;
        let slice = |limit| Mutation::DeleteRange { from: key("b"), to: key("e"), limit };
        let done = f.state.commit(Txn::new().mutation(slice(2))).await.expect("slice");
        assert_eq!(done.removed, 2);
        assert_eq!(names(&page(&f, Range::prefix(&key(""))).await.rows), ["a", "d", "e"]);
        let done = f.state.commit(Txn::new().mutation(slice(1_000))).await.expect("slice");
        assert_eq!(done.removed, 1);
        let backwards = Mutation::DeleteRange { from: key("e"), to: key("a"), limit: 9 };
        assert_eq!(f.state.commit(Txn::new().mutation(backwards)).await.expect("slice").removed, 0);
        assert_eq!(names(&page(&f, Range::prefix(&key(""))).await.rows), ["a", "e"]);
    }
}

async fn limits_hold(f: Fixture) {
    let long = |len: usize| Key::from_bytes(vec![0x7f; len]);
    let big = vec![1; limits::VALUE_BYTES_MAX];
    let txn = Txn::new().put(long(limits::KEY_BYTES_MAX), big.clone()).put(long(Key::HEAD), val(""));
    f.state.commit(txn).await.expect("at the limits");
    assert_eq!(f.state.get(long(limits::KEY_BYTES_MAX)).await.expect("get").expect("row").value, big);
    let slice = |limit| Mutation::DeleteRange { from: kv("a"), to: kv("b"), limit };
    let refused = [
        Txn::new().put(long(limits::KEY_BYTES_MAX + 1), val("")),
        Txn::new().put(long(Key::HEAD - 1), val("")),
        Txn::new().put(kv("a"), vec![1; limits::VALUE_BYTES_MAX + 1]),
        Txn::new().mutation(slice(0)),
        Txn::new().mutation(slice(1_001)),
        Txn::new().mutation(Mutation::DeleteRange { from: kv("a"), to: ix("b"), limit: 1 }),
        Txn::new().mutation(Mutation::Add { key: kv("n"), delta: 1, min: 2, max: 1 }),
        (0..9).fold(Txn::new(), |txn, n| txn.put(kv(&n.to_string()), big.clone())),
        (0..=limits::MUTATIONS_MAX).fold(Txn::new(), |txn, _| txn.delete(kv("a"))),
        Txn::new().rule(vec![kv("a"); limits::RULE_KEYS_MAX + 1], |_, _| Ok::<(), ()>(())),
        // What a rule writes is held to the same limits.
        Txn::new().put(kv("r"), val("")).rule([], |_, out| {
            out.push(Mutation::Put { key: Key::from_bytes(&b"short"[..]), value: val(""), expires: None });
            Ok::<(), ()>(())
        }),
    ];
    for (n, txn) in refused.into_iter().enumerate() {
        assert!(matches!(f.state.commit(txn).await, Err(Error::Invalid(_))), "case {n}");
    }
    assert_eq!(f.value(&kv("r")).await, None);
    let ops = (0..=limits::READ_OPS_MAX).map(|_| ReadOp::Get(kv("a"))).collect();
    assert!(matches!(f.state.read(ops, Consistency::Strong).await, Err(Error::Invalid(_))));
}
