/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/object/pool.h"

#include "base/arena.h"
#include "base/log.h"
#include "mgmt/driver/driver.h"
#include "mgmt/model/schema.h"
#include "mgmt/object/files.h"
#include "mgmt/server/event.h"
#include "mgmt/storage/image.h"
#include "os/path.h"
#include "rpc/fault.h"
#include "rpc/protocol/remote.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { VOLUMES_MAX = 16384 };

int pool_complete(struct world *w, struct node *def, struct err **err)
{
    const char *type = node_attr(def, "type"), *name = node_get(def, "name"), *uuid = node_get(def, "uuid");
    uint8_t bytes[16];
    char text[UUID_TEXT_BYTES];

    (void)w;
    if (type == NULL) {
        return fault(err, DOM_STORAGE, XML_ERROR, "Missing required attribute '%s' in element '%s'", "type", "pool");
    }
    if (name == NULL && node_get(def, "source/name") != NULL && node_set(def, "name", node_get(def, "source/name")) < 0) {
        return -ENOMEM;
    }
    name = node_get(def, "name");
    if (name == NULL || *name == '\0') {
        return fault(err, DOM_STORAGE, XML_ERROR, "missing pool source name element");
    }
    if (strchr(name, '/') != NULL) {
        return fault(err, DOM_STORAGE, XML_ERROR, "name %s cannot contain '/'", name);
    }
    if (uuid == NULL) {
        uuid_generate(bytes);
    } else if (uuid_parse(uuid, bytes) < 0) {
        return fault(err, DOM_STORAGE, XML_ERROR, "malformed uuid element");
    }
    uuid_format(bytes, text);
    if (node_set(def, "uuid", text) < 0) {
        return -ENOMEM;
    }
    if ((str_eq(type, "dir") || str_eq(type, "fs") || str_eq(type, "netfs")) &&
        node_get(def, "target/path") == NULL) {
        return fault(err, DOM_STORAGE, XML_ERROR, "missing storage pool target path");
    }
    if (node_get(def, "target/path") != NULL) {
        AUTO_FREE char *clean = strdup(node_get(def, "target/path"));
        size_t n = clean != NULL ? strlen(clean) : 0;

        while (n > 1 && clean[n - 1] == '/') {
            clean[--n] = '\0';
        }
        if (clean == NULL || node_set(def, "target/path", clean) < 0) {
            return -ENOMEM;
        }
    }
    for (const char *const *k = (const char *const[]) { "capacity", "allocation", "available", NULL }; *k; k++) {
        if (node_set(def, *k, "0") < 0) {
            return -ENOMEM;
        }
        (void)node_set_attr(node_child(def, *k), "unit", "bytes");
    }
    if (node_need(def, "source") == NULL) {
        return -ENOMEM;
    }
    /* libvirt writes even an empty source on two lines. */
    return node_child(def, "source")->first == NULL ? node_set_text(node_child(def, "source"), "\n  ") : 0;
}

int pool_add(struct world *w, struct node *def, struct pool **ret)
{
    struct pool *p = calloc(1, sizeof(*p));

    if (p == NULL) {
        node_free(def);
        return -ENOMEM;
    }
    p->world = w;
    p->def = def;
    p->name = strdup(node_get(def, "name"));
    list_init(&p->volumes);
    (void)uuid_parse(node_get(def, "uuid"), p->uuid);
    uuid_format(p->uuid, p->uuid_text);
    list_append(&w->pools, &p->link);
    *ret = p;
    return p->name != NULL ? 0 : -ENOMEM;
}

void volume_forget(struct volume *v)
{
    list_remove(&v->link);
    free(v->name);
    free(v->path);
    free(v);
}

static void forget_volumes(struct pool *p)
{
    LIST_FOREACH_SAFE(&p->volumes, it) {
        volume_forget(CONTAINER_OF(it, struct volume, link));
    }
}

void pool_remove(struct pool *p)
{
    list_remove(&p->link);
    forget_volumes(p);
    node_free(p->def);
    node_free(p->next);
    free(p->name);
    free(p);
}

struct pool *pool_by_name(struct world *w, const char *name)
{
    LIST_FOREACH(&w->pools, it) {
        struct pool *p = CONTAINER_OF(it, struct pool, link);

        if (str_eq(p->name, name)) {
            return p;
        }
    }
    return NULL;
}

