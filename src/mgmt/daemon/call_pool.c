/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_pool.c - storage pools. */
#include "mgmt/daemon/calls.h"
#include "mgmt/driver/driver.h"
#include "mgmt/model/schema.h"
#include "mgmt/object/pool.h"
#include "mgmt/server/remote-ops.h"
#include "os/path.h"

#include <errno.h>
#include <sys/stat.h>

enum {
    LIST_INACTIVE = 1, LIST_ACTIVE = 2, LIST_PERSISTENT = 4, LIST_TRANSIENT = 8, LIST_AUTOSTART = 16,
    LIST_NO_AUTOSTART = 32, LIST_DIR = 64,
};
enum { POOL_DEFINED, POOL_UNDEFINED, POOL_STARTED, POOL_STOPPED, POOL_CREATED, POOL_DELETED };
enum { CREATE_WITH_BUILD = 1, CREATE_BUILD_OVERWRITE = 2, CREATE_BUILD_NO_OVERWRITE = 4 };

/* In the order of the flags from LIST_DIR on. */
static const char *const types[] = { "dir", "fs", "netfs", "logical", "disk", "iscsi", "scsi", "mpath",
                                     "rbd", "sheepdog", "gluster", "zfs", "vstorage", "iscsi-direct" };
enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

static bool pair(unsigned flags, unsigned yes, unsigned no, bool is)
{
    return (flags & (yes | no)) == 0 || (is ? flags & yes : flags & no);
}

static bool type_listed(const struct pool *p, unsigned flags)
{
    unsigned any = 0;

    for (unsigned i = 0; i < N_TYPES; i++) {
        unsigned bit = (unsigned)LIST_DIR << i;

        any |= flags & bit;
        if ((flags & bit) && node_is(p->def, "@type", types[i])) {
            return true;
        }
    }
    return any == 0;
}

static unsigned count_all(struct world *w)
{
    unsigned n = 0;

    LIST_FOREACH(&w->pools, it) {
        n++;
    }
    return n;
}

