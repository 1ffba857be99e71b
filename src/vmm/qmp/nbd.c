/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nbd.c - QMP commands that export images by NBD (schema/nbd.json). */
#include "block/nbd/server.h"

#include "base/hash.h"
#include "base/str.h"
#include "block/core/bitmap.h"
#include "block/core/block.h"
#include "os/tls.h"
#include "vmm/machine/block.h"
#include "vmm/machine/broker.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/object.h"
#include "vmm/qmp/command.h"
#include "vmm/qmp/job.h"

#include "codec/keyval.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What QMP knows of an export: its id. */
struct export {
    struct list link;
    struct nbd_export *export; /* borrowed: the server's */
    char *id, *node;           /* owned */
};

struct nbd_state {
    struct nbd_server *server;
    struct tls_creds *tls; /* owned; NULL: none */
    struct list exports;
    char *path; /* owned: the socket file; NULL: none */
};

static struct export *find(struct machine *m, const char *id)
{
    LIST_FOREACH (&m->nbd->exports, it) {
        struct export *e = CONTAINER_OF(it, struct export, link);

        if (str_eq(e->id, id)) {
            return e;
        }
    }
    return NULL;
}

static struct export *export_free(struct export *e)
{
    if (e->link.next != NULL) {
        list_remove(&e->link);
    }
    free(e->id);
    free(e->node);
    free(e);
    return NULL;
}

void qmp_nbd_free(struct machine *m)
{
    struct nbd_state *n = m->nbd;

    if (n == NULL) {
        return;
    }
    n->server = nbd_server_free(n->server);
    LIST_FOREACH_SAFE (&n->exports, it) {
        (void)export_free(CONTAINER_OF(it, struct export, link));
    }
    (void)tls_creds_free(n->tls);
    free(n->path);
    free(n);
    m->nbd = NULL;
}

/* A SocketAddress, in either of QMP's forms. */
static int listen_at(struct machine *m, struct json_object *addr, int *ret, char **ret_path,
                     struct err **err)
{
    const char *type = json_str_or(addr, "type", "");
    struct json_object *data = json_member(addr, "data");
    const char *path;

    data = data != NULL ? data : addr;
    if (str_eq(type, "fd")) {
        *ret = machine_take_fd(m, json_str_or(data, "str", ""));
        return *ret < 0 ? err_set(err, -*ret, "File descriptor named '%s' has not been found",
                                  json_str_or(data, "str", ""))
                        : 0;
    }
    if (str_eq(type, "unix")) {
        path = json_str_or(data, "path", "");
        *ret_path = strdup(path);
        return machine_open_socket(m, true, path, NULL, ret, err);
    }
    if (str_eq(type, "inet")) {
        return machine_open_socket(m, true, json_str_or(data, "host", ""),
                                   json_str_or(data, "port", ""), ret, err);
    }
    return err_set(err, EINVAL, "Invalid parameter '%s'", type);
}

static int load_tls(struct machine *m, const char *id, struct tls_creds **ret, bool *ret_verify,
                    struct err **err)
{
    struct object *o = object_find(m, id);
    const char *dir = o != NULL ? keyval_get(o->opts, "dir") : NULL;
    const char *verify = o != NULL ? keyval_get(o->opts, "verify-peer") : NULL;

    if (dir == NULL) {
        return err_set(err, ENOENT, "No TLS credentials with id '%s'", id);
    }
    *ret_verify = verify == NULL || str_eq(verify, "on") || str_eq(verify, "true");
    return tls_creds_load_folder(dir, true, ret, err);
}

int qmp_do_nbd_server_start(struct machine *m, struct json_object *args, struct json_object **ret,
                            struct err **err)
{
    const char *tls = json_str_or(args, "tls-creds", NULL);
    struct nbd_server_options opts = {
        .max_clients = (unsigned)json_i64_or(args, "max-connections", 100)
    };
    struct nbd_state *n;
    int fd = -1;
    int r = 0;

    (void)ret;
    if (m->nbd != NULL) {
        return err_set(err, EBUSY, "NBD server already running");
    }
    n = calloc(1, sizeof(*n));
    if (n == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    list_init(&n->exports);
    m->nbd = n;
    if (tls != NULL) {
        r = load_tls(m, tls, &n->tls, &opts.verify_peer, err);
        opts.tls = n->tls;
    }
    if (r == 0) {
        r = nbd_server_new(&opts, &n->server, err);
    }
    if (r == 0) {
        r = listen_at(m, json_member(args, "addr"), &fd, &n->path, err);
    }
    if (r == 0) {
        r = nbd_server_listen(n->server, fd, err);
    }
    if (r < 0) {
        qmp_nbd_free(m);
    }
    return r;
}

int qmp_do_nbd_server_stop(struct machine *m, struct json_object *args, struct json_object **ret,
                           struct err **err)
{
    (void)args;
    (void)ret;
    if (m->nbd == NULL) {
        return err_set(err, EINVAL, "NBD server not running");
    }
    LIST_FOREACH (&m->nbd->exports, it) {
        machine_event(m, "BLOCK_EXPORT_DELETED", "{\"id\": \"%s\"}",
                      CONTAINER_OF(it, struct export, link)->id);
    }
    qmp_nbd_free(m);
    return 0;
}

static int add_bitmaps(struct machine *m, struct block_node *node, struct json_object *args,
                       struct nbd_export_options *o, struct err **err)
{
    struct json_object *list = json_member(args, "bitmaps");
    size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

