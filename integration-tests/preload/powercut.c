/* powercut: keeps, beside the files of a process, what a power cut would leave of them.
 *
 * Preloaded (LD_PRELOAD) into a process, it watches the regular files below POWERCUT_ROOT and keeps under
 * POWERCUT_SHADOW what POSIX promises to be on the disk, and nothing else:
 *
 *   data/ID        the contents of a file as of its last fsync or fdatasync; no such file: nothing was ever synced
 *   names/!a!b     which file had which name in the directory ROOT/a/b when that directory was last synced
 *
 * An ID is the inode and the moment of its birth, so that it is never used twice. Because names are a directory's own,
 * a file that was renamed, removed or created has its old name, or none, until the directory is synced. After kill -9
 * the runner (src/soak/powercut.rs) puts what is kept here in place of the files.
 *
 * On fsync exactly the byte ranges written since the last one are copied. A process that is killed in the middle of
 * that leaves a torn copy, as a power cut leaves a torn write; its fsync had not returned.
 *
 * Not seen: writes through a shared mapping, through a duplicated descriptor, by fallocate, copy_file_range or
 * sendfile, and by system calls made without libc. SQLite maps only its -shm file, which needs no durability. Anything
 * this library cannot keep track of ends the process with a message: a run must not look better than it was.
 */
#define _GNU_SOURCE
#define LIBRARY "powercut"
#include "fail.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define FDS 65536
#define FILES 256
#define RANGES 4096

struct range {
    off_t from, to;
};

/* A file that was written to since it was last synced. */
struct file {
    dev_t dev;
    ino_t ino;
    off_t least; /* the shortest it has been since: what was beyond is gone, even if it has grown again */
    int count;   /* of the ranges; more than RANGES: all of it */
    struct range *ranges;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX], shadow[PATH_MAX];
static unsigned char watched[FDS];
static struct file files[FILES];

__attribute__((constructor)) static void start(void)
{
    const char *from = getenv("POWERCUT_ROOT"), *to = getenv("POWERCUT_SHADOW");
    if (from && to && !realpath(from, root))
        fail("POWERCUT_ROOT");
    if (from && to && !realpath(to, shadow))
        fail("POWERCUT_SHADOW");
}

