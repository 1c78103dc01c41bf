//! TransactWriteItems.

use super::{collection_metrics, write_spent};
use crate::api::shapes;
use crate::capacity::{Spent, Unit, Wanted, read_units};
use crate::error::{Error, Reason};
use crate::expr::ast::{Condition, Update};
use crate::item::Item;
use crate::room::{DynamoDb, refusal};
use crate::rules::{self, Change, Done, Write};
use crate::table::TableRef;
use crate::throttle::Way;
use crate::wire::{Fields, Output};
use crate::{codec, request, scalars, tables};
use sha2::{Digest, Sha256};
use squall_protocol::Value as Wire;
use squall_service::Ctx;
use squall_store::{Key, Mutation, Mutations, Txn, View, envelope};
use squall_types::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of the items of a transaction.
const ITEMS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a token is remembered.
const TOKEN_LIFE: Duration = Duration::from_secs(600);
/// As for single writes.
const GUARD_TRIES: usize = 8;

/// One part of the transaction as it was asked for.
struct Asked {
    named: String,
    /// The item, or the key.
    item: Item,
    condition: Option<Condition>,
    verb: Verb,
    old_on_failure: bool,
}

enum Verb {
    Put,
    Update(Update),
    Delete,
    Check,
}

/// The token of a request and the hash of everything else in it.
#[derive(Clone)]
pub(super) struct Token {
    pub key: Key,
    pub digest: [u8; 32],
}

/// What the rule answers.
enum Verdict {
    Done(Vec<Done>),
    /// The same request went through before; the items as they are now.
    Repeated(Vec<Done>),
}

/// What a transaction did.
pub(super) struct Outcome {
    /// The table of each write.
    pub tables: Vec<TableRef>,
    /// What each write did.
    pub done: Vec<Done>,
    /// Nothing was written: the same request went through before.
    pub repeated: bool,
}

impl Outcome {
    /// What one write cost; a repeated one is a read.
    pub fn spent(&self, done: &Done) -> Spent {
        if !self.repeated {
            return write_spent(done).times(2.0);
        }
        let bytes = done.old.as_ref().map_or(0, Item::size_bytes);
        Spent { table: 2.0 * read_units(bytes, true), indexes: Vec::new() }
    }

    /// Which units were spent.
    pub fn unit(&self) -> Unit {
        if self.repeated { Unit::Read } else { Unit::Write }
    }
}

impl DynamoDb {
    /// Writes up to 100 items in one transaction, or none of them.
    ///
    /// Cost: one commit with a rule over the items and the token.
    ///
    /// # Errors
    /// `TransactionCanceledException` with a reason per item, `IdempotentParameterMismatchException`,
    /// `ValidationException`, `ResourceNotFoundException`.
    pub(crate) async fn transact_write_items(&self, ctx: &Ctx, mut fields: Fields) -> Result<Wire, Error> {
        let wanted = Wanted::of(fields.text("ReturnConsumedCapacity").as_deref());
        let metrics = fields.text("ReturnItemCollectionMetrics");
        let shape = request::required(fields.element_shape("TransactItems"), "TransactItems")?;
        let wires = request::required(fields.list("TransactItems"), "TransactItems")?;
        let token = fields
            .text("ClientRequestToken")
            .map(|token| Token { key: tables::token(ctx.region.as_str(), &token), digest: digest(&wires) });
        let asked: Vec<Asked> =
            wires.into_iter().map(|wire| asked(Fields::new(shape, wire))).collect::<Result<_, _>>()?;
        if asked.iter().map(|a| a.item.size_bytes()).sum::<usize>() > ITEMS_BYTES_MAX {
            return Err(Error::validation("The aggregate size of the items in the transaction exceeds 4 MB"));
        }
        let names: Vec<String> = asked.iter().map(|a| a.named.clone()).collect();
        let outcome = self.transact(ctx, &names, token, |tables| prepared(&asked, tables)).await?;
        let mut costs: BTreeMap<String, (TableRef, Spent)> = BTreeMap::new();
        let mut collections: BTreeMap<String, Vec<Wire>> = BTreeMap::new();
        for ((asked, table), done) in asked.iter().zip(&outcome.tables).zip(&outcome.done) {
            collections.entry(asked.named.clone()).or_default().extend(collection_metrics(
                metrics.as_deref(),
                table,
                &asked.item,
            ));
            let cost = costs.entry(asked.named.clone()).or_insert_with(|| (table.clone(), Spent::default()));
            cost.1.add(&outcome.spent(done));
        }
        collections.retain(|_, all| !all.is_empty());
        let costs =
            costs.iter().filter_map(|(named, (table, spent))| spent.value(wanted, outcome.unit(), table, named));
        let collections: Vec<(String, Wire)> = collections.into_iter().map(|(k, v)| (k, Wire::List(v))).collect();
        let mut out = Output::new(&shapes::TRANSACT_WRITE_ITEMS_OUTPUT);
        out.set("ConsumedCapacity", (wanted != Wanted::None).then(|| Wire::List(costs.collect())));
        out.set("ItemCollectionMetrics", (!collections.is_empty()).then_some(Wire::Map(collections)));
        Ok(out.finish())
    }