struct pool *pool_by_uuid(struct world *w, const uint8_t uuid[16])
{
    LIST_FOREACH(&w->pools, it) {
        struct pool *p = CONTAINER_OF(it, struct pool, link);

        if (memcmp(p->uuid, uuid, 16) == 0) {
            return p;
        }
    }
    return NULL;
}

int pool_of_call(struct call *call, const struct remote_storage_pool *wire, struct pool **ret, struct err **err)
{
    char text[UUID_TEXT_BYTES];

    *ret = pool_by_uuid(call->world, wire->uuid);
    if (*ret == NULL) {
        uuid_format(wire->uuid, text);
        return fault(err, DOM_STORAGE, NO_STORAGE_POOL, "no storage pool with matching uuid '%s' (%s)", text,
                     wire->name);
    }
    return 0;
}

int pool_active_of_call(struct call *call, const struct remote_storage_pool *wire, struct pool **ret,
                        struct err **err)
{
    int r = pool_of_call(call, wire, ret, err);

    return r == 0 && !(*ret)->active
               ? fault(err, DOM_STORAGE, OPERATION_INVALID, "storage pool '%s' is not active", (*ret)->name)
               : r;
}

void pool_to_wire(const struct pool *p, struct arena *a, struct remote_storage_pool *ret)
{
    ret->name = arena_strdup(a, p->name);
    memcpy(ret->uuid, p->uuid, 16);
}

const char *pool_path(const struct pool *p)
{
    return node_get(p->def, "target/path");
}

struct node *pool_config(const struct pool *p)
{
    return p->next != NULL ? p->next : p->def;
}

static char *config_path(const struct pool *p, const char *folder)
{
    return p->world->config_dir != NULL
               ? str_format("%s/storage/%s%s.xml", p->world->config_dir, folder, p->name)
               : NULL;
}

int pool_save(struct pool *p, struct err **err)
{
    AUTO_FREE char *path = config_path(p, "");
    AUTO_FREE char *link = config_path(p, "autostart/");
    int r;

    if (path == NULL || link == NULL) {
        return 0;
    }
    if (!p->persistent) {
        (void)unlink(path);
        (void)unlink(link);
        return 0;
    }
    r = files_write_node(path, pool_config(p), err);
    return r == 0 ? files_link(path, link, p->autostart, err) : r;
}

void pool_emit(struct pool *p, int event)
{
    struct remote_storage_pool_event_lifecycle_msg msg = { .event = event };
    struct event_message m = { .class = EVENT_POOL, .object = p->uuid_text, .program = &remote_program,
                               .proc = REMOTE_STORAGE_POOL_EVENT_LIFECYCLE, .msg = &msg };

    msg.pool.name = p->name;
    memcpy(msg.pool.uuid, p->uuid, 16);
    event_send(p->world->server, p->world, &m);
}

void pool_emit_refresh(struct pool *p)
{
    struct remote_storage_pool_event_refresh_msg msg = { 0 };
    struct event_message m = { .class = EVENT_POOL, .event = 1, .object = p->uuid_text,
                               .program = &remote_program, .proc = REMOTE_STORAGE_POOL_EVENT_REFRESH,
                               .msg = &msg };

    msg.pool.name = p->name;
    memcpy(msg.pool.uuid, p->uuid, 16);
    event_send(p->world->server, p->world, &m);
}

int volume_add(struct pool *p, const char *name, struct volume **ret)
{
    struct volume *v = calloc(1, sizeof(*v));

    if (v == NULL) {
        return -ENOMEM;
    }
    v->name = strdup(name);
    v->path = str_format("%s/%s", pool_path(p), name);
    list_append(&p->volumes, &v->link);
    if (v->name == NULL || v->path == NULL) {
        volume_forget(v);
        return -ENOMEM;
    }
    if (ret != NULL) {
        *ret = v;
    }
    return 0;
}

