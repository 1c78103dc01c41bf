// DynamoDB through Dynamoose, ElectroDB, the document client and what a table browser asks.
// Modules are found by NODE_PATH, which only `require` reads.

import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { DynamoDBClient, ListTablesCommand, DescribeTableCommand, CreateTableCommand } = require("@aws-sdk/client-dynamodb");
const lib = require("@aws-sdk/lib-dynamodb");
const dynamoose = require("dynamoose");
const { Entity, Service } = require("electrodb");

const options = { endpoint: process.env.AWS_ENDPOINT_URL, region: process.env.AWS_REGION, maxAttempts: 1 };
const client = new DynamoDBClient(options);
const doc = lib.DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } });
const unique = Math.random().toString(36).slice(2, 10);

async function withDynamoose() {
  dynamoose.aws.ddb.set(new dynamoose.aws.ddb.DynamoDB(options));
  const schema = new dynamoose.Schema(
    {
      id: { type: String, hashKey: true },
      age: { type: Number, rangeKey: true },
      breed: { type: String, index: { name: "byBreed", type: "global", rangeKey: "age" } },
      meta: Object,
      tags: { type: Set, schema: [String] },
    },
    { saveUnknown: true, timestamps: true },
  );
  const waitForActive = { enabled: true, check: { timeout: 20000, frequency: 100 } };
  const Cat = dynamoose.model(`cats-${unique}`, schema, { waitForActive });
  for (let i = 0; i < 12; i++) await Cat.create({ id: "c", age: i, breed: `b${i % 2}`, meta: { x: i }, tags: new Set(["a"]) });
  await assert.rejects(Cat.create({ id: "c", age: 1 }), /The conditional request failed/);
  assert.equal((await Cat.query("id").eq("c").where("age").between(2, 4).exec()).length, 3);
  assert.equal((await Cat.query("breed").eq("b1").sort("descending").limit(2).exec())[0].age, 11);
  await Cat.update({ id: "c", age: 3 }, { $ADD: { n: 4 }, $SET: { meta: { y: 1 } } });
  assert.equal((await Cat.get({ id: "c", age: 3 })).n, 4);
  assert.equal((await Cat.scan("age").gt(8).exec()).length, 3);
  assert.equal((await Cat.batchGet([{ id: "c", age: 1 }, { id: "c", age: 2 }])).length, 2);
  await dynamoose.transaction([Cat.transaction.create({ id: "t", age: 1 }), Cat.transaction.delete({ id: "c", age: 0 })]);
  await Cat.batchDelete([{ id: "c", age: 1 }]);
  assert.equal((await Cat.query("id").eq("c").count().exec()).count, 10);
}

