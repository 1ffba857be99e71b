/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/net/netdev.h"

#include "base/hash.h"
#include "base/str.h"
#include "codec/keyval.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <string.h>

static const struct netdev_class *const classes[] = { &netdev_user, &netdev_tap, &netdev_stream,
                                                  &netdev_dgram, &netdev_socket };

int netdev_add(struct machine *m, struct keyval *opts, struct err **err)
{
    const char *type = keyval_get(opts, "type");
    const char *id = keyval_get(opts, "id");
    const struct netdev_class *cls = NULL;
    struct netdev *nd;
    int r;

    for (size_t i = 0; type != NULL && i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (str_eq(classes[i]->name, type)) {
            cls = classes[i];
        }
    }
    if (cls == NULL || id == NULL) {
        return cls != NULL ? err_set(err, EINVAL, "id= is missing")
                           : err_set(err, EINVAL, "'%s' is no network back end of ours: use user, tap, stream, dgram or "
                                     "socket",
                                     type != NULL ? type : "");
    }
    nd = calloc(1, cls->size);
    if (nd == NULL || hash_add(m->netdevs, id, nd) < 0) {
        free(nd);
        return err_set(err, EEXIST, "network back end '%s' exists already", id);
    }
    nd->cls = cls;
    nd->m = m;
    nd->id = strdup(id);
    r = cls->open(nd, opts, err);
    if (r == 0) {
        r = keyval_check_used(opts, err);
    }
    if (r < 0) {
        err_prefix(err, "netdev '%s': ", id);
        (void)hash_remove(m->netdevs, id);
        (void)netdev_free(nd);
    }
    return r;
}

struct netdev *netdev_find(struct machine *m, const char *id)
{
    return hash_get(m->netdevs, id);
}

struct netdev *netdev_free(struct netdev *nd)
{
    if (nd != NULL) {
        nd->cls->close(nd);
        free(nd->id);
        free(nd);
    }
    return NULL;
}

static int free_one(const char *key, void *value, void *arg)
{
    (void)key;
    (void)arg;
    (void)netdev_free(value);
    return 0;
}

void netdev_free_all(struct machine *m)
{
    (void)hash_each(m->netdevs, free_one, NULL);
}
