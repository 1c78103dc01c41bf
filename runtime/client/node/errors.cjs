'use strict';
// The errors that the runtime itself raises, and the shapes in which AWS shows errors.

class RuntimeError extends Error {
  constructor(kind, message) {
    super(message);
    this.name = `Runtime.${kind}`;
  }
}

class UnhandledPromiseRejection extends RuntimeError {
  constructor(reason, promise) {
    super('UnhandledPromiseRejection', reason === undefined || reason === null ? undefined : String(reason));
    this.reason = reason;
    this.promise = promise;
  }
}

function isError(value) {
  return value instanceof Error || Object.prototype.toString.call(value) === '[object Error]';
}

/** As the answer of an invocation: `{errorType, errorMessage, trace}`. */
function describe(error) {
  try {
    if (isError(error)) {
      const fields = { errorType: String(error.name), errorMessage: String(error.message) };
      if (error instanceof UnhandledPromiseRejection) {
        fields.reason = isError(error.reason) ? describe(error.reason) : error.reason;
        fields.promise = {};
      }
      fields.trace = typeof error.stack === 'string' ? error.stack.split('\n') : [];
      JSON.stringify(fields);
      return fields;
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  } catch {
    const text = 'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack';
    return { errorType: 'handled', errorMessage: text, trace: [] };
  }
}

/** As JSON for the log: every enumerable property, and the stack as lines. */
function forLog(error) {
  const expand = (value) => {
    if (!isError(value)) return value;
    const fields = { errorType: value.name, errorMessage: value.message, code: value.code, ...value };
    if (typeof value.stack === 'string') fields.stack = value.stack.split('\n');
    return fields;
  };
  try {
    return JSON.stringify(isError(error) ? error : describe(error), (key, value) => expand(value));
  } catch {
    return JSON.stringify(describe(error));
  }
}

module.exports = { RuntimeError, UnhandledPromiseRejection, describe, forLog, isError };
