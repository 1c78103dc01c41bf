"""How batches of a DynamoDB stream are handed over, through boto3: sizes, windows, order, retries, what goes away meanwhile."""

import json

import kit
from esm_kit import PRINT, at_least, db, enabled, events, fn, mapping, put, reader, records, table
from kit import contains, equal, fails, until

# Prints a batch only when it takes it.
PICKY = {
    "index.py": "import json\ndef handler(event, context):\n"
    "    if any('bad' in r['dynamodb']['NewImage'] for r in event['Records']):\n        raise ValueError('bad')\n"
    "    print('EVENT ' + json.dumps(event))\n"
}


def numbers(function):
    return [r["dynamodb"]["NewImage"]["n"]["N"] for r in records(function)]


def result(uuid):
    return fn.get_event_source_mapping(UUID=uuid)["LastProcessingResult"]


def test_batches_have_at_most_their_size():
    name, arn = table()
    function = reader()
    for n in range(7):
        put(name, "same", n={"N": str(n)})
    mapping(function, arn, BatchSize=3)
    at_least(7, lambda: records(function))
    equal([len(e["Records"]) for e in events(function)], [3, 3, 1])
    equal(numbers(function), [str(n) for n in range(7)])


def test_a_window_gathers():
    name, arn = table()
    function = reader()
    mapping(function, arn, MaximumBatchingWindowInSeconds=2)
    for n in range(5):
        put(name, "same", n={"N": str(n)})
    at_least(5, lambda: records(function))
    equal([len(e["Records"]) for e in events(function)], [5])


def test_every_operator_of_filters():
    name, arn = table()
    function = reader()
    image = lambda **attributes: {"dynamodb": {"NewImage": attributes}}
    patterns = [
        {"eventName": ["INSERT"], **image(kind={"S": [{"prefix": "us-"}, {"suffix": "-eu"}]})},
        image(kind={"S": [{"equals-ignore-case": "Loud"}]}),
        image(mark={"BOOL": [True]}, kind={"S": [{"anything-but": ["quiet"]}]}),
        {"dynamodb": {"OldImage": {"kind": {"S": [{"exists": True}]}}, "SizeBytes": [{"numeric": [">", 0, "<", 4096]}]}},
        {"$or": [image(kind={"S": ["this"]}), image(kind={"S": [""]})]},
    ]
    mapping(function, arn, FilterCriteria={"Filters": [{"Pattern": json.dumps(p)} for p in patterns]})
    mark = {"mark": {"BOOL": True}}
    cases = [("a", "us-1", {}, True), ("b", "x-eu", {}, True), ("c", "LOUD", {}, True), ("d", "quiet", mark, False),
             ("e", "other", mark, True), ("f", "this", {}, True), ("g", "that", {}, False), ("h", "", {}, True),
             ("g", "again", {}, True)]
    for key, kind, more, _ in cases:
        put(name, key, kind={"S": kind}, **more)
    wanted = sorted((key, kind) for key, kind, _, passes in cases if passes)
    at_least(len(wanted), lambda: records(function))
    images = [r["dynamodb"]["NewImage"] for r in records(function)]
    equal(sorted((i["id"]["S"], i["kind"]["S"]) for i in images), wanted)


def test_cutting_batches_finds_the_bad_record():
    name, arn = table()
    function = reader(PICKY)
    for n in range(8):
        put(name, "same", n={"N": str(n)}, **({"bad": {"BOOL": True}} if n == 5 else {}))
    mapping(function, arn, BisectBatchOnFunctionError=True, MaximumRetryAttempts=0)
    at_least(7, lambda: records(function), 60)
    equal(numbers(function), [str(n) for n in range(8) if n != 5])


def test_latest_begins_behind_what_is_there():
    name, arn = table()
    function = reader()
    put(name, "before", n={"N": "1"})
    mapping(function, arn, StartingPosition="LATEST")
    put(name, "after", n={"N": "2"})
    at_least(1, lambda: records(function))
    equal(numbers(function), ["2"])


