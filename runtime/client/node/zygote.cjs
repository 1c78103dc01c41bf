'use strict';
// The zygote: a node that has everything loaded but the function. Every worker is a fork of it (sandbox/zygote/README.md).
//
// It runs no tenant's code, draws no random number and opens nothing that a fork could share. The SDK is loaded from where
// functions find it, so that their own `require` and `import` of it get these very modules.

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');
const { pathToFileURL } = require('url');
const v8 = require('v8');
const vm = require('vm');

const SDK = '/var/node_modules';
/** What functions use most; the parts of these come along. The rest is loaded when a function asks for it. */
const BUILTINS = [
  'assert', 'async_hooks', 'buffer', 'child_process', 'crypto', 'diagnostics_channel', 'events', 'fs/promises', 'http', 'https',
  'net', 'os', 'perf_hooks', 'querystring', 'readline', 'stream', 'stream/promises', 'string_decoder', 'timers/promises', 'tls',
  'url', 'util', 'zlib',
];

/** Packages below a folder, with their scopes. */
function packagesIn(folder) {
  const list = (at) => {
    try {
      return fs.readdirSync(at);
    } catch {
      return [];
    }
  };
  return list(folder).flatMap((name) =>
    name.startsWith('@') ? list(path.join(folder, name)).map((part) => `${name}/${part}`) : [name],
  );
}

/** How often the usual is done: so often that what V8 learns of it (which objects come where) is in every worker. */
const TIMES = 5;

/** Clients that can be made of a module: what a function does while it loads is compiled once, here. */
function rehearse(exported) {
  const options = { region: 'us-east-1', endpoint: 'http://127.0.0.1:9', credentials: { accessKeyId: 'a', secretAccessKey: 'b' } };
  for (const [name, Client] of Object.entries(exported)) {
    if (typeof Client !== 'function' || !/^[A-Z]\w*Client$/.test(name)) continue;
    new Client(options).destroy();
    for (let time = 0; time < TIMES; time++) new Client({}).destroy();
  }
}

/** Loads what is wanted of the SDK, for `require` and for `import`; what cannot be loaded is left to the functions. */
async function preload(wanted) {
  const require_ = createRequire(path.join(SDK, 'x.js'));
  const there = new Set(packagesIn(SDK));
  const loaded = [];
  const left = {};
  for (const name of wanted.filter((w) => there.has(w))) {
    try {
      const file = require_.resolve(name);
      const exported = require_(file);
      if (/\/client-/.test(name)) rehearse(exported);
      await import(pathToFileURL(file).href);
      loaded.push(name);
    } catch (error) {
      left[name] = String(error && error.message);
    }
  }
  return { loaded, left };
}

/** Runs `load` without what a function must find unused: Math.random has drawn no number, warnings have not been given. */
async function untouched(load) {
  const { random } = Math;
  const { emitWarning, env } = process;
  let state = 1;
  Math.random = () => (state = (state * 48271) % 0x7fffffff) / 0x7fffffff;
  process.emitWarning = () => {};
  // Clients look for configuration in the background: root has no home here, and what they miss is no error of ours.
  const home = env.HOME;
  env.HOME = '/home/sbx_user1051';
  const ignore = () => {};
  process.on('unhandledRejection', ignore);
  try {
    const told = await load();
    await quiet();
    return told;
  } finally {
    Math.random = random;
    process.emitWarning = emitWarning;
    if (home === undefined) delete env.HOME;
    else env.HOME = home;
    process.removeListener('unhandledRejection', ignore);
  }
}

/** Waits until nothing is under way in the background, which would be lost in a fork. */
async function quiet() {
  const timers = require('timers/promises');
  for (let turn = 0; turn < 200; turn++) {
    const under = process.getActiveResourcesInfo().filter((name) => /Req|Timeout/.test(name));
    if (under.length === 0) return;
    await timers.setImmediate();
    await timers.setTimeout(1, undefined, { ref: false });
  }
}

