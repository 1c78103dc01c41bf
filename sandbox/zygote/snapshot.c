/*
 * The memory of a process as a file, and a fork of the same zygote that becomes that process. README.md beside this file.
 *
 * All of it runs inside a worker's sandbox, without privilege, in the hands of the function whose memory it is: a damaged or
 * forged image hurts nobody but the version that it belongs to. Taker and restorer are forks of one zygote, so that code,
 * stack, thread block and the kernel's own pages lie at the same addresses in both.
 */
#define _GNU_SOURCE
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define MAGIC 0x31504e5353514c53ull
#define PAGE 4096ul
#define OPS_MAX 16384u
#define PATHS_BYTES_MAX (256u << 10)
#define MAPS_BYTES_MAX (1u << 20)
#define PAYLOAD_BYTES_MAX (208u << 10)
#define STACK_BYTES (256u << 10)
#define SIGNALS 64
#define LIMITS 16
/* Runs of pages with less than this between them are written as one: a mapping each costs more than the pages. */
#define GAP_PAGES_MAX 16ul
#define PAGEMAP_ENTRIES 8192ul
/* Largest mapping whose pages are looked through. */
#define SPAN_BYTES_MAX (1ul << 36)
#define THREAD_BYTES 2304u
#define OFFSETS_MAX 16u
#define NO_PATH 0xffffffffu

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_FILE (1ull << 61)

/* What is done with a range of addresses. */
enum {
    LINK,  /* the file at `path` is mapped there, and nobody has written to it */
    ZERO,  /* memory that was never touched */
    DATA,  /* pages of the image */
    STACK, /* read from the image into the stack that is there */
};

struct op {
    uint64_t start, end;
    /* In the image, or in the file that is linked. */
    uint64_t offset;
    uint32_t path;
    uint8_t kind, prot, is_shared, zero;
};

/* As the kernel has it. */
struct action {
    uint64_t words[4];
};

struct header {
    uint64_t magic;
    uint8_t nonce[16];
    uint32_t ops, paths_bytes;
    /* Where the pages begin, and how long the whole is. */
    uint64_t data, total;
    uint64_t brk;
    uint32_t mask, offset_count;
    /* Places in the C library's thread block that hold the thread's number. */
    uint32_t offsets[OFFSETS_MAX];
    uint64_t blocked;
    struct action actions[SIGNALS];
    stack_t signal_stack;
    struct rlimit limits[LIMITS];
    char directory[PATH_MAX];
};

/* Reserved by the zygote, so that it lies at the same place in all its forks, and left out of every image. */
struct scratch {
    uint8_t nonce[16];
    struct header header;
    struct op ops[OPS_MAX];
    /* Descriptors of linked files that have to be mapped, or -1; -2 where the mapping is there already. */
    int files[OPS_MAX];
    uint32_t opened;
    char paths[PATHS_BYTES_MAX];
    char maps[MAPS_BYTES_MAX];
    uint64_t pagemap[PAGEMAP_ENTRIES];
    uint8_t payload[PAYLOAD_BYTES_MAX];
    uint32_t payload_bytes;
    char error[512];
    int image;
    ucontext_t context;
    _Alignas(64) uint8_t stack[STACK_BYTES];
};

#define SCRATCH_BYTES ((sizeof(struct scratch) + PAGE - 1) & ~(PAGE - 1))

static struct scratch *scratch;
/* Part of the image: where the process goes on that is made of it. */
static jmp_buf point;

static int failed(const char *what, int error) {
    snprintf(scratch->error, sizeof scratch->error, "%s%s%s", what, error ? ": " : "", error ? strerror(error) : "");
    return -1;
}

int squall_snapshot_reserve(void) {
#ifndef __x86_64__
    /* Elsewhere the thread block lies differently; not tried. */
    return -1;
#endif
    void *at = mmap(NULL, SCRATCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED || sysconf(_SC_PAGESIZE) != (long)PAGE) return -1;
    scratch = at;
    return getrandom(scratch->nonce, sizeof scratch->nonce, 0) == sizeof scratch->nonce ? 0 : -1;
}

