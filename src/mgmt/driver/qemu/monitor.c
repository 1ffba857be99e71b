/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/monitor.h"

#include "base/log.h"
#include "base/str.h"
#include "mgmt/server/lock.h"
#include "os/fd.h"
#include "os/loop.h"
#include "rpc/fault.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

/* One command without its reply. */
struct waiting {
    struct list link;
    char id[32];
    pthread_cond_t done;
    bool finished;
    struct json_object *reply; /* NULL: the connection ended */
};

struct monitor {
    unsigned refs;
    struct monitor_spec spec;
    struct loop_source *source;
    char *in;
    size_t in_len, in_room;
    struct list waiting;
    uint64_t next_id;
    bool closed;
    char class[48];
};

struct monitor *monitor_ref(struct monitor *m)
{
    m->refs++;
    return m;
}

static void close_now(struct monitor *m)
{
    if (m->closed) {
        return;
    }
    m->closed = true;
    m->source = loop_source_free(m->source);
    close_fdp(&m->spec.fd);
    LIST_FOREACH (&m->waiting, it) {
        struct waiting *w = CONTAINER_OF(it, struct waiting, link);

        w->finished = true;
        pthread_cond_signal(&w->done);
    }
}

struct monitor *monitor_free(struct monitor *m)
{
    if (m == NULL) {
        return NULL;
    }
    m->spec.closed = NULL;
    m->spec.event = NULL;
    close_now(m);
    if (--m->refs == 0) {
        free(m->in);
        free(m);
    }
    return NULL;
}

static void unref(struct monitor *m)
{
    if (--m->refs == 0) {
        free(m->in);
        free(m);
    }
}

static void take_reply(struct monitor *m, struct json_object *o)
{
    const char *id = NULL;

    id = json_str_or(o, "id", id);
    LIST_FOREACH (&m->waiting, it) {
        struct waiting *w = CONTAINER_OF(it, struct waiting, link);

        if (!w->finished && (id == NULL || str_eq(w->id, id))) {
            w->reply = json_object_get(o);
            w->finished = true;
            pthread_cond_signal(&w->done);
            return;
        }
    }
}

static void take_line(struct monitor *m, const char *line, size_t len)
{
    CLEANUP(err_freep) struct err *err = NULL;
    AUTO_JSON struct json_object *o = NULL;
    const char *event;

    /* The guest agent marks the start of its answer to a "delimited" command. */
    while (len > 0 && (*line == '\xff' || *line == '\r' || *line == ' ')) {
        line++;
        len--;
    }
    if (len == 0) {
        return;
    }
    if (json_parse(line, len, &o, &err) < 0) {
        LOG_LIMITED(LOG_WARN, "unreadable reply of an emulator: %s", err->text);
        return;
    }
    if (json_get_str(o, "event", &event, NULL) == 0) {
        struct json_object *t = json_member(o, "timestamp");
        int64_t sec = 0, usec = 0;

        sec = json_i64_or(t, "seconds", sec);
        usec = json_i64_or(t, "microseconds", usec);
        if (m->spec.event != NULL) {
            m->spec.event(m->spec.arg, event, json_member(o, "data"), sec, (unsigned)usec);
        }
        return;
    }
    if (json_member(o, "QMP") == NULL) {
        take_reply(m, o);
    }
}

static void on_fd(int fd, uint32_t events, void *arg)
{
    struct monitor *m = arg;
    ssize_t n = 0;

    (void)events;
    m->refs++;
    for (;;) {
        char *nl;

        if (m->in_room - m->in_len < 4096) {
            size_t room = m->in_room > 0 ? m->in_room * 2 : 16384;
            char *p = room <= MONITOR_LINE_MAX ? realloc(m->in, room) : NULL;

            if (p == NULL) {
                n = 0;
                break;
            }
            m->in = p;
            m->in_room = room;
        }
        n = recv(fd, m->in + m->in_len, m->in_room - m->in_len, MSG_DONTWAIT);
        if (n <= 0) {
            if (n < 0 && errno == EAGAIN) {
                n = 1;
            }
            break;
        }
        m->in_len += (size_t)n;
        while (!m->closed && (nl = memchr(m->in, '\n', m->in_len)) != NULL) {
            size_t len = (size_t)(nl - m->in);

            take_line(m, m->in, len);
            m->in_len -= len + 1;
            memmove(m->in, nl + 1, m->in_len);
        }
        if (m->closed) {
            break;
        }
    }
    if (n <= 0 && !m->closed) {
        void (*closed)(void *) = m->spec.closed;
        void *closed_arg = m->spec.arg;

        close_now(m);
        if (closed != NULL) {
            closed(closed_arg);
        }
    }
    if (m->in_len == 0 && m->in_room > 16384) {
        free(m->in);
        m->in = NULL;
        m->in_room = 0;
    }
    unref(m);
}

int monitor_new(const struct monitor_spec *spec, struct monitor **ret, struct err **err)
{
    struct monitor *m = calloc(1, sizeof(*m));
    int r;

    if (m == NULL) {
        (void)close(spec->fd);
        return -ENOMEM;
    }
    m->refs = 1;
    m->spec = *spec;
    list_init(&m->waiting);
    r = loop_add_fd(spec->loop, spec->fd, EPOLLIN, on_fd, m, &m->source);
    if (r < 0) {
        monitor_free(m);
        return err_set(err, -r, "cannot watch a monitor: %s", strerror(-r));
    }
    *ret = m;
    return 0;
}

