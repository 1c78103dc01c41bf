'use strict';
// Finds and loads the handler that `_HANDLER` names: `folder/module.export.nested`.

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');
const { pathToFileURL } = require('url');
const { RuntimeError } = require('./errors.cjs');
const { hooks } = require('./snapshot.cjs');

/** Whether the nearest package.json above the file says `"type": "module"`. */
function isModulePackage(folder) {
  for (let at = folder; ; at = path.dirname(at)) {
    const file = path.join(at, 'package.json');
    // Looked for first: mostly there is none, and an exception is dear.
    if (isFile(file)) {
      try {
        return JSON.parse(fs.readFileSync(file, 'utf8')).type === 'module';
      } catch {
        return false;
      }
    }
    if (path.dirname(at) === at || path.basename(at) === 'node_modules') return false;
  }
}

function isFile(name) {
  const stat = fs.statSync(name, { throwIfNoEntry: false });
  return stat !== undefined && stat.isFile();
}

/** ESM does not look into NODE_PATH by itself; AWS's runtimes do, and layers and the SDK depend on it. */
function useNodePath() {
  const module = require('module');
  const folders = (process.env.NODE_PATH || '').split(':').filter((folder) => {
    // ESM climbs from /var/task to /var/node_modules, where the SDK is, without help.
    if (path.basename(folder) !== 'node_modules' || !fs.existsSync(folder)) return false;
    return fs.realpathSync(folder) !== '/var/node_modules';
  });
  if (folders.length === 0) return;
  if (typeof module.registerHooks === 'function') {
    const require_ = createRequire(path.join(folders[0], 'x.js'));
    module.registerHooks({
      resolve(specifier, context, next) {
        try {
          return next(specifier, context);
        } catch (error) {
          if (error.code !== 'ERR_MODULE_NOT_FOUND' || /^(\.|\/|[a-z]+:)/.test(specifier)) throw error;
          try {
            return { url: pathToFileURL(require_.resolve(specifier)).href, shortCircuit: true };
          } catch {
            throw error;
          }
        }
      },
    });
  } else if (typeof module.register === 'function') {
    // Older Node runs hooks in a thread of their own, some 20 ms: only where a layer's or the SDK's folder would be missed.
    module.register(pathToFileURL(path.join(__dirname, 'resolve.mjs')), { data: folders });
  }
}

async function importFile(file) {
  useNodePath();
  return import(pathToFileURL(file).href);
}

async function loadModule(root, folder, name) {
  const base = path.resolve(root, folder, name);
  if (isFile(base)) return require(base);
  if (isFile(`${base}.js`)) {
    return isModulePackage(path.dirname(base)) ? importFile(`${base}.js`) : require(`${base}.js`);
  }
  if (isFile(`${base}.mjs`)) return importFile(`${base}.mjs`);
  if (isFile(`${base}.cjs`)) return require(`${base}.cjs`);
  return require(require.resolve(name, { paths: [root, path.join(root, folder)] }));
}

function translate(error) {
  if (error instanceof SyntaxError) return new RuntimeError('UserCodeSyntaxError', error.toString());
  if (error && error.code === 'MODULE_NOT_FOUND') return new RuntimeError('ImportModuleError', error.toString());
  return error;
}

/** The handler function; what it throws has AWS's error types. */
async function load(root, name, nodeMajor) {
  globalThis.awslambda = {
    streamifyResponse() {
      throw new RuntimeError('StreamingNotSupported', 'Response streaming is not supported: export a handler that returns its response');
    },
    snapStart: hooks,
  };
  if (name.includes('..')) {
    const text = `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`;
    throw new RuntimeError('MalformedHandlerName', text);
  }
  const file = path.basename(name);
  const folder = name.slice(0, name.length - file.length);
  const parts = /^([^.]*)\.(.*)$/.exec(file);
  if (parts === null) throw new RuntimeError('MalformedHandlerName', 'Bad handler');
  let found;
  try {
    found = await loadModule(root, folder, parts[1]);
  } catch (error) {
    throw translate(error);
  }
  const handler = parts[2].split('.').reduce((at, key) => (at === undefined || at === null ? at : at[key]), found);
  if (!handler) throw new RuntimeError('HandlerNotFound', `${name} is undefined or not exported`);
  if (typeof handler !== 'function') throw new RuntimeError('HandlerNotFound', `${name} is not a function`);
  if (nodeMajor >= 24 && handler.length >= 3) {
    const text =
      'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. ' +
      'You need to modify this function to use a supported handler signature to use Node.js 24 or later. ' +
      'For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.';
    throw new RuntimeError('CallbackHandlerDeprecated', text);
  }
  return handler;
}

module.exports = { load };
