"""What a worker finds of a warmed boto3: run with the client's folder and the SDK's; prints `ok` or what differs."""

import os
import sys

sys.path[:0] = sys.argv[1:3]
for name in list(os.environ):
    if name.startswith("AWS_") or name == "HOME":
        del os.environ[name]
os.environ.update(AWS_REGION="us-east-1", AWS_DEFAULT_REGION="us-east-1", AWS_ENDPOINT_URL="http://127.0.0.1:4566")

import _squall_sdk

_squall_sdk.load()

import boto3
import botocore.session


def identity(client):
    key = client._request_signer._credentials.get_frozen_credentials()
    return (key.access_key, key.secret_key, key.token, client.meta.endpoint_url, client.meta.region_name)


def plain(client):
    """What a client offers and how it is set."""
    return sorted(dir(client)), sorted(client.meta.config.__dict__), type(client).__name__, client.meta.service_model.service_name


def same_as_made_later():
    first, later = boto3.client("dynamodb"), boto3.client("dynamodb")
    assert first is not later
    assert identity(first) == identity(later) == ("AK", "SK", "TK", "http://127.0.0.1:4566", "us-east-1"), identity(first)
    assert plain(first) == plain(later)


def settings_are_heeded():
    assert boto3.client("sqs", region_name="eu-west-1").meta.region_name == "eu-west-1"
    assert boto3.client("sns", aws_access_key_id="X", aws_secret_access_key="Y")._request_signer._credentials.access_key == "X"


def environment_is_heeded():
    os.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
    assert boto3.client("dynamodb").meta.endpoint_url == "http://127.0.0.1:1"


def late_environment_is_heeded():
    boto3.client("s3")
    os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = "http://127.0.0.1:2"
    assert boto3.client("dynamodb").meta.endpoint_url == "http://127.0.0.1:2"


def handlers_of_the_session_are_heeded():
    called = []
    boto3.client("s3")
    boto3.DEFAULT_SESSION.events.register("creating-client-class.dynamodb", lambda **_: called.append(1))
    boto3.client("dynamodb")
    assert called == [1]


def built_in_handlers_are_heeded():
    called = []
    import botocore.handlers

    botocore.handlers.BUILTIN_HANDLERS.append(("creating-client-class", lambda **_: called.append(1)))
    boto3.client("dynamodb")
    boto3.session.Session().client("dynamodb")
    assert len(called) == 2, called


def own_sessions_are_their_own():
    own = boto3.session.Session(aws_access_key_id="X", aws_secret_access_key="Y")
    assert identity(own.client("dynamodb"))[0] == "X"
    assert identity(boto3.client("dynamodb"))[0] == "AK"
    assert botocore.session.get_session() is not own._session
    boto3.setup_default_session(region_name="eu-west-1")
    assert boto3.client("s3").meta.region_name == "eu-west-1"


def resources_work():
    table = boto3.resource("dynamodb").Table("t")
    assert identity(table.meta.client)[:3] == ("AK", "SK", "TK") and table.name == "t"
    assert boto3.resource("s3").Bucket("b").name == "b"


failed = 0
for case in (
    same_as_made_later,
    settings_are_heeded,
    environment_is_heeded,
    late_environment_is_heeded,
    handlers_of_the_session_are_heeded,
    built_in_handlers_are_heeded,
    own_sessions_are_their_own,
    resources_work,
):
    # Each in a fork, as functions are.
    worker = os.fork()
    if worker == 0:
        os.environ.update(AWS_ACCESS_KEY_ID="AK", AWS_SECRET_ACCESS_KEY="SK", AWS_SESSION_TOKEN="TK")
        try:
            case()
            os._exit(0)
        except BaseException:
            import traceback

            print(case.__name__, traceback.format_exc(), flush=True)
            os._exit(1)
    failed += os.waitpid(worker, 0)[1] != 0
print("failed" if failed else "ok")