/* The path of an open file below the root, without the root: "" is the root itself. NULL: it is elsewhere. */
static const char *below_root(int fd, char path[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    size_t prefix = strlen(root);
    if (length < 0 || prefix == 0 || !*shadow)
        return NULL;
    path[length] = '\0';
    if (strncmp(path, root, prefix) != 0 || (path[prefix] != '/' && path[prefix] != '\0'))
        return NULL;
    return path + prefix;
}

/* The file behind a watched descriptor, noted as written to; NULL for all others. Under the lock. */
static struct file *noted(int fd, int add)
{
    struct stat now;
    struct file *empty = NULL;
    if (fd < 0 || fd >= FDS || !watched[fd] || fstat(fd, &now) != 0 || !S_ISREG(now.st_mode))
        return NULL;
    for (struct file *file = files; file < files + FILES; file++) {
        if (file->ranges && file->dev == now.st_dev && file->ino == now.st_ino)
            return file;
        if (!file->ranges && !empty)
            empty = file;
    }
    if (!add)
        return NULL;
    errno = ENOSPC;
    if (!empty || !(empty->ranges = malloc(RANGES * sizeof *empty->ranges)))
        fail("more unsynced files than are kept track of");
    empty->dev = now.st_dev;
    empty->ino = now.st_ino;
    empty->least = now.st_size;
    empty->count = 0;
    return empty;
}

static void wrote(int fd, off_t from, off_t to)
{
    if (fd < 0 || fd >= FDS || !watched[fd] || to <= from)
        return;
    int kept = errno;
    pthread_mutex_lock(&lock);
    struct file *file = noted(fd, 1);
    if (file && file->count <= RANGES) {
        struct range *last = file->count > 0 ? &file->ranges[file->count - 1] : NULL;
        if (last && last->to == from)
            last->to = to;
        else if (file->count == RANGES)
            file->count = RANGES + 1;
        else
            file->ranges[file->count++] = (struct range){from, to};
    }
    pthread_mutex_unlock(&lock);
    errno = kept;
}

static void cut_to(int fd, off_t length)
{
    int kept = errno;
    pthread_mutex_lock(&lock);
    struct file *file = noted(fd, 1);
    if (file && length < file->least)
        file->least = length;
    pthread_mutex_unlock(&lock);
    errno = kept;
}

static int opened(int fd, int flags)
{
    char path[PATH_MAX];
    int kept = errno;
    if (fd >= 0 && *shadow && (flags & O_ACCMODE) != O_RDONLY) {
        errno = EMFILE;
        if (fd >= FDS)
            fail("a descriptor beyond those kept track of");
        watched[fd] = below_root(fd, path) != NULL;
        if (flags & O_TRUNC)
            cut_to(fd, 0);
    }
    errno = kept;
    return fd;
}

static void id_of(int fd, const char *name, char id[64])
{
    struct statx now;
    if (statx(fd, name, *name ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &now) != 0) {
        if (errno != ENOENT)
            fail("statx");
        memset(&now, 0, sizeof now); /* removed since the directory was read */
    }
    snprintf(id, 64, "%llu-%lld.%09u", (unsigned long long)now.stx_ino, (long long)now.stx_btime.tv_sec,
             now.stx_btime.tv_nsec);
}

static void copy(int from, int to, off_t at, off_t end)
{
    char buffer[65536];
    while (at < end) {
        size_t want = (size_t)(end - at) < sizeof buffer ? (size_t)(end - at) : sizeof buffer;
        ssize_t got = pread(from, buffer, want, at);
        if (got <= 0)
            return; /* it is shorter by now */
        if (syscall(SYS_pwrite64, to, buffer, (size_t)got, at) != got)
            fail("write a shadow");
        at += got;
    }
}

/* The contents of a file have reached the disk. */
static void keep_data(int fd)
{
    char id[64], path[PATH_MAX + 80], own[64];
    struct stat now;
    id_of(fd, "", id);
    snprintf(path, sizeof path, "%s/data/%s", shadow, id);
    int to = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    /* The caller's descriptor may be for writing only. */
    snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    int from = (int)syscall(SYS_openat, AT_FDCWD, own, O_RDONLY | O_CLOEXEC, 0);
    if (to < 0 || from < 0 || fstat(fd, &now) != 0)
        fail("open a shadow");
    pthread_mutex_lock(&lock);
    struct file *file = noted(fd, 0);
    if (file) {
        struct stat old;
        if (fstat(to, &old) == 0 && file->least < old.st_size && syscall(SYS_ftruncate, to, file->least) != 0)
            fail("cut a shadow");
        for (int i = 0; file->count <= RANGES && i < file->count; i++)
            copy(from, to, file->ranges[i].from, file->ranges[i].to);
        if (file->count > RANGES)
            copy(from, to, 0, now.st_size);
        free(file->ranges);
        memset(file, 0, sizeof *file);
    }
    pthread_mutex_unlock(&lock);
    if (syscall(SYS_ftruncate, to, now.st_size) != 0)
        fail("set a shadow's length");
    close(from);
    close(to);
}

/* Held while the names of a directory are kept: of two threads that sync one directory the later listing must win. */
static pthread_mutex_t listing = PTHREAD_MUTEX_INITIALIZER;

/* The names in a directory have reached the disk. */
static void keep_names(int fd, const char *directory)
{
    char path[2 * PATH_MAX + 32], whole[2 * PATH_MAX], id[64];
    snprintf(whole, sizeof whole, "%s/names/!%s", shadow, *directory ? directory + 1 : "");
    for (char *c = whole + strlen(shadow) + strlen("/names/"); *c; c++)
        if (*c == '/')
            *c = '!';
    /* Processes that share a directory write a listing each, and replace one another's whole. */
    snprintf(path, sizeof path, "%s.%d.new", whole, (int)getpid());
    pthread_mutex_lock(&listing);
    int again = (int)syscall(SYS_openat, fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    int to = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    DIR *names = again < 0 ? NULL : fdopendir(again);
    if (!names || to < 0)
        fail("keep the names of a directory");
    for (struct dirent *entry; (entry = readdir(names));) {
        if (entry->d_type != DT_REG)
            continue;
        id_of(fd, entry->d_name, id);
        if (dprintf(to, "%s %s\n", id, entry->d_name) < 0)
            fail("write the names of a directory");
    }
    closedir(names);
    close(to);
    if (rename(path, whole) != 0)
        fail("replace the names of a directory");
    pthread_mutex_unlock(&listing);
}

static int synced(int fd, int outcome)
{
    char path[PATH_MAX];
    struct stat now;
    int kept = errno;
    const char *below = outcome == 0 && *shadow ? below_root(fd, path) : NULL;
    if (below && fstat(fd, &now) == 0) {
        if (S_ISDIR(now.st_mode))
            keep_names(fd, below);
        else if (S_ISREG(now.st_mode))
            keep_data(fd);
    }
    errno = kept;
    return outcome;
}

/* From here on: what the process calls instead of libc's own. */

#define MODE(flags) \
    mode_t mode = 0; \
    if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }
#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        MODE(flags) \
        return opened((int)syscall(SYS_openat, AT_FDCWD, path, flags, mode), flags); \
    }
#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) \
    { \
        MODE(flags) \
        return opened((int)syscall(SYS_openat, at, path, flags, mode), flags); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size)
{
    ssize_t done = syscall(SYS_write, fd, data, size);
    if (done > 0 && fd < FDS && watched[fd]) {
        off_t end = lseek(fd, 0, SEEK_CUR);
        wrote(fd, end - done, end);
    }
    return done;
}

ssize_t writev(int fd, const struct iovec *data, int count)
{
    ssize_t done = syscall(SYS_writev, fd, data, count);
    if (done > 0 && fd < FDS && watched[fd]) {
        off_t end = lseek(fd, 0, SEEK_CUR);
        wrote(fd, end - done, end);
    }
    return done;
}

#define PWRITE(name) \
    ssize_t name(int fd, const void *data, size_t size, off_t at) \
    { \
        ssize_t done = syscall(SYS_pwrite64, fd, data, size, at); \
        wrote(fd, at, at + done); \
        return done; \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name) \
    ssize_t name(int fd, const struct iovec *data, int count, off_t at) \
    { \
        ssize_t done = syscall(SYS_pwritev, fd, data, count, at, 0); \
        wrote(fd, at, at + done); \
        return done; \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define FTRUNCATE(name) \
    int name(int fd, off_t length) \
    { \
        int outcome = (int)syscall(SYS_ftruncate, fd, length); \
        if (outcome == 0) \
            cut_to(fd, length); \
        return outcome; \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

int fsync(int fd)
{
    return synced(fd, (int)syscall(SYS_fsync, fd));
}

int fdatasync(int fd)
{
    return synced(fd, (int)syscall(SYS_fdatasync, fd));
}
