/* clockjump: the wall clock of a process, moved by what a file says.
 *
 * Preloaded (LD_PRELOAD) into a process, it adds to CLOCK_REALTIME, wherever it is read, two numbers of the file
 * CLOCKJUMP_FILE, which is mapped into memory: the first one, which is everybody's, and that of number CLOCKJUMP_SLOT,
 * which is this process's own. Both are nanoseconds, 64 bits with a sign, in the machine's order of octets. The runner
 * (src/soak/clocks.rs) changes them while processes run, so that all of them jump at the same moment, or one alone.
 *
 * CLOCK_MONOTONIC and CLOCK_BOOTTIME stay as they are: on a machine that resumes, or whose clock is set, timers do not
 * move. Not seen: the times of files, waits until a moment of the wall clock (sem_timedwait and its like, timerfd), and
 * system calls made without libc. What this library cannot do ends the process with a message: a run must not look
 * better than it was.
 */
#define _GNU_SOURCE
#define LIBRARY "clockjump"
#include "fail.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#define SECOND 1000000000LL

static int (*real)(clockid_t, struct timespec *);
static const int64_t *everybody, *own;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("CLOCKJUMP_FILE"), *slot = getenv("CLOCKJUMP_SLOT");
    struct stat file;
    /* libc's own, which does not enter the kernel. */
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (!path || !slot)
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &file) != 0)
        fail("CLOCKJUMP_FILE");
    size_t at = (size_t)strtoul(slot, NULL, 10), count = (size_t)file.st_size / sizeof(int64_t);
    errno = EINVAL;
    if (at == 0 || at >= count)
        fail("CLOCKJUMP_SLOT");
    void *mapped = mmap(NULL, count * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        fail("map CLOCKJUMP_FILE");
    close(fd);
    own = (const int64_t *)mapped + at;
    everybody = mapped;
}

/* From here on: what the process calls instead of libc's own. */

int clock_gettime(clockid_t clock, struct timespec *at)
{
    /* Before the constructor has run there is no other. */
    int outcome = real ? real(clock, at) : (int)syscall(SYS_clock_gettime, clock, at);
    if (outcome != 0 || !everybody || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE && clock != CLOCK_TAI))
        return outcome;
    int64_t by = __atomic_load_n(everybody, __ATOMIC_RELAXED) + __atomic_load_n(own, __ATOMIC_RELAXED);
    int64_t ns = at->tv_nsec + by % SECOND;
    at->tv_sec += (time_t)(by / SECOND);
    if (ns < 0)
        at->tv_sec -= 1, ns += SECOND;
    if (ns >= SECOND)
        at->tv_sec += 1, ns -= SECOND;
    at->tv_nsec = (long)ns;
    return outcome;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    (void)zone; /* nobody has used it since time zones have names */
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    *at = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return (time_t)-1;
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *at, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, at) == 0 ? base : 0;
}
