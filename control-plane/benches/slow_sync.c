/* Makes each sync of a program take longer, so that benchmarks can be run as on a slower disk: the sync happens, and then it
   waits. For LD_PRELOAD; SYNC_WAIT_US says how long, in microseconds. It refuses to make anything faster. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int and_wait(long result) {
    int error = errno;
    const char *micros = getenv("SYNC_WAIT_US");
    long long wait_ns = micros ? atoll(micros) * 1000 : 0;
    struct timespec left = {wait_ns / 1000000000, wait_ns % 1000000000};
    while (wait_ns > 0 && nanosleep(&left, &left) == -1 && errno == EINTR) {
    }
    errno = error;
    return (int)result;
}

int fdatasync(int file) { return and_wait(syscall(SYS_fdatasync, file)); }
int fsync(int file) { return and_wait(syscall(SYS_fsync, file)); }
