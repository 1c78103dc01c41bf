//! The invocation core: admission, instance pool, Runtime API, timeouts.
