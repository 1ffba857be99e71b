/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_volume.c - storage volumes. Images are made and changed by the configured program. */
#include "mgmt/daemon/calls.h"
#include "mgmt/driver/driver.h"
#include "mgmt/model/schema.h"
#include "mgmt/object/pool.h"
#include "mgmt/server/lock.h"
#include "mgmt/server/remote-ops.h"
#include "mgmt/server/stream.h"
#include "mgmt/storage/image.h"
#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum { INFO_PHYSICAL = 1, RESIZE_ALLOCATE = 1, RESIZE_DELTA = 2, RESIZE_SHRINK = 4, SPARSE_STREAM = 1 };
enum { WIPE_CHUNK = 1 << 20 };

static int by_name(struct call *call, const struct remote_storage_vol_lookup_by_name_args *args,
                   struct remote_storage_vol_lookup_by_name_ret *ret, struct err **err)
{
    struct pool *p;
    struct volume *v;
    int r = pool_active_of_call(call, &args->pool, &p, err);

    if (r < 0) {
        return r;
    }
    v = volume_by_name(p, args->name);
    if (v == NULL) {
        return fault(err, DOM_STORAGE, NO_STORAGE_VOL, "no storage vol with matching name '%s'", args->name);
    }
    volume_to_wire(p, v, &call->arena, &ret->vol);
    return 0;
}

static int find_path(struct call *call, const char *path, struct remote_storage_vol *ret)
{
    LIST_FOREACH(&call->world->pools, pi) {
        struct pool *p = CONTAINER_OF(pi, struct pool, link);

        LIST_FOREACH(&p->volumes, it) {
            struct volume *v = CONTAINER_OF(it, struct volume, link);

            if (str_eq(v->path, path)) {
                volume_to_wire(p, v, &call->arena, ret);
                return 0;
            }
        }
    }
    return -ENOENT;
}

static int by_key(struct call *call, const struct remote_storage_vol_lookup_by_key_args *args,
                  struct remote_storage_vol_lookup_by_key_ret *ret, struct err **err)
{
    return find_path(call, args->key, &ret->vol) < 0
               ? fault(err, DOM_STORAGE, NO_STORAGE_VOL, "no storage vol with matching key %s", args->key)
               : 0;
}

static int by_path(struct call *call, const struct remote_storage_vol_lookup_by_path_args *args,
                   struct remote_storage_vol_lookup_by_path_ret *ret, struct err **err)
{
    AUTO_FREE char *clean = realpath(args->path, NULL);

    if (find_path(call, args->path, &ret->vol) == 0 || (clean != NULL && find_path(call, clean, &ret->vol) == 0)) {
        return 0;
    }
    return fault(err, DOM_STORAGE, NO_STORAGE_VOL, "no storage vol with matching path '%s'", args->path);
}

static int info(struct call *call, const struct remote_storage_vol *wire, unsigned flags, int8_t *ret_type,
                uint64_t *ret_capacity, uint64_t *ret_allocation, struct err **err)
{
    struct pool *p;
    struct volume *v;
    CLEANUP(image_info_done) struct image_info i = { 0 };
    int r = volume_of_call(call, wire, &p, &v, err);

    if (r < 0) {
        return r;
    }
    r = image_probe(v->path, NULL, &i);
    if (r < 0) {
        return err_set(err, -r, "cannot open volume '%s': %s", v->path, strerror(-r));
    }
    *ret_type = str_eq(i.format, "dir") ? 2 : 0;
    *ret_capacity = i.virtual_bytes;
    *ret_allocation = flags & INFO_PHYSICAL ? i.physical_bytes : i.allocated_bytes;
    return 0;
}

static int get_info(struct call *call, const struct remote_storage_vol_get_info_args *args,
                    struct remote_storage_vol_get_info_ret *ret, struct err **err)
{
    return info(call, &args->vol, 0, &ret->type_, &ret->capacity, &ret->allocation, err);
}

static int get_info_flags(struct call *call, const struct remote_storage_vol_get_info_flags_args *args,
                          struct remote_storage_vol_get_info_flags_ret *ret, struct err **err)
{
    return info(call, &args->vol, args->flags, &ret->type_, &ret->capacity, &ret->allocation, err);
}

static int get_xml(struct call *call, const struct remote_storage_vol_get_xml_desc_args *args,
                   struct remote_storage_vol_get_xml_desc_ret *ret, struct err **err)
{
    struct pool *p;
    struct volume *v;
    AUTO_FREE char *text = NULL;
    int r = volume_of_call(call, &args->vol, &p, &v, err);