int pool_refresh(struct pool *p, struct err **err)
{
    const char *path = pool_path(p);
    struct statvfs vfs;
    struct dirent *e;
    unsigned n = 0;
    DIR *d;

    if (str_eq(p->world->driver->scheme, "test")) {
        p->capacity = 100ull << 30;
        p->allocation = 0;
        p->available = p->capacity;
        return 0;
    }
    d = path != NULL ? opendir(path) : NULL;
    if (d == NULL) {
        return err_set(err, errno, "cannot open directory '%s': %s", path != NULL ? path : "", strerror(errno));
    }
    forget_volumes(p);
    while ((e = readdir(d)) != NULL && n < VOLUMES_MAX) {
        struct stat st;

        if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") || fstatat(dirfd(d), e->d_name, &st, 0) < 0 ||
            !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))) {
            continue;
        }
        if (e->d_name[0] == '.' && S_ISREG(st.st_mode) == 0) {
            continue;
        }
        n += volume_add(p, e->d_name, NULL) == 0;
    }
    (void)closedir(d);
    if (statvfs(path, &vfs) == 0) {
        p->capacity = (uint64_t)vfs.f_frsize * vfs.f_blocks;
        p->available = (uint64_t)vfs.f_bfree * vfs.f_frsize;
        p->allocation = p->capacity - p->available;
    }
    return 0;
}

int pool_start(struct pool *p, struct err **err)
{
    const char *type = node_attr(p->def, "type");
    int r;

    if (!str_eq(type, "dir") && !str_eq(type, "fs") && !str_eq(type, "netfs")) {
        return fault(err, DOM_STORAGE, NO_SUPPORT, "pools of type '%s' cannot be started", type);
    }
    if (p->persistent && p->next == NULL) {
        p->next = node_copy(p->def);
        if (p->next == NULL) {
            return -ENOMEM;
        }
    }
    r = pool_refresh(p, err);
    if (r < 0) {
        p->next = node_free(p->next);
        return r;
    }
    p->active = true;
    return 0;
}

void pool_stop(struct pool *p)
{
    p->active = false;
    forget_volumes(p);
    if (p->next != NULL) {
        node_free(p->def);
        p->def = TAKE_PTR(p->next);
    }
    p->capacity = p->allocation = p->available = 0;
}

char *pool_xml(const struct pool *p, bool inactive)
{
    CLEANUP(node_freep) struct node *n = node_copy(inactive ? pool_config(p) : p->def);
    struct node *t = n != NULL ? node_child(n, "target") : NULL;
    struct stat st;

    if (n == NULL) {
        return NULL;
    }
    (void)node_setf(n, "capacity", "%llu", (unsigned long long)p->capacity);
    (void)node_setf(n, "allocation", "%llu", (unsigned long long)p->allocation);
    (void)node_setf(n, "available", "%llu", (unsigned long long)p->available);
    if (t != NULL && p->active && !inactive && stat(pool_path(p), &st) == 0 &&
        str_eq(p->world->driver->scheme, "qemu")) {
        (void)node_setf(t, "permissions/mode", "0%o", st.st_mode & 07777);
        (void)node_setf(t, "permissions/owner", "%d", (int)st.st_uid);
        (void)node_setf(t, "permissions/group", "%d", (int)st.st_gid);
    }
    return node_to_xml(n);
}

static int load_one(struct world *w, const char *path, struct err **err)
{
    struct node *def = NULL;
    struct pool *p;
    AUTO_FREE char *link = NULL;
    int r = files_read_node(path, &schema_pool, false, &def, err);

    r = r == 0 ? pool_complete(w, def, err) : r;
    if (r < 0) {
        node_free(def);
        return r;
    }
    r = pool_add(w, def, &p);
    if (r < 0) {
        return r;
    }
    p->persistent = true;
    link = config_path(p, "autostart/");
    p->autostart = link != NULL && path_exists(link);
    return p->autostart ? pool_start(p, err) : 0;
}

void pool_load_all(struct world *w)
{
    AUTO_FREE char *dir = str_format("%s/storage", w->config_dir);

    if (dir != NULL) {
        (void)files_each(dir, ".xml", load_one, w);
    }
}

struct volume *volume_by_name(struct pool *p, const char *name)
{
    LIST_FOREACH(&p->volumes, it) {
        struct volume *v = CONTAINER_OF(it, struct volume, link);

        if (str_eq(v->name, name)) {
            return v;
        }
    }
    return NULL;
}

int volume_of_call(struct call *call, const struct remote_storage_vol *wire, struct pool **ret_pool,
                   struct volume **ret, struct err **err)
{
    struct pool *p = pool_by_name(call->world, wire->pool);

