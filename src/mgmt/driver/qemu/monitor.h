/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * monitor.h - a QMP or guest agent connection: commands, their replies, events.
 *
 * Replies come in on the loop; a worker that waits for one lets go of the daemon's lock. Must
 * therefore not be called on the loop's thread itself.
 */
#pragma once

#include "base/list.h"
#include "codec/json.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct monitor;

enum { MONITOR_LINE_MAX = 32 << 20, MONITOR_WAIT_USEC = 60000000 };

struct monitor_spec {
    struct loop *loop;
    int fd; /* owned */
    int fault_domain;
    bool agent;
    /* On the loop. data is borrowed, may be NULL. */
    void (*event)(void *arg, const char *name, struct json_object *data, int64_t sec,
                  unsigned usec);
    void (*closed)(void *arg);
    void *arg;
};

int monitor_new(const struct monitor_spec *spec, struct monitor **ret, struct err **err);
struct monitor *monitor_free(struct monitor *m);
struct monitor *monitor_ref(struct monitor *m);

/* args (may be NULL) is consumed; *ret (may be NULL) is counted by the caller. A reply that is an
 * error becomes "internal error: unable to execute QEMU command 'X': ...". */
int monitor_run(struct monitor *m, const char *command, struct json_object *args,
                struct json_object **ret, struct err **err);
/* The same with a descriptor sent along, and a limit of time. */
int monitor_run_fd(struct monitor *m, const char *command, struct json_object *args, int fd,
                   uint64_t wait_usec, struct json_object **ret, struct err **err);
/* The class of the last error reply ("CommandNotFound"), for those who can do without. */
const char *monitor_error_class(const struct monitor *m);
/* A whole command as the user wrote it; the reply as text, owned by the caller. */
int monitor_raw(struct monitor *m, const char *text, uint64_t wait_usec, char **ret,
                struct err **err);
