// The AWS SDK for JavaScript v3: the clients that people use most, as they use them.
// Modules are found by NODE_PATH, which only `require` reads.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { deflateRawSync } from "node:zlib";

const require = createRequire(import.meta.url);
const { DynamoDBClient, CreateTableCommand, waitUntilTableExists, ConditionalCheckFailedException } = require("@aws-sdk/client-dynamodb");
const lib = require("@aws-sdk/lib-dynamodb");
const lambda = require("@aws-sdk/client-lambda");
const iam = require("@aws-sdk/client-iam");
const sts = require("@aws-sdk/client-sts");
const logs = require("@aws-sdk/client-cloudwatch-logs");
const v2 = require("@aws-sdk/client-apigatewayv2");

const region = process.env.AWS_REGION;
const account = "000000000000";
const options = { maxAttempts: 1 };

/** A zip with one file. */
function zip(name, text) {
  const data = Buffer.from(text);
  const packed = deflateRawSync(data);
  const table = Array.from({ length: 256 }, (_, n) => {
    for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
    return n >>> 0;
  });
  const crc = (data.reduce((c, b) => table[(c ^ b) & 255] ^ (c >>> 8), 0xffffffff) ^ 0xffffffff) >>> 0;
  const common = Buffer.alloc(26);
  [20, 0, 8, 0, 0x21].forEach((v, i) => common.writeUInt16LE(v, i * 2));
  common.writeUInt32LE(crc, 10);
  common.writeUInt32LE(packed.length, 14);
  common.writeUInt32LE(data.length, 18);
  common.writeUInt16LE(name.length, 22);
  const local = Buffer.concat([Buffer.from("PK\x03\x04"), common, Buffer.from(name), packed]);
  const tail = Buffer.alloc(14);
  tail.writeUInt32LE((0o644 << 16) >>> 0, 6);
  const central = Buffer.concat([Buffer.from("PK\x01\x02\x14\x03"), common, tail, Buffer.from(name)]);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(1, 4);
  end.writeUInt16LE(1, 6);
  end.writeUInt32LE(central.length, 8);
  end.writeUInt32LE(local.length, 12);
  return Buffer.concat([local, central, Buffer.from("PK\x05\x06"), end]);
}

