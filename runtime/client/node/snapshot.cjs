'use strict';
// SnapStart: the memory of a function that has run its init code, and environments that are made of it.
//
// A fork of a bare zygote (zygote.cjs) loads the function, runs its before-snapshot hooks and sends its memory to the platform
// (`take`); further forks of the same zygote become that process and go on where it stood, in `take`. What memory alone does not
// hold is looked at first: threads, processes, work under way and most descriptors make a snapshot impossible; timers stay,
// files that are open for reading are opened again, connections are found closed, what lies in /tmp is written again.

const fs = require('fs');
const path = require('path');

const { env } = process;
/** What the platform wants of the process. */
const VARIABLE = '_SQUALL_SNAPSHOT';
/** Files of /tmp are kept in the snapshot's memory. */
const TMP_BYTES_MAX = 64 << 20;
/** How long work in the background may take to end, in milliseconds. */
const WORK_MS_MAX = 10_000;
/** How long connections that keep the event loop alive are waited for, where it cannot be told whether they are in use. */
const CONNECTION_MS_MAX = 3_000;
/** Random values that node keeps in store (internal/crypto/random). */
const UUIDS_IN_STORE = 128;
const INTEGERS_IN_STORE = 1024;

const beforeSnapshot = [];
const afterRestore = [];

function register(list, hook, args) {
  if (typeof hook !== 'function') throw new TypeError('a hook must be a function');
  list.push(() => hook(...args));
  return hook;
}

/** `awslambda.snapStart`: hooks, which may be asynchronous. Before a snapshot they run in the reverse order of their registration,
 * after a restore in its order. */
const hooks = {
  registerBeforeSnapshot: (hook, ...args) => register(beforeSnapshot, hook, args),
  registerAfterRestore: (hook, ...args) => register(afterRestore, hook, args),
};

async function before() {
  for (const hook of [...beforeSnapshot].reverse()) await hook();
}

/** Takes Math.random's place in a process that will be a snapshot: V8's own gives what it has drawn ahead to all that is made of it. */
function takeRandom() {
  const { randomFillSync } = require('crypto');
  const words = new Uint32Array(512);
  let left = 0;
  const { random } = {
    random() {
      if (left === 0) {
        randomFillSync(words);
        left = words.length;
      }
      left -= 2;
      return ((words[left] >>> 5) * 0x4000000 + (words[left + 1] >>> 6)) / 0x20000000000000;
    },
  };
  Object.defineProperty(Math, 'random', { value: random, writable: true, enumerable: false, configurable: true });
  return () => (left = 0);
}

/** Draws what node has in store, whatever that is; then it fills the stores anew. */
function emptyStores() {
  const { randomUUID, randomInt } = require('crypto');
  for (let n = 0; n < UUIDS_IN_STORE; n++) randomUUID();
  for (let n = 0; n < INTEGERS_IN_STORE; n++) randomInt(2);
}

/** What is to be made, or null. `tell` is given why this process could not be made of its snapshot. */
function begin(tell) {
  const order = env[VARIABLE];
  if (order === undefined) return null;
  delete env[VARIABLE];
  if (order === 'make') return { given: { ...env }, forgetRandom: takeRandom() };
  env.AWS_LAMBDA_INITIALIZATION_TYPE = 'on-demand';
  tell(require('./zygote.node').unusable() ?? 'the process was no fork of its zygote');
  return null;
}

// --- What is beside the memory.

