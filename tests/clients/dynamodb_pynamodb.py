"""DynamoDB through PynamoDB: models, indexes, batches, transactions, optimistic locking."""

from pynamodb.attributes import (
    BinaryAttribute,
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
    VersionAttribute,
)
from pynamodb.connection import Connection
from pynamodb.exceptions import PutError, TransactWriteError
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex
from pynamodb.models import Model
from pynamodb.transactions import TransactGet, TransactWrite

import kit
from kit import equal


class ByGroup(GlobalSecondaryIndex):
    class Meta:
        index_name = "by-group"
        projection = AllProjection()

    group = UnicodeAttribute(hash_key=True)
    n = NumberAttribute(range_key=True)


class Thing(Model):
    class Meta:
        table_name = kit.name("pynamodb")
        host = kit.ENDPOINT
        region = kit.REGION
        billing_mode = "PAY_PER_REQUEST"

    pk = UnicodeAttribute(hash_key=True)
    sk = NumberAttribute(range_key=True)
    group = UnicodeAttribute(null=True)
    n = NumberAttribute(default=0)
    tags = UnicodeSetAttribute(null=True)
    map = MapAttribute(null=True)
    list = ListAttribute(null=True)
    bytes = BinaryAttribute(null=True, legacy_encoding=False)
    version = VersionAttribute()
    by_group = ByGroup()


def connection():
    return Connection(host=kit.ENDPOINT, region=kit.REGION)


def test_a_model_s_life():
    Thing.create_table(wait=True)
    for i in range(30):
        thing = Thing("a", i, group=f"g{i % 3}", n=i, tags={"x", "y"}, map={"k": i}, list=[1, "a"], bytes=b"\x01")
        thing.save()
    found = Thing.query("a", Thing.sk.between(3, 6), filter_condition=(Thing.n > 3) & Thing.tags.contains("x"))
    equal([t.sk for t in found], [4, 5, 6])
    equal([t.n for t in Thing.by_group.query("g1", scan_index_forward=False, limit=3)], [28, 25, 22])


def test_updates_and_versions():
    thing = Thing.get("a", 3)
    actions = [
        Thing.n.add(5),
        Thing.tags.add({"z"}),
        Thing.map["k"].set(9),
        Thing.list.set(Thing.list.append([2])),
        Thing.group.remove(),
    ]
    thing.update(actions=actions)
    thing.refresh()
    equal((thing.n, thing.map["k"], thing.list[-1], thing.group, thing.tags), (8, 9, 2, None, {"x", "y", "z"}))
    try:
        Thing("a", 3, version=1).save()
        raise AssertionError("an old version was written")
    except PutError as e:
        equal(e.cause_response_code, "ConditionalCheckFailedException")


def test_batches_and_pages():
    equal(len(list(Thing.batch_get([("a", i) for i in range(30)]))), 30)
    with Thing.batch_write() as batch:
        for i in range(60):
            batch.save(Thing("b", i))
    equal((Thing.count("b"), len(list(Thing.scan(page_size=7)))), (60, 90))
    first = Thing.query("b", limit=10)
    equal(len(list(first)), 10)
    equal(len(list(Thing.query("b", last_evaluated_key=first.last_evaluated_key))), 50)


def test_transactions():
    with TransactWrite(connection=connection()) as transaction:
        transaction.save(Thing("t", 1))
        transaction.update(Thing.get("a", 3), actions=[Thing.n.set(1)])
        transaction.condition_check(Thing, "a", 4, condition=Thing.n == 4)
    try:
        with TransactWrite(connection=connection()) as transaction:
            transaction.condition_check(Thing, "a", 4, condition=Thing.n == 5)
        raise AssertionError("the check held")
    except TransactWriteError as e:
        equal(e.cancellation_reasons[0].code, "ConditionalCheckFailed")
    with TransactGet(connection=connection()) as transaction:
        found = transaction.get(Thing, "t", 1)
    equal(found.get().sk, 1)
    Thing.delete_table()


kit.main(globals())
