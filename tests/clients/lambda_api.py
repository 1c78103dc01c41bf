"""Lambda's operations through boto3, apart from what functions do when they run."""

import base64
import hashlib
import json
import urllib.request

import kit
from kit import contains, equal, fails, matches

fn = kit.client("lambda")
ECHO = "def handler(event, context):\n    return event\n"
MISSING = f"Function not found: arn:aws:lambda:{kit.REGION}:{kit.ACCOUNT}:function:%s"


def arn(name):
    return f"arn:aws:lambda:{kit.REGION}:{kit.ACCOUNT}:function:{name}"


def test_create_answers_pending_and_becomes_active():
    role, name, code = kit.role(), kit.name(), kit.zipped(ECHO)
    made = fn.create_function(
        FunctionName=name,
        Runtime=kit.PYTHON,
        Role=role,
        Handler="index.handler",
        Code={"ZipFile": code},
        Description="echo",
        Environment={"Variables": {"GREETING": "hi"}},
        Tags={"team": "a"},
    )
    equal(made["ResponseMetadata"]["HTTPStatusCode"], 201)
    matches(made["ResponseMetadata"]["RequestId"], "[0-9a-f-]{36}")
    contains(
        made,
        {
            "FunctionName": name,
            "FunctionArn": arn(name),
            "Runtime": kit.PYTHON,
            "Role": role,
            "Handler": "index.handler",
            "CodeSize": len(code),
            "CodeSha256": base64.b64encode(hashlib.sha256(code).digest()).decode(),
            "Description": "echo",
            "Timeout": 3,
            "MemorySize": 128,
            "Version": "$LATEST",
            "Environment": {"Variables": {"GREETING": "hi"}},
            "TracingConfig": {"Mode": "PassThrough"},
            "State": "Pending",
            "StateReason": "The function is being created.",
            "StateReasonCode": "Creating",
            "PackageType": "Zip",
            "Architectures": ["x86_64"],
            "EphemeralStorage": {"Size": 512},
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        },
    )
    equal("LastUpdateStatus" in made, False)
    matches(made["RevisionId"], "[0-9a-f-]{36}")
    matches(made["LastModified"], r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000")
    fn.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    got = fn.get_function(FunctionName=name)
    contains(got["Configuration"], {"State": "Active", "LastUpdateStatus": "Successful"})
    equal("StateReason" in got["Configuration"], False)
    equal((got["Tags"], got["Code"]["RepositoryType"]), ({"team": "a"}, "S3"))
    with urllib.request.urlopen(got["Code"]["Location"]) as r:
        equal(r.read(), code, "the package can be fetched by its link")
    configuration = fn.get_function_configuration(FunctionName=arn(name))
    equal(configuration["CodeSha256"], made["CodeSha256"])
    fails(
        "ResourceConflictException",
        f"Function already exist: {name}",
        fn.create_function,
        FunctionName=name,
        Runtime=kit.PYTHON,
        Role=role,
        Handler="index.handler",
        Code={"ZipFile": code},
        status=409,
    )


def test_names_and_arns_mean_the_same():
    name = kit.function(ECHO)
    for given in [name, arn(name), f"{kit.ACCOUNT}:function:{name}", arn(name) + ":$LATEST"]:
        equal(fn.get_function(FunctionName=given)["Configuration"]["FunctionName"], name, given)
        equal(kit.invoke(given, {"a": 1})[0], {"a": 1}, given)


def test_what_is_not_there():
    for call in (fn.get_function, fn.get_function_configuration):
        fails("ResourceNotFoundException", MISSING % "nope", call, FunctionName="nope", status=404)
    fails("ResourceNotFoundException", MISSING % "nope:$LATEST", fn.invoke, FunctionName="nope", status=404)
    fails("ResourceNotFoundException", MISSING % "nope", fn.delete_function, FunctionName="nope", status=404)
    fails("ResourceNotFoundException", MISSING % "nope", fn.update_function_configuration, FunctionName="nope", Timeout=4)
    name = kit.function(ECHO)
    fails("ResourceNotFoundException", MISSING % f"{name}:7", fn.get_function, FunctionName=name, Qualifier="7")
    fails("ResourceNotFoundException", MISSING % f"{name}:live", fn.invoke, FunctionName=name, Qualifier="live")


def test_bad_settings_are_refused_in_awss_words():
    role = kit.role()

    def bad(code, message, **change):
        request = dict(
            FunctionName=kit.name(), Runtime=kit.PYTHON, Role=role, Handler="index.handler", Code={"ZipFile": kit.zipped(ECHO)}
        )
        fails(code, message, fn.create_function, **{**request, **change}, status=400)

    constraint = "1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: "
    bad(
        "ValidationException",
        constraint % ("r1", "role")
        + r"Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
        Role="r1",
    )
    bad(
        "InvalidParameterValueException",
        "~Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: .*or be a valid ARN",
        Runtime="cobol",
    )
    bad("InvalidParameterValueException", "~The runtime parameter of nodejs12.x is no longer supported.*", Runtime="nodejs12.x")
    bad("ValidationException", constraint % (20000, "memorySize") + "Member must have value less than or equal to 10240", MemorySize=20000)
    bad("ValidationException", constraint % (901, "timeout") + "Member must have value less than or equal to 900", Timeout=901)
    bad("ValidationException", "~.*'ephemeralStorage.size' failed.*", EphemeralStorage={"Size": 20000})
    bad(
        "ValidationException",
        constraint % ("[x86_64, arm64]", "architectures") + "Member must have length less than or equal to 1",
        Architectures=["x86_64", "arm64"],
    )
    bad("ValidationException", "~.*at 'functionName' failed to satisfy constraint.*", FunctionName="not a name")
    bad(
        "InvalidParameterValueException",
        "~Lambda was unable to configure your environment variables.*Reserved keys used in this request: AWS_REGION",
        Environment={"Variables": {"AWS_REGION": "x"}},
    )
    bad("InvalidParameterValueException", "~.*exceeded the 4KB limit.*", Environment={"Variables": {"LONG": "x" * 5000}})
    bad(
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
        Role=f"arn:aws:iam::{kit.ACCOUNT}:role/not-there",
    )
    nobody = kit.role(
        trust=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
                ],
            }
        )
    )
    bad("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.", Role=nobody)
    # A runtime of AWS's that this cloud or this host cannot run is refused when the function is made, not when it runs.
    bad("InvalidParameterValueException", "~.*dotnet8.*", Runtime="dotnet8")
    # A setting that is not served is refused, not ignored.
    bad("InvalidParameterValueException", None, VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]})


