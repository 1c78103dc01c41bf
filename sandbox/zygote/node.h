/* What the two parts of the Node.js addon share: node.c (forks) and node_snapshot.c (snapshots of them). */
#ifndef SQUALL_NODE_H
#define SQUALL_NODE_H

#include <stddef.h>
#include <stdint.h>

/* node-api, as its documentation has it. */
typedef struct napi_env_ *napi_env;
typedef struct napi_value_ *napi_value;
typedef struct napi_callback_info_ *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);
typedef struct uv_loop_s uv_loop_t;
#define NAPI_OK 0

extern int napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
extern int napi_set_named_property(napi_env, napi_value, const char *, napi_value);
extern int napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
extern int napi_get_value_bool(napi_env, napi_value, uint8_t *);
extern int napi_get_value_double(napi_env, napi_value, double *);
extern int napi_get_value_string_utf8(napi_env, napi_value, char *, size_t, size_t *);
extern int napi_create_array(napi_env, napi_value *);
extern int napi_set_element(napi_env, napi_value, uint32_t, napi_value);
extern int napi_create_string_utf8(napi_env, const char *, size_t, napi_value *);
extern int napi_call_function(napi_env, napi_value, napi_value, size_t, const napi_value *, napi_value *);
extern int napi_get_undefined(napi_env, napi_value *);
extern int napi_throw_error(napi_env, const char *, const char *);
extern int napi_get_uv_event_loop(napi_env, uv_loop_t **);
extern int uv_loop_fork(uv_loop_t *);
extern int uv_backend_fd(const uv_loop_t *);
extern void uv_update_time(uv_loop_t *);

/* Throws; answers NULL. */
napi_value failure(napi_env env, const char *text);

/* Every mapping of this process comes along in a fork. 0, or -1. */
int keep_mappings(void);

/* Seeds the generators of OpenSSL and V8 anew. 0, or -1. */
int renew_randomness(void);

/* V8's background work, which one thread of ours does: 1 when nothing of it is under way, and then nothing begins until it is
 * released, in this process or, without the thread, in its fork. */
int hold_background(void);
void release_background(int is_fork);
/* Whether a thread that sleeps on this address is that one, at rest. */
int is_in_background(unsigned long futex);

/* In a worker that has its payload: becomes a snapshot where that says so. Returns where it does not, and where that cannot be. */
void restore_snapshot(const uint8_t *payload, uint32_t length);

/* For JavaScript: node_snapshot.c says what they do. */
napi_value reserve_snapshots(napi_env env, napi_callback_info info);
napi_value unusable_snapshot(napi_env env, napi_callback_info info);
napi_value under_way(napi_env env, napi_callback_info info);
napi_value take_snapshot(napi_env env, napi_callback_info info);
napi_value reopen_files(napi_env env, napi_callback_info info);

#endif
