// The other end of child_process.fork in node_fork_features.cjs.
process.on('message', ({ n }) => process.send({ n: n + 1 }, () => process.exit(3)));
