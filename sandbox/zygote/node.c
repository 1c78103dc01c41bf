/*
 * The Node.js side of a zygote: an addon around the core (zygote.c) that puts right, in the fork of a running node, what a
 * fork breaks. README.md beside this file describes the protocol; runtime/client/node/zygote.cjs is the caller.
 *
 * No header of node is needed: the few node-api, libuv and V8 functions are declared here and found in the node process when
 * the addon is loaded. What is not found there makes the zygote refuse, and workers are executed as before.
 *
 * What a fork of node breaks, and what is done:
 *  - V8 marks its heap MADV_DONTFORK: all mappings are marked MADV_DOFORK once, before the first fork; between forks the zygote
 *    runs no JavaScript, so there are no new ones.
 *  - The epoll instance, eventfds and pipes of libuv would be shared: each is replaced by /dev/null, then uv_loop_fork makes
 *    those of the main loop anew. The others belong to threads that the fork does not have, which may still be "woken".
 *  - Threads are gone that wait in condition variables. Waking those variables would wait for the lost threads: they are made
 *    fresh. (libuv's own thread pool does this for itself.)
 *  - V8 hands background work (compiling WebAssembly, which `fetch` needs too) to threads that the fork does not have; it would
 *    lie there, and the end of a Worker would wait for it for ever. In forks a thread of ours does it, made on first need.
 *  - OpenSSL and V8 would give every fork the same random numbers: both are seeded anew.
 *  - The heap limit is that of the zygote: limitHeap lowers it to the function's.
 */
#define _GNU_SOURCE
#include "node.h"
#include "zygote.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define CONTROL 3
#define DESCRIPTORS_MAX 64
#define CONDITIONS_MAX 32
/* How much of V8's Isolate is searched, and how many places may look like its generator at first. */
#define ISOLATE_BYTES_MAX (256u << 10)
#define ARGUMENTS_MAX 64u
/* The platform has 20 to 30 virtual methods. */
#define METHODS_MAX 40
/* How long the zygote's other threads may take to come to rest, in milliseconds. */
#define REST_MS_MAX 2000

#ifndef MADV_DOFORK
#define MADV_DOFORK 11
#endif

/* v8::Isolate, by the names that its public header gives. */
typedef size_t (*near_heap_limit)(void *, size_t, size_t);
static void *(*isolate_current)(void);
static void (*add_near_heap_limit)(void *, near_heap_limit, void *);
static void (*remove_near_heap_limit)(void *, near_heap_limit, size_t);
/* OpenSSL, which node carries and exports. */
static void (*rand_seed)(const void *, int);

/* V8's generator of random numbers: the seed that it began with, and its state (xorshift128+). */
struct generator {
    uint64_t seed, state0, state1;
};
static struct generator *generator;

static struct {
    int fd;
    dev_t device;
    ino_t inode;
} descriptors[DESCRIPTORS_MAX];
static int descriptor_count;
static pthread_cond_t *conditions[CONDITIONS_MAX];
static int condition_count;

napi_value failure(napi_env env, const char *text) {
    napi_throw_error(env, NULL, text);
    return NULL;
}

static const char *find_symbols(void) {
    isolate_current = (void *(*)(void))dlsym(RTLD_DEFAULT, "_ZN2v87Isolate10GetCurrentEv");
    add_near_heap_limit = (void (*)(void *, near_heap_limit, void *))dlsym(
        RTLD_DEFAULT, "_ZN2v87Isolate24AddNearHeapLimitCallbackEPFmPvmmES1_");
    remove_near_heap_limit = (void (*)(void *, near_heap_limit, size_t))dlsym(
        RTLD_DEFAULT, "_ZN2v87Isolate27RemoveNearHeapLimitCallbackEPFmPvmmEm");
    rand_seed = (void (*)(const void *, int))dlsym(RTLD_DEFAULT, "RAND_seed");
    if (!isolate_current || !add_near_heap_limit || !remove_near_heap_limit) return "this node exports no v8::Isolate";
    return rand_seed ? NULL : "this node exports no RAND_seed";
}

