// The same as an ES module.
import { handler as call } from './rehearsal.js';

export const handler = async (event, context) => call(event, context);
