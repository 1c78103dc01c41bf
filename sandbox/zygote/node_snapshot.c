/*
 * Snapshots of a node that has run a function's init code: the addon's part. snapshot.c is the core, runtime/client/node/snapshot.cjs
 * the caller, docs/decisions/025 the reasons.
 *
 * The memory that is sent is that of a fork of the process, made where no thread works: so libuv's thread pool, the C library and
 * OpenSSL do by themselves what they do after every fork, and the fork has one thread. What is made of the snapshot has no
 * descriptors: each is made again under its number, and uv_loop_fork renews those of the event loop.
 */
#define _GNU_SOURCE
#include "node.h"
#include "snapshot.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define IMAGE "/var/snapshot/image"
#define KEPT_MAX 256
#define PIPE_BYTES_MAX 64
/* How long threads may take to come to rest, in milliseconds. */
#define REST_MS_MAX 5000
/* Where uv_loop_t, as its public header has it, counts the requests that are under way. */
#define LOOP_REQUESTS 32

enum kind { NOTHING, EVENT, PIPE, PEER, FILE_READ };

/* A descriptor that is to be made again; part of the image. */
static struct kept {
    int number, flags, status;
    enum kind kind;
    ino_t inode;
    off_t place;
    char *path;
} kept[KEPT_MAX];
static int kept_count;
static char reason[512];
/* Why the snapshot that this process was to become is of no use. */
static const char *unusable;

static int no(const char *what, const char *detail) {
    snprintf(reason, sizeof reason, "%.128s%.256s", what, detail);
    return -1;
}

/* reserve(): in the zygote. */
napi_value reserve_snapshots(napi_env env, napi_callback_info info) {
    (void)info;
    return squall_snapshot_reserve() ? failure(env, "there are no snapshots on this machine") : NULL;
}

void restore_snapshot(const uint8_t *payload, uint32_t length) {
    static const char order[] = "\0_SQUALL_SNAPSHOT=restore";
    if (!memmem(payload, length, order, sizeof order)) return;
    squall_snapshot_restore(IMAGE, payload, length);
    unusable = squall_snapshot_error();
}

/* unusable(): why, or undefined. */
napi_value unusable_snapshot(napi_env env, napi_callback_info info) {
    napi_value text;
    (void)info;
    if (!unusable || napi_create_string_utf8(env, unusable, strlen(unusable), &text)) return NULL;
    return text;
}

/* --- Threads and requests: what a fork would lose. */

struct place {
    uintptr_t within, from, until;
};

/* The variables of the object that holds a function. */
static int find_variables(struct dl_phdr_info *object, size_t size, void *to) {
    struct place *place = to;
    uintptr_t from = 0, until = 0;
    int is_it = 0;
    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + part->p_vaddr, end = start + part->p_memsz;
        if (part->p_type != PT_LOAD) continue;
        if (place->within >= start && place->within < end) is_it = 1;
        if (part->p_flags & PF_W) {
            from = start;
            until = end;
        }
    }
    if (!is_it) return 0;
    place->from = from;
    place->until = until;
    return 1;
}

/* A thread at rest is one of libuv's pool, which wait in a condition among libuv's own variables, or ours for background work. */
static int is_at_rest(int thread, const struct place *libuv) {
    char path[64], line[256] = "";
    long number;
    unsigned long futex;
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT;
    ssize_t length = read(fd, line, sizeof line - 1);
    close(fd);
    if (length <= 0) return 1; /* It has just ended. */
    if (sscanf(line, "%ld %lx", &number, &futex) != 2 || number != SYS_futex) return 0;
    return is_in_background(futex) || (futex >= libuv->from && futex < libuv->until);
}

