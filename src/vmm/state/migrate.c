/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/state/migrate.h"

#include "base/log.h"
#include "base/str.h"
#include "os/fd.h"
#include "vmm/machine/broker.h"
#include "vmm/machine/machine.h"
#include "vmm/state/state.h"
#include "vmm/state/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const names[] = {
    [MIGRATE_NONE] = "none",           [MIGRATE_SETUP] = "setup",   [MIGRATE_ACTIVE] = "active",
    [MIGRATE_COMPLETED] = "completed", [MIGRATE_FAILED] = "failed",
};

const char *migrate_status_name(enum migrate_status s)
{
    return names[s];
}

static void set_status(struct machine *m, enum migrate_status status)
{
    m->migration.status = status;
    machine_event(m, "MIGRATION", "{\"status\": \"%s\"}", names[status]);
}

/* ---- addresses ---- */

/* HOST:PORT, [V6]:PORT; an empty host is every address of this one. */
static int open_tcp(struct machine *m, const char *text, bool listening, struct err **err)
{
    const char *colon = strrchr(text, ':');
    AUTO_FREE char *host = NULL;
    int fd = -1;
    int r;

    if (colon == NULL) {
        return err_set(err, EINVAL, "'tcp:%s': use tcp:HOST:PORT", text);
    }
    host = *text == '[' && colon > text + 1 ? strndup(text + 1, (size_t)(colon - text) - 2)
                                            : strndup(text, (size_t)(colon - text));
    r = host != NULL ? machine_open_socket(m, listening, host, colon + 1, &fd, err) : -ENOMEM;
    return r < 0 ? r : fd;
}

static int open_address(struct machine *m, const char *uri, bool in, bool *ret_listening,
                        struct err **err)
{
    int fd = -1;
    int r;

    *ret_listening = false;
    if (str_starts(uri, "fd:")) {
        fd = machine_take_fd(m, uri + 3);
        return fd >= 0
                   ? fd
                   : err_set(err, ENOENT, "File descriptor named '%s' has not been found", uri + 3);
    }
    if (str_starts(uri, "file:")) {
        fd = machine_open_file(m, uri + 5, in ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC, 0600);
        return fd >= 0 ? fd : err_set(err, -fd, "'%s': %s", uri + 5, strerror(-fd));
    }
    if (str_starts(uri, "unix:")) {
        *ret_listening = in;
        r = machine_open_socket(m, in, uri + 5, NULL, &fd, err);
        return r < 0 ? r : fd;
    }
    if (str_starts(uri, "tcp:")) {
        *ret_listening = in;
        return open_tcp(m, uri + 4, in, err);
    }
    return err_set(err, EINVAL, "unknown migration protocol: %s (use fd:, unix:, tcp: or file:)",
                   uri);
}

/* ---- out ---- */

static void fail(struct machine *m, struct err *err)
{
    free(m->migration.error);
    m->migration.error = strdup(err != NULL ? err->text : "unknown");
    log_error("migration: %s", err != NULL ? err->text : "failed");
    set_status(m, MIGRATE_FAILED);
}

static void send_state(void *arg)
{
    struct machine *m = arg;
    struct migration *mig = &m->migration;
    struct state_stream *s = malloc(sizeof(*s));
    bool was_running = m->state == RUN_RUNNING;
    CLEANUP(err_freep) struct err *err = NULL;
    uint64_t begin = loop_now_usec();
    int r = s == NULL ? err_set(&err, ENOMEM, "no memory") : 0;

    mig->posted = false;
    set_status(m, MIGRATE_ACTIVE);
    machine_event(m, "MIGRATION_PASS", "{\"pass\": 1}");
    machine_pause(m, RUN_FINISH_MIGRATE);
    if (r == 0) {
        state_stream_fd(s, mig->fd);
        r = state_save(m, s, &err);
        mig->bytes = s->total;
    }
    close_fdp(&mig->fd);
    free(s);
    mig->total_msec = (loop_now_usec() - begin) / 1000;
    if (r < 0) {
        fail(m, err);
        if (was_running) {
            (void)machine_run(m, NULL);
        }
        return;
    }
    m->state = RUN_POSTMIGRATE;
    set_status(m, MIGRATE_COMPLETED);
}

int migrate_out(struct machine *m, const char *uri, struct err **err)
{
    struct migration *mig = &m->migration;
    bool listening;
    int fd;

    if (mig->posted) {
        return err_set(err, EBUSY, "There's a migration process in progress");
    }
    fd = open_address(m, uri, false, &listening, err);
    if (fd < 0) {
        return fd;
    }
    mig->fd = fd;
    mig->bytes = 0;
    set_status(m, MIGRATE_SETUP);
    mig->posted = loop_post(m->loop, send_state, m) == 0;
    return 0;
}

/* ---- in ---- */

static void receive_state(void *arg)
{
    struct machine *m = arg;
    struct migration *mig = &m->migration;
    struct state_stream *s = malloc(sizeof(*s));
    CLEANUP(err_freep) struct err *err = NULL;
    int r = s == NULL ? err_set(&err, ENOMEM, "no memory") : 0;

    mig->posted = false;
    set_status(m, MIGRATE_ACTIVE);
    if (r == 0) {
        state_stream_fd(s, mig->fd);
        r = state_load(m, s, &err);
        mig->bytes = s->total;
    }
    close_fdp(&mig->fd);
    free(s);
    if (r < 0) {
        fail(m, err);
        machine_quit(m, 1);
        return;
    }
    set_status(m, MIGRATE_COMPLETED);
    m->state = RUN_PAUSED;
    if (!m->incoming_stays && machine_run(m, &err) < 0) {
        log_error("%s", err->text);
    }
}

static void on_connection(int fd, uint32_t events, void *arg)
{
    struct machine *m = arg;
    struct migration *mig = &m->migration;
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

    (void)events;
    if (peer < 0) {
        return;
    }
    mig->listener = loop_source_free(mig->listener);
    (void)close(fd);
    mig->fd = peer;
    receive_state(m);
}

int migrate_in(struct machine *m, const char *uri, struct err **err)
{
    struct migration *mig = &m->migration;
    struct loop_source *source = NULL;
    bool listening;
    int fd;
    int r;

    m->state = RUN_INMIGRATE;
    if (str_eq(uri, "defer")) {
        return 0;
    }
    fd = open_address(m, uri, true, &listening, err);
    if (fd < 0) {
        return fd;
    }
    set_status(m, MIGRATE_SETUP);
    if (!listening) {
        mig->fd = fd;
        mig->posted = loop_post(m->loop, receive_state, m) == 0;
        return 0;
    }
    r = loop_add_fd(m->loop, fd, EPOLLIN, on_connection, m, &source);
    mig->listener = source;
    return r < 0 ? err_set(err, -r, "cannot wait for the state: %s", strerror(-r)) : 0;
}

void migrate_done(struct machine *m)
{
    m->migration.listener = loop_source_free(m->migration.listener);
    free(m->migration.error);
    free(m->migration.uri);
    m->migration.error = m->migration.uri = NULL;
}
