// An ES module with an await of its own, for node_fork_features.cjs and as a handler.
import fs from 'node:fs/promises';
import features from './node_fork_features.cjs';

await fs.stat(new URL(import.meta.url));
export const value = await Promise.resolve(42);
export const handler = async (event) => features.handler(event);