static int threads_rest(void) {
    struct place libuv = {.within = (uintptr_t)&uv_loop_fork};
    DIR *folder = opendir("/proc/self/task");
    struct dirent *entry;
    int rest = folder && dl_iterate_phdr(find_variables, &libuv) == 1;
    while (rest && (entry = readdir(folder))) {
        int thread = atoi(entry->d_name);
        if (thread > 0 && thread != getpid()) rest = is_at_rest(thread, &libuv);
    }
    if (folder) closedir(folder);
    return rest;
}

static const char *find_work(uv_loop_t *loop) {
    unsigned int requests;
    siginfo_t child;
    if (!waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT)) return "the init code has left a process running";
    memcpy(&requests, (const char *)loop + LOOP_REQUESTS, sizeof requests);
    if (requests) return "the init code has left work under way";
    if (!threads_rest()) return "the init code has left a thread running";
    if (!hold_background()) return "the init code has left work under way";
    release_background(0);
    return NULL;
}

/* underWay(): what a snapshot would lose now, or undefined. */
napi_value under_way(napi_env env, napi_callback_info info) {
    uv_loop_t *loop;
    napi_value text;
    (void)info;
    if (napi_get_uv_event_loop(env, &loop)) return failure(env, "underWay");
    const char *work = find_work(loop);
    if (!work || napi_create_string_utf8(env, work, strlen(work), &text)) return NULL;
    return text;
}

/* --- Descriptors. */

static int is_connection(int fd) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_STREAM) return 0;
    if (getpeername(fd, (struct sockaddr *)&address, &length)) return 0;
    return address.ss_family == AF_INET || address.ss_family == AF_INET6;
}

/* Answers -1 for what cannot be made again. */
static int kind_of(int fd, const struct stat *s, const char *target, int is_loop) {
    int can_write = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    if (S_ISSOCK(s->st_mode)) return is_connection(fd) ? PEER : -1;
    if (S_ISFIFO(s->st_mode)) return !strncmp(target, "pipe:", 5) ? PIPE : -1;
    if (S_ISCHR(s->st_mode) && s->st_rdev == makedev(1, 3)) return NOTHING;
    if (S_ISCHR(s->st_mode) || S_ISREG(s->st_mode)) return can_write || !s->st_nlink ? -1 : FILE_READ;
    if (!strcmp(target, "anon_inode:[eventfd]")) return EVENT;
    return is_loop ? NOTHING : -1;
}

static int note(int fd, int is_loop) {
    char link[64], target[PATH_MAX];
    struct stat s;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length < 0 || fstat(fd, &s)) return no("descriptors cannot be looked at: ", strerror(errno));
    target[length] = 0;
    int kind = kind_of(fd, &s, target, is_loop);
    if (kind < 0) return no("the init code has left a descriptor open: ", target);
    if (kept_count == KEPT_MAX) return no("the init code has left too many descriptors open", "");
    struct kept *k = &kept[kept_count++];
    *k = (struct kept){.number = fd, .flags = fcntl(fd, F_GETFD), .status = fcntl(fd, F_GETFL), .kind = (enum kind)kind, .inode = s.st_ino};
    if (kind != FILE_READ) return 0;
    k->place = lseek(fd, 0, SEEK_CUR);
    k->path = strdup(target);
    return k->path ? 0 : no("out of memory", "");
}

static struct kept *other_end(const struct kept *of) {
    for (int i = 0; i < kept_count; i++) {
        struct kept *k = &kept[i];
        if (k->kind == PIPE && k->inode == of->inode && (k->status & O_ACCMODE) == O_WRONLY) return k;
    }
    return NULL;
}

static int is_read_end(const struct kept *k) { return k->kind == PIPE && (k->status & O_ACCMODE) == O_RDONLY; }

/* Pipes that this process has both ends of, libuv's own mostly; how much is in them takes the file position's place. */
static int note_pipes(void) {
    int ends = 0;
    for (int i = 0; i < kept_count; i++) {
        int bytes = 0;
        ends += kept[i].kind == PIPE;
        if (!is_read_end(&kept[i])) continue;
        if (!other_end(&kept[i])) return no("the init code has left a descriptor open: ", "a pipe");
        if (ioctl(kept[i].number, FIONREAD, &bytes) || bytes > PIPE_BYTES_MAX) return no("the init code has left a descriptor open: ", "a full pipe");
        kept[i].place = bytes;
        ends -= 2;
    }
    return ends ? no("the init code has left a descriptor open: ", "a pipe") : 0;
}

