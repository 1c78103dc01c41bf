"""Signatures that are wrong in every way, made with botocore's own signer and sent by hand."""

import datetime
import http.client
import json
import os
import sys
import urllib.parse
import xml.etree.ElementTree

import botocore.auth
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import kit
from kit import equal, matches

HOST = kit.ENDPOINT.split("//")[1]
ROOT = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
DYNAMO = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.ListTables"}
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
IDENTITY = b"Action=GetCallerIdentity&Version=2011-06-15"
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
    "signing method. Consult the service documentation for details."
)
INVALID = "The security token included in the request is invalid."


def at(moment):
    """Lets botocore sign as if it were then."""
    original = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda remove_tzinfo=True: moment if remove_tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
    return lambda: setattr(botocore.auth, "get_current_datetime", original)


def now(**shift):
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + datetime.timedelta(**shift)


def request(service, method="POST", path="/", body=b"", headers=None):
    return AWSRequest(method, kit.ENDPOINT + path, data=body, headers={"Host": HOST, **(headers or {})})


def signed(service, body=b"", headers=None, keys=ROOT, region=kit.REGION, moment=None, method="POST", path="/", scope=None):
    r = request(service, method, path, body, headers)
    reset = at(moment) if moment else lambda: None
    try:
        SigV4Auth(keys, scope or service, region).add_auth(r)
    finally:
        reset()
    return r


def send(method, path, headers, body):
    connection = http.client.HTTPConnection(HOST, timeout=30)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    found = kit.Http(answer.status, answer.headers, answer.read())
    connection.close()
    return found


def sent(r, path="/", body=None, change=None):
    headers = dict(r.headers.items())
    headers.update(change or {})
    return send(r.method, path, [(n, v) for n, v in headers.items() if v is not None], r.data if body is None else body)


def json_error(answer, status, code, message=None):
    equal((answer.status, answer.json()["__type"].split("#")[-1]), (status, code), answer.text)
    text = answer.json().get("message", answer.json().get("Message", ""))
    if message is not None and not text.startswith(message):
        equal(text, message)


def xml_error(answer, status, code, message=None):
    root = xml.etree.ElementTree.fromstring(answer.body)
    found = {e.tag.split("}")[-1]: e.text for e in root.iter()}
    equal((answer.status, found.get("Code")), (status, code), answer.text)
    if message is not None and not (found.get("Message") or "").startswith(message):
        equal(found.get("Message"), message)


def test_good_signatures_pass():
    equal(sent(signed("dynamodb", b"{}", DYNAMO)).status, 200)
    equal(sent(signed("sts", IDENTITY, FORM)).status, 200)
    path = "/2015-03-31/functions/?MaxItems=10"
    equal(sent(signed("lambda", method="GET", path=path), path).status, 200)


def test_wrong_secret():
    wrong = Credentials(ROOT.access_key, "x" * 40)
    json_error(sent(signed("dynamodb", b"{}", DYNAMO, wrong)), 400, "InvalidSignatureException", MISMATCH)
    xml_error(sent(signed("sts", IDENTITY, FORM, wrong)), 403, "SignatureDoesNotMatch", MISMATCH)
    answer = sent(signed("lambda", method="GET", path="/2015-03-31/functions/", keys=wrong), "/2015-03-31/functions/")
    equal((answer.status, answer.headers["x-amzn-errortype"].split(":")[0]), (403, "InvalidSignatureException"))
    equal(answer.json()["message"].startswith(MISMATCH), True)


def test_unknown_key():
    unknown = Credentials("AKIAAAAAAAAAAAAAAAAA", "x" * 40)
    json_error(sent(signed("dynamodb", b"{}", DYNAMO, unknown)), 400, "UnrecognizedClientException", INVALID)
    xml_error(sent(signed("sts", IDENTITY, FORM, unknown)), 403, "InvalidClientTokenId", INVALID)
    answer = sent(signed("lambda", method="GET", path="/2015-03-31/functions/", keys=unknown), "/2015-03-31/functions/")
    equal((answer.status, answer.headers["x-amzn-errortype"].split(":")[0]), (403, "UnrecognizedClientException"))


def test_clocks_that_are_wrong():
    for shift in (-16, 16):
        answer = sent(signed("dynamodb", b"{}", DYNAMO, moment=now(minutes=shift)))
        json_error(answer, 400, "InvalidSignatureException", "Signature expired: " if shift < 0 else "Signature not yet current: ")
        xml_error(sent(signed("sts", IDENTITY, FORM, moment=now(minutes=shift))), 403, "SignatureDoesNotMatch", "Signature ")
    for shift in (-14, 14):
        equal(sent(signed("dynamodb", b"{}", DYNAMO, moment=now(minutes=shift))).status, 200, f"{shift} min")
    # A request that somebody recorded is worth nothing later: the same bytes, sent after the window.
    recorded = signed("dynamodb", b"{}", DYNAMO, moment=now(days=-1))
    json_error(sent(recorded), 400, "InvalidSignatureException", "Signature expired: ")


