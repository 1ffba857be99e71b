/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/server/event.h"

#include "base/str.h"
#include "rpc/fault.h"

#include <errno.h>
#include <fnmatch.h>
#include <regex.h>

enum { SUBSCRIPTIONS_MAX = 4096 };

/* Flags of a monitor event's registration. */
enum { MONITOR_REGEX = 1, MONITOR_NOCASE = 2 };

struct subscription {
    struct list link;
    int id;
    enum event_class class;
    int event;
    bool legacy;
    char *object;  /* owned */
    char *pattern; /* owned */
    unsigned pattern_flags;
};

static int next_id;

static void subscription_free(struct subscription *s)
{
    list_remove(&s->link);
    free(s->object);
    free(s->pattern);
    free(s);
}

int event_subscribe(struct client *c, const struct subscription_spec *spec, struct err **err)
{
    struct subscription *s;
    unsigned n = 0;

    LIST_FOREACH (&c->subscriptions, it) {
        n++;
    }
    if (n >= SUBSCRIPTIONS_MAX) {
        return fault(err, DOM_RPC, RPC, "more than %d event callbacks", SUBSCRIPTIONS_MAX);
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return -ENOMEM;
    }
    list_init(&s->link);
    s->class = spec->class;
    s->event = spec->event;
    s->legacy = spec->legacy;
    s->pattern_flags = spec->pattern_flags;
    s->object = spec->object != NULL ? strdup(spec->object) : NULL;
    s->pattern = spec->pattern != NULL ? strdup(spec->pattern) : NULL;
    if ((spec->object != NULL && s->object == NULL) ||
        (spec->pattern != NULL && s->pattern == NULL)) {
        subscription_free(s);
        return -ENOMEM;
    }
    s->id = next_id++;
    list_append(&c->subscriptions, &s->link);
    return s->id;
}

int event_unsubscribe(struct client *c, enum event_class class, int callback_id)
{
    LIST_FOREACH (&c->subscriptions, it) {
        struct subscription *s = CONTAINER_OF(it, struct subscription, link);

        if (s->id == callback_id && s->class == class && !s->legacy) {
            subscription_free(s);
            return 0;
        }
    }
    return -ENOENT;
}

int event_unsubscribe_legacy(struct client *c, int event)
{
    LIST_FOREACH (&c->subscriptions, it) {
        struct subscription *s = CONTAINER_OF(it, struct subscription, link);

        if (s->class == EVENT_DOMAIN && s->event == event && s->legacy) {
            subscription_free(s);
            return 0;
        }
    }
    return -ENOENT;
}

void event_client_gone(struct client *c)
{
    LIST_FOREACH_SAFE (&c->subscriptions, it) {
        subscription_free(CONTAINER_OF(it, struct subscription, link));
    }
}

static bool pattern_matches(const struct subscription *s, const char *name)
{
    bool nocase = (s->pattern_flags & MONITOR_NOCASE) != 0;
    regex_t re;
    bool is;

    if (s->pattern == NULL || name == NULL) {
        return true;
    }
    if (!(s->pattern_flags & MONITOR_REGEX)) {
        return nocase ? strcasecmp(s->pattern, name) == 0 : str_eq(s->pattern, name);
    }
    if (regcomp(&re, s->pattern, REG_EXTENDED | REG_NOSUB | (nocase ? REG_ICASE : 0)) != 0) {
        return false;
    }
    is = regexec(&re, name, 0, NULL, 0) == 0;
    regfree(&re);
    return is;
}

static void send_one(struct client *c, const struct event_message *m, const struct subscription *s)
{
    int proc = s->legacy ? m->legacy_proc : m->proc;
    struct rpc_header h = { .program = m->program->nr,
                            .version = m->program->version,
                            .proc = proc,
                            .type = RPC_MESSAGE,
                            .serial = 1 };
    struct xdr_out x;

    if (proc == 0) {
        return;
    }
    rpc_frame_begin(&x, &h);
    if (s->legacy) {
        m->program->procs[proc].args.put(&x, m->legacy_msg);
    } else {
        int32_t id = s->id;

        memcpy(m->msg, &id, sizeof(id)); /* callbackID is each message's first member */
        m->program->procs[proc].args.put(&x, m->msg);
    }
    client_send(c, &x, -1);
}

void event_send(struct server *s, struct world *w, const struct event_message *m)
{
    LIST_FOREACH_SAFE (&s->clients, ci) {
        struct client *c = CONTAINER_OF(ci, struct client, link);

        if (c->world != w) {
            continue;
        }
        LIST_FOREACH (&c->subscriptions, it) {
            struct subscription *sub = CONTAINER_OF(it, struct subscription, link);

            if (sub->class == m->class && (sub->event == m->event || m->class == EVENT_MONITOR) &&
                (sub->object == NULL || str_eq(sub->object, m->object)) &&
                (m->class != EVENT_MONITOR || pattern_matches(sub, m->name))) {
                send_one(c, m, sub);
            }
        }
    }
}
