/* What the preloaded libraries have in common. Each defines LIBRARY, its name, before it includes this. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXIT_SOFTWARE 70

/* Ends the process, saying what this library cannot do and why: a run must not look better than it was. Straight to the
 * kernel, since write() may be the library's own. */
static void fail(const char *what)
{
    char text[PATH_MAX + 64];
    int length = snprintf(text, sizeof text, LIBRARY ": %s: %s\n", what, strerror(errno));
    if (length > 0)
        syscall(SYS_write, 2, text, (size_t)length);
    _exit(EXIT_SOFTWARE);
}