const char *squall_snapshot_error(void) { return scratch ? scratch->error : "nothing is reserved"; }

const uint8_t *squall_snapshot_payload(uint32_t *length) {
    *length = scratch->payload_bytes;
    return scratch->payload;
}

/* One line of /proc/self/maps. */
struct mapping {
    uint64_t start, end, offset, inode;
    uint8_t prot, is_shared;
    const char *path;
    size_t path_bytes;
};

static uint64_t number(const char **at, unsigned base) {
    uint64_t value = 0;
    for (;; (*at)++) {
        unsigned digit = (unsigned char)**at;
        if (digit >= '0' && digit <= '9') digit -= '0';
        else if (base == 16 && digit >= 'a' && digit <= 'f') digit -= 'a' - 10;
        else return value;
        value = value * base + digit;
    }
}

/* Takes the next line; 0 at the end. */
static int next_mapping(const char **at, struct mapping *m) {
    const char *p = *at;
    if (!*p) return 0;
    m->start = number(&p, 16);
    p += *p == '-';
    m->end = number(&p, 16);
    p += *p == ' ';
    m->prot = 0;
    m->is_shared = 0;
    for (; *p && *p != ' ' && *p != '\n'; p++) {
        if (*p == 'r') m->prot |= PROT_READ;
        if (*p == 'w') m->prot |= PROT_WRITE;
        if (*p == 'x') m->prot |= PROT_EXEC;
        if (*p == 's') m->is_shared = 1;
    }
    p += *p == ' ';
    m->offset = number(&p, 16);
    p += *p == ' ';
    while (*p && *p != ' ' && *p != '\n') p++; /* the device */
    p += *p == ' ';
    m->inode = number(&p, 10);
    while (*p == ' ') p++;
    m->path = p;
    while (*p && *p != '\n') p++;
    m->path_bytes = (size_t)(p - m->path);
    *at = p + (*p == '\n');
    return 1;
}

static int read_maps(void) {
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return failed("read the mappings", errno);
    size_t length = 0;
    ssize_t count;
    while ((count = read(fd, scratch->maps + length, MAPS_BYTES_MAX - 1 - length)) > 0) length += (size_t)count;
    close(fd);
    if (count < 0 || length == MAPS_BYTES_MAX - 1) return failed("there are too many mappings", 0);
    scratch->maps[length] = 0;
    return 0;
}

static int is_named(const struct mapping *m, const char *name) {
    return m->path_bytes == strlen(name) && !memcmp(m->path, name, m->path_bytes);
}

static struct op *add(struct header *h, uint64_t start, uint64_t end, int kind, const struct mapping *m) {
    if (h->ops == OPS_MAX) return NULL;
    struct op *op = &scratch->ops[h->ops++];
    *op = (struct op){.start = start, .end = end, .path = NO_PATH, .kind = (uint8_t)kind, .prot = m->prot};
    return op;
}

static int too_scattered(void) { return failed("the memory is too scattered", 0); }

/* The file is mapped again by its name. */
static int add_link(struct header *h, const struct mapping *m) {
    const char deleted[] = " (deleted)";
    size_t tail = sizeof deleted - 1;
    if (m->path_bytes > tail && !memcmp(m->path + m->path_bytes - tail, deleted, tail)) {
        return failed("a file is mapped that has been deleted", 0);
    }
    struct op *op = add(h, m->start, m->end, LINK, m);
    if (!op) return too_scattered();
    op->offset = m->offset;
    op->is_shared = m->is_shared;
    /* Most follow one of the same file. */
    if (op > scratch->ops && op[-1].path != NO_PATH) {
        const char *before = scratch->paths + op[-1].path;
        if (strlen(before) == m->path_bytes && !memcmp(before, m->path, m->path_bytes)) {
            op->path = op[-1].path;
            return 0;
        }
    }
    if (h->paths_bytes + m->path_bytes + 1 > PATHS_BYTES_MAX) return too_scattered();
    op->path = h->paths_bytes;
    memcpy(scratch->paths + h->paths_bytes, m->path, m->path_bytes);
    scratch->paths[h->paths_bytes + m->path_bytes] = 0;
    h->paths_bytes += (uint32_t)m->path_bytes + 1;
    return 0;
}