static int list_all(struct call *call, const struct remote_connect_list_all_storage_pools_args *args,
                    struct remote_connect_list_all_storage_pools_ret *ret, struct err **err)
{
    (void)err;
    ret->pools = arena_array(&call->arena, count_all(call->world) + 1, sizeof(*ret->pools));
    if (ret->pools == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH(&call->world->pools, it) {
        struct pool *p = CONTAINER_OF(it, struct pool, link);

        if (pair(args->flags, LIST_ACTIVE, LIST_INACTIVE, p->active) &&
            pair(args->flags, LIST_PERSISTENT, LIST_TRANSIENT, p->persistent) &&
            pair(args->flags, LIST_AUTOSTART, LIST_NO_AUTOSTART, p->autostart) && type_listed(p, args->flags)) {
            if (args->need_results) {
                pool_to_wire(p, &call->arena, &ret->pools[ret->n_pools++]);
            }
            ret->ret++;
        }
    }
    return 0;
}

static int count(struct call *call, bool active)
{
    int n = 0;

    LIST_FOREACH(&call->world->pools, it) {
        n += CONTAINER_OF(it, struct pool, link)->active == active;
    }
    return n;
}

static int num(struct call *call, struct remote_connect_num_of_storage_pools_ret *ret, struct err **err)
{
    (void)err;
    ret->num = count(call, true);
    return 0;
}

static int num_defined(struct call *call, struct remote_connect_num_of_defined_storage_pools_ret *ret,
                       struct err **err)
{
    (void)err;
    ret->num = count(call, false);
    return 0;
}

static int names(struct call *call, bool active, int max, uint32_t *ret_n, char ***ret)
{
    *ret = arena_array(&call->arena, count_all(call->world) + 1, sizeof(**ret));
    if (*ret == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH(&call->world->pools, it) {
        struct pool *p = CONTAINER_OF(it, struct pool, link);

        if (p->active == active && (int)*ret_n < max) {
            (*ret)[(*ret_n)++] = arena_strdup(&call->arena, p->name);
        }
    }
    return 0;
}

static int list(struct call *call, const struct remote_connect_list_storage_pools_args *args,
                struct remote_connect_list_storage_pools_ret *ret, struct err **err)
{
    (void)err;
    return names(call, true, args->maxnames, &ret->n_names, &ret->names);
}

static int list_defined(struct call *call, const struct remote_connect_list_defined_storage_pools_args *args,
                        struct remote_connect_list_defined_storage_pools_ret *ret, struct err **err)
{
    (void)err;
    return names(call, false, args->maxnames, &ret->n_names, &ret->names);
}

static int by_name(struct call *call, const struct remote_storage_pool_lookup_by_name_args *args,
                   struct remote_storage_pool_lookup_by_name_ret *ret, struct err **err)
{
    struct pool *p = pool_by_name(call->world, args->name);

    if (p == NULL) {
        return fault(err, DOM_STORAGE, NO_STORAGE_POOL, "no storage pool with matching name '%s'", args->name);
    }
    pool_to_wire(p, &call->arena, &ret->pool);
    return 0;
}

static int by_uuid(struct call *call, const struct remote_storage_pool_lookup_by_uuid_args *args,
                   struct remote_storage_pool_lookup_by_uuid_ret *ret, struct err **err)
{
    struct pool *p = pool_by_uuid(call->world, args->uuid);
    char text[UUID_TEXT_BYTES];

    if (p == NULL) {
        uuid_format(args->uuid, text);
        return fault(err, DOM_STORAGE, NO_STORAGE_POOL, "no storage pool with matching uuid '%s'", text);
    }
    pool_to_wire(p, &call->arena, &ret->pool);
    return 0;
}

static int by_volume(struct call *call, const struct remote_storage_pool_lookup_by_volume_args *args,
                     struct remote_storage_pool_lookup_by_volume_ret *ret, struct err **err)
{
    struct pool *p = pool_by_name(call->world, args->vol.pool);

    if (p == NULL) {
        return fault(err, DOM_STORAGE, NO_STORAGE_POOL, "no storage pool with matching name '%s'", args->vol.pool);
    }
    pool_to_wire(p, &call->arena, &ret->pool);
    return 0;
}

static int by_target(struct call *call, const struct remote_storage_pool_lookup_by_target_path_args *args,
                     struct remote_storage_pool_lookup_by_target_path_ret *ret, struct err **err)
{
    LIST_FOREACH(&call->world->pools, it) {
        struct pool *p = CONTAINER_OF(it, struct pool, link);

        if (p->active && pool_path(p) != NULL && str_eq(pool_path(p), args->path)) {
            pool_to_wire(p, &call->arena, &ret->pool);
            return 0;
        }
    }
    return fault(err, DOM_STORAGE, NO_STORAGE_POOL, "no storage pool with matching target path '%s'", args->path);
}

static int get_info(struct call *call, const struct remote_storage_pool_get_info_args *args,
                    struct remote_storage_pool_get_info_ret *ret, struct err **err)
{
    struct pool *p;
    int r = pool_of_call(call, &args->pool, &p, err);

    if (r == 0) {
        ret->state = p->active ? 2 : 0;
        ret->capacity = p->capacity;
        ret->allocation = p->allocation;
        ret->available = p->available;
    }
    return r;
}

static int xml(struct call *call, const struct remote_storage_pool_get_xml_desc_args *args,
               struct remote_storage_pool_get_xml_desc_ret *ret, struct err **err)
{
    struct pool *p;
    AUTO_FREE char *text = NULL;
    int r = pool_of_call(call, &args->pool, &p, err);

    if (r < 0) {
        return r;
    }
    text = pool_xml(p, args->flags & 1);
    ret->xml = text != NULL ? arena_strdup(&call->arena, text) : NULL;
    return ret->xml != NULL ? 0 : -ENOMEM;
}

#define GETTER(fn, member, value)                                                        \
    static int fn(struct call *call, const struct remote_storage_pool_##fn##_args *args, \
                  struct remote_storage_pool_##fn##_ret *ret, struct err **err)          \
    {                                                                                    \
        struct pool *p;                                                                  \
        int r = pool_of_call(call, &args->pool, &p, err);                                \
                                                                                         \
        if (r == 0) {                                                                    \
            ret->member = value;                                                         \
        }                                                                                \
        return r;                                                                        \
    }

GETTER(is_active, active, p->active)
GETTER(is_persistent, persistent, p->persistent)
GETTER(get_autostart, autostart, p->autostart)

static int parse(struct call *call, const char *text, struct node **ret, struct pool **ret_have, struct err **err)
{
    CLEANUP(node_freep) struct node *def = NULL;
    struct pool *by, *other;
    uint8_t uuid[16];
    int r = schema_parse(text, &schema_pool, DOM_STORAGE, false, &def, err);

    r = r == 0 ? pool_complete(call->world, def, err) : r;
    if (r < 0) {
        return r;
    }
    (void)uuid_parse(node_get(def, "uuid"), uuid);
    by = pool_by_name(call->world, node_get(def, "name"));
    other = pool_by_uuid(call->world, uuid);
    if (other != NULL && other != by) {
        return fault(err, DOM_STORAGE, OPERATION_FAILED, "pool '%s' is already defined with uuid %s", other->name,
                     other->uuid_text);
    }
    if (by != NULL && other == NULL) {
        return fault(err, DOM_STORAGE, OPERATION_FAILED, "pool '%s' already exists with uuid %s", by->name,
                     by->uuid_text);
    }
    LIST_FOREACH(&call->world->pools, it) {
        struct pool *p = CONTAINER_OF(it, struct pool, link);
        const char *path = node_get(def, "target/path");

        if (p != by && path != NULL && pool_path(p) != NULL && str_eq(path, pool_path(p))) {
            return fault(err, DOM_STORAGE, OPERATION_FAILED, "Storage source conflict with pool: '%s'", p->name);
        }
    }
    *ret = TAKE_PTR(def);
    *ret_have = by;
    return 0;
}

static int define(struct call *call, const struct remote_storage_pool_define_xml_args *args,
                  struct remote_storage_pool_define_xml_ret *ret, struct err **err)
{
    struct node *def = NULL;
    struct pool *p = NULL;
    int r = parse(call, args->xml, &def, &p, err);

    if (r < 0) {
        return r;
    }
    if (p == NULL) {
        r = pool_add(call->world, def, &p);
        if (r < 0) {
            return r;
        }
    } else if (p->active) {
        node_free(p->next);
        p->next = def;
    } else {
        node_free(p->def);
        p->def = def;
    }
    p->persistent = true;
    r = pool_save(p, err);
    if (r == 0) {
        pool_emit(p, POOL_DEFINED);
        pool_to_wire(p, &call->arena, &ret->pool);
    }
    return r;
}

static int build_path(const struct pool *p, struct err **err)
{
    const char *path = pool_path(p);

    if (path == NULL) {
        return fault(err, DOM_STORAGE, NO_SUPPORT, "pool '%s' cannot be built", p->name);
    }
    {
        int r = path_make_folders(path, 0711, err);

        return r == 0 && chmod(path, 0711) < 0
                   ? err_set(err, errno, "cannot set the mode of '%s': %s", path, strerror(errno))
                   : r;
    }
}

static int start(struct pool *p, unsigned flags, struct err **err)
{
    int r = flags & (CREATE_WITH_BUILD | CREATE_BUILD_OVERWRITE | CREATE_BUILD_NO_OVERWRITE) ? build_path(p, err) : 0;

    r = r == 0 ? pool_start(p, err) : r;
    if (r == 0) {
        pool_emit(p, POOL_STARTED);
    }
    return r;
}

static int create_xml(struct call *call, const struct remote_storage_pool_create_xml_args *args,
                      struct remote_storage_pool_create_xml_ret *ret, struct err **err)
{
    struct node *def = NULL;
    struct pool *p = NULL;
    int r = parse(call, args->xml, &def, &p, err);

    if (r < 0) {
        return r;
    }
    if (p != NULL && p->active) {
        node_free(def);
        return fault(err, DOM_STORAGE, OPERATION_INVALID, "pool is already active as '%s'", p->name);
    }
    if (p == NULL) {
        r = pool_add(call->world, def, &p);
    } else {
        p->next = p->def;
        p->def = def;
    }
    r = r == 0 ? start(p, args->flags, err) : r;
    if (r < 0) {
        if (!p->persistent) {
            pool_remove(p);
        }
        return r;
    }
    pool_to_wire(p, &call->arena, &ret->pool);
    return 0;
}

static int create(struct call *call, const struct remote_storage_pool_create_args *args, struct err **err)
{
    struct pool *p;
    int r = pool_of_call(call, &args->pool, &p, err);

    if (r == 0 && p->active) {
        return fault(err, DOM_STORAGE, OPERATION_INVALID, "storage pool '%s' is already active", p->name);
    }
    return r == 0 ? start(p, args->flags, err) : r;
}

static int build(struct call *call, const struct remote_storage_pool_build_args *args, struct err **err)
{
    struct pool *p;
    int r = pool_of_call(call, &args->pool, &p, err);

    if (r == 0 && p->active) {
        return fault(err, DOM_STORAGE, OPERATION_INVALID, "storage pool '%s' is already active", p->name);
    }
    r = r == 0 ? build_path(p, err) : r;
    if (r == 0) {
        pool_emit(p, POOL_CREATED);
    }
    return r;
}

static int destroy(struct call *call, const struct remote_storage_pool_destroy_args *args, struct err **err)
{
    struct pool *p;
    int r = pool_active_of_call(call, &args->pool, &p, err);

    if (r < 0) {
        return r;
    }
    if (p->jobs > 0) {
        return fault(err, DOM_STORAGE, INTERNAL_ERROR, "pool '%s' has asynchronous jobs running.", p->name);
    }
    pool_stop(p);
    pool_emit(p, POOL_STOPPED);
    if (!p->persistent) {
        pool_remove(p);
    }
    return 0;
}

static int delete(struct call *call, const struct remote_storage_pool_delete_args *args, struct err **err)
{
    struct pool *p;
    int r = pool_of_call(call, &args->pool, &p, err);

    if (r < 0) {
        return r;
    }
    if (p->active) {
        return fault(err, DOM_STORAGE, OPERATION_INVALID, "storage pool '%s' is still active", p->name);
    }
    if (pool_path(p) == NULL || rmdir(pool_path(p)) < 0) {
        return err_set(err, errno, "failed to remove pool '%s': %s", pool_path(p) ? pool_path(p) : p->name,
                       strerror(errno));
    }
    pool_emit(p, POOL_DELETED);
    return 0;
}

static int undefine(struct call *call, const struct remote_storage_pool_undefine_args *args, struct err **err)
{
    struct pool *p;
    int r = pool_of_call(call, &args->pool, &p, err);

    if (r < 0) {
        return r;
    }
    if (p->active) {
        return fault(err, DOM_STORAGE, OPERATION_INVALID, "storage pool '%s' is still active", p->name);
    }
    p->persistent = p->autostart = false;
    r = pool_save(p, err);
    pool_emit(p, POOL_UNDEFINED);
    pool_remove(p);
    return r;
}

static int refresh(struct call *call, const struct remote_storage_pool_refresh_args *args, struct err **err)
{
    struct pool *p;
    int r = pool_active_of_call(call, &args->pool, &p, err);

    r = r == 0 ? pool_refresh(p, err) : r;
    if (r == 0) {
        pool_emit_refresh(p);
    }
    return r;
}

static int set_autostart(struct call *call, const struct remote_storage_pool_set_autostart_args *args,
                         struct err **err)
{
    struct pool *p;
    int r = pool_of_call(call, &args->pool, &p, err);

    if (r < 0) {
        return r;
    }
    if (!p->persistent) {
        return fault(err, DOM_STORAGE, INVALID_ARG, "pool has no config file");
    }
    p->autostart = args->autostart != 0;
    return pool_save(p, err);
}

static int find_sources(struct call *call, const struct remote_connect_find_storage_pool_sources_args *args,
                        struct remote_connect_find_storage_pool_sources_ret *ret, struct err **err)
{
    bool known = false;

    (void)ret;
    for (unsigned i = 0; i < N_TYPES; i++) {
        known |= str_eq(types[i], args->type_);
    }
    if (!known) {
        return fault(err, DOM_STORAGE, INTERNAL_ERROR, "unknown storage pool type %s", args->type_);
    }
    (void)call;
    return fault(err, DOM_STORAGE, NO_SUPPORT, "pool type '%s' does not support source discovery", args->type_);
}

static int capabilities(struct call *call, const struct remote_connect_get_storage_pool_capabilities_args *args,
                        struct remote_connect_get_storage_pool_capabilities_ret *ret, struct err **err)
{
    static const char *const formats[] = { "none", "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi",
                                           "fat", "vhd", "ploop", "cow", "qcow", "qcow2", "qed", "vmdk" };
    static const char *const fs[] = { "auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2",
                                      "vfat", "hfs+", "xfs", "ocfs2", "vmfs" };
    struct strbuf b = STRBUF_INIT(65536);
    AUTO_FREE char *text = NULL;

    (void)args;
    (void)err;
    strbuf_puts(&b, "<storagepoolCapabilities>\n");
    for (unsigned i = 0; i < N_TYPES; i++) {
        bool works = i < 3;

        strbuf_printf(&b, "  <pool type='%s' supported='%s'>\n", types[i], works ? "yes" : "no");
        if (i == 1) {
            strbuf_puts(&b, "    <poolOptions>\n      <defaultFormat type='auto'/>\n      <enum name='sourceFormatType'>\n");
            for (size_t k = 0; k < sizeof(fs) / sizeof(fs[0]); k++) {
                strbuf_printf(&b, "        <value>%s</value>\n", fs[k]);
            }
            strbuf_puts(&b, "      </enum>\n    </poolOptions>\n");
        }
        if (works) {
            strbuf_puts(&b, "    <volOptions>\n      <defaultFormat type='raw'/>\n      <enum name='targetFormatType'>\n");
            for (size_t k = 0; k < sizeof(formats) / sizeof(formats[0]); k++) {
                strbuf_printf(&b, "        <value>%s</value>\n", formats[k]);
            }
            strbuf_puts(&b, "      </enum>\n    </volOptions>\n");
        }
        strbuf_puts(&b, "  </pool>\n");
    }
    strbuf_puts(&b, "</storagepoolCapabilities>\n");
    text = strbuf_take(&b);
    ret->capabilities = text != NULL ? arena_strdup(&call->arena, text) : NULL;
    return ret->capabilities != NULL ? 0 : -ENOMEM;
}

static int num_volumes(struct call *call, const struct remote_storage_pool_num_of_volumes_args *args,
                       struct remote_storage_pool_num_of_volumes_ret *ret, struct err **err)
{
    struct pool *p;
    int r = pool_active_of_call(call, &args->pool, &p, err);

    if (r == 0) {
        LIST_FOREACH(&p->volumes, it) {
            ret->num++;
        }
    }
    return r;
}

static int list_volumes(struct call *call, const struct remote_storage_pool_list_volumes_args *args,
                        struct remote_storage_pool_list_volumes_ret *ret, struct err **err)
{
    struct pool *p;
    int r = pool_active_of_call(call, &args->pool, &p, err);

    if (r < 0) {
        return r;
    }
    ret->names = arena_array(&call->arena, 16384, sizeof(*ret->names));
    if (ret->names == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH(&p->volumes, it) {
        if ((int)ret->n_names < args->maxnames && ret->n_names < 16384) {
            ret->names[ret->n_names++] =
                arena_strdup(&call->arena, CONTAINER_OF(it, struct volume, link)->name);
        }
    }
    return 0;
}

static int list_all_volumes(struct call *call, const struct remote_storage_pool_list_all_volumes_args *args,
                            struct remote_storage_pool_list_all_volumes_ret *ret, struct err **err)
{
    struct pool *p;
    int r = pool_active_of_call(call, &args->pool, &p, err);

    if (r < 0) {
        return r;
    }
    ret->vols = arena_array(&call->arena, 16384, sizeof(*ret->vols));
    if (ret->vols == NULL) {
        return -ENOMEM;
    }
    LIST_FOREACH(&p->volumes, it) {
        if (args->need_results && ret->n_vols < 16384) {
            volume_to_wire(p, CONTAINER_OF(it, struct volume, link), &call->arena, &ret->vols[ret->n_vols++]);
        }
        ret->ret++;
    }
    return 0;
}

const struct remote_ops calls_pool = {
    .connect_list_all_storage_pools = list_all,
    .connect_num_of_storage_pools = num,
    .connect_num_of_defined_storage_pools = num_defined,
    .connect_list_storage_pools = list,
    .connect_list_defined_storage_pools = list_defined,
    .connect_find_storage_pool_sources = find_sources,
    .connect_get_storage_pool_capabilities = capabilities,
    .storage_pool_lookup_by_name = by_name,
    .storage_pool_lookup_by_uuid = by_uuid,
    .storage_pool_lookup_by_volume = by_volume,
    .storage_pool_lookup_by_target_path = by_target,
    .storage_pool_get_info = get_info,
    .storage_pool_get_xml_desc = xml,
    .storage_pool_is_active = is_active,
    .storage_pool_is_persistent = is_persistent,
    .storage_pool_get_autostart = get_autostart,
    .storage_pool_define_xml = define,
    .storage_pool_create_xml = create_xml,
    .storage_pool_create = create,
    .storage_pool_build = build,
    .storage_pool_destroy = destroy,
    .storage_pool_delete = delete,
    .storage_pool_undefine = undefine,
    .storage_pool_refresh = refresh,
    .storage_pool_set_autostart = set_autostart,
    .storage_pool_num_of_volumes = num_volumes,
    .storage_pool_list_volumes = list_volumes,
    .storage_pool_list_all_volumes = list_all_volumes,
};
