"""DynamoDB PartiQL through boto3: statements, batches, transactions."""

import kit
from kit import equal, fails

db = kit.client("dynamodb")


def table():
    it = kit.name("table")
    db.create_table(
        TableName=it,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
            {"AttributeName": "kind", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-kind",
                "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    db.get_waiter("table_exists").wait(TableName=it, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    return it


def run(it, statement, *values, **options):
    if values:
        options["Parameters"] = list(values)
    return db.execute_statement(Statement=statement.replace("$t", f'"{it}"'), **options)


def filled(count=6):
    it = table()
    for i in range(count):
        answer = run(it, f"INSERT INTO $t VALUE {{'pk': 'p', 'sk': ?, 'v': {i}, 'kind': 'k{i % 2}'}}", {"N": str(i)})
        equal(answer["Items"], [])
    return it


def numbers(answer):
    return [int(i["sk"]["N"]) for i in answer["Items"]]


def test_items_are_inserted_once():
    it = filled(1)
    fails("DuplicateItemException", "Duplicate primary key exists in table", run, it, "INSERT INTO $t VALUE {'pk': 'p', 'sk': 0}")
    missing = "One or more parameter values were invalid: Missing the key sk in the item"
    fails("ValidationException", missing, run, it, "INSERT INTO $t VALUE {'pk': 'p'}")


def test_selects_query_and_scan():
    it = filled()
    for where, expected in [
        ("WHERE pk = 'p' AND sk BETWEEN 1 AND 3", [1, 2, 3]),
        ("WHERE pk = 'p' ORDER BY sk DESC", [5, 4, 3, 2, 1, 0]),
        ("WHERE pk = 'p' AND v >= 4 AND kind IS NOT MISSING", [4, 5]),
        ("WHERE pk IN ['p', 'q'] AND sk > 4", [5]),
        ("WHERE v IN [0, 2]", [0, 2]),
        ("WHERE pk = 'q'", []),
    ]:
        equal(numbers(run(it, f"SELECT sk FROM $t {where}")), expected, where)
    equal(sorted(numbers(run(it, "SELECT sk FROM $t.\"by-kind\" WHERE kind = 'k1'"))), [1, 3, 5])
    refused = "One or more parameter values were invalid: Global secondary index by-kind does not project [v]"
    fails("ValidationException", refused, run, it, "SELECT v FROM $t.\"by-kind\" WHERE kind = 'k1'")


def test_selects_page_by_token():
    it = filled()
    seen, options = [], {}
    while True:
        page = run(it, "SELECT sk FROM $t WHERE pk = 'p'", Limit=4, **options)
        seen.append(numbers(page))
        if "NextToken" not in page:
            break
        options = {"NextToken": page["NextToken"]}
    equal(seen, [[0, 1, 2, 3], [4, 5]])


def test_updates_and_deletes_are_of_one_item():
    it = filled(2)
    where = "WHERE pk = 'p' AND sk = 1"
    answer = run(it, f"UPDATE $t SET v = v + 10 SET l = list_append([1], [2]) REMOVE kind {where} RETURNING ALL NEW *")
    item = {"pk": {"S": "p"}, "sk": {"N": "1"}, "v": {"N": "11"}, "l": {"L": [{"N": "1"}, {"N": "2"}]}}
    equal(answer["Items"], [item])
    equal(run(it, f"UPDATE $t SET v = 12 {where} RETURNING MODIFIED OLD *")["Items"], [{"v": {"N": "11"}}])
    absent = "The conditional request failed"
    fails("ConditionalCheckFailedException", absent, run, it, "UPDATE $t SET v = 1 WHERE pk = 'p' AND sk = 99")
    wanting = "Where clause does not contain a mandatory equality on all key attributes"
    fails("ValidationException", wanting, run, it, "DELETE FROM $t WHERE pk = 'p'")
    fails("ConditionalCheckFailedException", absent, run, it, f"DELETE FROM $t {where} AND v = 11")
    equal(run(it, f"DELETE FROM $t {where} RETURNING ALL OLD *")["Items"], [{**item, "v": {"N": "12"}}])
    equal(run(it, f"DELETE FROM $t {where}")["Items"], [])


def test_bad_statements_are_refused():
    it = table()
    malformed = "Statement wasn't well formed, can't be processed:"
    fails("ValidationException", f"{malformed} Expected data manipulation", run, it, "DROP TABLE $t")
    fails("ValidationException", f"~{malformed}.*", run, it, "SELECT * FROM $t WHERE")
    counted = "Number of parameters in request and statement don't match."
    fails("ValidationException", counted, run, it, "SELECT * FROM $t WHERE pk = ?")
    fails("ResourceNotFoundException", "Requested resource not found", run, "nothing-here", "SELECT * FROM $t")
    ordered = "Must have WHERE clause in the statement when using ORDER BY clause."
    fails("ValidationException", ordered, run, it, "SELECT * FROM $t ORDER BY sk")


def test_batches_tell_errors_by_statement():
    it = filled(1)
    answer = db.batch_execute_statement(
        Statements=[
            {"Statement": f"INSERT INTO \"{it}\" VALUE {{'pk': 'p', 'sk': 7}}"},
            {"Statement": f"INSERT INTO \"{it}\" VALUE {{'pk': 'p', 'sk': 0}}"},
            {"Statement": f"DELETE FROM \"{it}\" WHERE pk = 'p'"},
        ]
    )["Responses"]
    equal([a.get("Error", {}).get("Code") for a in answer], [None, "DuplicateItem", "ValidationError"])
    answer = db.batch_execute_statement(
        Statements=[{"Statement": f"SELECT sk FROM \"{it}\" WHERE pk = 'p' AND sk = {n}"} for n in (7, 8)]
    )["Responses"]
    equal(answer, [{"TableName": it, "Item": {"sk": {"N": "7"}}}, {"TableName": it}])


def test_transactions_happen_whole():
    it = filled(2)

    def transact(*statements):
        return db.execute_transaction(TransactStatements=[{"Statement": s.replace("$t", f'"{it}"')} for s in statements])

    insert = "INSERT INTO $t VALUE {'pk': 'x', 'sk': 1}"
    refused = fails(
        "TransactionCanceledException",
        "~.*\\[None, ConditionalCheckFailed, DuplicateItem\\]",
        transact,
        insert,
        "EXISTS(SELECT * FROM $t WHERE pk = 'p' AND sk = 0 AND v = 5)",
        "INSERT INTO $t VALUE {'pk': 'p', 'sk': 1}",
    )
    equal(refused["CancellationReasons"][2], {"Code": "DuplicateItem", "Message": "Duplicate primary key exists in table"})
    transact(insert, "EXISTS(SELECT * FROM $t WHERE pk = 'p' AND sk = 0 AND v = 0)", "UPDATE $t SET v = 9 WHERE pk = 'p' AND sk = 1")
    answer = transact("SELECT v FROM $t WHERE pk = 'p' AND sk = 1", "SELECT * FROM $t WHERE pk = 'none' AND sk = 1")
    equal(answer["Responses"], [{"Item": {"v": {"N": "9"}}}, {}])


kit.main(globals())
