// A preloaded library that makes calls on files fail. The tests in this folder build it and run programs with it.
//
//   FAULT_FOLDER=folder        only files below this folder count
//   FAULT_FILES=call:n         the n-th call, and every later one, fails as on a full disk (ENOSPC)
//   FAULT_FILE_COUNTS=file     at the end, the number of calls by name is written to the file
//
// Calls: create, write, sync, rename.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum call { CREATE, WRITE, SYNC, RENAME, CALLS };

static const char *const names[CALLS] = {"create", "write", "sync", "rename"};
static long counts[CALLS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int below(const char *path) {
    const char *folder = getenv("FAULT_FOLDER");
    return folder && path && !strncmp(path, folder, strlen(folder));
}

static int fails(enum call call, const char *path) {
    if (!below(path)) return 0;
    pthread_mutex_lock(&lock);
    long count = ++counts[call];
    pthread_mutex_unlock(&lock);
    const char *fault = getenv("FAULT_FILES");
    size_t length = strlen(names[call]);
    if (!fault || strncmp(fault, names[call], length) || fault[length] != ':') return 0;
    if (count < atol(fault + length + 1)) return 0;
    errno = ENOSPC;
    return 1;
}

static int fd_fails(enum call call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(call, path);
}

__attribute__((destructor)) static void write_counts(void) {
    const char *path = getenv("FAULT_FILE_COUNTS");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    for (int call = 0; call < CALLS; call++) fprintf(file, "%s %ld\n", names[call], counts[call]);
    fclose(file);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t length) {
    return fd_fails(WRITE, fd) ? -1 : NEXT(write)(fd, bytes, length);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return fd_fails(WRITE, fd) ? -1 : NEXT(writev)(fd, parts, count);
}

int fsync(int fd) { return fd_fails(SYNC, fd) ? -1 : NEXT(fsync)(fd); }

int fdatasync(int fd) { return fd_fails(SYNC, fd) ? -1 : NEXT(fdatasync)(fd); }

int rename(const char *from, const char *to) { return fails(RENAME, to) ? -1 : NEXT(rename)(from, to); }

static int opened(const char *path, int flags) { return (flags & O_CREAT) && fails(CREATE, path); }

#define MODE(flags) \
    mode_t mode = 0; \
    if (flags & O_CREAT) { \
        va_list arguments; \
        va_start(arguments, flags); \
        mode = va_arg(arguments, mode_t); \
        va_end(arguments); \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return opened(path, flags) ? -1 : NEXT(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return opened(path, flags) ? -1 : NEXT(open64)(path, flags, mode);
}
