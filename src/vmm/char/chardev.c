/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/char/chardev.h"

#include "base/hash.h"
#include "base/str.h"
#include "codec/keyval.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <string.h>

static const struct chardev_class *const classes[] = {
    &chardev_null, &chardev_stdio, &chardev_file, &chardev_pty, &chardev_socket,
};

int chardev_add(struct machine *m, struct keyval *opts, struct chardev **ret, struct err **err)
{
    const char *backend = keyval_get(opts, "backend");
    const char *id = keyval_get(opts, "id");
    const struct chardev_class *cls = NULL;
    struct chardev *chr;
    int r;

    if (backend == NULL || id == NULL) {
        return err_set(err, EINVAL, "-chardev needs a back end and id=");
    }
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (str_eq(classes[i]->name, backend)) {
            cls = classes[i];
        }
    }
    if (cls == NULL) {
        return err_set(err, EINVAL, "'%s' is no chardev back end (null, stdio, file, pty, socket)",
                       backend);
    }
    chr = calloc(1, cls->size);
    if (chr == NULL || hash_add(m->chardevs, id, chr) < 0) {
        free(chr);
        return err_set(err, EEXIST, "chardev '%s' exists already", id);
    }
    chr->cls = cls;
    chr->m = m;
    chr->loop = m->loop;
    chr->id = strdup(id);
    chr->max_frontends = 1;
    r = cls->open(chr, opts, err);
    if (r == 0) {
        r = keyval_check_used(opts, err);
    }
    if (r < 0) {
        err_prefix(err, "chardev '%s': ", id);
        (void)hash_remove(m->chardevs, id);
        (void)chardev_free(chr);
        return r;
    }
    if (ret != NULL) {
        *ret = chr;
    }
    return 0;
}

struct chardev *chardev_free(struct chardev *chr)
{
    if (chr != NULL) {
        chr->cls->close(chr);
        free(chr->id);
        free(chr->filename);
        free(chr);
    }
    return NULL;
}

static int free_one(const char *key, void *value, void *arg)
{
    (void)key;
    (void)arg;
    (void)chardev_free(value);
    return 0;
}

void chardev_free_all(struct machine *m)
{
    (void)hash_each(m->chardevs, free_one, NULL);
}

struct chardev *chardev_find(struct machine *m, const char *id)
{
    return hash_get(m->chardevs, id);
}

/* The short form as -chardev's long one. */
static char *long_form(const char *text, const char *id)
{
    if (str_eq(text, "stdio") || str_eq(text, "pty") || str_eq(text, "null")) {
        return str_format("%s,id=%s", text, id);
    }
    if (str_eq(text, "mon:stdio")) {
        return str_format("stdio,id=%s,mux=on,signal=off", id);
    }
    if (str_starts(text, "file:")) {
        return str_format("file,id=%s,path=%s", id, text + 5);
    }
    if (str_starts(text, "unix:")) {
        return str_format("socket,id=%s,path=%s", id, text + 5);
    }
    if (str_starts(text, "tcp:")) {
        const char *colon = strchr(text + 4, ':');

        return colon != NULL ? str_format("socket,id=%s,host=%.*s,port=%s", id,
                                          (int)(colon - text - 4), text + 4, colon + 1)
                             : NULL;
    }
    return NULL;
}

int chardev_add_short(struct machine *m, const char *text, const char *id, struct chardev **ret,
                      struct err **err)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    AUTO_FREE char *form = NULL;
    int r;

    *ret = NULL;
    if (str_eq(text, "none")) {
        return 0;
    }
    if (str_starts(text, "chardev:")) {
        *ret = chardev_find(m, text + 8);
        return *ret != NULL ? 0 : err_set(err, ENOENT, "there is no chardev '%s'", text + 8);
    }
    form = long_form(text, id);
    if (form == NULL) {
        return err_set(err, EINVAL,
                       "'%s' is no character device (stdio, mon:stdio, pty, null, none, file:PATH, "
                       "unix:PATH, tcp:HOST:PORT, chardev:ID)",
                       text);
    }
    r = keyval_parse(form, "backend", true, &kv, err);
    if (r == 0) {
        /* The old spelling of wait=off. */
        const char *nowait = keyval_get(kv, "nowait");

        if (nowait != NULL) {
            r = keyval_add(kv, "wait", "off");
        }
    }
    return r == 0 ? chardev_add(m, kv, ret, err) : r;
}

int chardev_attach(struct chardev *chr, const struct chardev_frontend *fe, struct err **err)
{
    if (chr->n_frontends == chr->max_frontends) {
        return err_set(err, EBUSY, "chardev '%s' is in use", chr->id);
    }
    chr->frontends[chr->n_frontends++] = fe;
    if (chr->opened && fe->event != NULL) {
        fe->event(fe->arg, CHARDEV_OPENED);
    }
    return 0;
}

void chardev_detach(struct chardev *chr, const struct chardev_frontend *fe)
{
    unsigned to = 0;

    for (unsigned i = 0; i < chr->n_frontends; i++) {
        if (chr->frontends[i] != fe) {
            chr->frontends[to++] = chr->frontends[i];
        }
    }
    chr->n_frontends = to;
    chr->focus = 0;
}

void chardev_write(struct chardev *chr, const void *buf, size_t len)
{
    chr->cls->write(chr, buf, len);
}

static void accept_posted(void *arg)
{
    struct chardev *chr = arg;

    chr->accept_posted = false;
    if (chr->cls->accept_input != NULL) {
        chr->cls->accept_input(chr);
    }
}

/* Front ends call this on vCPU threads; sources are the loop's. */
void chardev_accept(struct chardev *chr)
{
    if (!chr->accept_posted && chr->cls->accept_input != NULL) {
        chr->accept_posted = loop_post(chr->loop, accept_posted, chr) == 0;
    }
}

size_t chardev_room(struct chardev *chr)
{
    const struct chardev_frontend *fe;

    if (chr->n_frontends == 0) {
        return 4096; /* input that nobody wants is read and dropped */
    }
    fe = chr->frontends[chr->focus];
    return fe->can_receive != NULL ? fe->can_receive(fe->arg) : 4096;
}

void chardev_input(struct chardev *chr, const uint8_t *buf, size_t len)
{
    if (chr->n_frontends > 0) {
        const struct chardev_frontend *fe = chr->frontends[chr->focus];

        if (fe->receive != NULL) {
            fe->receive(fe->arg, buf, len);
        }
    }
}

void chardev_signal(struct chardev *chr, enum chardev_event event)
{
    if (event != CHARDEV_BREAK) {
        chr->opened = event == CHARDEV_OPENED;
    }
    for (unsigned i = 0; i < chr->n_frontends; i++) {
        if (chr->frontends[i]->event != NULL) {
            chr->frontends[i]->event(chr->frontends[i]->arg, event);
        }
    }
}