/* Every mapping of this process comes along in a fork. Those that cannot (of the kernel) answer an error. */
int keep_mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[1024];
    unsigned long from, to;
    if (!maps) return -1;
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) madvise((void *)from, to - from, MADV_DOFORK);
    }
    return fclose(maps);
}

static int note_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    struct stat status;
    if (!folder) return -1;
    while ((entry = readdir(folder))) {
        int fd = atoi(entry->d_name);
        if (fd <= 2 || fd == CONTROL || fd == dirfd(folder) || fstat(fd, &status)) continue;
        if (descriptor_count == DESCRIPTORS_MAX) {
            closedir(folder);
            return -1;
        }
        descriptors[descriptor_count].fd = fd;
        descriptors[descriptor_count].device = status.st_dev;
        descriptors[descriptor_count++].inode = status.st_ino;
    }
    return closedir(folder);
}

/* The condition variable of glibc (2.25 and later) in which a thread waits, told by the futex that it sleeps on: 48 bytes,
 * of which the last eight are the two words to wait on; before them, in the high bits, the number of waiters. */
static pthread_cond_t *condition_at(unsigned long futex) {
    unsigned long start = (futex & ~7ul) - 40;
    uint32_t waiters;
    if (sizeof(pthread_cond_t) != 48) return NULL;
    memcpy(&waiters, (void *)(start + 36), sizeof waiters);
    return waiters >> 3 ? (pthread_cond_t *)start : NULL;
}

/* Answers 1 while a thread works: a fork would inherit its work half done. */
static int note_conditions(void) {
    DIR *folder = opendir("/proc/self/task");
    struct dirent *entry;
    int is_busy = 0;
    if (!folder) return -1;
    while ((entry = readdir(folder))) {
        char path[64], line[256] = "";
        long number;
        unsigned long futex, operation;
        int id = atoi(entry->d_name);
        if (id <= 0 || id == getpid()) continue;
        snprintf(path, sizeof path, "/proc/self/task/%d/syscall", id);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        ssize_t length = read(fd, line, sizeof line - 1);
        close(fd);
        is_busy |= length > 0 && !strncmp(line, "running", 7);
        if (length <= 0 || sscanf(line, "%ld %lx %lx", &number, &futex, &operation) != 3 || number != SYS_futex) continue;
        /* Semaphores wait with FUTEX_WAIT_BITSET too, but not on a word inside a condition variable with waiters. */
        pthread_cond_t *condition = futex >= 4096 ? condition_at(futex) : NULL;
        for (int i = 0; i < condition_count; i++) {
            if (conditions[i] == condition) condition = NULL;
        }
        if (condition && condition_count < CONDITIONS_MAX) conditions[condition_count++] = condition;
    }
    if (closedir(folder)) return -1;
    return is_busy;
}

static int read_memory(const void *from, void *to, size_t length) {
    struct iovec local = {to, length}, remote = {(void *)from, length};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)length ? 0 : -1;
}

static int note_conditions_at_rest(void) {
    int state = note_conditions();
    for (int ms = 0; state == 1 && ms < REST_MS_MAX; ms++) {
        usleep(1000);
        condition_count = 0;
        state = note_conditions();
    }
    return state;
}

static void step(struct generator *g) {
    uint64_t s1 = g->state0, s0 = g->state1;
    g->state0 = s0;
    s1 ^= s1 << 23;
    s1 ^= s1 >> 17;
    s1 ^= s0;
    s1 ^= s0 >> 26;
    g->state1 = s1;
}

/* Finds the generator of the isolate, to which no exported function leads: among all that the isolate points to, it is what
 * makes steps of that very generator while `advance` makes V8 draw from it. A state of 128 bits is not mistaken. */
