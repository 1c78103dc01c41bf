"""apigatewayv2 (HTTP APIs) through boto3, with real requests."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import kit
from kit import contains, equal, fails, matches

api = kit.client("apigatewayv2")
fn = kit.client("lambda")

SHOW = """
exports.handler = async (event) => ({
  statusCode: 200, headers: { "content-type": "application/json", "X-From": "fn" }, cookies: ["a=1", "b=2; Path=/"],
  body: JSON.stringify(event),
});
"""


def arn(name):
    return f"arn:aws:lambda:{kit.REGION}:{kit.ACCOUNT}:function:{name}"


def allow(name, api_id):
    fn.add_permission(
        FunctionName=name,
        StatementId=kit.name("s"),
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{kit.REGION}:{kit.ACCOUNT}:{api_id}/*/*",
    )


def made(routes, source=SHOW, payload="2.0", **options):
    """An HTTP API with those routes to one function and a `$default` stage: (id, endpoint, function)."""
    name = kit.node(source)
    it = api.create_api(Name=kit.name("api"), ProtocolType="HTTP", **options)
    allow(name, it["ApiId"])
    integration = api.create_integration(
        ApiId=it["ApiId"], IntegrationType="AWS_PROXY", IntegrationUri=arn(name), PayloadFormatVersion=payload
    )["IntegrationId"]
    for route in routes:
        api.create_route(ApiId=it["ApiId"], RouteKey=route, Target=f"integrations/{integration}")
    api.create_stage(ApiId=it["ApiId"], StageName="$default", AutoDeploy=True)
    return it["ApiId"], it["ApiEndpoint"], name


def test_resources():
    it = api.create_api(Name="n", ProtocolType="HTTP", Description="d", Tags={"a": "1"})
    equal(it["ResponseMetadata"]["HTTPStatusCode"], 201)
    api_id = it["ApiId"]
    contains(it, {"Name": "n", "ProtocolType": "HTTP", "RouteSelectionExpression": "$request.method $request.path", "Description": "d", "Tags": {"a": "1"}})
    matches(it["ApiEndpoint"], rf"http://{api_id}\.execute-api\.{kit.REGION}\.localhost:\d+")
    equal(api.get_api(ApiId=api_id)["Name"], "n")
    equal(api.update_api(ApiId=api_id, Name="m")["Name"], "m")
    equal(api_id in [a["ApiId"] for a in api.get_apis()["Items"]], True)
    integration = api.create_integration(ApiId=api_id, IntegrationType="AWS_PROXY", IntegrationUri=arn("f"), PayloadFormatVersion="2.0")
    contains(integration, {"IntegrationMethod": "POST", "ConnectionType": "INTERNET", "TimeoutInMillis": 30000})
    route = api.create_route(ApiId=api_id, RouteKey="GET /a", Target="integrations/" + integration["IntegrationId"])
    contains(route, {"RouteKey": "GET /a", "AuthorizationType": "NONE", "ApiKeyRequired": False})
    equal(api.get_route(ApiId=api_id, RouteId=route["RouteId"])["RouteKey"], "GET /a")
    fails("ConflictException", "Route with key GET /a already exists for this API", api.create_route, ApiId=api_id, RouteKey="GET /a", status=409)
    equal(api.update_route(ApiId=api_id, RouteId=route["RouteId"], RouteKey="GET /b")["RouteKey"], "GET /b")
    api.update_integration(ApiId=api_id, IntegrationId=integration["IntegrationId"], TimeoutInMillis=5000)
    equal(api.get_integration(ApiId=api_id, IntegrationId=integration["IntegrationId"])["TimeoutInMillis"], 5000)
    stage = api.create_stage(ApiId=api_id, StageName="dev", AutoDeploy=True, StageVariables={"v": "1"})
    contains(stage, {"StageName": "dev", "AutoDeploy": True, "StageVariables": {"v": "1"}})
    equal([s["StageName"] for s in api.get_stages(ApiId=api_id)["Items"]], ["dev"])
    fails("ConflictException", None, api.create_stage, ApiId=api_id, StageName="dev", status=409)
    deployment = api.create_deployment(ApiId=api_id)
    equal(deployment["DeploymentStatus"], "DEPLOYED")
    api.delete_route(ApiId=api_id, RouteId=route["RouteId"])
    api.delete_integration(ApiId=api_id, IntegrationId=integration["IntegrationId"])
    api.delete_stage(ApiId=api_id, StageName="dev")
    api.delete_api(ApiId=api_id)
    fails("NotFoundException", f"Invalid API identifier specified {kit.ACCOUNT}:{api_id}", api.get_api, ApiId=api_id, status=404)
    fails("BadRequestException", None, api.create_api, Name="w", ProtocolType="WEBSOCKET", RouteSelectionExpression="$x", status=400)


def test_events_of_payload_2():
    api_id, url, name = made(["POST /users/{id}", "$default"])
    answer = kit.http(
        url + "/users/a%20b?x=1&x=2&y=%2B",
        "POST",
        '{"n":1}',
        {"Content-Type": "application/json", "Cookie": "c=1; d=2", "X-Many": "v"},
    )
    equal((answer.status, answer.headers["x-from"]), (200, "fn"))
    equal(answer.headers.get_all("set-cookie"), ["a=1", "b=2; Path=/"])
    event = answer.json()
    contains(
        event,
        {
            "version": "2.0",
            "routeKey": "POST /users/{id}",
            "rawPath": "/users/a b",
            "rawQueryString": "x=1&x=2&y=%2B",
            "cookies": ["c=1", "d=2"],
            "queryStringParameters": {"x": "1,2", "y": "+"},
            "pathParameters": {"id": "a b"},
            "body": '{"n":1}',
            "isBase64Encoded": False,
        },
    )
    context = event["requestContext"]
    contains(context, {"apiId": api_id, "stage": "$default", "routeKey": "POST /users/{id}", "accountId": kit.ACCOUNT, "domainPrefix": api_id})
    contains(context["http"], {"method": "POST", "path": "/users/a b", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"})
    equal("cookie" in event["headers"], False)
    equal(event["headers"]["x-many"], "v")
    equal(kit.http(url + "/anything/else").json()["routeKey"], "$default")
    event = kit.http(url + "/bin", "POST", b"\xff\x00", {"Content-Type": "application/octet-stream"}).json()
    equal((event["body"], event["isBase64Encoded"]), ("/wA=", True))


def test_routes_win_by_how_much_they_say():
    api_id, url, _ = made(["GET /a/b", "GET /a/{x}", "ANY /a/{p+}", "GET /{p+}", "$default"])
    for path, method, route in [
        ("/a/b", "GET", "GET /a/b"),
        ("/a/c", "GET", "GET /a/{x}"),
        ("/a/c", "PUT", "ANY /a/{p+}"),
        ("/a/c/d", "GET", "ANY /a/{p+}"),
        ("/z/y", "GET", "GET /{p+}"),
        ("/z/y", "DELETE", "$default"),
        ("/", "GET", "$default"),
    ]:
        equal(kit.http(url + path, method).json()["routeKey"], route, f"{method} {path}")
    equal(kit.http(url + "/a/c/d").json()["pathParameters"], {"p": "c/d"})


def test_no_route_and_no_api():
    api_id, url, _ = made(["GET /only"])
    answer = kit.http(url + "/other")
    equal((answer.status, answer.json()), (404, {"message": "Not Found"}))
    equal(kit.http(url + "/only", "POST").status, 404)
    answer = kit.http(url.replace(api_id, "zzzzzzzzzz") + "/only")
    equal((answer.status, answer.json()), (404, {"message": "Not Found"}))


def test_stages_and_the_path_form():
    api_id, url, name = made(["GET /x"])
    equal(kit.http(url + "/dev/x").status, 404)
    api.create_stage(ApiId=api_id, StageName="dev", AutoDeploy=True, StageVariables={"color": "red"})
    event = kit.http(url + "/dev/x").json()
    equal((event["requestContext"]["stage"], event["rawPath"], event["stageVariables"]), ("dev", "/dev/x", {"color": "red"}))
    equal(kit.http(f"{kit.ENDPOINT}/_aws/execute-api/{api_id}/dev/x").json()["requestContext"]["stage"], "dev")


def test_without_auto_deploy_changes_wait_for_a_deployment():
    api_id, url, name = made(["GET /x"])
    api.create_stage(ApiId=api_id, StageName="prod", DeploymentId=api.create_deployment(ApiId=api_id)["DeploymentId"])
    integration = api.get_integrations(ApiId=api_id)["Items"][0]["IntegrationId"]
    api.create_route(ApiId=api_id, RouteKey="GET /y", Target=f"integrations/{integration}")
    equal((kit.http(url + "/prod/x").status, kit.http(url + "/prod/y").status), (200, 404))
    api.create_deployment(ApiId=api_id, StageName="prod")
    equal(kit.http(url + "/prod/y").status, 200)


def test_answers_of_every_shape():
    source = """