    /// Lets a transaction pass, where throughput is bounded.
    fn admit_all(&self, tables: &[TableRef]) -> Result<(), Error> {
        let verdicts: Vec<_> = tables.iter().map(|table| self.admit_write(table)).collect();
        if verdicts.iter().all(Result::is_ok) {
            return Ok(());
        }
        let reason = |verdict: Result<(), Error>| match verdict {
            Ok(()) => Reason::none(),
            Err(error) => Reason::of(&error).unwrap_or_else(Reason::none),
        };
        Err(Error::TransactionCanceled(verdicts.into_iter().map(reason).collect()))
    }

    /// Commits what `prepare` makes of the tables, one write each, all or none.
    pub(super) async fn transact(
        &self,
        ctx: &Ctx,
        names: &[String],
        token: Option<Token>,
        prepare: impl Fn(&[TableRef]) -> Result<Vec<Write>, Error> + Send + Sync,
    ) -> Result<Outcome, Error> {
        for _ in 0..GUARD_TRIES {
            let tables: Vec<TableRef> = names.iter().map(|name| self.table(ctx, name)).collect::<Result<_, _>>()?;
            let writes = prepare(&tables)?;
            self.admit_all(&tables)?;
            let mut txn = Txn::new();
            for table in &tables {
                if txn.guards.iter().all(|(key, _)| *key != table.key) {
                    txn = txn.guard(table.key.clone(), table.ver);
                }
            }
            let mut keys: Vec<Key> = writes.iter().map(Write::row_key).collect();
            if crate::item::has_duplicates(&keys) {
                return Err(Error::validation("Transaction request cannot include multiple operations on one item"));
            }
            keys.extend(token.iter().map(|t| t.key.clone()));
            let (writes, token) = (Arc::new(writes), token.clone());
            let txn = txn.rule(keys, move |view, out| decide(&writes, token.as_ref(), view, out));
            match self.deps.state.commit(txn).await {
                Ok(done) => {
                    let (done, repeated) = match done.reply::<Verdict>() {
                        Some(Verdict::Done(done)) => (done, false),
                        Some(Verdict::Repeated(done)) => (done, true),
                        None => (names.iter().map(|_| Done::default()).collect(), false),
                    };
                    let outcome = Outcome { tables, done, repeated };
                    let way = if repeated { Way::Read } else { Way::Write };
                    for (table, done) in outcome.tables.iter().zip(&outcome.done) {
                        self.pay(table, way, || outcome.spent(done));
                    }
                    return Ok(outcome);
                }
                Err(squall_store::Error::Guard(_)) => {
                    for table in &tables {
                        self.catalog.reload(&table.region, &table.name).await?;
                    }
                }
                Err(error) => return Err(refusal(error)),
            }
        }
        Err(Error::Internal("a table's definition kept changing".into()))
    }
}

/// Fits every part to its table; parts that do not fit cancel the transaction.
fn prepared(asked: &[Asked], tables: &[TableRef]) -> Result<Vec<Write>, Error> {
    let mut writes = Vec::new();
    let mut reasons = Vec::new();
    for (asked, table) in asked.iter().zip(tables) {
        match prepare(asked, table.clone()) {
            Ok(write) => {
                writes.push(write);
                reasons.push(Reason::none());
            }
            Err(error) => reasons.push(Reason::of(&error).ok_or(error)?),
        }
    }
    if writes.len() < asked.len() { Err(Error::TransactionCanceled(reasons)) } else { Ok(writes) }
}

fn prepare(asked: &Asked, table: TableRef) -> Result<Write, Error> {
    let key = match &asked.verb {
        Verb::Put => {
            rules::check_put(&table, &asked.item)?;
            table.schema.of_item(&asked.item)?
        }
        _ => table.schema.of_key(&asked.item)?,
    };
    scalars::check_condition(&table, asked.condition.as_ref())?;
    let change = match &asked.verb {
        Verb::Put => Change::Put(asked.item.clone()),
        Verb::Delete => Change::Delete,
        Verb::Check => Change::Check,
        Verb::Update(update) => {
            request::check_key_untouched(update, &table.schema)?;
            scalars::check_update(&table, update)?;
            Change::Update { key: asked.item.clone(), update: update.clone() }
        }
    };
    Ok(Write { table, key, condition: asked.condition.clone(), change, old_on_failure: asked.old_on_failure })
}

