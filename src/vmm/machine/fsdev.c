/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/machine/fsdev.h"

#include "base/hash.h"
#include "base/str.h"
#include "codec/keyval.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <stdlib.h>

static struct fsdev *fsdev_free(struct fsdev *f)
{
    if (f != NULL) {
        free(f->path);
        free(f);
    }
    return NULL;
}
DEFINE_CLEANUP(struct fsdev, fsdev_free)

int fsdev_add(struct machine *m, struct keyval *opts, struct err **err)
{
    CLEANUP(fsdev_freep) struct fsdev *f = calloc(1, sizeof(*f));
    const char *driver = keyval_get(opts, "fsdriver");
    const char *id = keyval_get(opts, "id");
    const char *path = keyval_get(opts, "path");
    const char *model = keyval_get(opts, "security_model");
    const char *writeout = keyval_get(opts, "writeout");
    int r;

    if (driver == NULL || !str_eq(driver, "local")) {
        return err_set(err, EINVAL, "'%s' is no file system driver of ours: use local",
                       driver != NULL ? driver : "");
    }
    if (id == NULL || path == NULL) {
        return err_set(err, EINVAL, "%s= is missing", id == NULL ? "id" : "path");
    }
    /* "none" is "passthrough" whose failing changes of owner do not count: so is all we do. */
    if (model == NULL || (!str_eq(model, "passthrough") && !str_eq(model, "none"))) {
        return err_set(err, EINVAL, "security_model=%s: use passthrough or none",
                       model != NULL ? model : "");
    }
    if (writeout != NULL && !str_eq(writeout, "immediate")) {
        return err_set(err, EINVAL, "writeout=%s: it is immediate or absent", writeout);
    }
    if (f == NULL || (f->path = strdup(path)) == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    r = keyval_get_bool(opts, "readonly", false, &f->read_only, err);
    if (r == 0) {
        r = keyval_check_used(opts, err);
    }
    if (r == 0 && hash_add(m->fsdevs, id, f) < 0) {
        return err_set(err, EEXIST, "file system '%s' exists already", id);
    }
    if (r == 0) {
        (void)TAKE_PTR(f); /* the table's now */
    }
    return r;
}

const struct fsdev *fsdev_find(struct machine *m, const char *id)
{
    return hash_get(m->fsdevs, id);
}

static int free_one(const char *key, void *value, void *arg)
{
    (void)key;
    (void)arg;
    (void)fsdev_free(value);
    return 0;
}

void fsdev_free_all(struct machine *m)
{
    (void)hash_each(m->fsdevs, free_one, NULL);
}