/** Folders, links and files below a folder, with their modes. */
function contents(folder) {
  const found = [];
  let total = 0;
  const walk = (at) => {
    for (const name of fs.readdirSync(at)) {
      if (at === folder && name === 'lost+found') continue;
      const file = path.join(at, name);
      const stat = fs.lstatSync(file);
      if (stat.isSymbolicLink()) {
        found.push({ file, link: fs.readlinkSync(file) });
      } else if (stat.isDirectory()) {
        found.push({ file, mode: stat.mode & 0o7777 });
        walk(file);
      } else if (stat.isFile()) {
        total += stat.size;
        if (total > TMP_BYTES_MAX) throw new Error(`the init code has left more than ${TMP_BYTES_MAX >> 20} MB in /tmp`);
        found.push({ file, mode: stat.mode & 0o7777, data: fs.readFileSync(file) });
      } else {
        throw new Error(`the init code has left a special file: ${file}`);
      }
    }
  };
  walk(folder);
  return found;
}

function fill(kept) {
  for (const { file, mode, data, link } of kept) {
    if (link !== undefined) fs.symlinkSync(link, file);
    else if (data === undefined) fs.mkdirSync(file);
    else fs.writeFileSync(file, data);
    if (mode !== undefined) fs.chmodSync(file, mode);
  }
}

function lookAround() {
  let timers = '';
  try {
    timers = fs.readFileSync('/proc/self/timers', 'utf8');
  } catch {
    // Not told by every kernel.
  }
  if (timers.trim() !== '') throw new Error('the init code has left a timer of the system running');
  if (fs.readdirSync('/dev/shm').length > 0) throw new Error('the init code has left files in /dev/shm');
}

/** Idle connections of HTTP clients do not keep the event loop alive; others are found closed all the same. */
function isInUse(handle, waited) {
  if (!(handle instanceof require('net').Socket) || handle.remotePort === undefined) return false;
  return waited < (handle._httpMessage ? WORK_MS_MAX : CONNECTION_MS_MAX);
}

/** Waits until nothing is under way that a snapshot would lose. */
async function quiet(addon) {
  const { setTimeout: sleep, setImmediate: turn } = require('timers/promises');
  const started = performance.now();
  for (let still = 0; still < 3; await sleep(1)) {
    await turn();
    const waited = performance.now() - started;
    const why = addon.underWay();
    if (why !== undefined && waited > WORK_MS_MAX) throw new Error(why);
    still = why !== undefined || process._getActiveHandles().some((h) => isInUse(h, waited)) ? 0 : still + 1;
  }
}

/** Sends this process's memory to the platform and ends; throws where that cannot be. Returns in what is made of it. */
async function take(making, head) {
  const addon = require('./zygote.node');
  const { collect } = require('./zygote.cjs');
  await quiet(addon);
  lookAround();
  making.tmp = contents('/tmp');
  // So that it is compiled in the image: every restore waits for it.
  for (let n = 0; n < 20; n++) emptyStores();
  // From the event loop, with nothing on the stack but it.
  const variables = await new Promise((resolve, reject) => {
    setImmediate(() => {
      try {
        collect();
        resolve(addon.take(env.AWS_LAMBDA_RUNTIME_API, head));
      } catch (error) {
        reject(error);
      }
    });
  });
  wake(making, variables);
}

// --- In the process that is made of the snapshot.

/** Its own environment, number and randomness. */
function wake(making, variables) {
  const now = new Map();
  for (const pair of variables) {
    const at = pair.indexOf('=');
    now.set(pair.slice(0, at), pair.slice(at + 1));
  }
  now.delete(VARIABLE);
  for (const [name, value] of now) {
    // What the init code has set stays, unless it is the platform's to say.
    if (making.given[name] !== value) env[name] = value;
  }
  for (const name of Object.keys(making.given)) {
    if (!now.has(name)) delete env[name];
  }
  require('./zygote.cjs').renewIdentity();
  making.forgetRandom();
  emptyStores();
}

async function after(making) {
  fill(making.tmp);
  making.tmp = null;
  require('./zygote.node').reopen();
  // Connections are found closed before anybody uses one.
  const { setImmediate: turn } = require('timers/promises');
  for (let n = 0; n < 3; n++) await turn();
  for (const hook of afterRestore) await hook();
}

module.exports = { hooks, begin, before, take, after };