/* Whether a page holds what is nowhere else: memory without a file, or a page of a file that was written to. */
static int is_own(uint64_t entry) { return (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) && !(entry & PAGEMAP_FILE); }

/* Calls `found` for each run of own pages. */
static int scan(int pagemap, uint64_t start, uint64_t end, int (*found)(void *, uint64_t, uint64_t), void *to) {
    uint64_t from = 0, until = 0;
    if (end - start > SPAN_BYTES_MAX) return failed("a mapping is too large", 0);
    for (uint64_t at = start; at < end;) {
        uint64_t want = (end - at) / PAGE;
        if (want > PAGEMAP_ENTRIES) want = PAGEMAP_ENTRIES;
        ssize_t got = pread(pagemap, scratch->pagemap, want * 8, (off_t)(at / PAGE * 8));
        if (got != (ssize_t)(want * 8)) return failed("read which pages are used", got < 0 ? errno : 0);
        for (uint64_t i = 0; i < want; i++, at += PAGE) {
            if (!is_own(scratch->pagemap[i])) continue;
            if (until && at - until <= GAP_PAGES_MAX * PAGE) {
                until = at + PAGE;
                continue;
            }
            if (until && found(to, from, until)) return -1;
            from = at;
            until = at + PAGE;
        }
    }
    return until ? found(to, from, until) : 0;
}

struct plan {
    struct header *header;
    const struct mapping *mapping;
    uint64_t done;
    int count;
};

static int count_run(void *to, uint64_t from, uint64_t until) {
    (void)from, (void)until;
    ((struct plan *)to)->count++;
    return 0;
}

static int plan_run(void *to, uint64_t from, uint64_t until) {
    struct plan *plan = to;
    if (from > plan->done && !add(plan->header, plan->done, from, ZERO, plan->mapping)) return too_scattered();
    if (!add(plan->header, from, until, DATA, plan->mapping)) return too_scattered();
    plan->done = until;
    return 0;
}

static int plan_mapping(struct header *h, int pagemap, const struct mapping *m, uint64_t stack_pointer) {
    if (m->is_shared) {
        /* Rings of the zygote's threads, which no fork has; a process with one of its own has a descriptor too. */
        if (is_named(m, "anon_inode:[io_uring]")) return 0;
        if (!m->inode || (m->prot & PROT_WRITE)) return failed("memory is shared with others", 0);
        return add_link(h, m);
    }
    if (is_named(m, "[stack]")) {
        struct op *op = add(h, (stack_pointer - 4096) & ~(PAGE - 1), m->end, STACK, m);
        return op ? 0 : too_scattered();
    }
    struct plan plan = {.header = h, .mapping = m, .done = m->start};
    if (m->inode) {
        if (!(m->prot & PROT_WRITE)) {
            if (scan(pagemap, m->start, m->end, count_run, &plan)) return -1;
            if (!plan.count) return add_link(h, m);
        }
        /* Whole: which of its pages came from the file would have to be told apart, and they are few. */
        if (!(m->prot & PROT_READ)) mprotect((void *)m->start, m->end - m->start, PROT_READ);
        return plan_run(&plan, m->start, m->end);
    }
    if (scan(pagemap, m->start, m->end, plan_run, &plan)) return -1;
    if (plan.done < m->end && !add(h, plan.done, m->end, ZERO, m)) return too_scattered();
    /* The taker ends after this: what it could not read it may read now. */
    if (plan.done > m->start && !(m->prot & PROT_READ)) mprotect((void *)m->start, m->end - m->start, PROT_READ);
    return 0;
}