async function withElectroDb(table) {
  const index = (pk, sk, pkOf, skOf, name) => ({
    ...(name && { index: name }),
    pk: { field: pk, composite: [pkOf] },
    sk: { field: sk, composite: [skOf] },
  });
  const text = { type: "string" };
  const Task = new Entity(
    {
      model: { entity: "task", version: "1", service: "app" },
      attributes: {
        team: { ...text, required: true },
        id: { ...text, required: true },
        project: text,
        points: { type: "number" },
        tags: { type: "set", items: "string" },
        list: { type: "list", items: text },
      },
      indexes: {
        primary: index("pk", "sk", "team", "id"),
        byProject: index("gsi1pk", "gsi1sk", "project", "id", "gsi1"),
      },
    },
    { client, table },
  );
  const id = (i) => `t${String(i).padStart(2, "0")}`;
  for (let i = 0; i < 20; i++) {
    await Task.create({ team: "a", id: id(i), project: `p${i % 2}`, points: i, tags: ["x"], list: ["1"] }).go();
  }
  await assert.rejects(Task.create({ team: "a", id: id(1), project: "p" }).go());
  assert.equal((await Task.query.primary({ team: "a" }).between({ id: id(3) }, { id: id(6) }).go()).data.length, 4);
  const first = await Task.query.byProject({ project: "p1" }).go({ limit: 4 });
  assert.equal(first.data.length, 4);
  const rest = await Task.query.byProject({ project: "p1" }).go({ cursor: first.cursor, pages: "all" });
  assert.equal(rest.data.length, 6);
  const patch = Task.patch({ team: "a", id: id(2) }).add({ points: 3, tags: ["y"] }).append({ list: ["2"] });
  const patched = await patch.where((a, op) => op.eq(a.points, 2)).go({ response: "all_new" });
  assert.equal(patched.data.points, 5);
  await Task.delete([{ team: "a", id: id(0) }, { team: "a", id: id(1) }]).go();
  assert.equal((await Task.scan.go({ pages: "all" })).data.length, 18);
  assert.equal((await Task.get([{ team: "a", id: id(2) }, { team: "a", id: id(99) }]).go()).data.length, 1);
  const service = new Service({ task: Task }, { client, table });
  const written = await service.transaction
    .write(({ task }) => [
      task.put({ team: "z", id: "1", project: "q" }).commit(),
      task.check({ team: "a", id: id(2) }).where((a, op) => op.eq(a.points, 99)).commit(),
    ])
    .go();
  assert.equal(written.canceled, true);
}

async function withDocuments(TableName) {
  const Item = { pk: "d", sk: "1", s: new Set([1, 2]), b: new Uint8Array([1, 2]), u: undefined, z: null, m: { l: [1, [2]] } };
  await doc.send(new lib.PutCommand({ TableName, Item }));
  const got = await doc.send(new lib.GetCommand({ TableName, Key: { pk: "d", sk: "1" } }));
  assert.deepEqual([got.Item.m, got.Item.z, got.Item.s.size], [{ l: [1, [2]] }, null, 2]);
  const Statement = `SELECT * FROM "${TableName}" WHERE pk = ?`;
  const selected = await doc.send(new lib.ExecuteStatementCommand({ Statement, Parameters: ["d"] }));
  assert.equal(selected.Items.length, 1);
  const insert = { Statement: `INSERT INTO "${TableName}" VALUE {'pk': ?, 'sk': ?}`, Parameters: ["d", "2"] };
  const batch = await doc.send(new lib.BatchExecuteStatementCommand({ Statements: [insert] }));
  assert.equal(batch.Responses[0].Error, undefined);
  for await (const page of lib.paginateScan({ client: doc }, { TableName, Limit: 5 })) assert(page.Count <= 5);
}

/** As table browsers do: all names by pages, each described. */
async function browse(wanted) {
  const names = [];
  let last;
  do {
    const page = await client.send(new ListTablesCommand({ Limit: 1, ExclusiveStartTableName: last }));
    names.push(...page.TableNames);
    last = page.LastEvaluatedTableName;
  } while (last);
  assert(names.includes(wanted));
  for (const TableName of names) await client.send(new DescribeTableCommand({ TableName }));
}

const table = `electro-${unique}`;
const key = (hash, range) => [{ AttributeName: hash, KeyType: "HASH" }, { AttributeName: range, KeyType: "RANGE" }];
await client.send(
  new CreateTableCommand({
    TableName: table,
    BillingMode: "PAY_PER_REQUEST",
    KeySchema: key("pk", "sk"),
    AttributeDefinitions: ["pk", "sk", "gsi1pk", "gsi1sk"].map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
    GlobalSecondaryIndexes: [{ IndexName: "gsi1", KeySchema: key("gsi1pk", "gsi1sk"), Projection: { ProjectionType: "ALL" } }],
  }),
);
for (const [name, test] of [
  ["dynamoose", withDynamoose],
  ["electrodb", () => withElectroDb(table)],
  ["document client", () => withDocuments(table)],
  ["table browser", () => browse(table)],
]) {
  await test();
  console.log(`ok   ${name}`);
}