static int send_text(struct monitor *m, const char *text, size_t len, int fd)
{
    /* Commands are small; a monitor that does not take them in time is stuck. */
    while (len > 0) {
        ssize_t n = fd >= 0 ? fd_send_with(m->spec.fd, text, len, &fd, 1)
                            : send(m->spec.fd, text, len, MSG_NOSIGNAL);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        fd = -1;
        text += n;
        len -= (size_t)n;
    }
    return 0;
}

static int closed_error(struct monitor *m, struct err **err)
{
    if (m->spec.agent) {
        return fault(err, DOM_QEMU, AGENT_UNRESPONSIVE,
                     "Guest agent disappeared while executing command");
    }
    return err_set(err, FAULT_CODE(m->spec.fault_domain, OPERATION_FAILED),
                   "domain is not running");
}

/* Sends a whole request and waits for its reply. */
static int exchange(struct monitor *m, struct json_object *request, int fd, uint64_t wait_usec,
                    struct json_object **ret, struct err **err)
{
    struct waiting w = { .finished = false };
    const char *text;
    AUTO_FREE char *line = NULL;
    uint64_t until = loop_now_usec() + wait_usec;
    int r;

    if (m->closed) {
        return closed_error(m, err);
    }
    m->refs++;
    (void)snprintf(w.id, sizeof(w.id), "libvirt-%llu", (unsigned long long)++m->next_id);
    if (!m->spec.agent) {
        (void)json_add_str(request, "id", w.id);
    }
    text = json_object_to_json_string_ext(request,
                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    line = str_format("%s\r\n", text);
    if (line == NULL) {
        unref(m);
        return -ENOMEM;
    }
    lock_cond_init(&w.done);
    list_append(&m->waiting, &w.link);
    r = send_text(m, line, strlen(line), fd);
    if (r < 0 && !m->closed) {
        close_now(m);
    }
    while (!w.finished && !m->closed) {
        if (!lock_wait(&w.done, until)) {
            break;
        }
    }
    list_remove(&w.link);
    pthread_cond_destroy(&w.done);
    if (w.reply != NULL) {
        *ret = w.reply;
        r = 0;
    } else if (m->closed) {
        r = closed_error(m, err);
    } else if (m->spec.agent) {
        r = fault(err, DOM_QEMU, AGENT_UNRESPONSIVE, "Guest agent not available for now");
    } else {
        r = err_set(err, FAULT_CODE(m->spec.fault_domain, OPERATION_TIMEOUT),
                    "the emulator did not answer in time");
    }
    unref(m);
    return r;
}

int monitor_run_fd(struct monitor *m, const char *command, struct json_object *args, int fd,
                   uint64_t wait_usec, struct json_object **ret, struct err **err)
{
    AUTO_JSON struct json_object *request = json_object_new_object();
    AUTO_JSON struct json_object *reply = NULL;
    struct json_object *e;
    int r;

    if (request == NULL || json_add_str(request, "execute", command) < 0) {
        json_object_put(args);
        return -ENOMEM;
    }
    if (args != NULL) {
        (void)json_add(request, "arguments", args);
    }
    m->class[0] = '\0';
    r = exchange(m, request, fd, wait_usec, &reply, err);
    if (r < 0) {
        return r;
    }
    e = json_member(reply, "error");
    if (e != NULL) {
        const char *desc = "unknown", *class = "";

        desc = json_str_or(e, "desc", desc);
        class = json_str_or(e, "class", class);
        (void)snprintf(m->class, sizeof(m->class), "%s", class);
        if (m->spec.agent && str_eq(class, "CommandNotFound")) {
            return fault(err, DOM_QEMU, OPERATION_UNSUPPORTED,
                         "unable to execute QEMU agent command '%s': %s", command, desc);
        }
        return err_set(err, FAULT_CODE(m->spec.fault_domain, INTERNAL_ERROR),
                       "unable to execute QEMU %scommand '%s': %s", m->spec.agent ? "agent " : "",
                       command, desc);
    }
    if (ret != NULL) {
        *ret = json_object_get(json_object_object_get(reply, "return"));
    }
    return 0;
}

int monitor_run(struct monitor *m, const char *command, struct json_object *args,
                struct json_object **ret, struct err **err)
{
    return monitor_run_fd(m, command, args, -1, MONITOR_WAIT_USEC, ret, err);
}

const char *monitor_error_class(const struct monitor *m)
{
    return m->class;
}

int monitor_raw(struct monitor *m, const char *text, uint64_t wait_usec, char **ret,
                struct err **err)
{
    AUTO_JSON struct json_object *request = NULL;
    AUTO_JSON struct json_object *reply = NULL;
    int r = json_parse(text, strlen(text), &request, err);

    if (r < 0) {
        return fault(err, DOM_NONE, INTERNAL_ERROR, "cannot parse json %s", text);
    }
    r = exchange(m, request, -1, wait_usec, &reply, err);
    if (r < 0) {
        return r;
    }
    *ret = strdup(json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN |
                                                            JSON_C_TO_STRING_NOSLASHESCAPE));
    return *ret != NULL ? 0 : -ENOMEM;
}
