"""CloudWatch Logs through boto3."""

import time

import kit
from kit import contains, equal, fails, matches

logs = kit.client("logs")


def now():
    return int(time.time() * 1000)


def stream(count=0, start=None):
    """A new group with a stream `s` and `count` events, one millisecond apart: (group, time of the first)."""
    group = "/test/" + kit.name()
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    start = start or now() - 60_000
    if count:
        put(group, [(start + i, f"line {i}") for i in range(count)])
    return group, start


def put(group, events, name="s"):
    return logs.put_log_events(logGroupName=group, logStreamName=name, logEvents=[{"timestamp": t, "message": m} for t, m in events])


def test_groups():
    group = "/test/" + kit.name()
    logs.create_log_group(logGroupName=group, tags={"a": "1"})
    arn = f"arn:aws:logs:{kit.REGION}:{kit.ACCOUNT}:log-group:{group}"
    found = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    contains(found[0], {"logGroupName": group, "arn": arn + ":*", "logGroupArn": arn, "metricFilterCount": 0, "storedBytes": 0})
    equal("retentionInDays" in found[0], False)
    fails("ResourceAlreadyExistsException", "The specified log group already exists", logs.create_log_group, logGroupName=group, status=400)
    logs.put_retention_policy(logGroupName=group, retentionInDays=7)
    equal(logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"], 7)
    fails("InvalidParameterException", None, logs.put_retention_policy, logGroupName=group, retentionInDays=8)
    logs.delete_retention_policy(logGroupName=group)
    equal("retentionInDays" in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0], False)
    logs.tag_resource(resourceArn=arn, tags={"b": "2"})
    logs.untag_resource(resourceArn=arn, tagKeys=["a"])
    equal(logs.list_tags_for_resource(resourceArn=arn)["tags"], {"b": "2"})
    logs.delete_log_group(logGroupName=group)
    missing = "The specified log group does not exist."
    fails("ResourceNotFoundException", missing, logs.delete_log_group, logGroupName=group, status=400)
    fails("ResourceNotFoundException", missing, logs.describe_log_streams, logGroupName=group)
    fails("ResourceNotFoundException", missing, logs.put_retention_policy, logGroupName=group, retentionInDays=1)
    fails(
        "InvalidParameterException",
        "~1 validation error detected: Value 'no spaces' at 'logGroupName' failed to satisfy constraint: Member must satisfy "
        r"regular expression pattern: \[\\.\\-_/#A-Za-z0-9\]\+",
        logs.create_log_group,
        logGroupName="no spaces",
    )


def test_describe_pages():
    prefix = "/test/" + kit.name()
    names = [f"{prefix}/{i}" for i in range(5)]
    for n in names:
        logs.create_log_group(logGroupName=n)
    pages = list(logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix, PaginationConfig={"PageSize": 2}))
    equal([g["logGroupName"] for p in pages for g in p["logGroups"]], names)
    equal(len(pages), 3)


def test_streams():
    group, start = stream(3)
    logs.create_log_stream(logGroupName=group, logStreamName="t")
    fails(
        "ResourceAlreadyExistsException",
        "The specified log stream already exists",
        logs.create_log_stream,
        logGroupName=group,
        logStreamName="t",
        status=400,
    )
    found = logs.describe_log_streams(logGroupName=group)["logStreams"]
    equal([s["logStreamName"] for s in found], ["s", "t"])
    contains(found[0], {"firstEventTimestamp": start, "lastEventTimestamp": start + 2})
    equal("firstEventTimestamp" in found[1], False)
    by_time = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True)["logStreams"]
    equal(by_time[0]["logStreamName"], "s")
    equal([s["logStreamName"] for s in logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="t")["logStreams"]], ["t"])
    logs.delete_log_stream(logGroupName=group, logStreamName="t")
    fails("ResourceNotFoundException", "The specified log stream does not exist.", logs.delete_log_stream, logGroupName=group, logStreamName="t")


