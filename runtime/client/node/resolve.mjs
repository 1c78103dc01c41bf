// Resolution hook for Node versions that run hooks in a thread: looks into NODE_PATH for what ESM did not find.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

let lookup;

export function initialize(folders) {
  lookup = createRequire(`${folders[0]}/x.js`);
}

export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND' || /^(\.|\/|[a-z]+:)/.test(specifier)) throw error;
    try {
      return { url: pathToFileURL(lookup.resolve(specifier)).href, shortCircuit: true };
    } catch {
      throw error;
    }
  }
}