static int plan_all(struct header *h, uint64_t stack_pointer) {
    if (read_maps()) return -1;
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0) return failed("read which pages are used", errno);
    const char *at = scratch->maps;
    struct mapping m;
    uint64_t low = (uint64_t)scratch, high = low + SCRATCH_BYTES;
    int result = 0;
    while (!result && next_mapping(&at, &m)) {
        if (m.path_bytes >= 2 && m.path[0] == '[' && m.path[1] == 'v') continue; /* vdso, vvar, vsyscall */
        if (m.end <= low || m.start >= high) {
            result = plan_mapping(h, pagemap, &m, stack_pointer);
            continue;
        }
        /* The kernel shows neighbours of one kind as one. */
        struct mapping part = m;
        if (m.start < low) {
            part.end = low;
            result = plan_mapping(h, pagemap, &part, stack_pointer);
        }
        if (!result && m.end > high) {
            part.start = high;
            part.end = m.end;
            result = plan_mapping(h, pagemap, &part, stack_pointer);
        }
    }
    close(pagemap);
    return result;
}

/* Where the thread block holds the thread's number, which differs in the process that is made of this one. */
static uint32_t find_thread_number(uint32_t *offsets) {
    int32_t own = (int32_t)syscall(SYS_gettid), value;
    const uint8_t *block = __builtin_thread_pointer();
    uint32_t count = 0;
    for (uint32_t at = 0; at < THREAD_BYTES && count < OFFSETS_MAX; at += 4) {
        memcpy(&value, block + at, 4);
        if (value == own) offsets[count++] = at;
    }
    return count;
}

static int describe(struct header *h) {
    memcpy(h->nonce, scratch->nonce, sizeof h->nonce);
    h->magic = MAGIC;
    h->brk = (uint64_t)syscall(SYS_brk, 0);
    h->mask = umask(022);
    umask(h->mask);
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &h->blocked, 8);
    for (int n = 1; n <= SIGNALS; n++) syscall(SYS_rt_sigaction, n, NULL, &h->actions[n - 1], 8);
    sigaltstack(NULL, &h->signal_stack);
    for (int n = 0; n < LIMITS; n++) getrlimit((__rlimit_resource_t)n, &h->limits[n]);
    h->offset_count = find_thread_number(h->offsets);
    if (!getcwd(h->directory, sizeof h->directory)) return failed("find the working directory", errno);
    return 0;
}

static int write_all(int to, const void *from, uint64_t length) {
    const uint8_t *at = from;
    while (length) {
        ssize_t count = write(to, at, length > (1u << 20) ? (1u << 20) : length);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return failed("send the memory", errno);
        at += count;
        length -= (uint64_t)count;
    }
    return 0;
}

/* Places the pages behind the tables, and sends all of it. */
static int send_image(int to, const char *head) {
    struct header *h = &scratch->header;
    static const uint8_t nothing[PAGE];
    uint64_t tables = sizeof *h + h->ops * sizeof(struct op) + h->paths_bytes;
    uint64_t at = h->data = (tables + PAGE - 1) & ~(PAGE - 1);
    for (uint32_t i = 0; i < h->ops; i++) {
        struct op *op = &scratch->ops[i];
        if (op->kind != DATA && op->kind != STACK) continue;
        op->offset = at;
        at += op->end - op->start;
    }
    h->total = at;
    char text[512];
    int length = snprintf(text, sizeof text, "%sContent-Length: %llu\r\n\r\n", head, (unsigned long long)h->total);
    if (length < 0 || (size_t)length >= sizeof text) return failed("the head is too long", 0);
    if (write_all(to, text, (uint64_t)length) || write_all(to, h, sizeof *h)) return -1;
    if (write_all(to, scratch->ops, h->ops * sizeof(struct op)) || write_all(to, scratch->paths, h->paths_bytes)) return -1;
    if (write_all(to, nothing, h->data - tables)) return -1;
    for (uint32_t i = 0; i < h->ops; i++) {
        const struct op *op = &scratch->ops[i];
        if (op->kind != DATA && op->kind != STACK) continue;
        if (write_all(to, (const void *)op->start, op->end - op->start)) return -1;
    }
    return 0;
}