def test_update_code_and_configuration():
    name = kit.function("def handler(e, c):\n    return 1\n")
    equal(kit.invoke(name)[0], 1)
    before = fn.get_function_configuration(FunctionName=name)
    updated = fn.update_function_code(FunctionName=name, ZipFile=kit.zipped("def handler(e, c):\n    return 2\n"))
    equal(updated["RevisionId"] != before["RevisionId"], True)
    contains(updated, {"LastUpdateStatus": "InProgress", "LastUpdateStatusReasonCode": "Creating"})
    fn.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    equal(kit.invoke(name)[0], 2)
    fn.update_function_code(FunctionName=name, ZipFile=kit.zipped("def handler(e, c):\n    return 3\n"), DryRun=True)
    equal(kit.invoke(name)[0], 2, "a dry run changes nothing")
    changed = fn.update_function_configuration(
        FunctionName=name, MemorySize=256, Timeout=10, Description="d", Environment={"Variables": {"AA": "b"}}
    )
    contains(changed, {"MemorySize": 256, "Timeout": 10, "Description": "d", "Environment": {"Variables": {"AA": "b"}}})
    fn.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    fails(
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the "
        "latest Revision Id",
        fn.update_function_configuration,
        FunctionName=name,
        Timeout=5,
        RevisionId="00000000-0000-0000-0000-000000000000",
        status=412,
    )
    fails(
        "InvalidParameterValueException",
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
        fn.update_function_code,
        FunctionName=name,
        ZipFile=b"no zip",
    )
    kit.invoke(name)