def test_put_and_get_events():
    group, start = stream()
    answer = put(group, [(start, "a"), (start + 1, "b ünï\n🦀")])
    equal("nextSequenceToken" in answer, True)
    got = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True)
    equal([(e["timestamp"], e["message"]) for e in got["events"]], [(start, "a"), (start + 1, "b ünï\n🦀")])
    equal(all(abs(e["ingestionTime"] - now()) < 60_000 for e in got["events"]), True)
    matches(got["nextForwardToken"], r"f/\d{56}/s")
    matches(got["nextBackwardToken"], r"b/\d{56}/s")
    again = logs.get_log_events(logGroupName=group, logStreamName="s", nextToken=got["nextForwardToken"])
    equal((again["events"], again["nextForwardToken"]), ([], got["nextForwardToken"]), "the end is where the token stays")
    put(group, [(start + 2, "c")])
    later = logs.get_log_events(logGroupName=group, logStreamName="s", nextToken=got["nextForwardToken"])
    equal([e["message"] for e in later["events"]], ["c"])
    fails("ResourceNotFoundException", "The specified log stream does not exist.", put, group, [(now(), "x")], name="nope")
    fails(
        "InvalidParameterException",
        "Log events in a single PutLogEvents request must be in chronological order.",
        put,
        group,
        [(start + 9, "late"), (start + 5, "early")],
    )
    day = 24 * 3600 * 1000
    equal(put(group, [(start - 15 * day, "too old")])["rejectedLogEventsInfo"], {"tooOldLogEventEndIndex": 1})
    late = put(group, [(now() + 1000, "fine"), (now() + 3 * 3600 * 1000, "too new")])
    equal(late["rejectedLogEventsInfo"], {"tooNewLogEventStartIndex": 1})
    fails(
        "InvalidParameterException",
        "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        put,
        group,
        [(now() - 2 * day, "a"), (now(), "b")],
    )
    fails("InvalidParameterException", "The specified nextToken is invalid.", logs.get_log_events, logGroupName=group, logStreamName="s", nextToken="bad")


def test_get_events_pages_both_ways():
    group, start = stream(25)
    head = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True, limit=10)
    equal([e["message"] for e in head["events"]], [f"line {i}" for i in range(10)])
    more = logs.get_log_events(logGroupName=group, logStreamName="s", nextToken=head["nextForwardToken"], limit=10)
    equal(more["events"][0]["message"], "line 10")
    tail = logs.get_log_events(logGroupName=group, logStreamName="s", limit=10)
    equal([e["message"] for e in tail["events"]], [f"line {i}" for i in range(15, 25)])
    back = logs.get_log_events(logGroupName=group, logStreamName="s", nextToken=tail["nextBackwardToken"], limit=10)
    equal([e["message"] for e in back["events"]], [f"line {i}" for i in range(5, 15)])
    window = logs.get_log_events(logGroupName=group, logStreamName="s", startTime=start + 3, endTime=start + 6, startFromHead=True)
    equal([e["message"] for e in window["events"]], ["line 3", "line 4", "line 5"])


def test_filter_events():
    group, start = stream()
    logs.create_log_stream(logGroupName=group, logStreamName="t")
    put(group, [(start, "ERROR one"), (start + 2, "ok two"), (start + 4, '{"level": "error", "n": 5, "user": {"id": "x"}}')])
    put(group, [(start + 1, "ERROR three"), (start + 3, "WARN ERROR four")], name="t")

    def found(**options):
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, **options)
        return [e["message"].split()[-1] if e["message"][0] != "{" else "json" for p in pages for e in p["events"]]

    equal(found(), ["one", "three", "two", "four", "json"])
    for pattern, expected in [
        ("ERROR", ["one", "three", "four"]),
        ("ERROR four", ["four"]),
        ("?two ?four", ["two", "four"]),
        ("ERROR -WARN", ["one", "three"]),
        ('"ERROR t"', ["three"]),
        ("{ $.level = \"error\" }", ["json"]),
        ("{ $.n > 4 && $.user.id = \"x\" }", ["json"]),
        ("{ $.n < 4 }", []),
    ]:
        equal(found(filterPattern=pattern), expected, pattern)
    equal(found(logStreamNames=["t"]), ["three", "four"])
    # endTime is inclusive here, unlike in GetLogEvents.
    equal(found(startTime=start + 2, endTime=start + 4), ["two", "four", "json"])
    first = logs.filter_log_events(logGroupName=group, limit=2)
    equal((len(first["events"]), "nextToken" in first), (2, True))
    matches(first["events"][0]["eventId"], r"\d{56}")
    fails("ResourceNotFoundException", None, logs.filter_log_events, logGroupName="/test/nope")


def test_big_batches():
    group, start = stream()
    put(group, [(start, "x" * 200) for _ in range(4000)])
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
    equal(sum(len(p["events"]) for p in pages), 4000)
    fails("InvalidParameterException", None, put, group, [(start, "x")] * 10_001)
    fails("InvalidParameterException", None, put, group, [(start, "x" * 262_000)] * 5)


kit.main(globals())
