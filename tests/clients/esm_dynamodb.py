"""Event source mappings over DynamoDB streams, through boto3: what arrives, filters, failures, states, refusals."""

import json

import kit
from esm_kit import PRINT, at_least, db, enabled, events, fn, mapping, put, reader, records, table
from kit import contains, equal, fails, until


def test_changes_arrive_as_aws_sends_them():
    name, arn = table()
    function = reader()
    made = mapping(function, arn)
    contains(made, {
        "BatchSize": 100, "BisectBatchOnFunctionError": False, "DestinationConfig": {"OnFailure": {}},
        "EventSourceArn": arn, "FunctionResponseTypes": [], "LastProcessingResult": "No records processed",
        "MaximumBatchingWindowInSeconds": 0, "MaximumRecordAgeInSeconds": -1, "MaximumRetryAttempts": -1,
        "ParallelizationFactor": 1, "StartingPosition": "TRIM_HORIZON", "State": "Creating",
        "StateTransitionReason": "User action", "TumblingWindowInSeconds": 0,
    })
    equal(made["ResponseMetadata"]["HTTPStatusCode"], 202)
    put(name, "a", n={"N": "1"})
    put(name, "a", n={"N": "2"})
    db.delete_item(TableName=name, Key={"id": {"S": "a"}})
    got = at_least(3, lambda: records(function))
    equal([r["eventName"] for r in got], ["INSERT", "MODIFY", "REMOVE"])
    first = got[0]
    contains(first, {"eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "us-east-1", "eventSourceARN": arn})
    equal(first["dynamodb"]["Keys"], {"id": {"S": "a"}})
    equal(first["dynamodb"]["NewImage"], {"id": {"S": "a"}, "n": {"N": "1"}})
    equal("OldImage" in first["dynamodb"], False)
    equal(isinstance(first["dynamodb"]["ApproximateCreationDateTime"], (int, float)), True)
    until("OK", lambda: fn.get_event_source_mapping(UUID=made["UUID"])["LastProcessingResult"] == "OK")


def test_filters_choose():
    name, arn = table()
    function = reader()
    pattern = json.dumps({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"kind": {"S": [{"prefix": "us-"}]}}}})
    mapping(function, arn, FilterCriteria={"Filters": [{"Pattern": pattern}]})
    for n, kind in enumerate(["us-1", "eu-1", "us-2"]):
        put(name, str(n), kind={"S": kind})
    got = at_least(2, lambda: records(function))
    equal([r["dynamodb"]["NewImage"]["kind"]["S"] for r in got], ["us-1", "us-2"])


def test_only_what_failed_is_tried_again():
    name, arn = table()
    source = (
        "import json\ndef handler(event, context):\n    print('EVENT ' + json.dumps(event))\n"
        "    bad = [r['dynamodb']['SequenceNumber'] for r in event['Records'] if 'bad' in r['dynamodb']['NewImage']]\n"
        "    return {'batchItemFailures': [{'itemIdentifier': b} for b in bad]}\n"
    )
    function = reader({"index.py": source})
    for key in "abc":
        put(name, key, **({"bad": {"BOOL": True}} if key == "b" else {}))
    mapping(function, arn, FunctionResponseTypes=["ReportBatchItemFailures"], MaximumRetryAttempts=1)
    keys = lambda: [[r["dynamodb"]["Keys"]["id"]["S"] for r in e["Records"]] for e in events(function)]
    # One retry of what is left, which is then given up as a whole.
    got = at_least(3, keys)
    equal(got[:3], [["a", "b", "c"], ["b", "c"], ["b", "c"]])


