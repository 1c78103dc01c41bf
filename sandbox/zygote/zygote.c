/*
 * The core of a zygote: waits for requests of the spawner, forks, and lets the fork carry out the system calls that the
 * request brings. README.md beside this file describes the protocol.
 *
 * Everything here runs with one thread. What isolates a worker is not decided here: the spawner sends it as data.
 */
#define _GNU_SOURCE
#include "zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sched.h>

#define MAGIC 0x315a5153u
#define CALLS_MAX 512u
#define FDS_MAX 40
#define FDS_MIN 3
/* Above the largest packet of the spawner (192 KiB). */
#define PACKET_BYTES_MAX (208u << 10)
#define TEXT_BYTES_MAX (128u << 10)
#define FLAG_CLOSE_ALL 1u
/* Not a system call: stores the second argument where the first points. */
#define CALL_STORE (-1)
/* Not a system call: says "W" on the report socket and reads the payload, behind its length, from the first argument. */
#define CALL_RECEIVE (-2)
#define HUGE_PAGE (2ul << 20)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
/* What a rehearsal may report: 16 MiB of written pages at most, so that no worker becomes heavy by it. */
#define RANGES_MAX 4096u
#define WRITTEN_PAGES_MAX 4096u
#define REHEARSAL_MS_MAX 20000
/* Of an entry of /proc/self/pagemap. */
#define PAGE_PRESENT (1ull << 63)
#define PAGE_OF_FILE (1ull << 61)
#define PAGE_EXCLUSIVE (1ull << 56)
#define ORPHAN_TRIES 100000
#define ORPHAN_PAUSE_US 50
#define STEP_NAMESPACE 0xfffffffeu
#define STEP_FORK 0xfffffffdu
#ifndef __WALL
#define __WALL 0x40000000
#endif

enum { REPORT = 0, SANDBOX = 1, ADOPTION = 2 };
enum { KIND_VALUE = 0, KIND_DESCRIPTOR = 1, KIND_BLOB = 2 };
enum { CHECK_NOT_NEGATIVE = 0, CHECK_WANTED = 1, CHECK_NOTHING = 2 };

struct header {
    uint32_t magic, calls, blob_bytes, payload_bytes, flags;
};

struct call {
    int32_t number;
    uint32_t kinds;
    int64_t argument[6];
    int64_t wanted;
    int32_t check;
    int32_t zero;
};

struct request {
    struct header header;
    const uint8_t *calls; /* not aligned */
    uint8_t *blob;
    uint8_t *payload;
    int fds[FDS_MAX];
    int fd_count;
};

_Static_assert(sizeof(struct header) == 20 && sizeof(struct call) == 72, "the layout of the protocol");

static uint8_t packet[PACKET_BYTES_MAX];
/* In a worker only. */
static uint8_t received_payload[PACKET_BYTES_MAX];
/* Written by the middle, which shares this memory. */
static volatile int fork_errno;

