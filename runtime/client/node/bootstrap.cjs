'use strict';
// Runs one Node.js function: takes events from the Runtime API, calls the handler, sends back what it returned.
//
// One kept connection on a plain socket: `http` would cost several milliseconds at start and three times as much per call.
// CommonJS, because the ESM loader would be started for nothing before a CommonJS function.

const net = require('net');
const { load } = require('./handler.cjs');
const log = require('./log.cjs');
const snapshot = require('./snapshot.cjs');
const { describe, UnhandledPromiseRejection } = require('./errors.cjs');

const env = process.env;
const VERSION = '/2018-06-01/runtime/';
const NODE_MAJOR = Number(process.versions.node.split('.')[0]);

/** Where the Runtime API is; known when the function's environment is. */
let HOST;
let GET_NEXT;

let socket;
/** Bytes that have arrived and make no whole head yet. */
let pending = null;
/** A response that is longer than what has arrived of it, or null. */
let long = null;
/** What to do with the next responses, in order. */
const waiting = [];
/** The invocation that runs, or null. */
let current = null;
let handler = null;

function connect() {
  HOST = env.AWS_LAMBDA_RUNTIME_API;
  GET_NEXT = `GET ${VERSION}invocation/next HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;
  const at = HOST.lastIndexOf(':');
  // One buffer for every read: a new one of 64 KiB each time would keep the garbage collector busy.
  const onread = { buffer: Buffer.allocUnsafeSlow(64 * 1024), callback: receive };
  socket = net.connect({ host: HOST.slice(0, at), port: Number(HOST.slice(at + 1)), noDelay: true, onread });
  // The platform has gone: there is nobody left to run for.
  socket.on('error', () => process.exit(1));
  socket.on('close', () => process.exit(1));
}

function receive(size, buffer) {
  let chunk = buffer.subarray(0, size);
  if (long !== null) {
    // A response longer than one read: collected in one piece, without joining what has come again at every read.
    const used = chunk.copy(long.whole, long.have);
    long.have += used;
    if (long.have < long.whole.length) return true;
    const rest = chunk.subarray(used);
    chunk = rest.length === 0 ? long.whole : Buffer.concat([long.whole, rest]);
    long = null;
  } else if (pending !== null) {
    chunk = Buffer.concat([pending, chunk]);
    pending = null;
  }
  while (chunk.length > 0) {
    const end = chunk.indexOf('\r\n\r\n');
    if (end < 0) break;
    const lines = chunk.latin1Slice(0, end).split('\r\n');
    const headers = Object.create(null);
    for (let i = 1; i < lines.length; i++) {
      const colon = lines[i].indexOf(':');
      headers[lines[i].slice(0, colon).toLowerCase()] = lines[i].slice(colon + 1).trim();
    }
    const start = end + 4;
    const total = start + Number(headers['content-length'] || 0);
    if (chunk.length < total) {
      long = { whole: Buffer.allocUnsafe(total), have: 0 };
      long.have = chunk.copy(long.whole);
      return true;
    }
    const done = waiting.shift();
    if (done) done(headers, chunk.subarray(start, total));
    chunk = chunk.subarray(total);
  }
  // The buffer is used again: what is left must be copied out of it.
  if (chunk.length > 0) pending = Buffer.from(chunk);
  return true;
}

function post(path, body, errorType, thenNext, sent) {
  let head = `POST ${VERSION}${path} HTTP/1.1\r\nHost: ${HOST}\r\nContent-Type: application/json\r\n`;
  if (errorType !== undefined) head += `Lambda-Runtime-Function-Error-Type: ${oneLine(errorType)}\r\n`;
  head += `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
  waiting.push(sent);
  if (thenNext) waiting.push(run);
  // The answer and the request for the next event travel together: one system call less on each side.
  socket.write(head + body + (thenNext ? GET_NEXT : ''));
}

function oneLine(text) {
  return String(text).replace(/[^\x20-\x7e]/g, ' ');
}

function finish(path, body, errorType) {
  const invocation = current;
  if (invocation === null || invocation.answered) return;
  invocation.answered = true;
  current = null;
  socket.ref();
  post(`invocation/${invocation.id}/${path}`, body, errorType, true);
}

function succeed(invocation, result) {
  if (invocation !== current) return;
  let body;
  try {
    body = JSON.stringify(result === undefined ? null : result);
    if (body === undefined) body = 'null';
  } catch {
    const error = new Error('Unable to stringify response body');
    if (NODE_MAJOR >= 24) error.name = 'Runtime.JSONStringifyError';
    fail(invocation, error);
    return;
  }
  finish('response', body);
}

function fail(invocation, error) {
  if (invocation !== current) return;
  log.failure('Invoke Error', error);
  const fields = describe(error);
  finish('error', JSON.stringify(fields), fields.errorType);
}

function contextOf(invocation, headers) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  const parse = (text) => (text ? JSON.parse(Buffer.from(text, 'latin1').toString('utf8')) : undefined);
  const context = {
    get callbackWaitsForEmptyEventLoop() {
      return invocation.waits;
    },
    set callbackWaitsForEmptyEventLoop(value) {
      invocation.waits = value;
    },
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parse(headers['lambda-runtime-client-context']),
    identity: parse(headers['lambda-runtime-cognito-identity']),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: invocation.id,
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  if (NODE_MAJOR < 24) {
    const done = callbackOf(invocation);
    context.done = (error, result) => {
      invocation.waits = false;
      done(error, result);
    };
    context.succeed = (result) => context.done(null, result);
    context.fail = (error) => context.done(error === undefined || error === null ? 'handled' : error);
  }
  return context;
}