const shapes = {
  "/string": "text", "/object": { a: 1 }, "/number": 7, "/null": null, "/nobody": { statusCode: 204 },
  "/status": { statusCode: "418", body: "tea" },
  "/headers": { statusCode: 200, headers: { "x-n": 1, "content-type": "text/plain" }, body: "h" },
  "/base64": { statusCode: 200, headers: { "content-type": "image/png" }, body: "AP8=", isBase64Encoded: true },
  "/bad": { statusCode: "abc", body: "x" },
};
exports.handler = async (e) => { if (e.rawPath === "/throw") throw new Error("x"); return shapes[e.rawPath]; };
"""
    _, url, _ = made(["$default"], source)
    for path, status, body, kind in [
        ("/string", 200, b"text", "application/json"),
        ("/object", 200, b'{"a":1}', "application/json"),
        ("/number", 200, b"7", "application/json"),
        ("/nobody", 204, b"", None),
        ("/status", 418, b"tea", "text/plain;charset=UTF-8"),
        ("/headers", 200, b"h", "text/plain"),
        ("/base64", 200, b"\x00\xff", "image/png"),
    ]:
        answer = kit.http(url + path)
        equal((answer.status, answer.body), (status, body), path)
        if kind:
            equal(answer.headers["content-type"].replace("; ", ";").lower(), kind.lower(), path)
    for path in ("/bad", "/throw"):
        answer = kit.http(url + path)
        equal((answer.status, answer.json()), (500, {"message": "Internal Server Error"}), path)


def test_without_permission_the_api_cannot_call():
    name = kit.node(SHOW)
    it = api.create_api(Name="n", ProtocolType="HTTP", Target=arn(name))
    answer = kit.http(it["ApiEndpoint"] + "/")
    equal((answer.status, answer.json()), (500, {"message": "Internal Server Error"}))
    allow(name, it["ApiId"])
    equal(kit.http(it["ApiEndpoint"] + "/").status, 200, "quick create makes $default")


def test_payload_1():
    _, url, _ = made(["ANY /v1/{p+}"], SHOW.replace('cookies: ["a=1", "b=2; Path=/"],', 'multiValueHeaders: {"Set-Cookie": ["a=1", "b=2"]},'), "1.0")
    answer = kit.http(url + "/v1/a/b?x=1&x=2", "PUT", "body", {"X-H": "1", "Content-Type": "text/plain"})
    equal(answer.headers.get_all("set-cookie"), ["a=1", "b=2"])
    event = answer.json()
    contains(
        event,
        {
            "version": "1.0",
            "resource": "/v1/{p+}",
            "path": "/v1/a/b",
            "httpMethod": "PUT",
            "queryStringParameters": {"x": "2"},
            "multiValueQueryStringParameters": {"x": ["1", "2"]},
            "pathParameters": {"p": "a/b"},
            "body": "body",
            "isBase64Encoded": False,
        },
    )


def test_cors():
    _, url, _ = made(
        ["GET /x"],
        CorsConfiguration={"AllowOrigins": ["https://a.example"], "AllowMethods": ["GET", "POST"], "AllowHeaders": ["x-h"], "MaxAge": 30},
    )
    pre = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    answer = kit.http(url + "/x", "OPTIONS", headers=pre)
    equal((answer.status, answer.headers["access-control-allow-origin"]), (204, "https://a.example"))
    equal(answer.headers["access-control-allow-methods"].replace(" ", ""), "GET,POST")
    equal((answer.headers["access-control-allow-headers"], answer.headers["access-control-max-age"]), ("x-h", "30"))
    equal(kit.http(url + "/x", headers={"Origin": "https://a.example"}).headers["access-control-allow-origin"], "https://a.example")
    equal(kit.http(url + "/x", headers={"Origin": "https://evil.example"}).headers["access-control-allow-origin"], None)


def test_many_requests_on_kept_connections():
    api_id, url, _ = made(["GET /x"], "exports.handler = async (e) => e.queryStringParameters.n;")
    local, host = kit.local(url)
    address = local.split("//")[1].split("/")[0].split(":")

    def client(c):
        with socket.create_connection((address[0], int(address[1]))) as s:
            stream = s.makefile("rb")
            for i in range(50):
                s.sendall(f"GET /x?n={c}-{i} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                status = stream.readline()
                length = 0
                while (line := stream.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                equal((status.split()[1], stream.read(length)), (b"200", f"{c}-{i}".encode()))
        return 50

    with ThreadPoolExecutor(8) as pool:
        equal(sum(pool.map(client, range(8))), 400)


def test_bodies_over_ten_megabytes_are_refused():
    _, url, _ = made(["$default"])
    # By hand: the answer may come before all is sent, which urllib does not take.
    local, host = kit.local(url)
    address, port = local.split("//")[1].split("/")[0].split(":")
    length = 10 * 1024 * 1024 + 1
    with socket.create_connection((address, int(port))) as s:
        s.sendall(f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n".encode())
        answer = s.makefile("rb").read(4096)
    equal(answer.split(b"\r\n")[0].split()[1], b"413")
    matches(answer.split(b"\r\n\r\n")[1].decode(), '{"message":"Request (Entity Too Large|Too Long)"}')


kit.main(globals())