fn decide(writes: &[Write], token: Option<&Token>, view: &View<'_>, out: &mut Vec<Mutation>) -> Result<Verdict, Error> {
    if let Some(token) = token {
        match view.value(writes.len()).map(envelope::open).transpose()? {
            Some(digest) if digest == token.digest => {
                let now = |at| Ok(Done { old: view.value(at).map(codec::decode).transpose()?, ..Done::default() });
                return (0..writes.len()).map(now).collect::<Result<_, Error>>().map(Verdict::Repeated);
            }
            Some(_) => {
                return Err(Error::IdempotentParameterMismatch(
                    "The request uses the same client token as a previous, but non-identical request. Do not reuse a \
                     client token with different requests, unless the requests are identical."
                        .into(),
                ));
            }
            None => {}
        }
        let expires = Millis(view.now.0.saturating_add(TOKEN_LIFE.as_millis() as i64));
        out.put_until(token.key.clone(), envelope::seal(&token.digest), expires);
    }
    let mut reasons = Vec::new();
    let mut all = Vec::new();
    for (at, write) in writes.iter().enumerate() {
        match write.run(view.value(at), out) {
            Ok(done) => {
                all.push(done);
                reasons.push(Reason::none());
            }
            Err(error) => reasons.push(Reason::of(&error).ok_or(error)?),
        }
    }
    if all.len() < writes.len() { Err(Error::TransactionCanceled(reasons)) } else { Ok(Verdict::Done(all)) }
}

fn asked(mut fields: Fields) -> Result<Asked, Error> {
    let verbs = ["ConditionCheck", "Put", "Delete", "Update"];
    let mut present = verbs.iter().filter_map(|verb| Some((*verb, fields.fields(verb)?)));
    let (Some((verb, mut part)), None) = (present.next(), present.next()) else {
        return Err(Error::validation("TransactItems can only contain one of Check, Put, Update or Delete"));
    };
    let named = request::required(part.text("TableName"), "TableName")?;
    let expressions: &[&str] =
        if verb == "Update" { &["UpdateExpression", "ConditionExpression"] } else { &["ConditionExpression"] };
    let mut scope = request::placeholders(&mut part, expressions, expressions)?;
    let item = request::required_item(&mut part, if verb == "Put" { "Item" } else { "Key" })?;
    if verb == "Put" {
        rules::check_item(&item)?;
    }
    let old_on_failure = part.text("ReturnValuesOnConditionCheckFailure").as_deref() == Some("ALL_OLD");
    let verb = match verb {
        "Put" => Verb::Put,
        "Delete" => Verb::Delete,
        "Update" => {
            let text = request::required(part.text("UpdateExpression"), "UpdateExpression")?;
            Verb::Update(crate::expr::update::update(&text, &mut scope)?)
        }
        _ => Verb::Check,
    };
    let condition = match part.text("ConditionExpression") {
        Some(text) => Some(crate::expr::parser::condition(crate::expr::ExprKind::Condition, &text, &mut scope)?),
        None => None,
    };
    scope.check_used()?;
    Ok(Asked { named, item, condition, verb, old_on_failure })
}

/// A hash of the items as they came on the wire.
pub(super) fn digest(wires: &[Wire]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    wires.iter().for_each(|wire| feed(wire, &mut hasher));
    hasher.finalize().into()
}

fn feed(wire: &Wire, hasher: &mut Sha256) {
    let mut text = |mark: u8, bytes: &[u8]| {
        hasher.update([mark]);
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    match wire {
        Wire::Str(s) => text(1, s.as_bytes()),
        Wire::Blob(b) => text(2, b),
        Wire::Bool(b) => text(3, &[u8::from(*b)]),
        Wire::List(list) => {
            text(4, &(list.len() as u64).to_be_bytes());
            list.iter().for_each(|v| feed(v, hasher));
        }
        Wire::Map(map) => {
            text(5, &(map.len() as u64).to_be_bytes());
            // SDKs send maps in any order: the same request must give the same hash.
            let mut entries: Vec<&(String, Wire)> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            for (name, v) in entries {
                hasher.update((name.len() as u64).to_be_bytes());
                hasher.update(name.as_bytes());
                feed(v, hasher);
            }
        }
        Wire::Struct(members) => {
            text(6, &(members.len() as u64).to_be_bytes());
            let mut members: Vec<&(u16, Wire)> = members.iter().collect();
            members.sort_by_key(|(index, _)| *index);
            for (index, v) in members {
                hasher.update(index.to_be_bytes());
                feed(v, hasher);
            }
        }
        other => text(7, format!("{other:?}").as_bytes()),
    }
}