static int note_descriptors(uv_loop_t *loop, int tell) {
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    int result = folder ? 0 : no("descriptors cannot be looked at: ", strerror(errno));
    kept_count = 0;
    while (!result && (entry = readdir(folder))) {
        int fd = atoi(entry->d_name);
        if (fd > 2 && fd != tell && fd != dirfd(folder)) result = note(fd, fd == uv_backend_fd(loop));
    }
    if (folder) closedir(folder);
    return result ? -1 : note_pipes();
}

/* Puts a new descriptor where the old one was. */
static int put(int fresh, const struct kept *k) {
    if (fresh < 0 || (fresh != k->number && dup3(fresh, k->number, k->flags & FD_CLOEXEC ? O_CLOEXEC : 0) < 0)) return -1;
    if (fresh != k->number) close(fresh);
    return fcntl(k->number, F_SETFD, k->flags) || fcntl(k->number, F_SETFL, k->status & (O_NONBLOCK | O_APPEND)) ? -1 : 0;
}

/* New descriptors must not stand where another belongs. */
static int above(int fd) {
    int highest = 2;
    for (int i = 0; i < kept_count; i++) highest = kept[i].number > highest ? kept[i].number : highest;
    int higher = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, highest + 1);
    if (fd >= 0) close(fd);
    return higher;
}

static int make_pipe(const struct kept *k) {
    static const char bytes[PIPE_BYTES_MAX];
    int ends[2];
    const struct kept *to = other_end(k);
    if (!to || pipe2(ends, O_CLOEXEC)) return -1;
    ends[0] = above(ends[0]);
    ends[1] = above(ends[1]);
    if (write(ends[1], bytes, (size_t)k->place) != k->place) return -1;
    return put(ends[0], k) || put(ends[1], to) ? -1 : 0;
}

/* What a connection is whose other side has gone: that is how libraries find out and connect anew. */
static int make_peer(const struct kept *k) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) return -1;
    close(ends[1]);
    return put(above(ends[0]), k);
}

/* All but the files, in whose place is nothing yet: some of them are in /tmp. */
static int make_descriptors(void) {
    int result = 0;
    for (int i = 0; !result && i < kept_count; i++) {
        const struct kept *k = &kept[i];
        if (k->kind == PEER) result = make_peer(k);
        else if (k->kind == EVENT) result = put(above(eventfd(0, EFD_CLOEXEC)), k);
        else if (k->kind != PIPE) result = put(above(open("/dev/null", O_RDWR | O_CLOEXEC)), k);
        else if (is_read_end(k)) result = make_pipe(k);
    }
    return result;
}

/* reopen(): in a process that was made of a snapshot, when its /tmp is filled. */
napi_value reopen_files(napi_env env, napi_callback_info info) {
    (void)info;
    for (int i = 0; i < kept_count; i++) {
        const struct kept *k = &kept[i];
        if (k->kind != FILE_READ) continue;
        int fd = above(open(k->path, O_RDONLY | O_CLOEXEC));
        if (fd < 0 || (k->place > 0 && lseek(fd, k->place, SEEK_SET) < 0) || put(fd, k)) return failure(env, k->path);
    }
    return NULL;
}

/* --- The snapshot. */

static int connect_to(const char *address) {
    char host[64];
    struct sockaddr_in to = {.sin_family = AF_INET};
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof host) return -1;
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = 0;
    to.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1) return -1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) ? (close(fd), -1) : fd;
}