static int find_generator(napi_env env, napi_value advance) {
    char *isolate = isolate_current();
    size_t length = ISOLATE_BYTES_MAX;
    while (length && read_memory(isolate + length - 4096, &(char){0}, 1)) length -= 4096;
    uint64_t *words = malloc(length + 8);
    struct found {
        struct generator *at;
        struct generator was;
    } *found = malloc(length / 8 * sizeof *found);
    size_t count = 0;
    napi_value undefined, ignored;
    if (!words || !found || !length || read_memory(isolate, words, length)) goto end;
    for (size_t i = 0; i < length / 8; i++) {
        struct found f = {(struct generator *)words[i], {0}};
        if (words[i] < 4096 || words[i] & 7 || read_memory(f.at, &f.was, sizeof f.was)) continue;
        if (f.was.state0 >> 56 || f.was.state1 >> 56 || (f.was.state0 >> 40 && f.was.state1 >> 40)) found[count++] = f;
    }
    if (napi_get_undefined(env, &undefined) || napi_call_function(env, undefined, advance, 0, NULL, &ignored)) goto end;
    for (size_t i = 0; i < count && !generator; i++) {
        struct generator now, then = found[i].was;
        if (read_memory(found[i].at, &now, sizeof now) || now.state0 == then.state0) continue;
        for (int steps = 0; steps < 64 && !generator; steps++) {
            step(&then);
            if (then.state0 == now.state0 && then.state1 == now.state1) generator = found[i].at;
        }
    }
end:
    free(words);
    free(found);
    return generator ? 0 : -1;
}

/* v8::Task, as its public header has it: two destructors, the second of which frees it, and Run. */
struct task {
    void (**methods)(struct task *);
};
enum { TASK_DELETE = 1, TASK_RUN = 2 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct entry {
        struct task *task;
        struct entry *next;
    } *first, **last;
    int has_thread, is_working;
} background = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER, .last = &background.first};

static void *work(void *ignored) {
    (void)ignored;
    for (;;) {
        pthread_mutex_lock(&background.lock);
        background.is_working = 0;
        while (!background.first) pthread_cond_wait(&background.more, &background.lock);
        background.is_working = 1;
        struct entry *entry = background.first;
        background.first = entry->next;
        if (!background.first) background.last = &background.first;
        pthread_mutex_unlock(&background.lock);
        entry->task->methods[TASK_RUN](entry->task);
        entry->task->methods[TASK_DELETE](entry->task);
        free(entry);
    }
    return NULL;
}

int hold_background(void) {
    pthread_mutex_lock(&background.lock);
    if (!background.first && !background.is_working) return 1;
    pthread_mutex_unlock(&background.lock);
    return 0;
}

void release_background(int is_fork) {
    if (!is_fork) {
        pthread_mutex_unlock(&background.lock);
        return;
    }
    background.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    background.more = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    background.has_thread = 0;
}

int is_in_background(unsigned long futex) {
    unsigned long at = (unsigned long)&background.more;
    return futex >= at && futex < at + sizeof background.more;
}

/* Takes over what a unique_ptr holds, which as a parameter is passed by its address. */
static void post(struct task **given) {
    struct entry *entry = malloc(sizeof *entry);
    if (!entry) abort();
    entry->task = *given;
    entry->next = NULL;
    *given = NULL;
    pthread_mutex_lock(&background.lock);
    *background.last = entry;
    background.last = &entry->next;
    if (!background.has_thread) {
        sigset_t all, before;
        pthread_t thread;
        sigfillset(&all);
        /* Signals are for the main thread. Without a thread (at the limit of processes) the next task tries again. */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        background.has_thread = !pthread_create(&thread, NULL, work, NULL);
        if (background.has_thread) pthread_detach(thread);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_cond_signal(&background.more);
    pthread_mutex_unlock(&background.lock);
}

/* Node 20: CallOnWorkerThread. */
static void call_on_worker(void *platform, struct task **task) {
    (void)platform;
    post(task);
}

/* Node 22 and later: PostTaskOnWorkerThreadImpl. */
static void post_on_worker(void *platform, int priority, struct task **task, const void *location) {
    (void)platform;
    (void)priority;
    (void)location;
    post(task);
}

/* Puts our function into node's table of the platform's methods, where its own stands. */
static int take_background_work(void) {
    static const struct {
        const char *name;
        void *own;
    } methods[] = {
        {"_ZN4node12NodePlatform18CallOnWorkerThreadESt10unique_ptrIN2v84TaskESt14default_deleteIS3_EE", (void *)call_on_worker},
        {"_ZN4node12NodePlatform26PostTaskOnWorkerThreadImplEN2v812TaskPriorityESt10unique_ptrINS1_4TaskESt14default_deleteIS4_EE"
         "RKNS1_14SourceLocationE",
         (void *)post_on_worker},
    };
    void **table = dlsym(RTLD_DEFAULT, "_ZTVN4node12NodePlatformE");
    long page = sysconf(_SC_PAGESIZE);
    for (size_t m = 0; table && m < sizeof methods / sizeof *methods; m++) {
        void *method = dlsym(RTLD_DEFAULT, methods[m].name);
        for (size_t i = 2; method && i < METHODS_MAX; i++) {
            if (table[i] != method) continue;
            char *at = (char *)((uintptr_t)&table[i] & ~(uintptr_t)(page - 1));
            if (mprotect(at, (size_t)page, PROT_READ | PROT_WRITE)) return -1;
            table[i] = methods[m].own;
            return mprotect(at, (size_t)page, PROT_READ);
        }
    }
    return -1;
}

/* In the worker: nothing may be shared with the zygote any more. What libuv made in its own fork handler is new and stays. */
static int renew_descriptors(void) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) return -1;
    for (int i = 0; i < descriptor_count; i++) {
        struct stat status;
        int fd = descriptors[i].fd;
        if (fd == null || fstat(fd, &status)) continue;
        if (status.st_dev != descriptors[i].device || status.st_ino != descriptors[i].inode) continue;
        if (dup3(null, fd, O_CLOEXEC) < 0) return -1;
    }
    return close(null);
}

