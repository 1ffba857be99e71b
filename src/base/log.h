/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * log.h - messages for people, and trace points for developers.
 *
 * Library code returns errors and never logs what it also returns; programs log once at the top.
 * Any thread may log. A line is one write(), so that lines of several threads never mix.
 */
#pragma once

#include "base/own.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_NOTE, LOG_DEBUG };

/* What stands before each line, "vireod: "; borrowed for the life of the process. */
void log_set_program(const char *name);
void log_set_level(enum log_level max);
/* Messages begin with the time, in UTC (as QEMU's -msg timestamp=on). */
void log_set_timestamps(bool on);

/* Appends to this descriptor instead of stderr; the caller keeps ownership. */
void log_set_fd(int fd);

void log_msg(enum log_level level, const char *fmt, ...) PRINTF(2, 3);

#define log_error(...) log_msg(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_WARN, __VA_ARGS__)
#define log_note(...)  log_msg(LOG_NOTE, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_DEBUG, __VA_ARGS__)

/*
 * A trace point: named "area_event", off until trace_enable() matches it by a shell pattern.
 * Costs one predictable branch when off:
 *     TRACE(virtio_notify, "queue %u", index);
 */
struct trace_point {
    const char *name;
    int state; /* -1 unknown (first use), 0 off, 1 on */
};

/* 0, or -ENOMEM. Patterns add up. */
int trace_enable(const char *pattern);
bool trace_resolve(struct trace_point *tp);
void trace_emit(const struct trace_point *tp, const char *fmt, ...) PRINTF(2, 3);

#define TRACE(point, ...)                                                                    \
    do {                                                                                     \
        static struct trace_point tp_ = { .name = #point, .state = -1 };                     \
        int tp_state_ = __atomic_load_n(&tp_.state, __ATOMIC_RELAXED);                       \
        if (__builtin_expect(tp_state_ != 0, 0) && (tp_state_ > 0 || trace_resolve(&tp_))) { \
            trace_emit(&tp_, __VA_ARGS__);                                                   \
        }                                                                                    \
    } while (0)

/* At most one message a second for what a guest or peer can cause at will:
 *     LOG_LIMITED(LOG_WARN, "queue %u: bad index", i);  */
bool log_limit_pass(uint64_t *next_nsec);

#define LOG_LIMITED(level, ...)            \
    do {                                   \
        static uint64_t next_nsec_;        \
        if (log_limit_pass(&next_nsec_)) { \
            log_msg((level), __VA_ARGS__); \
        }                                  \
    } while (0)
