"""apigateway (REST APIs) through boto3, with real requests."""

import json

import kit
from kit import contains, equal, fails, matches

api = kit.client("apigateway")
fn = kit.client("lambda")

SHOW = """
exports.handler = async (event) => ({
  statusCode: 200, headers: { "content-type": "application/json", "X-One": "1" }, multiValueHeaders: { "X-Many": ["a", "b"] },
  body: JSON.stringify(event),
});
"""


def made(paths, source=SHOW, stage="dev", **options):
    """A REST API with `METHOD /path` proxied to one function and deployed: (id, URL of the stage)."""
    name = kit.node(source)
    it = api.create_rest_api(name=kit.name("api"), **options)
    api_id = it["id"]
    fn.add_permission(
        FunctionName=name,
        StatementId="api",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{kit.REGION}:{kit.ACCOUNT}:{api_id}/*/*/*",
    )
    known = {"/": api.get_resources(restApiId=api_id)["items"][0]["id"]}
    for path in paths:
        method, path = path.split(" ")
        at = ""
        for part in [p for p in path.split("/") if p]:
            parent, at = at or "/", f"{at}/{part}"
            if at not in known:
                known[at] = api.create_resource(restApiId=api_id, parentId=known[parent], pathPart=part)["id"]
        proxy(api_id, known[at or "/"], method, name)
    api.create_deployment(restApiId=api_id, stageName=stage)
    return api_id, f"http://{api_id}.execute-api.{kit.REGION}.localhost/{stage}", known, name


def proxy(api_id, resource, method, name):
    api.put_method(restApiId=api_id, resourceId=resource, httpMethod=method, authorizationType="NONE")
    return api.put_integration(
        restApiId=api_id,
        resourceId=resource,
        httpMethod=method,
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=f"arn:aws:apigateway:{kit.REGION}:lambda:path/2015-03-31/functions/arn:aws:lambda:{kit.REGION}:{kit.ACCOUNT}:function:{name}/invocations",
    )


def test_resources():
    it = api.create_rest_api(name="n", description="d", tags={"a": "1"})
    equal(it["ResponseMetadata"]["HTTPStatusCode"], 201)
    matches(it["id"], "[a-z0-9]{10}")
    contains(it, {"name": "n", "description": "d", "apiKeySource": "HEADER", "tags": {"a": "1"}, "disableExecuteApiEndpoint": False})
    api_id = it["id"]
    equal(api.get_rest_api(restApiId=api_id)["name"], "n")
    equal(api_id in [a["id"] for p in api.get_paginator("get_rest_apis").paginate() for a in p["items"]], True)
    changed = api.update_rest_api(restApiId=api_id, patchOperations=[{"op": "replace", "path": "/name", "value": "m"}])
    equal(changed["name"], "m")
    root = api.get_resources(restApiId=api_id)["items"][0]
    contains(root, {"path": "/", "id": it["rootResourceId"]})
    made = api.create_resource(restApiId=api_id, parentId=root["id"], pathPart="{id}")
    contains(made, {"path": "/{id}", "pathPart": "{id}", "parentId": root["id"]})
    fails(
        "ConflictException",
        "Another resource with the same parent already has this name: {id}",
        api.create_resource,
        restApiId=api_id,
        parentId=root["id"],
        pathPart="{id}",
        status=409,
    )
    fails("BadRequestException", None, api.create_resource, restApiId=api_id, parentId=root["id"], pathPart="a b", status=400)
    method = api.put_method(restApiId=api_id, resourceId=made["id"], httpMethod="GET", authorizationType="NONE")
    contains(method, {"httpMethod": "GET", "authorizationType": "NONE", "apiKeyRequired": False})
    fails("NotFoundException", "Invalid Method identifier specified", api.get_method, restApiId=api_id, resourceId=made["id"], httpMethod="PUT", status=404)
    integration = proxy(api_id, made["id"], "POST", "f")
    contains(integration, {"type": "AWS_PROXY", "httpMethod": "POST", "passthroughBehavior": "WHEN_NO_MATCH", "timeoutInMillis": 29000})
    contains(api.get_integration(restApiId=api_id, resourceId=made["id"], httpMethod="POST"), {"type": "AWS_PROXY"})
    api.put_method_response(restApiId=api_id, resourceId=made["id"], httpMethod="GET", statusCode="200")
    equal(api.get_method_response(restApiId=api_id, resourceId=made["id"], httpMethod="GET", statusCode="200")["statusCode"], "200")
    api.delete_method(restApiId=api_id, resourceId=made["id"], httpMethod="GET")
    deployment = api.create_deployment(restApiId=api_id)["id"]
    stage = api.create_stage(restApiId=api_id, stageName="prod", deploymentId=deployment, variables={"v": "1"})
    contains(stage, {"stageName": "prod", "deploymentId": deployment, "variables": {"v": "1"}, "cacheClusterEnabled": False})
    fails("ConflictException", "Stage already exists", api.create_stage, restApiId=api_id, stageName="prod", deploymentId=deployment, status=409)
    equal([s["stageName"] for s in api.get_stages(restApiId=api_id)["item"]], ["prod"])
    equal([d["id"] for d in api.get_deployments(restApiId=api_id)["items"]], [deployment])
    api.delete_stage(restApiId=api_id, stageName="prod")
    api.delete_resource(restApiId=api_id, resourceId=made["id"])
    api.delete_rest_api(restApiId=api_id)
    fails("NotFoundException", f"Invalid API identifier specified {kit.ACCOUNT}:{api_id}", api.get_rest_api, restApiId=api_id, status=404)