int renew_randomness(void) {
    unsigned char seed[48];
    struct generator fresh;
    if (getrandom(seed, sizeof seed, 0) != sizeof seed || getrandom(&fresh, sizeof fresh, 0) != sizeof fresh) return -1;
    rand_seed(seed, sizeof seed);
    generator->state0 = fresh.state0 | 1;
    generator->state1 = fresh.state1;
    explicit_bzero(seed, sizeof seed);
    explicit_bzero(&fresh, sizeof fresh);
    return 0;
}

static const char *renew(napi_env env) {
    uv_loop_t *loop;
    for (int i = 0; i < condition_count; i++) memset(conditions[i], 0, sizeof *conditions[i]);
    if (renew_descriptors()) return "replace descriptors";
    if (napi_get_uv_event_loop(env, &loop) || uv_loop_fork(loop)) return "make the event loop anew";
    return renew_randomness() ? "seed random numbers" : NULL;
}

/* Arguments become an array, variables the environment. */
static napi_value unpack(napi_env env, const uint8_t *payload, uint32_t length) {
    uint32_t argc, envc;
    const char *at = (const char *)payload + 8, *end = (const char *)payload + length;
    napi_value list, text;
    if (length < 8) return NULL;
    memcpy(&argc, payload, 4);
    memcpy(&envc, payload + 4, 4);
    if (argc > ARGUMENTS_MAX || napi_create_array(env, &list) || clearenv()) return NULL;
    for (uint64_t i = 0; i < (uint64_t)argc + envc; i++) {
        size_t bytes = strnlen(at, (size_t)(end - at));
        if (at + bytes >= end) return NULL;
        if (i < argc) {
            if (napi_create_string_utf8(env, at, bytes, &text) || napi_set_element(env, list, (uint32_t)i, text)) return NULL;
        } else if (putenv((char *)at)) {
            return NULL;
        }
        at += bytes + 1;
    }
    return list;
}