    if (p == NULL) {
        return fault(err, DOM_STORAGE, NO_STORAGE_POOL, "no storage pool with matching name '%s'", wire->pool);
    }
    if (!p->active) {
        return fault(err, DOM_STORAGE, OPERATION_INVALID, "storage pool '%s' is not active", p->name);
    }
    *ret = volume_by_name(p, wire->name);
    if (*ret == NULL) {
        return fault(err, DOM_STORAGE, NO_STORAGE_VOL, "no storage vol with matching name '%s'", wire->name);
    }
    *ret_pool = p;
    return 0;
}

void volume_to_wire(const struct pool *p, const struct volume *v, struct arena *a, struct remote_storage_vol *ret)
{
    ret->pool = arena_strdup(a, p->name);
    ret->name = arena_strdup(a, v->name);
    ret->key = arena_strdup(a, v->path);
}

static void put_times(struct node *t, const char *path)
{
    struct statx sx;

    if (statx(AT_FDCWD, path, 0, STATX_BASIC_STATS | STATX_BTIME, &sx) < 0) {
        return;
    }
    (void)node_setf(t, "permissions/mode", "0%o", sx.stx_mode & 07777);
    (void)node_setf(t, "permissions/owner", "%d", (int)sx.stx_uid);
    (void)node_setf(t, "permissions/group", "%d", (int)sx.stx_gid);
    (void)node_setf(t, "timestamps/atime", "%lld.%09u", (long long)sx.stx_atime.tv_sec, sx.stx_atime.tv_nsec);
    (void)node_setf(t, "timestamps/mtime", "%lld.%09u", (long long)sx.stx_mtime.tv_sec, sx.stx_mtime.tv_nsec);
    (void)node_setf(t, "timestamps/ctime", "%lld.%09u", (long long)sx.stx_ctime.tv_sec, sx.stx_ctime.tv_nsec);
    if (sx.stx_mask & STATX_BTIME) {
        (void)node_setf(t, "timestamps/btime", "%lld%s", (long long)sx.stx_btime.tv_sec,
                        sx.stx_btime.tv_nsec == 0 ? "" : ".000000000");
        if (sx.stx_btime.tv_nsec != 0) {
            (void)node_setf(t, "timestamps/btime", "%lld.%09u", (long long)sx.stx_btime.tv_sec,
                            sx.stx_btime.tv_nsec);
        }
    }
}

char *volume_xml(const struct volume *v, struct err **err)
{
    CLEANUP(node_freep) struct node *n = node_new(&schema_volume, "volume");
    CLEANUP(image_info_done) struct image_info info = { 0 };
    struct node *t;
    bool dir;
    int r = image_probe(v->path, NULL, &info);

    if (r < 0) {
        (void)err_set(err, -r, "cannot open volume '%s': %s", v->path, strerror(-r));
        return NULL;
    }
    dir = str_eq(info.format, "dir");
    if (n == NULL) {
        return NULL;
    }
    (void)node_set(n, "@type", dir ? "dir" : "file");
    (void)node_set(n, "name", v->name);
    (void)node_set(n, "key", v->path);
    (void)node_setf(n, "capacity", "%llu", (unsigned long long)info.virtual_bytes);
    (void)node_set_attr(node_child(n, "capacity"), "unit", "bytes");
    (void)node_setf(n, "allocation", "%llu", (unsigned long long)info.allocated_bytes);
    (void)node_set_attr(node_child(n, "allocation"), "unit", "bytes");
    (void)node_setf(n, "physical", "%llu", (unsigned long long)info.physical_bytes);
    (void)node_set_attr(node_child(n, "physical"), "unit", "bytes");
    t = node_need(n, "target");
    if (t == NULL) {
        return NULL;
    }
    (void)node_set(t, "path", v->path);
    (void)node_set(t, "format/@type", info.format);
    put_times(t, v->path);
    if (info.compat != NULL) {
        (void)node_set(t, "compat", info.compat);
        (void)node_setf(t, "clusterSize", "%llu", (unsigned long long)info.cluster_bytes);
        (void)node_set_attr(node_child(t, "clusterSize"), "unit", "B");
        (void)node_add(t, "features");
        if (info.lazy_refcounts) {
            (void)node_add(node_child(t, "features"), "lazy_refcounts");
        }
    }
    if (info.backing != NULL) {
        struct node *b = node_need(n, "backingStore");

        (void)node_set(b, "path", info.backing);
        (void)node_set(b, "format/@type", info.backing_format != NULL ? info.backing_format : "raw");
        put_times(b, info.backing);
    }
    return node_to_xml(n);
}