def test_events():
    api_id, url, _, _ = made(["POST /users/{id}", "ANY /files/{proxy+}", "GET /"])
    answer = kit.http(url + "/users/a%20b?x=1&x=2", "POST", '{"n":1}', {"Content-Type": "application/json", "X-H": "v"})
    equal((answer.status, answer.headers["x-one"], answer.headers.get_all("x-many")), (200, "1", ["a", "b"]))
    event = answer.json()
    contains(
        event,
        {
            "resource": "/users/{id}",
            "path": "/users/a%20b",
            "httpMethod": "POST",
            "queryStringParameters": {"x": "2"},
            "multiValueQueryStringParameters": {"x": ["1", "2"]},
            "pathParameters": {"id": "a%20b"},
            "stageVariables": None,
            "body": '{"n":1}',
            "isBase64Encoded": False,
        },
    )
    one, many = ({k.lower(): v for k, v in event[m].items()} for m in ("headers", "multiValueHeaders"))
    equal((one["x-h"], many["x-h"]), ("v", ["v"]))
    contains(
        event["requestContext"],
        {
            "resourcePath": "/users/{id}",
            "httpMethod": "POST",
            "path": "/dev/users/a%20b",
            "stage": "dev",
            "apiId": api_id,
            "accountId": kit.ACCOUNT,
            "protocol": "HTTP/1.1",
        },
    )
    equal(event["requestContext"]["identity"]["sourceIp"], "127.0.0.1")
    event = kit.http(url + "/files/a/b/c", "DELETE").json()
    equal((event["resource"], event["pathParameters"], event["body"], event["queryStringParameters"]), ("/files/{proxy+}", {"proxy": "a/b/c"}, None, None))
    equal(kit.http(url + "/").json()["resource"], "/")
    equal(kit.http(f"{kit.ENDPOINT}/_aws/execute-api/{api_id}/dev/users/7", "POST").json()["pathParameters"], {"id": "7"})


def test_what_is_not_there():
    api_id, url, _, _ = made(["GET /a"])
    answer = kit.http(url + "/b")
    equal((answer.status, answer.json(), answer.headers["x-amzn-errortype"]), (403, {"message": "Missing Authentication Token"}, "MissingAuthenticationTokenException"))
    equal(kit.http(url + "/a", "PUT").json(), {"message": "Missing Authentication Token"})
    answer = kit.http(url.replace("/dev", "/nostage") + "/a")
    equal((answer.status, answer.json()), (403, {"message": "Forbidden"}))


def test_answers_of_every_shape():
    source = """
const shapes = {
  "/dev/string": "text", "/dev/nostatus": { body: "x" }, "/dev/status": { statusCode: 418, body: "tea" }, "/dev/nobody": { statusCode: 204 },
  "/dev/object": { statusCode: 200, body: { a: 1 } }, "/dev/extra": { statusCode: 200, unknown: 1 },
};
exports.handler = async (e) => { if (e.path === "/throw") throw new Error("x"); return shapes[e.requestContext.path]; };
"""
    _, url, _, _ = made(["ANY /{proxy+}"], source)
    answer = kit.http(url + "/status")
    equal((answer.status, answer.body, answer.headers["content-type"]), (418, b"tea", "application/json"))
    equal(kit.http(url + "/nobody").status, 204)
    for path in ("/string", "/object", "/throw", "/extra"):
        answer = kit.http(url + path)
        equal((answer.status, answer.json()), (502, {"message": "Internal server error"}), path)


def test_binary_bodies_need_their_types():
    source = "exports.handler = async (e) => ({ statusCode: 200, headers: {'content-type': 'image/png'}, body: e.isBase64Encoded ? e.body : 'AP8=', isBase64Encoded: true });"
    _, url, _, _ = made(["ANY /{proxy+}"], source, binaryMediaTypes=["image/*"])
    answer = kit.http(url + "/x", "POST", b"\xff\x00\x01", {"Content-Type": "image/png", "Accept": "image/png"})
    equal(answer.body, b"\xff\x00\x01")


def test_changes_wait_for_a_deployment():
    api_id, url, known, name = made(["GET /a"])
    other = api.create_resource(restApiId=api_id, parentId=known["/"], pathPart="b")["id"]
    proxy(api_id, other, "GET", name)
    equal(kit.http(url + "/b").status, 403)
    api.create_deployment(restApiId=api_id, stageName="dev")
    equal(kit.http(url + "/b").status, 200)


def test_cors_by_mock_integration():
    """What the Serverless Framework makes of `cors: true`."""
    api_id, url, known, _ = made(["GET /a"])
    at = dict(restApiId=api_id, resourceId=known["/a"], httpMethod="OPTIONS")
    api.put_method(**at, authorizationType="NONE")
    origin = "method.response.header.Access-Control-Allow-Origin"
    api.put_method_response(**at, statusCode="200", responseParameters={origin: True})
    api.put_integration(**at, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    api.put_integration_response(**at, statusCode="200", responseParameters={origin: "'*'"})
    api.create_deployment(restApiId=api_id, stageName="dev")
    answer = kit.http(url + "/a", "OPTIONS", headers={"Origin": "https://x.example", "Access-Control-Request-Method": "GET"})
    equal((answer.status, answer.headers["access-control-allow-origin"]), (200, "*"))


def test_stage_variables_and_tags():
    api_id, url, _, _ = made(["GET /a"])
    api.update_stage(restApiId=api_id, stageName="dev", patchOperations=[{"op": "replace", "path": "/variables/color", "value": "red"}])
    equal(kit.http(url + "/a").json()["stageVariables"], {"color": "red"})
    arn = f"arn:aws:apigateway:{kit.REGION}::/restapis/{api_id}"
    api.tag_resource(resourceArn=arn, tags={"k": "v"})
    equal(api.get_tags(resourceArn=arn)["tags"], {"k": "v"})


kit.main(globals())