static int send_bytes(int to, const void *bytes, size_t length) {
    ssize_t sent;
    do {
        sent = send(to, bytes, length, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

static int send_text(int to, char kind, const char *text) {
    size_t length = text ? strlen(text) : 0;
    if (length > TEXT_BYTES_MAX) {
        errno = EMSGSIZE;
        return -1;
    }
    struct iovec parts[2] = {{&kind, 1}, {(void *)text, length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    return sendmsg(to, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static void tell_failure(int to, uint32_t step, int error) {
    uint8_t text[9] = {'F'};
    uint32_t number = (uint32_t)error;
    memcpy(text + 1, &step, 4);
    memcpy(text + 5, &number, 4);
    /* A spawner that is gone ends this process in another way. */
    (void)send_bytes(to, text, sizeof text);
}

static void close_all(struct request *r) {
    for (int i = 0; i < r->fd_count; i++) close(r->fds[i]);
    r->fd_count = 0;
}

/* The next packet: its length, 0 when the spawner is gone. Descriptors are taken whatever else is wrong. */
static ssize_t receive(int control, struct request *r) {
    union {
        char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
        struct cmsghdr aligned;
    } extra;
    struct iovec part = {packet, sizeof packet};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = extra.bytes, .msg_controllen = sizeof extra.bytes};
    ssize_t length;
    do {
        length = recvmsg(control, &message, MSG_CMSG_CLOEXEC);
    } while (length < 0 && errno == EINTR);
    r->fd_count = 0;
    if (length <= 0) return 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        int count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        if (count > FDS_MAX) count = FDS_MAX;
        memcpy(r->fds, CMSG_DATA(c), sizeof(int) * (size_t)count);
        r->fd_count = count;
    }
    return length;
}

static int parse(struct request *r, size_t length) {
    struct header *h = &r->header;
    if (length < sizeof *h || r->fd_count < FDS_MIN) return -1;
    memcpy(h, packet, sizeof *h);
    if (h->magic != MAGIC || h->calls > CALLS_MAX) return -1;
    uint64_t calls = (uint64_t)h->calls * sizeof(struct call);
    if (sizeof *h + calls + h->blob_bytes + h->payload_bytes != length) return -1;
    r->calls = packet + sizeof *h;
    r->blob = packet + sizeof *h + calls;
    r->payload = r->blob + h->blob_bytes;
    return 0;
}

static int resolve(const struct request *r, uint32_t kind, int64_t given, long *value) {
    switch (kind) {
    case KIND_VALUE:
        *value = (long)given;
        return 0;
    case KIND_DESCRIPTOR:
        if (given < 0 || given >= r->fd_count) return -1;
        *value = r->fds[given];
        return 0;
    case KIND_BLOB:
        if (given < 0 || given >= (int64_t)r->header.blob_bytes) return -1;
        *value = (long)(r->blob + given);
        return 0;
    default:
        return -1;
    }
}

static int read_whole(int from, void *to, size_t length) {
    uint8_t *at = to;
    while (length > 0) {
        ssize_t count = read(from, at, length);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return count == 0 ? EPIPE : errno;
        at += count;
        length -= (size_t)count;
    }
    return 0;
}

/* Pages that a rehearsal has needed, by which mapping they came: `written` to be copied, others only to be mapped. */
struct range {
    uint64_t from, bytes, written;
};
static struct range ranges[RANGES_MAX];
static uint32_t range_count;
static int rehearsal_pipe = -1;

/* In a worker: has the kernel map what it will need, all at once and ahead, instead of by a fault for each page. What is not
 * there any more, and a kernel that cannot (before 5.14), change nothing. */
static void get_pages(void) {
    for (uint32_t i = 0; i < range_count; i++) {
        (void)madvise((void *)ranges[i].from, ranges[i].bytes, ranges[i].written ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
    }
}

static int receive_payload(struct request *r, int from) {
    uint32_t length;
    if (send_bytes(r->fds[REPORT], "W", 1)) return errno;
    get_pages();
    int error = read_whole(from, &length, sizeof length);
    if (error) return error;
    if (length > sizeof received_payload) return EMSGSIZE;
    r->payload = received_payload;
    r->header.payload_bytes = length;
    return read_whole(from, received_payload, length);
}

/* In the worker: carries out one call; its error number, or 0. */
static int carry_out(struct request *r, uint32_t index) {
    struct call c;
    long a[6];
    memcpy(&c, r->calls + (size_t)index * sizeof c, sizeof c);
    for (int i = 0; i < 6; i++) {
        if (resolve(r, (c.kinds >> (4 * i)) & 15, c.argument[i], &a[i])) return EINVAL;
    }
    if (c.number == CALL_STORE) {
        if (((c.kinds & 15) != KIND_BLOB) || c.argument[0] > (int64_t)r->header.blob_bytes - 8) return EINVAL;
        memcpy((void *)a[0], &a[1], 8);
        return 0;
    }
    if (c.number == CALL_RECEIVE) return (c.kinds & 15) == KIND_DESCRIPTOR ? receive_payload(r, (int)a[0]) : EINVAL;
    long result;
    do {
        errno = 0;
        result = syscall(c.number, a[0], a[1], a[2], a[3], a[4], a[5]);
    } while (result < 0 && errno == EINTR);
    switch (c.check) {
    case CHECK_NOT_NEGATIVE:
        return result >= 0 ? 0 : errno;
    case CHECK_WANTED:
        return result == c.wanted ? 0 : (result < 0 ? errno : EPIPE);
    default:
        return 0;
    }
}

/* In the worker: becomes what the request says. */
static void enter(struct request *r, int control) {
#if defined(__linux__) && defined(__NR_rseq)
    /* The middle, from which this process was forked, had no registration to hand on; the C library counts on one. */
    extern const ptrdiff_t __rseq_offset __attribute__((weak));
    extern const unsigned int __rseq_size __attribute__((weak));
    if (&__rseq_offset && &__rseq_size && __rseq_size) {
        char *area = (char *)__builtin_thread_pointer() + __rseq_offset;
#if defined(__x86_64__)
        syscall(__NR_rseq, area, 32, 0, 0x53053053);
#elif defined(__aarch64__)
        syscall(__NR_rseq, area, 32, 0, 0xd428bc00);
#endif
    }
#endif
    /* First: one that waits for its function must not hide the zygote's end from the spawner. */
    close(control);
    for (uint32_t i = 0; i < r->header.calls; i++) {
        int error = carry_out(r, i);
        if (error) {
            tell_failure(r->fds[REPORT], i, error);
            _exit(127);
        }
    }
    /* The middle has long ended, unless the machine is very busy: no program should see another parent than init. */
    for (int tries = 0; getppid() != 1; tries++) {
        if (tries == ORPHAN_TRIES) {
            tell_failure(r->fds[REPORT], STEP_FORK, ETIMEDOUT);
            _exit(127);
        }
        usleep(ORPHAN_PAUSE_US);
    }
    if (send_bytes(r->fds[REPORT], "S", 1)) _exit(127);
    if (r->header.flags & FLAG_CLOSE_ALL) {
        syscall(__NR_close_range, 3u, ~0u, 0u);
    } else {
        close_all(r);
    }
}

/* In the middle, which shares the zygote's memory and stack as vfork has it: forks the worker, in which it returns. */
static void middle(const struct request *r) {
    pid_t worker = fork();
    if (worker == 0) return;
    if (worker < 0) {
        fork_errno = errno;
        _exit(1);
    }
    int32_t number = worker;
    ssize_t written = write(r->fds[ADOPTION], &number, sizeof number);
    _exit(written == sizeof number ? 0 : 1);
}

/* In the zygote 0; in the worker 1. */
static int fork_worker(struct request *r) {
    if (setns(r->fds[SANDBOX], CLONE_NEWPID)) {
        tell_failure(r->fds[REPORT], STEP_NAMESPACE, errno);
        return 0;
    }
    fork_errno = 0;
    pid_t child = vfork();
    if (child == 0) {
        middle(r);
        return 1;
    }
    if (child < 0) {
        tell_failure(r->fds[REPORT], STEP_FORK, errno);
        return 0;
    }
    int status = 0;
    while (waitpid(child, &status, __WALL) < 0 && errno == EINTR) {
    }
    if (fork_errno) tell_failure(r->fds[REPORT], STEP_FORK, fork_errno);
    /* Killed with its sandbox, perhaps inside fork: locks of the C library would stay taken for ever, and the next fork hang. */
    if (WIFSIGNALED(status)) _exit(1);
    return 0;
}

/* Puts this process's memory on huge pages where it fills them: a fork copies one entry for each instead of 512. What a worker
 * writes to is still copied by small pages. A kernel that cannot (before 6.1) leaves it as it is. */
static void pack_memory(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512], mode[5];
    unsigned long from, to, inode;
    if (!maps) return;
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx %4s %*s %*s %lu", &from, &to, mode, &inode) != 4) continue;
        if (inode || mode[1] != 'w' || mode[3] != 'p') continue;
        from = (from + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
        for (; from + HUGE_PAGE <= to; from += HUGE_PAGE) (void)madvise((void *)from, HUGE_PAGE, MADV_COLLAPSE);
    }
    fclose(maps);
}

/* Adds the pages of one mapping that are here now and were not when this process was forked: those of its own, and of files. */
static void note_pages(int pagemap, unsigned long from, unsigned long to, uint32_t *written) {
    static uint64_t entries[4096];
    const unsigned long page = 4096;
    while (from < to) {
        size_t count = (to - from) / page < 4096 ? (to - from) / page : 4096;
        ssize_t got = pread(pagemap, entries, count * 8, (off_t)(from / page * 8));
        if (got <= 0) return;
        for (size_t i = 0; i < (size_t)got / 8; i++, from += page) {
            uint64_t entry = entries[i];
            int is_file = (entry & PAGE_OF_FILE) != 0;
            if (!(entry & PAGE_PRESENT) || !(is_file || entry & PAGE_EXCLUSIVE)) continue;
            if (!is_file && ++*written > WRITTEN_PAGES_MAX) return;
            struct range *last = range_count ? &ranges[range_count - 1] : NULL;
            if (last && last->from + last->bytes == from && last->written == !is_file) {
                last->bytes += page;
            } else if (range_count < RANGES_MAX) {
                ranges[range_count++] = (struct range){from, page, !is_file};
            }
        }
    }
}

static void note_all_pages(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    char line[512], mode[5];
    unsigned long from, to;
    uint32_t written = 0;
    while (maps && pagemap >= 0 && fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) != 3 || mode[3] != 'p' || mode[0] != 'r') continue;
        if (!strstr(line, "[v")) note_pages(pagemap, from, to, &written);
    }
    if (maps) fclose(maps);
    if (pagemap >= 0) close(pagemap);
}

int squall_zygote_rehearse(void) {
    int ends[2], status;
    if (sysconf(_SC_PAGESIZE) != 4096 || pipe2(ends, O_CLOEXEC)) return 0;
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        rehearsal_pipe = ends[1];
        return 1;
    }
    close(ends[1]);
    size_t have = 0;
    struct pollfd waits = {.fd = ends[0], .events = POLLIN};
    while (child > 0 && have < sizeof ranges && poll(&waits, 1, REHEARSAL_MS_MAX) > 0) {
        ssize_t count = read(ends[0], (uint8_t *)ranges + have, sizeof ranges - have);
        if (count <= 0) break;
        have += (size_t)count;
    }
    range_count = (uint32_t)(have / sizeof *ranges);
    close(ends[0]);
    if (child > 0) {
        kill(child, SIGKILL);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
    }
    return 0;
}

void squall_zygote_rehearsed(void) {
    range_count = 0;
    note_all_pages();
    const uint8_t *at = (const uint8_t *)ranges;
    size_t left = range_count * sizeof *ranges;
    while (left > 0) {
        ssize_t count = write(rehearsal_pipe, at, left);
        if (count <= 0) break;
        at += count;
        left -= (size_t)count;
    }
    _exit(0);
}

const uint8_t *squall_zygote_serve(int control, const char *ready_text, void (*prepare)(void), uint32_t *length) {
    static struct request r;
    pack_memory();
    if (send_text(control, 'R', ready_text)) _exit(1);
    for (;;) {
        ssize_t received = receive(control, &r);
        if (received <= 0) _exit(0);
        if (parse(&r, (size_t)received)) {
            if (r.fd_count > 0) tell_failure(r.fds[REPORT], STEP_FORK, EBADMSG);
        } else {
            if (prepare) prepare();
            if (fork_worker(&r)) {
                enter(&r, control);
                *length = r.header.payload_bytes;
                return r.payload;
            }
        }
        close_all(&r);
        explicit_bzero(packet, (size_t)received);
    }
}

int squall_zygote_refuse(int control, const char *reason) {
    return send_text(control, 'E', reason);
}
