/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/machine/object.h"

#include "base/hash.h"
#include "base/str.h"
#include "codec/keyval.h"
#include "vmm/machine/machine.h"

#include <errno.h>

const struct object_class *object_class_find(const char *name)
{
    for (const struct object_class *const *c = object_classes; *c != NULL; c++) {
        if (str_eq((*c)->name, name)) {
            return *c;
        }
    }
    return NULL;
}

static struct object *object_free(struct object *o)
{
    if (o != NULL) {
        free(o->id);
        (void)keyval_free(o->opts);
        free(o);
    }
    return NULL;
}
DEFINE_CLEANUP(struct object, object_free)

int object_add(struct machine *m, struct keyval *opts, struct err **err)
{
    CLEANUP(object_freep) struct object *o = calloc(1, sizeof(*o));
    const char *type = keyval_get(opts, "qom-type");
    const char *id = keyval_get(opts, "id");
    const struct object_class *cls = type != NULL ? object_class_find(type) : NULL;
    int r;

    if (cls == NULL) {
        return err_set(err, EINVAL, "'%s' is no object of ours", type != NULL ? type : "");
    }
    if (id == NULL) {
        return err_set(err, EINVAL, "object %s: id= is missing", type);
    }
    if (o == NULL || (o->id = strdup(id)) == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    o->cls = cls;
    r = keyval_parse("", NULL, false, &o->opts, err);
    for (size_t i = 0; r == 0 && i < opts->n; i++) {
        const char *key = opts->pairs[i].key;
        bool known = str_eq(key, "qom-type") || str_eq(key, "id");

        for (const char *const *p = cls->props; *p != NULL; p++) {
            known |= str_eq(*p, key) || (str_starts(key, *p) && key[strlen(*p)] == '.');
        }
        if (!known) {
            return err_set(err, EINVAL, "object %s has no property '%s'", type, key);
        }
        opts->pairs[i].used = true;
        r = keyval_add(o->opts, key, opts->pairs[i].value);
    }
    if (r == 0 && hash_add(m->objects, id, o) < 0) {
        return err_set(err, EEXIST, "attempt to add duplicate property '%s' to object", id);
    }
    if (r == 0) {
        o = NULL;
    }
    return r;
}

struct object *object_find(struct machine *m, const char *id)
{
    return hash_get(m->objects, id);
}

int object_del(struct machine *m, const char *id, struct err **err)
{
    struct object *o = hash_remove(m->objects, id);

    if (o == NULL) {
        return err_set(err, ENOENT, "object '%s' not found", id);
    }
    (void)object_free(o);
    return 0;
}

static int free_one(const char *key, void *value, void *arg)
{
    (void)key;
    (void)arg;
    (void)object_free(value);
    return 0;
}

void object_free_all(struct machine *m)
{
    (void)hash_each(m->objects, free_one, NULL);
}

static const char *const no_props[] = { NULL };
static const char *const rng_props[] = { "filename", NULL };
static const char *const secret_props[] = { "data", "file", "format", "keyid", "iv", NULL };
static const char *const memory_props[] = { "size",     "share",
                                            "prealloc", "merge",
                                            "dump",     "host-nodes",
                                            "policy",   "x-use-canonical-path-for-ramblock-id",
                                            NULL };
static const char *const file_props[] = { "size",
                                          "share",
                                          "prealloc",
                                          "merge",
                                          "dump",
                                          "mem-path",
                                          "host-nodes",
                                          "policy",
                                          "discard-data",
                                          "align",
                                          "x-use-canonical-path-for-ramblock-id",
                                          NULL };
static const char *const memfd_props[] = { "size",
                                           "share",
                                           "prealloc",
                                           "merge",
                                           "dump",
                                           "hugetlb",
                                           "hugetlbsize",
                                           "seal",
                                           "host-nodes",
                                           "policy",
                                           "x-use-canonical-path-for-ramblock-id",
                                           NULL };
static const char *const tls_props[] = { "dir",        "endpoint",     "verify-peer", "priority",
                                         "passwordid", "sanity-check", NULL };
static const char *const iothread_props[] = { "poll-max-ns", "poll-grow", "poll-shrink",
                                              "aio-max-batch", NULL };

static const struct object_class rng_random = { "rng-random", rng_props };
static const struct object_class rng_builtin = { "rng-builtin", no_props };
static const struct object_class secret = { "secret", secret_props };
static const struct object_class memory_ram = { "memory-backend-ram", memory_props };
static const struct object_class memory_file = { "memory-backend-file", file_props };
static const struct object_class memory_memfd = { "memory-backend-memfd", memfd_props };
static const struct object_class tls_creds = { "tls-creds-x509", tls_props };
static const struct object_class iothread = { "iothread", iothread_props };

const struct object_class *const object_classes[] = {
    &rng_random,   &rng_builtin, &secret,   &memory_ram, &memory_file,
    &memory_memfd, &tls_creds,   &iothread, NULL,
};