def test_delete():
    name = kit.function(ECHO)
    equal(fn.delete_function(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"], 204)
    fails("ResourceNotFoundException", MISSING % name, fn.get_function, FunctionName=name)
    # The name is free at once.
    kit.function(ECHO, FunctionName=name)
    equal(kit.invoke(name, 5)[0], 5)


def test_list_pages_through_all():
    made = sorted(kit.function(ECHO, wait=False) for _ in range(3))
    pages = list(fn.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    names = [f["FunctionName"] for p in pages for f in p["Functions"]]
    equal(max(len(p["Functions"]) for p in pages) <= 2, True)
    equal([n for n in sorted(names) if n in made], made)
    equal(len(names), len(set(names)))


def test_tags():
    name = kit.function(ECHO)
    fn.tag_resource(Resource=arn(name), Tags={"a": "1", "b": "2"})
    fn.untag_resource(Resource=arn(name), TagKeys=["a", "zz"])
    equal(fn.list_tags(Resource=arn(name))["Tags"], {"b": "2"})
    fails("ResourceNotFoundException", None, fn.list_tags, Resource=arn("nope"), status=404)


def test_permissions():
    name = kit.function(ECHO)
    fails("ResourceNotFoundException", "The resource you requested does not exist.", fn.get_policy, FunctionName=name)
    added = fn.add_permission(
        FunctionName=name,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::bucket",
    )
    statement = {
        "Sid": "s3",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": arn(name),
        "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"}},
    }
    equal((added["ResponseMetadata"]["HTTPStatusCode"], json.loads(added["Statement"])), (201, statement))
    policy = fn.get_policy(FunctionName=name)
    equal(json.loads(policy["Policy"]), {"Version": "2012-10-17", "Id": "default", "Statement": [statement]})
    fails(
        "ResourceConflictException",
        "The statement id (s3) provided already exists. Please provide a new statement id, or remove the existing statement.",
        fn.add_permission,
        FunctionName=name,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        status=409,
    )
    fails(
        "ResourceNotFoundException",
        "Statement nope is not found in resource policy.",
        fn.remove_permission,
        FunctionName=name,
        StatementId="nope",
    )
    fn.remove_permission(FunctionName=name, StatementId="s3", RevisionId=policy["RevisionId"])
    fails("ResourceNotFoundException", None, fn.get_policy, FunctionName=name)


def test_versions_and_aliases():
    name = kit.function("def handler(e, c):\n    return [1, c.function_version, c.invoked_function_arn]\n")
    one = fn.publish_version(FunctionName=name, Description="first")
    contains(one, {"Version": "1", "FunctionArn": arn(name) + ":1", "Description": "first", "State": "Active"})
    equal(fn.publish_version(FunctionName=name)["Version"], "1", "unchanged code publishes nothing")
    fn.update_function_code(FunctionName=name, ZipFile=kit.zipped("def handler(e, c):\n    return [2, c.function_version, 0]\n"))
    fn.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    equal(fn.publish_version(FunctionName=name)["Version"], "2")
    versions = [v["Version"] for v in fn.list_versions_by_function(FunctionName=name)["Versions"]]
    equal(versions, ["$LATEST", "1", "2"])
    fn.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1")
    payload, answer = kit.invoke(name, Qualifier="1")
    equal((payload, answer["ExecutedVersion"]), ([1, "1", arn(name) + ":1"], "1"))
    equal(kit.invoke(name)[0][:2], [2, "$LATEST"])
    made = fn.create_alias(FunctionName=name, Name="live", FunctionVersion="1", Description="x")
    contains(made, {"AliasArn": arn(name) + ":live", "Name": "live", "FunctionVersion": "1"})
    payload, answer = kit.invoke(name, Qualifier="live")
    equal((payload, answer["ExecutedVersion"]), ([1, "1", arn(name) + ":live"], "1"))
    fn.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    equal(kit.invoke(arn(name) + ":live")[0][0], 2)
    equal([a["Name"] for a in fn.list_aliases(FunctionName=name)["Aliases"]], ["live"])
    fails(
        "ValidationException",
        "1 validation error detected: Value '7' at 'name' failed to satisfy constraint: Member must satisfy regular "
        "expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)",
        fn.create_alias,
        FunctionName=name,
        Name="7",
        FunctionVersion="1",
    )
    fails("ResourceNotFoundException", MISSING % f"{name}:9", fn.create_alias, FunctionName=name, Name="x", FunctionVersion="9")
    fails("ResourceConflictException", None, fn.delete_function, FunctionName=name, Qualifier="2", status=409)
    fn.delete_alias(FunctionName=name, Name="live")
    fn.delete_function(FunctionName=name, Qualifier="2")
    equal([v["Version"] for v in fn.list_versions_by_function(FunctionName=name)["Versions"]], ["$LATEST", "1"])
    fails("ResourceNotFoundException", MISSING % f"{name}:2", fn.invoke, FunctionName=name, Qualifier="2")


def test_reserved_concurrency():
    name = kit.function(ECHO)
    equal("ReservedConcurrentExecutions" in fn.get_function_concurrency(FunctionName=name), False)
    equal(fn.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)["ReservedConcurrentExecutions"], 0)
    equal(fn.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"], 0)
    refused = fails("TooManyRequestsException", "Rate Exceeded.", fn.invoke, FunctionName=name, status=429)
    equal(refused["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded")
    fn.delete_function_concurrency(FunctionName=name)
    equal(kit.invoke(name, 1)[0], 1)
    equal(fn.get_account_settings()["AccountLimit"]["ConcurrentExecutions"], 1000)


def test_terraform_and_sdk_reads():
    """What deploy tools read after CreateFunction; a refusal there ends the deploy."""
    name = kit.function(ECHO)
    equal(fn.get_function_code_signing_config(FunctionName=name)["FunctionName"], name)
    equal(fn.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"], "Auto")


kit.main(globals())