def test_date_of_the_scope_is_checked():
    r = signed("dynamodb", b"{}", DYNAMO)
    day = now().strftime("%Y%m%d")
    other = r.headers["Authorization"].replace(f"/{day}/", "/20200101/")
    json_error(sent(r, change={"Authorization": other}), 400, "InvalidSignatureException")


def test_wrong_region_and_service():
    answer = sent(signed("dynamodb", b"{}", DYNAMO, region="eu-west-9"))
    json_error(answer, 400, "InvalidSignatureException", "Credential should be scoped to a valid region")
    answer = sent(signed("dynamodb", b"{}", DYNAMO, scope="sqs"))
    equal(answer.status in (400, 403, 404, 501), True, f"{answer.status} {answer.text}")


def test_tampered_requests():
    good = signed("dynamodb", b"{}", DYNAMO)
    json_error(sent(good, body=b'{"Limit": 1}'), 400, "InvalidSignatureException", MISMATCH)
    json_error(sent(good, change={"X-Amz-Target": "DynamoDB_20120810.DescribeLimits"}), 400, "InvalidSignatureException", MISMATCH)
    json_error(sent(good, "/?x=1"), 400, "InvalidSignatureException", MISMATCH)
    signature = good.headers["Authorization"]
    flipped = signature[:-1] + ("0" if signature[-1] != "0" else "1")
    json_error(sent(good, change={"Authorization": flipped}), 400, "InvalidSignatureException", MISMATCH)
    json_error(sent(good, change={"Authorization": signature[:-10]}), 400, "InvalidSignatureException")
    # A header that was not signed may be there; one that was must not go.
    equal(sent(good, change={"X-Extra": "1"}).status, 200)



def test_headers_that_are_no_signatures():
    for value in ["AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a", "Basic YTpi", "Bearer x", "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=00", "x" * 5000]:
        answer = send("POST", "/", [("Host", HOST), *DYNAMO.items(), ("Authorization", value)], b"{}")
        equal(400 <= answer.status < 500, True, f"{value[:60]}: {answer.status} {answer.text}")
        equal("__type" in answer.json(), True, answer.text)


def test_nobody():
    answer = send("POST", "/", [("Host", HOST), *DYNAMO.items()], b"{}")
    json_error(answer, 400, "MissingAuthenticationTokenException", "Request is missing Authentication Token")
    answer = send("POST", "/", [("Host", HOST), *FORM.items()], IDENTITY)
    equal(answer.status, 403)
    answer = send("GET", "/2015-03-31/functions/", [("Host", HOST)], b"")
    equal((answer.status, answer.headers["x-amzn-errortype"].split(":")[0]), (403, "MissingAuthenticationTokenException"))
    for path in ["/_squall/stacks", "/_squall/stacks/x"]:
        equal(send("GET", path, [("Host", HOST)], b"").status, 403, path)
    equal(send("POST", "/_squall/backup", [("Host", HOST)], b"").status, 403)


def presigned(moment=None, expires=60, keys=ROOT, query="Action=GetCallerIdentity&Version=2011-06-15"):
    r = AWSRequest("GET", f"{kit.ENDPOINT}/?{query}", headers={"Host": HOST})
    reset = at(moment) if moment else lambda: None
    try:
        SigV4QueryAuth(keys, "sts", kit.REGION, expires=expires).add_auth(r)
    finally:
        reset()
    return r.url[len(kit.ENDPOINT) :]


def test_presigned_requests():
    host = [("Host", HOST)]
    equal(send("GET", presigned(), host, b"").status, 200)
    equal(send("GET", presigned(now(minutes=-20), 3600), host, b"").status, 200, "as long as it says")
    xml_error(send("GET", presigned(now(minutes=-20), 60), host, b""), 403, "SignatureDoesNotMatch", "Signature expired: ")
    url = presigned()
    xml_error(send("GET", url.replace("GetCallerIdentity", "GetAccessKeyInfo"), host, b""), 403, "SignatureDoesNotMatch", MISMATCH)
    equal(send("GET", presigned(expires=604801), host, b"").status in (400, 403), True, "at most a week")
    both = [*host, ("Authorization", "AWS4-HMAC-SHA256 Credential=x")]
    equal(400 <= send("GET", url, both, b"").status < 500, True)


def test_odd_paths_sign_alike():
    fn = kit.client("lambda")
    for name in ["a:b", "ünï", "a%2Fb", "a b", "a+b", "~x", "x" * 200]:
        try:
            fn.get_function(FunctionName=name)
        except kit.ClientError as e:
            equal(e.response["Error"]["Code"] in ("ResourceNotFoundException", "ValidationException"), True, f"{name}: {e}")


if "dev" in sys.argv[1:]:
    # A server with --dev: any credentials are root.
    anyone = Credentials("test", "test")
    equal(sent(signed("dynamodb", b"{}", DYNAMO, anyone)).status, 200)
    answer = sent(signed("sts", IDENTITY, FORM, anyone))
    equal((answer.status, b"arn:aws:iam::000000000000:root" in answer.body), (200, True))
    path = "/2015-03-31/functions/"
    equal(sent(signed("lambda", method="GET", path=path, keys=anyone, moment=now(days=-2)), path).status, 200)
    print("ok")
else:
    kit.main(globals())