    for (size_t i = 0; i < n && i < NBD_MAX_EXPORT_BITMAPS; i++) {
        struct json_object *item = json_object_array_get_idx(list, i);
        const char *name = json_object_is_type(item, json_type_string)
                               ? json_object_get_string(item)
                               : json_str_or(item, "name", "");
        struct block_node *of = json_object_is_type(item, json_type_object)
                                    ? machine_node(m, json_str_or(item, "node", NULL), err)
                                    : node;

        if (of == NULL) {
            return -ENODEV;
        }
        o->bitmaps[o->n_bitmaps] = NULL;
        for (; of != NULL && o->bitmaps[o->n_bitmaps] == NULL; of = block_backing(of)) {
            o->bitmaps[o->n_bitmaps] = block_bitmap_find(of, name);
        }
        if (o->bitmaps[o->n_bitmaps] == NULL) {
            return err_set(err, ENOENT, "Bitmap '%s' is not found", name);
        }
        o->n_bitmaps++;
    }
    return 0;
}

static int add(struct machine *m, const char *id, const char *node_name, const char *name,
               bool writable, struct json_object *args, struct err **err)
{
    struct block_node *node = machine_node(m, node_name, err);
    struct nbd_export_options o = { .name = name,
                                    .description = json_str_or(args, "description", NULL),
                                    .writable = writable,
                                    .writethrough = json_bool_or(args, "writethrough", false),
                                    .len = UINT64_MAX,
                                    .allocation_depth =
                                        json_bool_or(args, "allocation-depth", false) };
    struct export *e;
    int r;

    if (node == NULL) {
        return -ENODEV;
    }
    if (m->nbd == NULL) {
        return err_set(err, EINVAL, "NBD server not running");
    }
    if (find(m, id) != NULL) {
        return err_set(err, EEXIST, "Block export id '%s' is already in use", id);
    }
    if (writable && node->read_only) {
        return err_set(err, EROFS, "Export %s is not writable", name);
    }
    r = add_bitmaps(m, node, args, &o, err);
    e = calloc(1, sizeof(*e));
    if (e == NULL || (e->id = strdup(id)) == NULL || (e->node = strdup(node_name)) == NULL) {
        return e != NULL ? (export_free(e), -ENOMEM) : -ENOMEM;
    }
    if (r == 0) {
        r = nbd_server_add(m->nbd->server, node, &o, &e->export, err);
    }
    if (r < 0) {
        (void)export_free(e);
        return r;
    }
    list_append(&m->nbd->exports, &e->link);
    return 0;
}

int qmp_do_block_export_add(struct machine *m, struct json_object *args, struct json_object **ret,
                            struct err **err)
{
    const char *type = json_str_or(args, "type", "");
    const char *node = json_str_or(args, "node-name", "");

    (void)ret;
    return !str_eq(type, "nbd")
               ? err_set(err, EINVAL, "Invalid parameter '%s'", type)
               : add(m, json_str_or(args, "id", ""), node, json_str_or(args, "name", node),
                     json_bool_or(args, "writable", false), args, err);
}

int qmp_do_nbd_server_add(struct machine *m, struct json_object *args, struct json_object **ret,
                          struct err **err)
{
    const char *device = json_str_or(args, "device", "");
    const char *name = json_str_or(args, "name", device);

    (void)ret;
    return add(m, name, device, name, json_bool_or(args, "writable", false), args, err);
}

static int take_away(struct machine *m, const char *id, const char *mode, struct err **err)
{
    struct export *e = m->nbd != NULL ? find(m, id) : NULL;

    if (e == NULL) {
        return err_set(err, ENOENT, "Export '%s' is not found", id);
    }
    if (nbd_server_remove(m->nbd->server, e->export, str_eq(mode, "hard")) < 0) {
        return err_set(err, EBUSY, "export '%s' still in use", id);
    }
    machine_event(m, "BLOCK_EXPORT_DELETED", "{\"id\": \"%s\"}", e->id);
    (void)export_free(e);
    return 0;
}

int qmp_do_block_export_del(struct machine *m, struct json_object *args, struct json_object **ret,
                            struct err **err)
{
    (void)ret;
    return take_away(m, json_str_or(args, "id", ""), json_str_or(args, "mode", "safe"), err);
}

int qmp_do_nbd_server_remove(struct machine *m, struct json_object *args, struct json_object **ret,
                             struct err **err)
{
    (void)ret;
    return take_away(m, json_str_or(args, "name", ""), json_str_or(args, "mode", "safe"), err);
}

int qmp_do_query_block_exports(struct machine *m, struct json_object *args,
                               struct json_object **ret, struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    if (m->nbd == NULL) {
        return 0;
    }
    LIST_FOREACH (&m->nbd->exports, it) {
        const struct export *e = CONTAINER_OF(it, struct export, link);
        struct json_object *o = json_object_new_object();

        (void)json_add_str(o, "id", e->id);
        (void)json_add_str(o, "type", "nbd");
        (void)json_add_str(o, "node-name", e->node);
        (void)json_add_bool(o, "shutting-down", false);
        (void)json_object_array_add(*ret, o);
    }
    return 0;
}