/** The third argument of a handler: answers when the event loop is empty, or at once where the context says so. */
function callbackOf(invocation) {
  return (error, result) => {
    if (invocation.called || invocation.answered) return;
    invocation.called = true;
    const failed = error !== undefined && error !== null;
    invocation.settle = () => (failed ? fail(invocation, error) : succeed(invocation, result));
    if (!invocation.waits) setImmediate(invocation.settle);
  };
}

/** The event loop has run empty: a callback that waited for this answers; without any the answer is null. */
function whenEmpty() {
  const invocation = current;
  if (invocation === null) return;
  if (invocation.settle) invocation.settle();
  else succeed(invocation, null);
}

function run(headers, body) {
  const invocation = { id: headers['lambda-runtime-aws-request-id'], answered: false, called: false, waits: true };
  current = invocation;
  log.setRequest(invocation.id);
  const trace = headers['lambda-runtime-trace-id'];
  if (trace) env._X_AMZN_TRACE_ID = trace;
  else delete env._X_AMZN_TRACE_ID;
  // While the function runs, the connection must not keep the event loop alive: `beforeExit` tells that it is empty.
  socket.unref();
  try {
    const event = JSON.parse(body.utf8Slice(0, body.length));
    const context = contextOf(invocation, headers);
    const result =
      NODE_MAJOR < 24 ? handler(event, context, callbackOf(invocation)) : handler(event, context);
    if (result !== null && result !== undefined && typeof result.then === 'function') {
      result.then(
        (value) => succeed(invocation, value),
        (error) => fail(invocation, error),
      );
    } else if (NODE_MAJOR >= 24) {
      succeed(invocation, result);
    }
  } catch (error) {
    fail(invocation, error);
  }
}

/** An error that nobody caught ends the process; whoever waits is told first. */
function fatal(title, error, code) {
  log.failure(title, error);
  const fields = describe(error);
  const end = () => process.exit(code);
  const path = current === null ? (handler === null ? 'init/error' : null) : `invocation/${current.id}/error`;
  if (path === null) end();
  current = null;
  // While a snapshot is made there is no connection.
  if (socket.destroyed) connect();
  post(path, JSON.stringify(fields), fields.errorType, false, end);
  socket.ref();
}

async function main() {
  process.on('uncaughtException', (error) => fatal('Uncaught Exception', error, 129));
  process.on('unhandledRejection', (reason, promise) =>
    fatal('Unhandled Promise Rejection', new UnhandledPromiseRejection(reason, promise), 128),
  );
  process.on('beforeExit', whenEmpty);
  connect();
  log.patchConsole();
  const making = snapshot.begin((reason) => post('snapshot/unusable', reason, undefined, false, () => {}));
  let loaded;
  try {
    loaded = await load(env.LAMBDA_TASK_ROOT || '/var/task', env._HANDLER || '', NODE_MAJOR);
  } catch (error) {
    fatal('Uncaught Exception', error, 1);
    return;
  }
  if (making !== null && !(await become(making))) return;
  handler = loaded;
  waiting.push(run);
  socket.write(GET_NEXT);
}

/** Makes the snapshot of this process and ends; true in what is made of it, where hooks have run and the handler may. */
async function become(making) {
  let stage = 'BeforeSnapshot';
  try {
    await snapshot.before();
    disconnect();
    try {
      await snapshot.take(making, `POST ${VERSION}snapshot HTTP/1.1\r\nHost: ${HOST}\r\nContent-Type: application/octet-stream\r\n`);
    } catch (error) {
      connect();
      post('snapshot/refused', String(error && error.message), undefined, false, () => process.exit(0));
      return false;
    }
    stage = 'AfterRestore';
    connect();
    await snapshot.after(making);
    return true;
  } catch (error) {
    const { errorType, errorMessage } = describe(error);
    const told = error instanceof Error ? error : new Error();
    Object.defineProperty(told, 'message', { value: `${errorType}: ${errorMessage}`, configurable: true });
    Object.defineProperty(told, 'name', { value: `Runtime.${stage}Error`, configurable: true });
    fatal('Uncaught Exception', told, stage === 'BeforeSnapshot' ? 64 : 65);
    return false;
  }
}

function disconnect() {
  socket.removeAllListeners();
  socket.destroy();
}

/** Forgets a rehearsal (zygote.cjs): nothing of it may be left in a worker. */
function forget() {
  for (const name of ['uncaughtException', 'unhandledRejection', 'beforeExit']) process.removeAllListeners(name);
  disconnect();
  waiting.length = 0;
  [socket, pending, long, current, handler] = [undefined, null, null, null, null];
  log.setRequest(undefined);
}

// `--zygote` or `--stem`, and the packages of the SDK to be loaded: see zygote.cjs.
if (process.argv[2] === '--zygote') require('./zygote.cjs').serve(main, forget, process.argv.slice(3));
else if (process.argv[2] === '--stem') require('./zygote.cjs').wait(main, forget, process.argv.slice(3));
else main();
