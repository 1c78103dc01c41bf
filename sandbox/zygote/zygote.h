/* The core of a zygote: see README.md beside this file. */
#ifndef SQUALL_ZYGOTE_H
#define SQUALL_ZYGOTE_H

#include <stdint.h>

#define SQUALL_EXPORT __attribute__((visibility("default")))

/* Serves forks until the spawner closes `control`, and then leaves the process. Returns only in a worker: its payload,
 * `*length` bytes, valid until the worker ends. `prepare`, which may be NULL, runs in the zygote before each fork. */
SQUALL_EXPORT const uint8_t *squall_zygote_serve(int control, const char *ready_text, void (*prepare)(void), uint32_t *length);

/* Tells the spawner that this interpreter cannot be a zygote. 0, or -1 with errno. */
SQUALL_EXPORT int squall_zygote_refuse(int control, const char *reason);

#endif
