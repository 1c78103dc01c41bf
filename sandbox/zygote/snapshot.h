/* Snapshots of a zygote's forks: see README.md beside this file. */
#ifndef SQUALL_SNAPSHOT_H
#define SQUALL_SNAPSHOT_H

#include <stdint.h>

#define SQUALL_SNAPSHOT_EXPORT __attribute__((visibility("default")))

/* In the zygote, before it serves: reserves what forks need for the rest. 0, or -1. */
SQUALL_SNAPSHOT_EXPORT int squall_snapshot_reserve(void);

/* In a fork: sends an HTTP request that begins with `head` and whose body is this process's memory to `to`. 0 when it is sent,
 * -1 when it cannot be (see the error); 1 in a process that was made of the snapshot. The process must have one thread. */
SQUALL_SNAPSHOT_EXPORT int squall_snapshot_take(int to, const char *head);

/* In another fork of the same zygote: becomes the process of the snapshot, in which `take` returns 1, with descriptors 0 to 2
 * alone. Returns -1, unchanged, where that cannot be. A worker whose memory turns out not to fit ends with status 70. */
SQUALL_SNAPSHOT_EXPORT int squall_snapshot_restore(const char *path, const uint8_t *payload, uint32_t length);

/* What the process that became the snapshot was given. */
SQUALL_SNAPSHOT_EXPORT const uint8_t *squall_snapshot_payload(uint32_t *length);

/* Why the last call failed. */
SQUALL_SNAPSHOT_EXPORT const char *squall_snapshot_error(void);

#endif