int squall_snapshot_take(int to, const char *head) {
    if (!scratch) return -1;
    memset(&scratch->header, 0, sizeof scratch->header);
    if (_setjmp(point)) return 1;
    if (describe(&scratch->header) || plan_all(&scratch->header, (uint64_t)__builtin_frame_address(0))) return -1;
    return send_image(to, head);
}

static int read_at(int from, void *to, uint64_t length, uint64_t offset) {
    uint8_t *at = to;
    while (length) {
        ssize_t count = pread(from, at, length, (off_t)offset);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return -1;
        at += count;
        offset += (uint64_t)count;
        length -= (uint64_t)count;
    }
    return 0;
}

static int read_tables(void) {
    struct header *h = &scratch->header;
    struct stat file;
    if (fstat(scratch->image, &file)) return failed("look at the snapshot", errno);
    if (read_at(scratch->image, h, sizeof *h, 0) || h->magic != MAGIC) return failed("the snapshot is no snapshot", 0);
    if (memcmp(h->nonce, scratch->nonce, sizeof h->nonce)) return failed("the snapshot is of another zygote", 0);
    if (h->ops > OPS_MAX || h->paths_bytes > PATHS_BYTES_MAX || h->offset_count > OFFSETS_MAX || h->total != (uint64_t)file.st_size) {
        return failed("the snapshot is damaged", 0);
    }
    if (read_at(scratch->image, scratch->ops, h->ops * sizeof(struct op), sizeof *h) ||
        read_at(scratch->image, scratch->paths, h->paths_bytes, sizeof *h + h->ops * sizeof(struct op))) {
        return failed("read the snapshot", errno);
    }
    return 0;
}

/* Opens the files that are not mapped here yet. Both lists are in the order of their addresses. */
static int open_files(void) {
    const struct header *h = &scratch->header;
    const char *at = scratch->maps;
    struct mapping m = {0};
    int more = 1;
    scratch->opened = 0;
    if (read_maps()) return -1;
    for (uint32_t i = 0; i < h->ops; i++) {
        const struct op *op = &scratch->ops[i];
        scratch->files[i] = -1;
        scratch->opened = i + 1;
        if (op->kind != LINK || op->path >= h->paths_bytes) continue;
        const char *path = scratch->paths + op->path;
        while (more && m.start < op->start) more = next_mapping(&at, &m);
        if (more && m.start == op->start && m.end == op->end && m.prot == op->prot && m.offset == op->offset &&
            m.is_shared == op->is_shared && m.inode && is_named(&m, path)) {
            scratch->files[i] = -2;
            continue;
        }
        int is_same = i > 0 && scratch->ops[i - 1].path == op->path && scratch->files[i - 1] >= 0;
        scratch->files[i] = is_same ? scratch->files[i - 1] : open(path, O_RDONLY | O_CLOEXEC);
        if (scratch->files[i] < 0) return failed(path, errno);
    }
    return 0;
}

/* Gives up: nothing else may change, an interpreter has descriptors of its own. */
static void close_files(void) {
    int last = scratch->image;
    for (uint32_t i = 0; i < scratch->opened; i++) {
        if (scratch->files[i] >= 0 && scratch->files[i] != last) close(last = scratch->files[i]);
    }
    close(scratch->image);
}