const tests = {
  async dynamodbDocuments() {
    const client = new DynamoDBClient(options);
    const TableName = "sdk-js";
    await client.send(
      new CreateTableCommand({
        TableName,
        KeySchema: [{ AttributeName: "id", KeyType: "HASH" }, { AttributeName: "at", KeyType: "RANGE" }],
        AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }, { AttributeName: "at", AttributeType: "N" }],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
    await waitUntilTableExists({ client, maxWaitTime: 20, minDelay: 1 }, { TableName });
    const doc = lib.DynamoDBDocument.from(client);
    const item = { id: "a", at: 1, list: [1, "two", null, { deep: true }], set: new Set(["x", "y"]), bytes: new Uint8Array([0, 255]) };
    await doc.put({ TableName, Item: item });
    assert.deepEqual((await doc.get({ TableName, Key: { id: "a", at: 1 } })).Item, item);
    const updated = await doc.update({
      TableName,
      Key: { id: "a", at: 1 },
      UpdateExpression: "SET #n = if_not_exists(#n, :z) + :one",
      ExpressionAttributeNames: { "#n": "n" },
      ExpressionAttributeValues: { ":z": 0, ":one": 1 },
      ReturnValues: "UPDATED_NEW",
    });
    assert.deepEqual(updated.Attributes, { n: 1 });
    await assert.rejects(
      doc.put({ TableName, Item: item, ConditionExpression: "attribute_not_exists(id)" }),
      (e) => e instanceof ConditionalCheckFailedException && e.message === "The conditional request failed",
    );
    await doc.batchWrite({ RequestItems: { [TableName]: Array.from({ length: 20 }, (_, i) => ({ PutRequest: { Item: { id: "b", at: i } } })) } });
    const seen = [];
    for await (const page of lib.paginateQuery(
      { client: doc, pageSize: 7 },
      { TableName, KeyConditionExpression: "id = :b", ExpressionAttributeValues: { ":b": "b" } },
    )) {
      seen.push(...page.Items.map((i) => i.at));
    }
    assert.deepEqual(seen, Array.from({ length: 20 }, (_, i) => i));
    await doc.delete({ TableName, Key: { id: "a", at: 1 } });
    assert.equal((await doc.get({ TableName, Key: { id: "a", at: 1 } })).Item, undefined);
    await assert.rejects(doc.get({ TableName: "not-there", Key: { id: "a" } }), { name: "ResourceNotFoundException" });
  },

  async lambdaAndLogs() {
    const client = new lambda.LambdaClient(options);
    const roles = new iam.IAMClient(options);
    const trust = { Version: "2012-10-17", Statement: [{ Effect: "Allow", Principal: { Service: "lambda.amazonaws.com" }, Action: "sts:AssumeRole" }] };
    const { Role } = await roles.send(new iam.CreateRoleCommand({ RoleName: "sdk-js", AssumeRolePolicyDocument: JSON.stringify(trust) }));
    assert.equal(Role.Arn, `arn:aws:iam::${account}:role/sdk-js`);
    assert.ok(Role.CreateDate instanceof Date);
    const FunctionName = "sdk-js";
    const made = await client.send(
      new lambda.CreateFunctionCommand({
        FunctionName,
        Role: Role.Arn,
        Runtime: "nodejs20.x",
        Handler: "index.handler",
        Code: { ZipFile: zip("index.js", "exports.handler = async (e) => { console.log('from js'); if (e.fail) throw new TypeError('no'); return { got: e }; };") },
      }),
    );
    assert.equal(made.State, "Pending");
    await lambda.waitUntilFunctionActiveV2({ client, maxWaitTime: 30, minDelay: 1 }, { FunctionName });
    const answer = await client.send(new lambda.InvokeCommand({ FunctionName, Payload: JSON.stringify({ x: "ü" }), LogType: "Tail" }));
    assert.deepEqual(JSON.parse(answer.Payload.transformToString()), { got: { x: "ü" } });
    assert.match(Buffer.from(answer.LogResult, "base64").toString(), /from js/);
    const failed = await client.send(new lambda.InvokeCommand({ FunctionName, Payload: '{"fail":1}' }));
    assert.equal(failed.FunctionError, "Unhandled");
    assert.equal(JSON.parse(failed.Payload.transformToString()).errorType, "TypeError");
    await assert.rejects(client.send(new lambda.GetFunctionCommand({ FunctionName: "nope" })), (e) => {
      assert.ok(e instanceof lambda.ResourceNotFoundException);
      assert.equal(e.message, `Function not found: arn:aws:lambda:${region}:${account}:function:nope`);
      assert.equal(e.$metadata.httpStatusCode, 404);
      assert.match(e.$metadata.requestId, /^[0-9a-f-]{36}$/);
      return true;
    });
    const cw = new logs.CloudWatchLogsClient(options);
    for (let i = 0; ; i++) {
      const found = await cw.send(new logs.FilterLogEventsCommand({ logGroupName: "/aws/lambda/sdk-js", filterPattern: "REPORT" })).catch(() => ({ events: [] }));
      if (found.events.length >= 2) break;
      assert.ok(i < 100, "REPORT lines come into the log");
      await new Promise((r) => setTimeout(r, 50));
    }
    await client.send(new lambda.DeleteFunctionCommand({ FunctionName }));
  },

  async identities() {
    const me = await new sts.STSClient(options).send(new sts.GetCallerIdentityCommand({}));
    assert.equal(me.Arn, `arn:aws:iam::${account}:root`);
    const client = new iam.IAMClient(options);
    await client.send(new iam.CreateUserCommand({ UserName: "sdk-js" }));
    const { AccessKey } = await client.send(new iam.CreateAccessKeyCommand({ UserName: "sdk-js" }));
    const credentials = { accessKeyId: AccessKey.AccessKeyId, secretAccessKey: AccessKey.SecretAccessKey };
    await assert.rejects(new iam.IAMClient({ ...options, credentials }).send(new iam.ListUsersCommand({})), (e) => {
      assert.equal(e.name, "AccessDenied");
      assert.match(e.message, /^User: arn:aws:iam::000000000000:user\/sdk-js is not authorized to perform: iam:ListUsers on resource: /);
      return true;
    });
    await assert.rejects(client.send(new iam.GetRoleCommand({ RoleName: "nope" })), (e) => e instanceof iam.NoSuchEntityException);
    const wrong = { ...credentials, secretAccessKey: "wrong" };
    await assert.rejects(new sts.STSClient({ ...options, credentials: wrong }).send(new sts.GetCallerIdentityCommand({})), { name: "SignatureDoesNotMatch" });
  },

  async httpApis() {
    const client = new v2.ApiGatewayV2Client(options);
    const api = await client.send(new v2.CreateApiCommand({ Name: "sdk-js", ProtocolType: "HTTP" }));
    assert.match(api.ApiEndpoint, /^http:\/\/[a-z0-9]+\.execute-api\./);
    await assert.rejects(client.send(new v2.GetApiCommand({ ApiId: "nope" })), (e) => e instanceof v2.NotFoundException);
    await client.send(new v2.DeleteApiCommand({ ApiId: api.ApiId }));
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok   ${name}`);
  } catch (e) {
    failed++;
    console.log(`FAIL ${name}`);
    console.error(e);
  }
}
process.exit(failed ? 1 : 0);