/* In the fork: sends, and ends. Returns in what is made of the snapshot. */
static void send_memory(uv_loop_t *loop, const char *address, const char *head, int tell) {
    char answer[64];
    release_background(1);
    int result = note_descriptors(loop, tell), to = -1;
    if (!result && (to = connect_to(address)) < 0) result = no("connect to the Runtime API: ", strerror(errno));
    if (!result) {
        result = squall_snapshot_take(to, head);
        if (result == 1) return;
        if (result) no(squall_snapshot_error(), "");
    }
    if (!result) _exit(read(to, answer, sizeof answer) > 0 ? 0 : 1);
    _exit(write(tell, reason, strlen(reason)) > 0 ? 1 : 2);
}

static int wait_for(pid_t child, int told) {
    int status = 0;
    ssize_t length, have = 0;
    while ((length = read(told, reason + have, sizeof reason - 1 - (size_t)have)) > 0) have += length;
    reason[have] = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!have && status) no("the process that was to make it has ended", "");
    return status;
}

/* The variables that this process was given, as NAME=value. */
static napi_value variables(napi_env env) {
    uint32_t length, argc, envc;
    const uint8_t *payload = squall_snapshot_payload(&length);
    const char *at = (const char *)payload + 8, *end = (const char *)payload + length;
    napi_value list, text;
    if (length < 8 || napi_create_array(env, &list)) return NULL;
    memcpy(&argc, payload, 4);
    memcpy(&envc, payload + 4, 4);
    for (uint64_t i = 0; i < (uint64_t)argc + envc; i++) {
        size_t bytes = strnlen(at, (size_t)(end - at));
        if (at + bytes >= end) return NULL;
        if (i >= argc && (napi_create_string_utf8(env, at, bytes, &text) || napi_set_element(env, list, (uint32_t)(i - argc), text))) return NULL;
        at += bytes + 1;
    }
    return list;
}

static napi_value wake(napi_env env, uv_loop_t *loop) {
    const char *step = NULL;
    uv_update_time(loop);
    if (make_descriptors()) step = "descriptors";
    else if (uv_loop_fork(loop)) step = "the event loop";
    else if (renew_randomness()) step = "random numbers";
    napi_value list = step ? NULL : variables(env);
    if (list) return list;
    /* Half a node must not run a function. */
    dprintf(2, "The snapshot could not be restored: %s: %s\n", step ? step : "variables", strerror(errno));
    _exit(70);
}

/* take(address, head): sends the memory of this process to the Runtime API and leaves; throws where that cannot be. Returns the
 * variables in the process that is made of it. To be called with nothing under way. */
napi_value take_snapshot(napi_env env, napi_callback_info info) {
    static char address[128], head[512];
    napi_value argument[2];
    size_t count = 2, ignored;
    uv_loop_t *loop;
    int ends[2];
    if (napi_get_cb_info(env, info, &count, argument, NULL, NULL) || count != 2) return failure(env, "take: arguments");
    if (napi_get_value_string_utf8(env, argument[0], address, sizeof address, &ignored) ||
        napi_get_value_string_utf8(env, argument[1], head, sizeof head, &ignored) || napi_get_uv_event_loop(env, &loop)) {
        return failure(env, "take: arguments");
    }
    const char *work = find_work(loop);
    /* Collecting garbage may have given a thread something to do. */
    for (int ms = 0; work && ms < REST_MS_MAX; ms++) {
        usleep(1000);
        work = find_work(loop);
    }
    if (work) return failure(env, work);
    if (keep_mappings() || pipe2(ends, O_CLOEXEC)) return failure(env, "the memory cannot be kept for a fork");
    if (!hold_background()) return failure(env, "the init code has left work under way");
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        send_memory(loop, address, head, ends[1]);
        return wake(env, loop);
    }
    int error = errno;
    release_background(0);
    close(ends[1]);
    if (child < 0) no("fork: ", strerror(error));
    if (child > 0 && !wait_for(child, ends[0])) _exit(0);
    close(ends[0]);
    return failure(env, reason);
}
