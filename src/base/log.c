/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"

#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { LINE_MAX_BYTES = 2048, MAX_PATTERNS = 64 };

static const char *program = "";
static enum log_level max_level = LOG_NOTE;
static int log_fd = STDERR_FILENO;
static bool timestamps;
static char *patterns[MAX_PATTERNS];
static int n_patterns;
static pthread_mutex_t patterns_lock = PTHREAD_MUTEX_INITIALIZER;

void log_set_program(const char *name)
{
    program = name;
}

void log_set_level(enum log_level max)
{
    max_level = max;
}

void log_set_timestamps(bool on)
{
    timestamps = on;
}

void log_set_fd(int fd)
{
    log_fd = fd;
}

enum { STAMP_BYTES = 29 };

/* "2026-11-25T07:31:26.123456Z " */
static int put_time(char line[static STAMP_BYTES + 1])
{
    struct timespec now;
    struct tm tm;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &tm) == NULL ||
        strftime(line, STAMP_BYTES, "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
        return 0;
    }
    return 19 + snprintf(line + 19, STAMP_BYTES - 19, ".%06ldZ ", now.tv_nsec / 1000);
}

static void emit(const char *head, const char *mid, const char *fmt, va_list ap)
{
    char line[LINE_MAX_BYTES];
    int stamp = timestamps ? put_time(line) : 0;
    int n = stamp + snprintf(line + stamp, sizeof(line) - 1 - (size_t)stamp, "%s%s%s%s", head,
                             *head != '\0' ? ": " : "", mid, *mid != '\0' ? ": " : "");
    ssize_t r;

    if (n < 0 || n >= (int)sizeof(line) - 1) {
        return;
    }
    r = vsnprintf(line + n, sizeof(line) - 1 - (size_t)n, fmt, ap);
    n = r < 0 ? n : (int)(n + r);
    if (n > (int)sizeof(line) - 2) {
        n = (int)sizeof(line) - 2;
    }
    line[n++] = '\n';
    do {
        r = write(log_fd, line, (size_t)n);
    } while (r < 0 && errno == EINTR);
}

void log_msg(enum log_level level, const char *fmt, ...)
{
    static const char *const words[] = { "", "warning", "", "debug" };
    int saved = errno;
    va_list ap;

    if (level > max_level) {
        return;
    }
    va_start(ap, fmt);
    emit(program, words[level], fmt, ap);
    va_end(ap);
    errno = saved;
}

int trace_enable(const char *pattern)
{
    int r = 0;

    (void)pthread_mutex_lock(&patterns_lock);
    if (n_patterns == MAX_PATTERNS || (patterns[n_patterns] = strdup(pattern)) == NULL) {
        r = -ENOMEM;
    } else {
        n_patterns++;
    }
    (void)pthread_mutex_unlock(&patterns_lock);
    return r;
}

bool trace_resolve(struct trace_point *tp)
{
    bool on = false;

    (void)pthread_mutex_lock(&patterns_lock);
    for (int i = 0; i < n_patterns; i++) {
        on = on || fnmatch(patterns[i], tp->name, 0) == 0;
    }
    (void)pthread_mutex_unlock(&patterns_lock);
    __atomic_store_n(&tp->state, on ? 1 : 0, __ATOMIC_RELAXED);
    return on;
}

void trace_emit(const struct trace_point *tp, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;

    va_start(ap, fmt);
    emit("", tp->name, fmt, ap);
    va_end(ap);
    errno = saved;
}

bool log_limit_pass(uint64_t *next_nsec)
{
    struct timespec now;
    uint64_t t;
    uint64_t due = __atomic_load_n(next_nsec, __ATOMIC_RELAXED);

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    t = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return t >= due && __atomic_compare_exchange_n(next_nsec, &due, t + 1000000000u, false,
                                                   __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}