/* serve(text, advance, rehearses): in the zygote never returns; in each worker the arguments. */
static napi_value serve(napi_env env, napi_callback_info info) {
    static char text[64 << 10];
    napi_value argument[3], list;
    size_t count = 3, ignored;
    uint32_t length = 0;
    uint8_t rehearses = 0;
    if (napi_get_cb_info(env, info, &count, argument, NULL, NULL) || count != 3) return failure(env, "serve: arguments");
    if (napi_get_value_bool(env, argument[2], &rehearses)) return failure(env, "serve: arguments");
    if (napi_get_value_string_utf8(env, argument[0], text, sizeof text, &ignored)) return failure(env, "serve: text");
    const char *missing = find_symbols();
    if (missing) return failure(env, missing);
    if (find_generator(env, argument[1])) return failure(env, "V8's random numbers were not found");
    if (note_descriptors()) return failure(env, "descriptors could not be listed");
    if (note_conditions_at_rest()) return failure(env, "threads do not come to rest");
    if (take_background_work()) return failure(env, "node's platform was not found");
    if (keep_mappings()) return failure(env, "mappings could not be listed");
    if (rehearses && squall_zygote_rehearse()) {
        /* An empty list: what it does is a rehearsal. */
        if (renew(env) || napi_create_array(env, &list)) _exit(1);
        return list;
    }
    const uint8_t *payload = squall_zygote_serve(CONTROL, text, NULL, &length);
    restore_snapshot(payload, length);
    const char *step = renew(env);
    list = step ? NULL : unpack(env, payload, length);
    if (list) return list;
    /* Half a node must not run a function. */
    dprintf(2, "start after fork: %s: %s\n", step ? step : "arguments", strerror(errno));
    _exit(127);
}

/* loopback(): in the zygote, whose network has nothing else; the client is rehearsed over it. Up already is fine too. */
static napi_value loopback(napi_env env, napi_callback_info info) {
    (void)info;
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result = fd < 0 ? -1 : ioctl(fd, SIOCSIFFLAGS, &request);
    if (fd >= 0) close(fd);
    return result ? failure(env, "the loopback interface could not be raised") : NULL;
}

static napi_value refuse(napi_env env, napi_callback_info info) {
    char text[4096];
    napi_value argument;
    size_t count = 1, length;
    if (napi_get_cb_info(env, info, &count, &argument, NULL, NULL) ||
        napi_get_value_string_utf8(env, argument, text, sizeof text, &length) || squall_zygote_refuse(CONTROL, text)) {
        return failure(env, "refuse");
    }
    return NULL;
}

static napi_value rehearsed(napi_env env, napi_callback_info info) {
    (void)env;
    (void)info;
    squall_zygote_rehearsed();
}

static size_t keep_limit(void *data, size_t current, size_t initial) {
    (void)data;
    (void)initial;
    return current;
}

/* limitHeap(bytes): lowers the limit of the old generation. V8 does so when a callback for a full heap is taken back. */
static napi_value limit_heap(napi_env env, napi_callback_info info) {
    napi_value argument;
    size_t count = 1;
    double bytes;
    if (napi_get_cb_info(env, info, &count, &argument, NULL, NULL) || napi_get_value_double(env, argument, &bytes)) {
        return failure(env, "limitHeap");
    }
    void *isolate = isolate_current();
    add_near_heap_limit(isolate, keep_limit, NULL);
    remove_near_heap_limit(isolate, keep_limit, (size_t)bytes);
    return NULL;
}

/* exit(code): without node's own clean-up, which waits for threads that a fork does not have. */
static napi_value leave(napi_env env, napi_callback_info info) {
    napi_value argument;
    size_t count = 1;
    double code = 1;
    if (napi_get_cb_info(env, info, &count, &argument, NULL, NULL) == NAPI_OK) napi_get_value_double(env, argument, &code);
    _exit((int)code & 255);
}

SQUALL_EXPORT int node_api_module_get_api_version_v1(void);
int node_api_module_get_api_version_v1(void) {
    return 8;
}

SQUALL_EXPORT napi_value napi_register_module_v1(napi_env env, napi_value exports);
napi_value napi_register_module_v1(napi_env env, napi_value exports) {
    static const struct {
        const char *name;
        napi_callback function;
    } functions[] = {
        {"loopback", loopback}, {"serve", serve}, {"refuse", refuse}, {"rehearsed", rehearsed}, {"limitHeap", limit_heap}, {"exit", leave},
        {"reserve", reserve_snapshots}, {"unusable", unusable_snapshot}, {"underWay", under_way}, {"take", take_snapshot}, {"reopen", reopen_files},
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        napi_value function;
        if (napi_create_function(env, functions[i].name, strlen(functions[i].name), functions[i].function, NULL, &function) ||
            napi_set_named_property(env, exports, functions[i].name, function)) {
            return failure(env, "the addon could not be set up");
        }
    }
    return exports;
}