/** Collects garbage: less to copy in every worker. The flag is taken back, so that functions find no `gc`. */
function collect() {
  v8.setFlagsFromString('--expose-gc');
  const gc = vm.runInNewContext('gc');
  v8.setFlagsFromString('--no-expose-gc');
  gc();
  gc();
}

const HEAP = '--max-old-space-size=';

/** What a process has of its own, and what is counted from its start. */
function renewIdentity() {
  const started = process.hrtime.bigint();
  const pid = Number(fs.readlinkSync('/proc/self'));
  Object.defineProperty(process, 'pid', { value: pid, writable: false, enumerable: true, configurable: true });
  process.uptime = () => Number(process.hrtime.bigint() - started) / 1e9;
}

/** The arguments that the worker would have been executed with are node's flags, our script and no more. */
function adopt(addon, args) {
  const flags = args.slice(1, args.findIndex((a, i) => i > 0 && !a.startsWith('-')));
  // Without a regular expression, which would be compiled for this alone.
  const heap = flags.find((f) => f.startsWith(HEAP));
  if (heap) addon.limitHeap(Number(heap.slice(HEAP.length)) * 1024 * 1024);
  const constant = (object, name, value) =>
    Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
  renewIdentity();
  constant(process, 'execArgv', flags);
  process.argv.length = 2;
  // Node's own way out waits for threads that a fork does not have.
  process.reallyExit = addon.exit;
  // The working directory is remembered by node; so is the time zone, which it takes anew when it is set.
  process.chdir('.');
  if (process.env.TZ !== zone) process.env.TZ = process.env.TZ ?? '';
  if (process.env.NODE_PATH !== nodePath) require('module').Module._initPaths();
}

const zone = process.env.TZ;
const nodePath = process.env.NODE_PATH;

