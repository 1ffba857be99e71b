/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * server.c - one session a monitor: greeting, negotiation, commands in, answers and events out.
 *
 * A request is a JSON object; they need not be lines. Its end is found by counting braces outside
 * of strings, then the text is parsed as a whole.
 */
#include "vmm/qmp/server.h"

#include "base/list.h"
#include "base/str.h"
#include "vmm/char/chardev.h"
#include "vmm/cli/config.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>

enum { MAX_REQUEST = 4 << 20, ROOM = 4096 };

struct session {
    struct list link;
    struct machine *m;
    struct chardev *chr; /* borrowed */
    struct chardev_frontend fe;
    struct machine_listener listener;
    bool negotiating;
    struct strbuf text; /* of the request that is coming in */
    unsigned depth;     /* of braces and brackets */
    bool in_string, escaped;
    char quote;
};

struct qmp {
    struct list sessions;
};

static void send_object(struct session *s, struct json_object *o)
{
    const char *text =
        json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE | JSON_C_TO_STRING_SPACED);

    if (text != NULL) {
        chardev_write(s->chr, text, strlen(text));
        chardev_write(s->chr, "\r\n", 2);
    }
}

static void send_greeting(struct session *s)
{
    AUTO_JSON struct json_object *o = json_object_new_object();
    struct json_object *qmp = json_object_new_object();

    (void)json_add(qmp, "version", qmp_version());
    (void)json_add(qmp, "capabilities", json_object_new_array());
    (void)json_add(o, "QMP", qmp);
    send_object(s, o);
}

static void send_error(struct session *s, struct json_object *id, const char *cls, const char *desc)
{
    AUTO_JSON struct json_object *o = json_object_new_object();
    struct json_object *e = json_object_new_object();

    (void)json_add_str(e, "class", cls);
    (void)json_add_str(e, "desc", desc);
    if (id != NULL) {
        (void)json_add(o, "id", json_object_get(id));
    }
    (void)json_add(o, "error", e);
    send_object(s, o);
}

static void send_return(struct session *s, struct json_object *id, struct json_object *value)
{
    AUTO_JSON struct json_object *o = json_object_new_object();

    (void)json_add(o, "return", value != NULL ? value : json_object_new_object());
    if (id != NULL) {
        (void)json_add(o, "id", json_object_get(id));
    }
    send_object(s, o);
}

static void on_event(void *arg, const char *name, const char *json_data)
{
    struct session *s = arg;
    AUTO_JSON struct json_object *o = json_object_new_object();
    struct json_object *stamp = json_object_new_object();
    struct json_object *data = NULL;
    struct timeval now;

    if (s->negotiating || !s->chr->opened) {
        return;
    }
    (void)gettimeofday(&now, NULL);
    (void)json_add_i64(stamp, "seconds", now.tv_sec);
    (void)json_add_i64(stamp, "microseconds", now.tv_usec);
    (void)json_add(o, "timestamp", stamp);
    (void)json_add_str(o, "event", name);
    if (json_data != NULL && json_parse(json_data, strlen(json_data), &data, NULL) == 0) {
        (void)json_add(o, "data", data);
    }
    send_object(s, o);
}

static void run_command(struct session *s, struct json_object *request)
{
    CLEANUP(err_freep) struct err *err = NULL;
    struct json_object *id = json_member(request, "id");
    struct json_object *ret = NULL;
    const char *name = NULL;
    const char *cls = "GenericError";
    int r;

    if (!json_object_is_type(request, json_type_object) ||
        json_get_str(request, "execute", &name, NULL) < 0) {
        send_error(s, id, cls, "QMP input lacks member 'execute'");
        return;
    }
    if (s->negotiating) {
        if (str_eq(name, "qmp_capabilities")) {
            s->negotiating = false;
            send_return(s, id, NULL);
        } else {
            send_error(s, id, "CommandNotFound",
                       "Expecting capabilities negotiation with 'qmp_capabilities'");
        }
        return;
    }
    r = qmp_dispatch(s->m, name, json_member(request, "arguments"), &ret, &cls, &err);
    if (r < 0) {
        json_object_put(ret);
        send_error(s, id, cls, err != NULL ? err->text : strerror(-r));
    } else {
        send_return(s, id, ret);
    }
}

static void end_of_request(struct session *s)
{
    CLEANUP(err_freep) struct err *err = NULL;
    AUTO_JSON struct json_object *request = NULL;
    size_t len = s->text.len;
    AUTO_FREE char *text = strbuf_take(&s->text);

    s->depth = 0;
    s->in_string = s->escaped = false;
    if (text == NULL) {
        send_error(s, NULL, "GenericError", "JSON message size exceeds limit");
    } else if (json_parse(text, len, &request, &err) < 0) {
        send_error(s, NULL, "GenericError", "JSON parse error");
    } else {
        run_command(s, request);
    }
}