    if (r < 0) {
        return r;
    }
    text = volume_xml(v, err);
    if (text == NULL) {
        return err != NULL && *err != NULL ? -(*err)->code : -ENOMEM;
    }
    ret->xml = arena_strdup(&call->arena, text);
    return ret->xml != NULL ? 0 : -ENOMEM;
}

static int get_path(struct call *call, const struct remote_storage_vol_get_path_args *args,
                    struct remote_storage_vol_get_path_ret *ret, struct err **err)
{
    struct pool *p;
    struct volume *v;
    int r = volume_of_call(call, &args->vol, &p, &v, err);

    if (r == 0) {
        ret->name = arena_strdup(&call->arena, v->path);
    }
    return r;
}

/* ---- making ---- */

static int parse(const char *xml, struct node **ret, struct err **err)
{
    CLEANUP(node_freep) struct node *def = NULL;
    const char *name;
    int r = schema_parse(xml, &schema_volume, DOM_STORAGE, false, &def, err);

    if (r < 0) {
        return r;
    }
    name = node_get(def, "name");
    if (name == NULL || *name == '\0') {
        return fault(err, DOM_STORAGE, XML_ERROR, "missing volume name element");
    }
    if (strchr(name, '/') != NULL || str_eq(name, "..") || str_eq(name, ".")) {
        return fault(err, DOM_STORAGE, OPERATION_FAILED, "volume name '%s' cannot contain '/'", name);
    }
    if (node_child(def, "capacity") == NULL) {
        if (node_child(def, "backingStore") == NULL) {
            return fault(err, DOM_STORAGE, XML_ERROR, "missing capacity element");
        }
    } else {
        r = unit_normalize(node_child(def, "capacity"), 1, 1, "bytes", DOM_STORAGE, err);
    }
    if (r == 0 && node_child(def, "allocation") != NULL) {
        r = unit_normalize(node_child(def, "allocation"), 1, 1, "bytes", DOM_STORAGE, err);
    }
    if (r == 0) {
        *ret = TAKE_PTR(def);
    }
    return r;
}

static int set_owner(const char *path, const struct node *def)
{
    const char *mode = node_get(def, "target/permissions/mode");

    return chmod(path, mode != NULL ? (mode_t)strtoul(mode, NULL, 8) & 0777 : 0600);
}

static int make_raw(const char *path, const struct node *def, struct err **err)
{
    uint64_t size = node_get_u64(def, "capacity", 0);
    uint64_t allocate = node_child(def, "allocation") != NULL ? node_get_u64(def, "allocation", size) : size;
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int r = 0;

    if (fd < 0) {
        return err_set(err, errno, "cannot create path '%s': %s", path, strerror(errno));
    }
    UNLOCKED({
        if (ftruncate(fd, (off_t)size) < 0 ||
            (allocate > 0 && fallocate(fd, 0, 0, (off_t)(allocate < size ? allocate : size)) < 0 &&
             errno != EOPNOTSUPP)) {
            r = -errno;
        }
    });
    return r < 0 ? err_set(err, -r, "cannot extend file '%s': %s", path, strerror(-r)) : 0;
}

static int make_image(const char *path, const char *format, const struct node *def, struct err **err)
{
    const char *args[16];
    const char *backing = node_get(def, "backingStore/path");
    const char *compat = node_get(def, "target/compat");
    AUTO_FREE char *size = str_format("%llu", (unsigned long long)node_get_u64(def, "capacity", 0));
    AUTO_FREE char *options = compat != NULL ? str_format("compat=%s", compat) : NULL;
    size_t n = 0;

    args[n++] = "create";
    args[n++] = "-q";
    args[n++] = "-f";
    args[n++] = format;
    if (options != NULL && str_eq(format, "qcow2")) {
        args[n++] = "-o";
        args[n++] = options;
    }
    if (backing != NULL) {
        args[n++] = "-b";
        args[n++] = backing;
        args[n++] = "-F";
        args[n++] = node_get(def, "backingStore/format/@type") ? node_get(def, "backingStore/format/@type") : "raw";
    }
    args[n++] = path;
    if (node_child(def, "capacity") != NULL) {
        args[n++] = size;
    }
    args[n] = NULL;
    return image_run(args, NULL, err);
}

