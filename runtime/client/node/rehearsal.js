'use strict';
// The function that a zygote calls while it gets ready (zygote.cjs): what is compiled for it need not be in every worker.

exports.handler = async (event, context) => {
  console.log('rehearsal', event, context.awsRequestId, context.getRemainingTimeInMillis());
  if (event.fails) throw new Error('rehearsal');
  await new Promise((resolve) => setTimeout(resolve, 1));
  return { statusCode: 200, headers: {}, body: JSON.stringify(event) };
};
