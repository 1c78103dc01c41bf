/* The core of a zygote: see README.md beside this file. */
#ifndef SQUALL_ZYGOTE_H
#define SQUALL_ZYGOTE_H

#include <stdint.h>

#define SQUALL_EXPORT __attribute__((visibility("default")))

/* Serves forks until the spawner closes `control`, and then leaves the process. Returns only in a worker: its payload,
 * `*length` bytes, valid until the worker ends. `prepare`, which may be NULL, runs in the zygote before each fork. */
SQUALL_EXPORT const uint8_t *squall_zygote_serve(int control, const char *ready_text, void (*prepare)(void), uint32_t *length);

/* Makes a fork that does once what every worker will do: returns 1 there, and 0 here when it has said by squall_zygote_rehearsed
 * which pages that took, or has not within 20 seconds. Every later fork gets those pages before its function is known. */
SQUALL_EXPORT int squall_zygote_rehearse(void);

/* In that fork: reports, and leaves the process. */
SQUALL_EXPORT void squall_zygote_rehearsed(void) __attribute__((noreturn));

/* Tells the spawner that this interpreter cannot be a zygote. 0, or -1 with errno. */
SQUALL_EXPORT int squall_zygote_refuse(int control, const char *reason);

#endif