static int create(struct call *call, const struct remote_storage_pool *pool_wire, const char *xml,
                  const struct remote_storage_vol *from, struct remote_storage_vol *ret, struct err **err)
{
    CLEANUP(node_freep) struct node *def = NULL;
    struct pool *p, *from_pool;
    struct volume *v, *source = NULL;
    AUTO_FREE char *path = NULL, *from_path = NULL, *name = NULL;
    const char *format;
    int r = pool_active_of_call(call, pool_wire, &p, err);

    r = r == 0 && from != NULL ? volume_of_call(call, from, &from_pool, &source, err) : r;
    r = r == 0 ? parse(xml, &def, err) : r;
    if (r < 0) {
        return r;
    }
    name = strdup(node_get(def, "name"));
    path = str_format("%s/%s", pool_path(p), name);
    from_path = source != NULL ? strdup(source->path) : NULL;
    if (path == NULL || name == NULL || (source != NULL && from_path == NULL)) {
        return -ENOMEM;
    }
    if (volume_by_name(p, name) != NULL) {
        return fault(err, DOM_STORAGE, STORAGE_VOL_EXIST, "storage volume '%s' exists already", name);
    }
    if (access(path, F_OK) == 0) {
        return fault(err, DOM_STORAGE, OPERATION_FAILED, "volume target path '%s' already exists", path);
    }
    format = node_get(def, "target/format/@type");
    if (format == NULL) {
        format = "raw";
    }
    p->jobs++;
    if (str_eq(call->world->driver->scheme, "test")) {
        r = 0;
    } else if (from_path != NULL) {
        CLEANUP(image_info_done) struct image_info i = { 0 };
        uint64_t want = node_get_u64(def, "capacity", 0);
        const char *const args[] = { "convert", "-q", "-f", NULL, "-O", format, from_path, path, NULL };

        r = image_probe(from_path, NULL, &i);
        if (r == 0) {
            const char *full[9];

            memcpy(full, args, sizeof(args));
            full[3] = i.format;
            r = image_run(full, NULL, err);
        }
        if (r == 0 && want > i.virtual_bytes) {
            AUTO_FREE char *size = str_format("%llu", (unsigned long long)want);
            const char *const resize[] = { "resize", "-q", "-f", format, path, size, NULL };

            r = image_run(resize, NULL, err);
        }
    } else if (str_eq(format, "dir")) {
        r = mkdir(path, 0700) < 0 ? err_set(err, errno, "cannot create path '%s': %s", path, strerror(errno)) : 0;
    } else if (str_eq(format, "raw") && node_get(def, "backingStore/path") == NULL) {
        r = make_raw(path, def, err);
    } else {
        r = make_image(path, format, def, err);
    }
    p->jobs--;
    if (r < 0) {
        (void)unlink(path);
        return r;
    }
    if (!str_eq(format, "dir") && str_eq(call->world->driver->scheme, "qemu")) {
        (void)set_owner(path, def);
    }
    r = volume_add(p, name, &v);
    if (r == 0) {
        volume_to_wire(p, v, &call->arena, ret);
    }
    return r;
}

static int create_xml(struct call *call, const struct remote_storage_vol_create_xml_args *args,
                      struct remote_storage_vol_create_xml_ret *ret, struct err **err)
{
    return create(call, &args->pool, args->xml, NULL, &ret->vol, err);
}

static int create_xml_from(struct call *call, const struct remote_storage_vol_create_xml_from_args *args,
                           struct remote_storage_vol_create_xml_from_ret *ret, struct err **err)
{
    return create(call, &args->pool, args->xml, &args->clonevol, &ret->vol, err);
}

/* ---- changing ---- */

static int delete(struct call *call, const struct remote_storage_vol_delete_args *args, struct err **err)
{
    struct pool *p;
    struct volume *v;
    int r = volume_of_call(call, &args->vol, &p, &v, err);

    if (r < 0) {
        return r;
    }
    if (str_eq(call->world->driver->scheme, "qemu") && remove(v->path) < 0 && errno != ENOENT) {
        return err_set(err, errno, "cannot unlink file '%s': %s", v->path, strerror(errno));
    }
    volume_forget(v);
    return 0;
}

static int resize(struct call *call, const struct remote_storage_vol_resize_args *args, struct err **err)
{
    struct pool *p;
    struct volume *v;
    CLEANUP(image_info_done) struct image_info i = { 0 };
    AUTO_FREE char *path = NULL, *size = NULL;
    uint64_t want = args->capacity;
    int r = volume_of_call(call, &args->vol, &p, &v, err);

    if (r < 0) {
        return r;
    }
    path = strdup(v->path);
    r = path != NULL ? image_probe(path, NULL, &i) : -ENOMEM;
    if (r < 0) {
        return r;
    }
    if (args->flags & RESIZE_DELTA) {
        want = args->flags & RESIZE_SHRINK ? i.virtual_bytes - (want < i.virtual_bytes ? want : i.virtual_bytes)
                                           : i.virtual_bytes + want;
    }
    if (want < i.virtual_bytes && !(args->flags & RESIZE_SHRINK)) {
        return fault(err, DOM_STORAGE, INVALID_ARG, "Can't shrink capacity below current capacity unless shrink "
                                                    "flag explicitly specified");
    }
    size = str_format("%llu", (unsigned long long)want);
    if (size == NULL) {
        return -ENOMEM;
    }
    {
        const char *const grow[] = { "resize", "-q", "-f", i.format, path, size, NULL };
        const char *const shrink[] = { "resize", "-q", "--shrink", "-f", i.format, path, size, NULL };

        return image_run(want < i.virtual_bytes ? shrink : grow, NULL, err);
    }
}