def test_states_and_settings():
    name, arn = table()
    function = reader()
    uuid = mapping(function, arn, BatchSize=5)["UUID"]
    updated = fn.update_event_source_mapping(UUID=uuid, Enabled=False)
    equal(updated["State"], "Disabling")
    enabled(uuid, "Disabled")
    put(name, "while-off")
    updated = fn.update_event_source_mapping(UUID=uuid, Enabled=True, BatchSize=7)
    contains(updated, {"State": "Enabling", "BatchSize": 7})
    until("what came while it was off", lambda: len(records(function)) == 1)
    enabled(uuid)
    found = fn.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    equal([m["UUID"] for m in found], [uuid])
    found = fn.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
    equal([m["UUID"] for m in found], [uuid])
    resource = fn.get_event_source_mapping(UUID=uuid)["EventSourceMappingArn"]
    fn.tag_resource(Resource=resource, Tags={"k": "v"})
    equal(fn.list_tags(Resource=resource)["Tags"], {"k": "v"})
    equal(fn.delete_event_source_mapping(UUID=uuid)["State"], "Deleting")

    def gone():
        try:
            fn.get_event_source_mapping(UUID=uuid)
        except fn.exceptions.ResourceNotFoundException:
            return True

    until("it is gone", gone)


def test_refusals_are_worded_as_by_aws():
    name, arn = table()
    function = reader()
    make = lambda **kw: fn.create_event_source_mapping(**{"FunctionName": function, "EventSourceArn": arn, **kw})
    invalid = lambda message, **kw: fails("InvalidParameterValueException", f"~.*{message}.*", make, **kw)
    fails("InvalidParameterValueException", "Unrecognized event source.", fn.create_event_source_mapping, FunctionName=function)
    invalid("Function does not exist", FunctionName="nothing", StartingPosition="LATEST")
    invalid("Unsupported starting position", StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=1)
    invalid("Value null at 'startingPosition'")
    invalid("Invalid filter pattern definition.", StartingPosition="LATEST", FilterCriteria={"Filters": [{"Pattern": "x"}]})
    invalid("not supported", StartingPosition="LATEST",
            DestinationConfig={"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:q"}})
    stranger = kit.function(PRINT, kit.PYTHON, Role=kit.role())
    invalid("Cannot access stream", FunctionName=stranger, StartingPosition="LATEST")
    invalid("Stream not found", EventSourceArn=arn[:-3] + "999", StartingPosition="LATEST")
    mapping(function, arn)
    fails("ResourceConflictException", "~.*provided mapping already exists.*", make, StartingPosition="LATEST")
    unknown = "00000000-0000-0000-0000-000000000000"
    for call in (fn.get_event_source_mapping, fn.delete_event_source_mapping, fn.update_event_source_mapping):
        fails("ResourceNotFoundException", "The resource you requested does not exist.", call, UUID=unknown)


def test_results_of_asynchronous_calls_go_on():
    target = kit.function(PRINT, kit.PYTHON)
    arn = fn.get_function_configuration(FunctionName=target)["FunctionArn"]
    caller = [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": arn}]
    source = {"index.py": "def handler(event, context):\n    if event.get('fail'):\n        raise Exception('no')\n    return 'well'\n"}
    function = kit.function(source, kit.PYTHON, Role=kit.role(policy=caller))
    set_ = fn.put_function_event_invoke_config(
        FunctionName=function, MaximumRetryAttempts=0,
        DestinationConfig={"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": arn}},
    )
    equal(set_["FunctionArn"].endswith(f":{function}:$LATEST"), True)
    fn.invoke(FunctionName=function, InvocationType="Event", Payload=b"{}")
    fn.invoke(FunctionName=function, InvocationType="Event", Payload=b'{"fail":1}')
    got = at_least(2, lambda: events(target))
    by = {e["requestContext"]["condition"]: e for e in got}
    equal(by["Success"]["responsePayload"], "well")
    contains(by["RetriesExhausted"]["responseContext"], {"functionError": "Unhandled", "statusCode": 200})
    equal(by["RetriesExhausted"]["requestPayload"], {"fail": 1})
    equal(len(fn.list_function_event_invoke_configs(FunctionName=function)["FunctionEventInvokeConfigs"]), 1)
    fn.delete_function_event_invoke_config(FunctionName=function)
    fails("ResourceNotFoundException", "~.*doesn't have an EventInvokeConfig", fn.get_function_event_invoke_config, FunctionName=function)


kit.main(globals())
