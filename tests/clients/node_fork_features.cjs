'use strict';
// What node offers, used once each: the function that node_fork_soak.py runs in forks. Answers the names of what failed.

const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const os = require('os');
const path = require('path');
const tls = require('tls');
const util = require('util');
const zlib = require('zlib');
const { AsyncLocalStorage } = require('async_hooks');
const { execFile, spawn, fork } = require('child_process');
const { once, EventEmitter } = require('events');
const { pipeline } = require('stream/promises');
const { Readable, Transform } = require('stream');
const dns = require('dns');

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const sha = (data) => crypto.createHash('sha256').update(data).digest('hex');
const server = (make) => new Promise((resolve) => { const s = make(); s.listen(0, '127.0.0.1', () => resolve(s)); });

const features = {
  async timers() {
    const before = performance.now();
    await wait(3);
    assert(performance.now() - before > 1.5);
    await new Promise(setImmediate);
    await new Promise(process.nextTick);
    await new Promise(queueMicrotask);
    let ticks = 0;
    await new Promise((resolve) => { const i = setInterval(() => { if (++ticks === 3) { clearInterval(i); resolve(); } }, 1); });
    await assert.rejects(require('timers/promises').setTimeout(1000, 0, { signal: AbortSignal.timeout(2) }));
  },
  async promises() {
    assert.deepStrictEqual(await Promise.all(Array.from({ length: 100 }, async (_, i) => (await i) * 2)), Array.from({ length: 100 }, (_, i) => i * 2));
    assert.strictEqual((await Promise.allSettled([Promise.reject(new Error('x'))]))[0].status, 'rejected');
  },
  async streams() {
    let size = 0;
    const upper = new Transform({ transform(chunk, _, done) { size += chunk.length; done(null, String(chunk).toUpperCase()); } });
    await pipeline(Readable.from(Array.from({ length: 50 }, () => 'abc'.repeat(100))), upper, fs.createWriteStream(`${os.tmpdir()}/s${process.pid}`));
    assert.strictEqual(fs.statSync(`${os.tmpdir()}/s${process.pid}`).size, size);
    fs.unlinkSync(`${os.tmpdir()}/s${process.pid}`);
  },
  async tls() {
    const key = process.env.TEST_KEY.replace(/,/g, '\n');
    const cert = process.env.TEST_CERT.replace(/,/g, '\n');
    const s = await server(() => tls.createServer({ key, cert }, (socket) => socket.on('error', () => {}).pipe(socket)));
    const c = tls.connect({ port: s.address().port, host: '127.0.0.1', ca: cert, servername: 'localhost' });
    await once(c, 'secureConnect');
    assert(c.authorized);
    c.write('hello');
    assert.strictEqual(String((await once(c, 'data'))[0]), 'hello');
    c.destroy();
    s.close();
  },
  async http_and_fetch() {
    const s = await server(() => http.createServer(async (req, res) => { const parts = []; for await (const p of req) parts.push(p); res.end(JSON.stringify({ m: req.method, n: Buffer.concat(parts).length })); }));
    const base = `http://127.0.0.1:${s.address().port}/`;
    const answer = await fetch(base, { method: 'POST', body: 'x'.repeat(70000), headers: { connection: 'close' } });
    assert.deepStrictEqual(await answer.json(), { m: 'POST', n: 70000 });
    const got = await new Promise((resolve, reject) => http.get(base, { agent: false }, async (res) => { let t = ''; for await (const p of res) t += p; resolve(t); }).on('error', reject));
    assert.strictEqual(got, '{"m":"GET","n":0}');
    s.closeAllConnections();
    s.close();
  },
  async crypto() {
    assert.strictEqual(sha('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    const key = await util.promisify(crypto.scrypt)('p', 's', 32, { N: 256 });
    const cipher = crypto.createCipheriv('aes-256-gcm', key, Buffer.alloc(12));
    const sealed = Buffer.concat([cipher.update('hi'), cipher.final()]);
    const open = crypto.createDecipheriv('aes-256-gcm', key, Buffer.alloc(12)).setAuthTag(cipher.getAuthTag());
    assert.strictEqual(open.update(sealed, undefined, 'utf8') + open.final('utf8'), 'hi');
    const pair = await util.promisify(crypto.generateKeyPair)('ec', { namedCurve: 'P-256' });
    assert(crypto.verify('sha256', Buffer.from('x'), pair.publicKey, crypto.sign('sha256', Buffer.from('x'), pair.privateKey)));
    assert.strictEqual((await util.promisify(crypto.pbkdf2)('p', 's', 10, 16, 'sha256')).length, 16);
    assert.strictEqual((await crypto.webcrypto.subtle.digest('SHA-256', Buffer.from('abc'))).byteLength, 32);
    assert.strictEqual((await util.promisify(crypto.randomBytes)(64)).length, 64);
  },
  async zlib() {
    const text = Buffer.from('squall '.repeat(5000));
    assert.deepStrictEqual(await util.promisify(zlib.gunzip)(await util.promisify(zlib.gzip)(text)), text);
    assert.deepStrictEqual(zlib.brotliDecompressSync(zlib.brotliCompressSync(text, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 3 } })), text);
  },
  async dns() {
    assert(net4(await dns.promises.lookup('localhost', { all: true })));
    assert((await util.promisify(dns.lookupService)('127.0.0.1', 80).catch(() => ({ service: 'http' }))).service);
  },
  async fs() {
    const dir = await fs.promises.mkdtemp(`${os.tmpdir()}/f`);
    const file = path.join(dir, 'a');
    await fs.promises.writeFile(file, 'x'.repeat(100000));
    await fs.promises.copyFile(file, `${file}2`);
    const sizes = await Promise.all((await fs.promises.readdir(dir)).map(async (n) => (await fs.promises.stat(path.join(dir, n))).size));
    assert.deepStrictEqual(sizes, [100000, 100000]);
    const watcher = fs.watch(dir);
    const change = once(watcher, 'change');
    fs.writeFileSync(`${file}3`, '');
    await change;
    watcher.close();
    fs.rmSync(dir, { recursive: true });
  },
  async child_process() {
    const { stdout } = await util.promisify(execFile)('/bin/sh', ['-c', 'echo $TEST_X; cat /dev/null'], { env: { TEST_X: 'y' } });
    assert.strictEqual(stdout, 'y\n');
    const cat = spawn('cat');
    cat.stdin.end('piped');
    assert.strictEqual(String((await once(cat.stdout, 'data'))[0]), 'piped');
    assert.strictEqual((await once(cat, 'close'))[0], 0);
    const slow = spawn('sleep', ['30']);
    slow.kill();
    assert.strictEqual((await once(slow, 'exit'))[1], 'SIGTERM');
  },
  async async_hooks() {
    const store = new AsyncLocalStorage();
    const seen = await Promise.all([1, 2, 3].map((n) => store.run(n, async () => { await wait(1); await null; return store.getStore(); })));
    assert.deepStrictEqual(seen, [1, 2, 3]);
  },
  async webassembly() {
    const add = Buffer.from('AGFzbQEAAAABBwFgAn9/AX8DAgEABwcBA2FkZAAACgkBBwAgACABags=', 'base64');
    assert.strictEqual((await WebAssembly.instantiate(add)).instance.exports.add(2, 3), 5);
    const instance = await WebAssembly.instantiate(await WebAssembly.compile(add));
    let sum = 0;
    for (let i = 0; i < 20000; i++) sum = instance.exports.add(sum, i);
    assert.strictEqual(sum, 199990000);
  },
  async values() {
    assert.deepStrictEqual(structuredClone({ a: [1, new Map([[1, new Date(5)]])] }), { a: [1, new Map([[1, new Date(5)]])] });
    const { port1, port2 } = new MessageChannel();
    port1.postMessage({ x: 1 });
    assert.strictEqual((await new Promise((resolve) => { port2.onmessage = (e) => resolve(e.data); })).x, 1);
    port1.close();
    assert.strictEqual(await new Blob(['a', 'b']).text(), 'ab');
    assert.strictEqual(new Intl.NumberFormat('de-DE').format(1234.5), '1.234,5');
    assert(new Intl.DateTimeFormat('en', { timeZone: 'Asia/Tokyo', timeStyle: 'short' }).format(0).startsWith('9:00'));
    let freed = false;
    new FinalizationRegistry(() => { freed = true; }).register({}, 0);
    assert.strictEqual(freed, false);
  },
  async garbage() {
    const kept = [];
    for (let i = 0; i < 200; i++) {
      kept[i % 20] = Array.from({ length: 500 }, (_, n) => ({ n, text: `t${n}`, list: [n] }));
      if (i % 50 === 0) await null;
    }
    assert.strictEqual(kept.flat().reduce((sum, { n }) => sum + n, 0), 20 * 124750);
  },
  async jit() {
    const f = (a, b) => { let x = a; for (let i = 0; i < 1000; i++) x = (x * 31 + b + i) % 1000003; return x; };
    let x = 1;
    for (let i = 0; i < 300; i++) x = f(x, i);
    assert.strictEqual(x, x | 0);
    assert.strictEqual(JSON.parse(JSON.stringify({ a: Array.from({ length: 1000 }, (_, i) => ({ i })) })).a[999].i, 999);
  },
  async imports() {
    assert.strictEqual((await import('./node_fork_module.mjs')).value, 42);
    assert.strictEqual((await import('data:text/javascript,export default 7')).default, 7);
  },
  async events() {
    const e = new EventEmitter();
    setTimeout(() => e.emit('x', 1), 1);
    assert.deepStrictEqual(await once(e, 'x'), [1]);
    const signalled = once(process, 'SIGUSR2');
    process.kill(process.pid, 'SIGUSR2');
    await signalled;
    assert(process.memoryUsage().rss > 1e6 && process.cpuUsage().user >= 0 && process.uptime() < 1e5);
  },
  async worker_threads() {
    const { Worker } = require('worker_threads');
    const code = 'const { parentPort, workerData } = require("worker_threads"); let s = 0; for (let i = 0; i < 1e5; i++) s += i; parentPort.postMessage([workerData, s, Math.random()])';
    const workers = [1, 2].map((workerData) => new Worker(code, { eval: true, workerData }));
    const told = await Promise.all(workers.map(async (w) => (await once(w, 'message'))[0]));
    assert.deepStrictEqual(told.map(([n, s]) => [n, s]), [[1, 4999950000], [2, 4999950000]]);
    assert.notStrictEqual(told[0][2], told[1][2]);
    await Promise.all(workers.map((w) => w.terminate()));
  },
  async child_fork() {
    const child = fork(path.join(__dirname, 'node_fork_child.cjs'));
    // On a busy machine its end may be noticed before its message.
    const exit = once(child, 'exit');
    child.send({ n: 1 });
    assert.deepStrictEqual((await once(child, 'message'))[0], { n: 2 });
    assert.strictEqual((await exit)[0], 3);
  },
};

const net4 = (list) => list.some(({ address }) => address === '127.0.0.1' || address === '::1');
/** Other processes and threads of node: tens of milliseconds each. */
const HEAVY = ['worker_threads', 'child_fork'];

exports.handler = async (event) => {
  const all = Object.keys(features).filter((name) => !HEAVY.includes(name) || event.heavy);
  // `turn` picks two that are far from each other; without it all run.
  const names = event.only ?? (event.turn === undefined ? all : [0, 7].map((far) => all[(event.turn + far) % all.length]));
  const failed = {};
  const run = async (name) => {
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('no end in 20 s')), 20000); });
    try {
      await Promise.race([features[name](), late]);
    } catch (error) {
      failed[name] = String(error.stack);
    }
    clearTimeout(timer);
  };
  // Side by side, as a busy function does, or one after the other.
  if (event.together) await Promise.all(names.map(run));
  else for (const name of names) await run(name);
  return { failed, drawn: [Math.random(), crypto.randomUUID(), crypto.randomBytes(8).toString('hex')] };
};