static int wipe_path(const char *path, struct err **err)
{
    AUTO_FD int fd = open(path, O_RDWR | O_CLOEXEC);
    AUTO_FREE char *zeros = calloc(1, WIPE_CHUNK);
    struct stat st;
    int r = 0;

    if (fd < 0 || zeros == NULL || fstat(fd, &st) < 0) {
        return err_set(err, errno, "cannot open volume '%s': %s", path, strerror(errno));
    }
    UNLOCKED({
        for (off_t at = 0; r == 0 && at < st.st_size; at += WIPE_CHUNK) {
            off_t left = st.st_size - at;

            r = fd_pwrite_all(fd, zeros, left < WIPE_CHUNK ? (size_t)left : WIPE_CHUNK, (uint64_t)at);
        }
        if (r == 0 && fsync(fd) < 0) {
            r = -errno;
        }
    });
    return r < 0 ? err_set(err, -r, "cannot wipe '%s': %s", path, strerror(-r)) : 0;
}

static int wipe_volume(struct call *call, const struct remote_storage_vol *wire, struct err **err)
{
    struct pool *p;
    struct volume *v;
    AUTO_FREE char *path = NULL;
    int r = volume_of_call(call, wire, &p, &v, err);

    path = r == 0 ? strdup(v->path) : NULL;
    if (r == 0 && path == NULL) {
        r = -ENOMEM;
    }
    if (r == 0) {
        p->jobs++;
        r = wipe_path(path, err);
        p->jobs--;
    }
    return r;
}

static int wipe(struct call *call, const struct remote_storage_vol_wipe_args *args, struct err **err)
{
    return wipe_volume(call, &args->vol, err);
}

static int wipe_pattern(struct call *call, const struct remote_storage_vol_wipe_pattern_args *args, struct err **err)
{
    if (args->algorithm != 0) {
        return fault(err, DOM_STORAGE, INVALID_ARG, "wiping algorithm %u not supported", args->algorithm);
    }
    return wipe_volume(call, &args->vol, err);
}

static int transfer(struct call *call, const struct remote_storage_vol *wire, uint64_t offset, uint64_t length,
                    unsigned flags, bool upload, struct err **err)
{
    struct stream_spec spec = { .fd_read = -1, .fd_write = -1, .regular = true, .sparse = flags & SPARSE_STREAM };
    struct pool *p;
    struct volume *v;
    AUTO_FD int fd = -1;
    int r = volume_of_call(call, wire, &p, &v, err);

    if (r < 0) {
        return r;
    }
    fd = open(v->path, (upload ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
    if (fd < 0 || lseek(fd, (off_t)offset, SEEK_SET) < 0) {
        return err_set(err, errno, "Unable to open '%s': %s", v->path, strerror(errno));
    }
    *(upload ? &spec.fd_write : &spec.fd_read) = TAKE_FD(fd);
    *(upload ? &spec.write_max : &spec.read_max) = length;
    return stream_new(call, &spec, err);
}

static int upload(struct call *call, const struct remote_storage_vol_upload_args *args, struct err **err)
{
    return transfer(call, &args->vol, args->offset, args->length, args->flags, true, err);
}

static int download(struct call *call, const struct remote_storage_vol_download_args *args, struct err **err)
{
    return transfer(call, &args->vol, args->offset, args->length, args->flags, false, err);
}

const struct remote_ops calls_volume = {
    .storage_vol_lookup_by_name = by_name,
    .storage_vol_lookup_by_key = by_key,
    .storage_vol_lookup_by_path = by_path,
    .storage_vol_get_info = get_info,
    .storage_vol_get_info_flags = get_info_flags,
    .storage_vol_get_xml_desc = get_xml,
    .storage_vol_get_path = get_path,
    .storage_vol_create_xml = create_xml,
    .storage_vol_create_xml_from = create_xml_from,
    .storage_vol_delete = delete,
    .storage_vol_resize = resize,
    .storage_vol_wipe = wipe,
    .storage_vol_wipe_pattern = wipe_pattern,
    .storage_vol_upload = upload,
    .storage_vol_download = download,
};
