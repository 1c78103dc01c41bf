'use strict';
// console in the format of AWS's log: time, request id and level before the text, tabs between them.

const fs = require('fs');
const util = require('util');
const { forLog } = require('./errors.cjs');

let requestId;

/** One event of the log, however many lines: the platform turns "\r" back into line breaks. */
function write(text) {
  const line = text.replace(/\r?\n/g, '\r') + '\n';
  try {
    // The process.stdout stream would cost a millisecond at start; writes to a pipe are synchronous either way.
    fs.writeSync(1, line);
  } catch (error) {
    // A function that touched process.stdout has made the pipe non-blocking, and it is full.
    if (error.code === 'EAGAIN') process.stdout.write(line);
  }
}

function emit(level, text) {
  write(`${new Date().toISOString()}\t${requestId}\t${level}\t${text}`);
}

function patchConsole() {
  const levels = { log: 'INFO', info: 'INFO', debug: 'DEBUG', warn: 'WARN', error: 'ERROR' };
  for (const [name, level] of Object.entries(levels)) {
    console[name] = (...args) => emit(level, util.format(...args));
  }
  console.trace = (...args) => {
    const trace = { name: 'Trace', message: util.format(...args) };
    Error.captureStackTrace(trace, console.trace);
    emit('TRACE', trace.stack);
  };
}

module.exports = {
  patchConsole,
  setRequest(id) {
    requestId = id;
  },
  failure: (title, error) => emit('ERROR', `${title} \t${forLog(error)}`),
};
