'use strict';
// console in the format of AWS's log: time, request id and level before the text, tabs between them.

const fs = require('fs');
const util = require('util');
const { describe, forLog, isError } = require('./errors.cjs');

let requestId;

/** One event of the log, however many lines: the platform turns NUL back into line breaks. */
function write(text) {
  const line = (/[\0\n]/.test(text) ? '\0' + text.replace(/\0/g, ' ').replace(/\r?\n/g, '\0') : text) + '\n';
  try {
    // The process.stdout stream would cost a millisecond at start; writes to a pipe are synchronous either way.
    fs.writeSync(1, line);
  } catch (error) {
    // A function that touched process.stdout has made the pipe non-blocking, and it is full.
    if (error.code === 'EAGAIN') process.stdout.write(line);
  }
}

const ORDER = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
let isJson = false;
let least = 0;

function emit(level, text) {
  write(`${new Date().toISOString()}\t${requestId}\t${level}\t${text}`);
}

/** An error as the JSON log shows it. */
function plain(key, value) {
  if (typeof value === 'bigint') return String(value);
  if (!isError(value)) return value;
  const stackTrace = typeof value.stack === 'string' ? value.stack.split('\n') : [];
  return { ...value, errorType: value.name, errorMessage: value.message, stackTrace };
}

/** One argument stays what it is; several become one text, as AWS has it. */
function emitJson(level, args) {
  const entry = { timestamp: new Date().toISOString(), level, requestId };
  entry.message = args.length === 1 ? args[0] : util.format(...args);
  const error = args.length > 1 ? args.find(isError) : undefined;
  if (error !== undefined) Object.assign(entry, plain('', error));
  let line;
  try {
    line = JSON.stringify(entry, plain);
  } catch {
    // It refers to itself.
    line = JSON.stringify({ ...entry, message: util.format(...args) });
  }
  write(line);
}

function patchConsole() {
  isJson = process.env.AWS_LAMBDA_LOG_FORMAT === 'JSON';
  least = isJson ? Math.max(0, ORDER.indexOf(process.env.AWS_LAMBDA_LOG_LEVEL || 'INFO')) : 0;
  const levels = { log: 'INFO', info: 'INFO', debug: 'DEBUG', warn: 'WARN', error: 'ERROR' };
  for (const [name, level] of Object.entries(levels)) {
    if (ORDER.indexOf(level) < least) console[name] = () => {};
    else if (isJson) console[name] = (...args) => emitJson(level, args);
    else console[name] = (...args) => emit(level, util.format(...args));
  }
  console.trace = (...args) => {
    const trace = { name: 'Trace', message: util.format(...args) };
    Error.captureStackTrace(trace, console.trace);
    if (!isJson) emit('TRACE', trace.stack);
    else if (least === 0) emitJson('TRACE', [trace.stack]);
  };
}

module.exports = {
  patchConsole,
  setRequest(id) {
    requestId = id;
  },
  failure(title, error) {
    if (isJson) emitJson('ERROR', [isError(error) ? error : describe(error)]);
    else emit('ERROR', `${title} \t${forLog(error)}`);
  },
};
