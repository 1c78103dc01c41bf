// A function whose init code does what init code does; for node_snap_soak.py and snap_start_node.py.
import assert from 'node:assert';
import { execFile } from 'node:child_process';
import crypto from 'node:crypto';
import dns from 'node:dns';
import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import zlib from 'node:zlib';
import { handler as features } from './node_fork_features.cjs';

const text = await fs.readFile(new URL(import.meta.url), 'utf8');
assert.strictEqual(readFileSync(new URL(import.meta.url), 'utf8'), text);
const born = crypto.randomUUID();
const drawn = [Math.random(), crypto.randomInt(2 ** 40), crypto.randomBytes(8).toString('hex')];
await dns.promises.lookup('localhost');
const zipped = await promisify(zlib.gzip)('squall '.repeat(1000));
await promisify(crypto.pbkdf2)('p', 's', 10, 16, 'sha256');
const { stdout } = await promisify(execFile)('/bin/echo', ['child']);
if (process.env.TEST_WORKER) {
  const worker = new Worker('require("worker_threads").parentPort.postMessage(1)', { eval: true });
  await new Promise((resolve) => worker.once('message', resolve));
  await worker.terminate();
}

const emitter = new EventEmitter();
let heard = 0;
emitter.on('x', (n) => (heard += n));
let ticks = 0;
setInterval(() => ticks++, 5).unref();
let signals = 0;
process.on('SIGWINCH', () => signals++);
const later = new Promise((resolve) => setTimeout(resolve, 20, 'late'));

/** Long enough in use to be compiled, for integers and doubles. */
function mix(a, b) {
  let x = a;
  for (let i = 0; i < 50; i++) x = (x * 31 + b + i) % 1000003;
  return x;
}
let hot = 1;
for (let i = 0; i < 100000; i++) hot = mix(hot, i);
for (let i = 0; i < 20000; i++) mix(i + 0.5, i);

const add = new WebAssembly.Module(Buffer.from('AGFzbQEAAAABBwFgAn9/AX8DAgEABwcBA2FkZAAACgkBBwAgACABags=', 'base64'));
const wasm = new WebAssembly.Instance(add);
const lazily = await WebAssembly.instantiate(add);
const heap = Array.from({ length: Number(process.env.TEST_OBJECTS ?? 20000) }, (_, n) => ({ n, text: `object ${n}`, list: [n] }));
const bytes = Buffer.alloc(5 << 20, 7);
const money = new Intl.NumberFormat('de-DE');
let client;
if (process.env.TEST_SDK) {
  const { DynamoDBClient } = await import('@aws-sdk/client-dynamodb');
  client = new DynamoDBClient({});
}
const hooks = [];
globalThis.awslambda.snapStart.registerBeforeSnapshot(async () => { await null; hooks.push('before 1'); });
globalThis.awslambda.snapStart.registerBeforeSnapshot((t) => hooks.push(t), 'before 2');
globalThis.awslambda.snapStart.registerAfterRestore(async () => { await fs.stat('/'); hooks.push('after 1'); });
globalThis.awslambda.snapStart.registerAfterRestore((t) => hooks.push(t), 'after 2');

async function look() {
  emitter.emit('x', 2);
  assert.strictEqual(heap.reduce((sum, { n, list }) => sum + n - list[0], 0), 0);
  assert(heap.every(({ n, text: t }) => t === `object ${n}`));
  assert(bytes.every((b) => b === 7));
  let again = 1;
  for (let i = 0; i < 100000; i++) again = mix(again, i);
  assert.strictEqual(again, hot);
  assert.deepStrictEqual([wasm.exports.add(2, 3), lazily.exports.add(4, 5), money.format(1234.5)], [5, 9, '1.234,5']);
  assert.strictEqual(String(await promisify(zlib.gunzip)(zipped)), 'squall '.repeat(1000));
  assert.strictEqual(stdout, 'child\n');
  assert.strictEqual(await later, 'late');
  const before = ticks;
  while (ticks === before) await new Promise((resolve) => setTimeout(resolve, 1));
  process.kill(process.pid, 'SIGWINCH');
  while (signals === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  if (client) assert.strictEqual(await client.config.region(), process.env.AWS_REGION);
  const fresh = Array.from({ length: 300 }, () => [Math.random(), crypto.randomUUID()]).flat();
  fresh.push(...Array.from({ length: 1500 }, () => crypto.randomInt(2 ** 47)));
  assert.strictEqual(process.pid, Number((await fs.readlink('/proc/self'))));
  return { born, drawn, hooks, heard, fresh, uptime: process.uptime(), type: process.env.AWS_LAMBDA_INITIALIZATION_TYPE };
}

export const handler = async (event) => (event.look ? look() : features(event));