/** Serves events to our own client as the platform would, until it asks for one more. */
function stage(events) {
  const net = require('net');
  return new Promise((resolve, reject) => {
    let number = 0;
    const server = net.createServer((socket) => {
      let text = '';
      socket.on('data', (data) => {
        text += data.toString('latin1');
        if (!text.includes('/invocation/next ')) return;
        text = '';
        const body = events[number++];
        if (body === undefined) return server.emit('played', () => socket.destroy());
        const id = `Lambda-Runtime-Aws-Request-Id: ${number}\r\nLambda-Runtime-Deadline-Ms: ${Date.now() + 1000}`;
        // The responses to what was posted come first, as they do from the platform.
        const accepted = number > 1 ? 'HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n' : '';
        socket.write(`${accepted}HTTP/1.1 200 OK\r\n${id}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      });
    });
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}

/** Runs the client from the first connection on, as every worker will. */
async function rehearseClient(main, file, events) {
  const { env } = process;
  const server = await stage(events);
  const kept = { ...console };
  env.AWS_LAMBDA_RUNTIME_API = `127.0.0.1:${server.address().port}`;
  env._HANDLER = file;
  env.LAMBDA_TASK_ROOT = __dirname;
  const played = new Promise((resolve) => server.once('played', resolve));
  main();
  return { server, kept, end: await played };
}

/** Leaves nothing of a rehearsal behind. */
async function clear({ server, kept, end }, forget) {
  const { env } = process;
  const closed = new Promise((resolve) => server.close(resolve));
  end();
  forget();
  await closed;
  Object.assign(console, kept);
  for (const name of ['AWS_LAMBDA_RUNTIME_API', '_HANDLER', 'LAMBDA_TASK_ROOT', '_X_AMZN_TRACE_ID']) delete env[name];
}

/** What every worker does, in both ways that code is loaded. */
async function rehearseAll(main, forget) {
  await clear(await rehearseClient(main, 'module.handler', ['{}']), forget);
  for (let time = 0; time < TIMES; time++) {
    await clear(await rehearseClient(main, 'rehearsal.handler', ['{}', '{"fails":true}', '{"again":[1,"2",null]}']), forget);
  }
}

/** In a fork that no function will have: does what most of them do, and reports which pages of memory that took. */
async function practise(addon, main, loaded) {
  adopt(addon, ['node', '--max-old-space-size=115', '--max-semi-space-size=6', 'bootstrap.cjs']);
  // As in `untouched`: root has no home here, and a worker's user has.
  process.env.HOME = '/home/sbx_user1051';
  if (loaded.includes('@aws-sdk/client-dynamodb')) {
    const { DynamoDBClient } = createRequire(path.join(SDK, 'x.js'))('@aws-sdk/client-dynamodb');
    new DynamoDBClient({});
  }
  await rehearseClient(main, 'rehearsal.handler', ['{}', '{"again":[1,"2",null]}']);
  addon.rehearsed();
}

/** Becomes the zygote; `main` runs in each worker. With `--bare` in place of packages one for functions with snapshots: what a
 * function needs is loaded before its snapshot is made, and what is made of that needs nothing of the zygote but its addresses. */
async function serve(main, forget, wanted) {
  const addon = require('./zygote.node');
  const draw = () => new WeakSet().add({});
  const refuse = (error) => {
    addon.refuse(String(error && error.stack));
    process.exit(1);
  };
  const isBare = wanted[0] === '--bare';
  try {
    if (isBare) addon.reserve();
    // V8 learns from the first call on, and not after some: a quarter less time from fork to handler (measured).
    else v8.setFlagsFromString('--no-lazy-feedback-allocation');
    for (const name of BUILTINS) require(name);
    const told = isBare ? {} : await untouched(async () => {
      const told = await preload(wanted);
      addon.loopback();
      await rehearseAll(main, forget);
      return told;
    });
    const text = JSON.stringify({ version: process.version, ...told });
    // From the event loop, and not from within a promise, as a program begins.
    setImmediate(() => {
      try {
        if (!isBare) v8.setFlagsFromString('--lazy-feedback-allocation');
        collect();
        const args = addon.serve(text, draw, !isBare);
        if (args.length === 0) return void practise(addon, main, told.loaded).catch(() => addon.exit(1));
        adopt(addon, args);
      } catch (error) {
        refuse(error);
      }
      main();
    });
  } catch (error) {
    refuse(error);
  }
}

/** Reads so many bytes of the socket that a stem cell has as its standard input. */
function readExactly(size) {
  const bytes = Buffer.alloc(size);
  for (let have = 0; have < size; ) {
    const read = fs.readSync(0, bytes, have, size - have);
    if (read === 0) process.exit(0);
    have += read;
  }
  return bytes;
}

/** Takes the environment of a payload (sandbox/zygote/README.md) and leaves nothing of what the process was started with. */
function replaceEnvironment(payload) {
  const count = payload.readUInt32LE(0);
  const strings = payload.toString('utf8', 8).split('\0');
  for (const name of Object.keys(process.env)) delete process.env[name];
  for (const pair of strings.slice(count, count + payload.readUInt32LE(4))) {
    const at = pair.indexOf('=');
    process.env[pair.slice(0, at)] = pair.slice(at + 1);
  }
}

/** Loads what a zygote loads, then waits for the one function that this process is for: where forks cannot be. */
async function wait(main, forget, wanted) {
  for (const name of BUILTINS) require(name);
  await untouched(async () => {
    await preload(wanted);
    await rehearseAll(main, forget);
  });
  setImmediate(() => {
    collect();
    fs.writeSync(0, 'r');
    replaceEnvironment(readExactly(readExactly(4).readUInt32LE(0)));
    const started = process.hrtime.bigint();
    fs.writeSync(0, 'k');
    fs.closeSync(0);
    fs.openSync('/dev/null', 'r+');
    process.argv.length = 2;
    process.uptime = () => Number(process.hrtime.bigint() - started) / 1e9;
    process.chdir('/var/task');
    if (process.env.TZ !== zone) process.env.TZ = process.env.TZ ?? '';
    if (process.env.NODE_PATH !== nodePath) require('module').Module._initPaths();
    main();
  });
}

module.exports = { serve, wait, collect, renewIdentity };
