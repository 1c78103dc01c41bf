"""Layers through boto3: versions, what functions see of them under /opt, sharing, refusals."""

import json

import kit
from kit import contains, equal, fails, until

fn = kit.client("lambda")
WORD = {"python/word.py": "WORD = 'from a layer'\n", "data/one.txt": "one"}
USE = "import os, word\ndef handler(event, context):\n    return [word.WORD, sorted(os.listdir('/opt/data'))]\n"


def publish(files, name=None, **options):
    name = name or kit.name("layer")
    made = fn.publish_layer_version(LayerName=name, Content={"ZipFile": kit.zipped(files)}, **options)
    return name, made["LayerVersionArn"]


def settled(function):
    fn.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig={"Delay": 0.05, "MaxAttempts": 600})


def test_versions_are_published_shown_and_listed():
    name = kit.name("layer")
    made = fn.publish_layer_version(
        LayerName=name, Content={"ZipFile": kit.zipped(WORD)}, Description="d", LicenseInfo="MIT",
        CompatibleRuntimes=[kit.PYTHON], CompatibleArchitectures=["x86_64"])
    contains(made, {"Version": 1, "Description": "d", "LicenseInfo": "MIT", "CompatibleRuntimes": [kit.PYTHON]})
    arn = f"arn:aws:lambda:{kit.REGION}:{kit.ACCOUNT}:layer:{name}"
    equal((made["LayerArn"], made["LayerVersionArn"]), (arn, arn + ":1"))
    equal(made["ResponseMetadata"]["HTTPStatusCode"], 201)
    publish(WORD, name)
    equal(kit.http(made["Content"]["Location"]).status, 200)
    found = fn.get_layer_version(LayerName=name, VersionNumber=1)
    equal(found["Content"]["CodeSha256"], made["Content"]["CodeSha256"])
    equal(fn.get_layer_version_by_arn(Arn=arn + ":1")["LayerVersionArn"], arn + ":1")
    listed = fn.list_layer_versions(LayerName=name)["LayerVersions"]
    equal([v["Version"] for v in listed], [2, 1])
    equal(len(fn.list_layer_versions(LayerName=name, CompatibleRuntime=kit.PYTHON)["LayerVersions"]), 1)
    mine = [l for l in fn.list_layers()["Layers"] if l["LayerName"] == name]
    equal([l["LatestMatchingVersion"]["Version"] for l in mine], [2])
    for _ in range(2):
        fn.delete_layer_version(LayerName=name, VersionNumber=2)
    equal(publish(WORD, name)[1], arn + ":3")


def test_functions_see_their_layers():
    _, word = publish(WORD)
    _, more = publish({"data/two.txt": "two"})
    function = kit.function(USE, Layers=[word, more])
    equal(kit.invoke(function)[0], ["from a layer", ["one.txt", "two.txt"]])
    shown = fn.get_function_configuration(FunctionName=function)["Layers"]
    equal([l["Arn"] for l in shown], [word, more])
    fn.publish_version(FunctionName=function)
    newer = {"python/word.py": "WORD = 'from another'\n", "data/three.txt": ""}
    fn.update_function_configuration(FunctionName=function, Layers=[publish(newer)[1]])
    settled(function)
    equal(kit.invoke(function)[0], ["from another", ["three.txt"]])
    equal(kit.invoke(function, Qualifier="1")[0], ["from a layer", ["one.txt", "two.txt"]], "versions keep theirs")
    fn.update_function_configuration(FunctionName=function, Layers=[])
    settled(function)
    equal("Layers" in fn.get_function_configuration(FunctionName=function), False)


def test_a_deleted_version_stays_where_it_is_used():
    name, word = publish(WORD)
    function = kit.function(USE, Layers=[word])
    fn.delete_layer_version(LayerName=name, VersionNumber=1)
    equal(kit.invoke(function)[0], ["from a layer", ["one.txt"]])
    fn.update_function_configuration(FunctionName=function, MemorySize=256)
    settled(function)
    equal(kit.invoke(function)[0], ["from a layer", ["one.txt"]])


def test_node_finds_modules_of_layers():
    _, layer = publish({"nodejs/node_modules/word/index.js": "module.exports = 'from a layer';"})
    source = "exports.handler = async () => require('word');"
    equal(kit.invoke(kit.node(source, Layers=[layer]))[0], "from a layer")


def test_policies_of_versions():
    name, arn = publish(WORD)
    one = dict(LayerName=name, VersionNumber=1)
    fails("ResourceNotFoundException", "No policy is associated with the given resource.", fn.get_layer_version_policy, **one)
    allow = dict(StatementId="s1", Action="lambda:GetLayerVersion", Principal="*", **one)
    added = fn.add_layer_version_permission(**allow)
    equal(json.loads(added["Statement"])["Resource"], arn)
    fails("ResourceConflictException", "~The statement id \\(s1\\) provided already exists.*", fn.add_layer_version_permission, **allow)
    fails("PreconditionFailedException", "~.*GetLayerPolicy API.*", fn.add_layer_version_permission,
          **{**allow, "StatementId": "s2", "RevisionId": "wrong"})
    policy = fn.get_layer_version_policy(**one)
    equal(json.loads(policy["Policy"])["Id"], "default")
    fn.remove_layer_version_permission(StatementId="s1", **one)
    fails("ResourceNotFoundException", f"Layer version {arn[:-1]}2 does not exist.", fn.get_layer_version_policy,
          LayerName=name, VersionNumber=2)


def test_refusals_are_worded_as_by_aws():
    name, arn = publish(WORD)
    fails("ResourceNotFoundException", "The resource you requested does not exist.", fn.get_layer_version, LayerName=name, VersionNumber=9)
    fails("InvalidParameterValueException", "Layer Version Cannot be less than 1", fn.get_layer_version, LayerName=name, VersionNumber=0)
    fails("ValidationException", "~1 validation error detected: Value '\\[x\\]' at 'compatibleRuntimes'.*", publish, WORD, CompatibleRuntimes=["x"])
    fails("ValidationException", "~1 validation error detected: Value '\\[y\\]' at 'compatibleArchitectures'.*", publish, WORD,
          CompatibleArchitectures=["y"])
    fails("InvalidParameterValueException", None, fn.publish_layer_version, LayerName=name, Content={"ZipFile": b"x"})
    make = lambda layers: kit.function(USE, Layers=layers)
    fails("InvalidParameterValueException", "Cannot reference more than 5 layers.", make, [f"{arn[:-2]}{n}:1" for n in range(6)])
    fails("InvalidParameterValueException", f"Layer version {arn[:-1]}7 does not exist.", make, [arn[:-1] + "7"])
    publish(WORD, name)
    fails("InvalidParameterValueException", "~Two different versions of the same layer.*", make, [arn, arn[:-1] + "2"])


kit.main(globals())