static _Noreturn void lost(const char *text) {
    if (write(2, text, strlen(text)) < 0) _exit(71);
    _exit(70);
}

/* Runs on the reserved memory, while everything else is replaced piece by piece: each piece in one call, so that what is in use
 * (thread block, tables of the linker) is there at every moment. */
static void become(void) {
    const struct header *h = &scratch->header;
    uint64_t all = ~0ull;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
    if ((uint64_t)syscall(SYS_brk, h->brk) != h->brk) lost("The snapshot could not be restored: its heap does not fit.\n");
    for (uint32_t i = 0; i < h->ops; i++) {
        const struct op *op = &scratch->ops[i];
        int flags = (op->is_shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, file = scratch->image;
        uint64_t offset = op->offset;
        if (op->kind == STACK) {
            if (read_at(file, (void *)op->start, op->end - op->start, offset)) lost("The snapshot could not be restored: its stack.\n");
            continue;
        }
        if (op->kind == LINK && scratch->files[i] == -2) continue;
        if (op->kind == LINK) file = scratch->files[i];
        if (op->kind == ZERO) {
            flags |= MAP_ANONYMOUS | MAP_NORESERVE;
            file = -1;
            offset = 0;
        }
        if ((uint64_t)syscall(SYS_mmap, op->start, op->end - op->start, op->prot, flags, file, offset) != op->start) {
            lost("The snapshot could not be restored: its memory does not fit.\n");
        }
    }
    /* Nothing else is open but the standard streams. */
    syscall(__NR_close_range, 3u, ~0u, 0u);
    int32_t own = (int32_t)syscall(SYS_gettid);
    for (uint32_t i = 0; i < h->offset_count; i++) memcpy((uint8_t *)__builtin_thread_pointer() + h->offsets[i], &own, 4);
    for (int n = 1; n <= SIGNALS; n++) syscall(SYS_rt_sigaction, n, &h->actions[n - 1], NULL, 8);
    if (!(h->signal_stack.ss_flags & SS_DISABLE)) sigaltstack(&h->signal_stack, NULL);
    for (int n = 0; n < LIMITS; n++) setrlimit((__rlimit_resource_t)n, &h->limits[n]);
    umask(h->mask);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &h->blocked, NULL, 8);
    _longjmp(point, 1);
}

int squall_snapshot_restore(const char *path, const uint8_t *payload, uint32_t length) {
    if (!scratch) return -1;
    if (length > PAYLOAD_BYTES_MAX) return failed("the payload is too long", 0);
    scratch->image = open(path, O_RDONLY | O_CLOEXEC);
    if (scratch->image < 0) return failed("open the snapshot", errno);
    scratch->opened = 0;
    uint32_t offsets[OFFSETS_MAX], kept = 0, count = find_thread_number(offsets);
    struct header *h = &scratch->header;
    int result = read_tables();
    /* Where both have their number. One of them may have it elsewhere by chance. */
    for (uint32_t i = 0; !result && i < h->offset_count; i++) {
        for (uint32_t j = 0; j < count; j++) {
            if (h->offsets[i] == offsets[j]) h->offsets[kept++] = offsets[j];
        }
    }
    h->offset_count = result ? 0 : kept;
    if (!result && !kept) result = failed("this C library does not tell where it keeps the thread's number", 0);
    if (!result) result = open_files();
    if (!result && chdir(h->directory)) result = failed("enter the working directory", errno);
    if (!result && getcontext(&scratch->context)) result = failed("leave the stack", errno);
    if (result) {
        close_files();
        return -1;
    }
    memcpy(scratch->payload, payload, length);
    scratch->payload_bytes = length;
    scratch->context.uc_stack.ss_sp = scratch->stack;
    scratch->context.uc_stack.ss_size = STACK_BYTES;
    scratch->context.uc_link = NULL;
    makecontext(&scratch->context, become, 0);
    setcontext(&scratch->context);
    return failed("leave the stack", errno);
}