def test_made_disabled_it_waits():
    name, arn = table()
    function = reader()
    made = fn.create_event_source_mapping(
        FunctionName=function, EventSourceArn=arn, StartingPosition="TRIM_HORIZON", Enabled=False)
    equal(made["State"], "Creating")
    enabled(made["UUID"], "Disabled")
    put(name, "a", n={"N": "1"})
    equal(records(function), [])
    equal(fn.update_event_source_mapping(UUID=made["UUID"], Enabled=True)["State"], "Enabling")
    at_least(1, lambda: records(function))


def test_parallel_batches_keep_the_order_of_each_key():
    name, arn = table()
    function = reader()
    for n in range(20):
        for key in "abcdef":
            put(name, key, n={"N": str(n)})
    mapping(function, arn, ParallelizationFactor=10, BatchSize=4)
    at_least(120, lambda: records(function), 60)
    for key in "abcdef":
        mine = [r for r in records(function) if r["dynamodb"]["Keys"]["id"]["S"] == key]
        equal([r["dynamodb"]["NewImage"]["n"]["N"] for r in mine], [str(n) for n in range(20)], key)


def test_a_throttled_function_loses_nothing():
    name, arn = table()
    function = reader()
    fn.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    uuid = mapping(function, arn, MaximumRetryAttempts=0)["UUID"]
    put(name, "a", n={"N": "1"})
    until("it is told", lambda: result(uuid) == "PROBLEM: Function call throttled")
    fn.delete_function_concurrency(FunctionName=function)
    at_least(1, lambda: records(function), 60)
    until("OK", lambda: result(uuid) == "OK")


def test_windows_that_tumble_hand_on_their_state():
    name, arn = table()
    source = (
        "import json\ndef handler(event, context):\n    state = event.get('state') or {}\n"
        "    state['seen'] = state.get('seen', 0) + len(event['Records'])\n"
        "    print('EVENT ' + json.dumps({**event, 'seen': state['seen']}))\n    return {'state': state}\n"
    )
    function = reader({"index.py": source})
    mapping(function, arn, TumblingWindowInSeconds=2, BatchSize=2)
    for n in range(6):
        put(name, "same", n={"N": str(n)})
    last = lambda: [e for e in events(function) if e["isFinalInvokeForWindow"]]
    until("windows ended over six records", lambda: sum(e["seen"] for e in last()) >= 6, 40)
    contains(last()[0], {"eventSourceARN": arn, "isWindowTerminatedEarly": False, "Records": []})
    equal(sorted(last()[0]["window"]), ["end", "start"])


def test_another_function_takes_over():
    name, arn = table()
    first, second = reader(), reader()
    uuid = mapping(first, arn)["UUID"]
    put(name, "a", n={"N": "1"})
    at_least(1, lambda: records(first))
    updated = fn.update_event_source_mapping(UUID=uuid, FunctionName=second)
    equal((updated["State"], updated["FunctionArn"].endswith(f":{second}")), ("Updating", True))
    enabled(uuid)
    put(name, "a", n={"N": "2"})
    at_least(1, lambda: records(second))
    equal((numbers(first), numbers(second)), (["1"], ["2"]))


def test_function_and_table_may_go():
    name, arn = table()
    function = reader()
    uuid = mapping(function, arn)["UUID"]
    fn.delete_function(FunctionName=function)
    put(name, "a", n={"N": "1"})
    until("it is told", lambda: result(uuid) == "PROBLEM: Function does not exist")
    equal(fn.get_event_source_mapping(UUID=uuid)["State"], "Enabled")
    # A function of that name takes up what waited.
    kit.function(PRINT, kit.PYTHON, FunctionName=function)
    at_least(1, lambda: records(function), 60)
    put(name, "b", n={"N": "2"})
    db.delete_table(TableName=name)
    # The stream outlives its table.
    at_least(2, lambda: records(function), 40)
    fn.delete_event_source_mapping(UUID=uuid)
    gone = lambda: uuid not in [m["UUID"] for m in fn.list_event_source_mappings()["EventSourceMappings"]]
    until("it is gone", gone)
    fails("ResourceNotFoundException", None, fn.get_event_source_mapping, UUID=uuid)


kit.main(globals())