static void take_byte(struct session *s, char c)
{
    bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';

    if (s->text.len == 0 && !s->text.failed && blank) {
        return;
    }
    strbuf_append(&s->text, &c, 1);
    if (s->in_string) {
        if (s->escaped) {
            s->escaped = false;
        } else if (c == '\\') {
            s->escaped = true;
        } else if (c == s->quote) {
            s->in_string = false;
        }
        return;
    }
    if (c == '"' || c == '\'') {
        s->in_string = true;
        s->quote = c;
    } else if (c == '{' || c == '[') {
        s->depth++;
    } else if ((c == '}' || c == ']') && s->depth > 0) {
        s->depth--;
        if (s->depth == 0) {
            end_of_request(s);
        }
    } else if (s->depth == 0 && c == '\n') {
        end_of_request(s); /* garbage: an error per line */
    }
}

static size_t on_can_receive(void *arg)
{
    (void)arg;
    return ROOM;
}

static void on_receive(void *arg, const uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        take_byte(arg, (char)buf[i]);
    }
}

static void on_chardev(void *arg, enum chardev_event event)
{
    struct session *s = arg;

    if (event == CHARDEV_OPENED) {
        s->negotiating = true;
        s->depth = 0;
        s->in_string = s->escaped = false;
        strbuf_done(&s->text);
        s->text = (struct strbuf)STRBUF_INIT(MAX_REQUEST);
        send_greeting(s);
    }
}

static int add_session(struct qmp *q, struct machine *m, struct chardev *chr, struct err **err)
{
    struct session *s = calloc(1, sizeof(*s));
    int r;

    if (s == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    s->m = m;
    s->chr = chr;
    s->negotiating = true;
    s->text = (struct strbuf)STRBUF_INIT(MAX_REQUEST);
    s->fe = (struct chardev_frontend) {
        .can_receive = on_can_receive, .receive = on_receive, .event = on_chardev, .arg = s
    };
    list_append(&q->sessions, &s->link);
    machine_listen(m, &s->listener, on_event, s);
    r = chardev_attach(chr, &s->fe, err);
    if (r < 0) {
        s->chr = NULL;
    }
    return r;
}

int qmp_open(struct machine *m, const struct config *c, struct qmp **ret, struct err **err)
{
    struct qmp *q;
    int r = 0;

    *ret = NULL;
    if (c->qmps.n + c->lists[LIST_MON].n == 0) {
        return 0;
    }
    q = calloc(1, sizeof(*q));
    if (q == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    list_init(&q->sessions);
    *ret = q;
    for (size_t i = 0; r == 0 && i < c->qmps.n; i++) {
        AUTO_FREE char *id = str_format("compat_monitor%zu", i);
        struct chardev *chr = NULL;

        r = id != NULL ? chardev_add_short(m, c->qmps.items[i], id, &chr, err) : -ENOMEM;
        if (r < 0) {
            err_prefix(err, "-qmp: ");
        } else if (chr != NULL) {
            r = add_session(q, m, chr, err);
        }
    }
    for (size_t i = 0; r == 0 && i < c->lists[LIST_MON].n; i++) {
        struct keyval *opts = c->lists[LIST_MON].items[i];
        const char *id = keyval_get(opts, "chardev");
        const char *mode = keyval_get(opts, "mode");
        struct chardev *chr = id != NULL ? chardev_find(m, id) : NULL;

        if (chr == NULL) {
            r = err_set(err, ENOENT, "-mon: there is no chardev '%s'", id != NULL ? id : "");
        } else if (mode != NULL && str_eq(mode, "control")) {
            r = add_session(q, m, chr, err);
        } else if (mode != NULL && !str_eq(mode, "readline")) {
            r = err_set(err, EINVAL, "-mon: mode=%s: use readline or control", mode);
        }
    }
    return r;
}

struct qmp *qmp_close(struct qmp *q)
{
    if (q != NULL) {
        LIST_FOREACH_SAFE (&q->sessions, it) {
            struct session *s = CONTAINER_OF(it, struct session, link);

            machine_unlisten(&s->listener);
            if (s->chr != NULL) {
                chardev_detach(s->chr, &s->fe);
            }
            strbuf_done(&s->text);
            free(s);
        }
        free(q);
    }
    return NULL;
}
