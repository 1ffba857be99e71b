/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lookup.c - objects by name, UUID, id, key or path, as the user says them. */
#include "tools/vireo/shell.h"

#include <ctype.h>

void uuid_text(const uint8_t u[16], char text[37])
{
    char *p = text;

    for (int i = 0; i < 16; i++) {
        p += snprintf(p, 3, "%02x", u[i]);
        if (i == 3 || i == 5 || i == 7 || i == 9) {
            *p++ = '-';
        }
    }
    *p = '\0';
}

bool uuid_read(const char *text, uint8_t ret[16])
{
    int digits = 0;

    for (; *text != '\0'; text++) {
        int v;

        if (*text == '-') {
            continue;
        }
        if (!isxdigit((unsigned char)*text) || digits >= 32) {
            return false;
        }
        v = isdigit((unsigned char)*text) ? *text - '0' : (*text | 0x20) - 'a' + 10;
        ret[digits / 2] = (uint8_t)(digits % 2 == 0 ? v << 4 : ret[digits / 2] | v);
        digits++;
    }
    return digits == 32;
}

int find_domain_named(struct args *a, const char *name, struct vireo_domain *ret, void **keep)
{
    struct vireo_connect *c = a->sh->conn;
    struct vireo_domain_lookup_by_id_ret *by_id;
    struct vireo_domain_lookup_by_uuid_ret *by_uuid;
    struct vireo_domain_lookup_by_name_ret *by_name;
    uint8_t uuid[16];
    uint32_t id;

    if (str_to_u32(name, INT32_MAX, &id) == 0 &&
        vireo_domain_lookup_by_id(c, (int32_t)id, &by_id) == 0) {
        *keep = by_id;
        *ret = by_id->dom;
        return 0;
    }
    if (strlen(name) == 36 && uuid_read(name, uuid) &&
        vireo_domain_lookup_by_uuid(c, uuid, &by_uuid) == 0) {
        *keep = by_uuid;
        *ret = by_uuid->dom;
        return 0;
    }
    if (vireo_domain_lookup_by_name(c, name, &by_name) < 0) {
        return error("failed to get domain '%s'", name);
    }
    *keep = by_name;
    *ret = by_name->dom;
    return 0;
}

int find_domain(struct args *a, struct vireo_domain *ret, void **keep)
{
    return find_domain_named(a, arg(a, "domain"), ret, keep);
}

/* By UUID, then by name. */
#define FIND(kind, type, member, label, name)                                  \
    do {                                                                       \
        struct vireo_##type##_lookup_by_uuid_ret *by_uuid;                     \
        struct vireo_##type##_lookup_by_name_ret *by_name;                     \
        uint8_t uuid[16];                                                      \
                                                                               \
        if (strlen(name) == 36 && uuid_read(name, uuid) &&                     \
            vireo_##type##_lookup_by_uuid(a->sh->conn, uuid, &by_uuid) == 0) { \
            *keep = by_uuid;                                                   \
            *ret = by_uuid->member;                                            \
            return 0;                                                          \
        }                                                                      \
        if (vireo_##type##_lookup_by_name(a->sh->conn, name, &by_name) < 0) {  \
            return fail("failed to get " label " '%s'", name);                 \
        }                                                                      \
        *keep = by_name;                                                       \
        *ret = by_name->member;                                                \
        return 0;                                                              \
    } while (0)

int find_network(struct args *a, struct vireo_network *ret, void **keep)
{
    FIND(network, network, net, "network", arg(a, "network"));
}

int find_pool(struct args *a, const char *option, struct vireo_storage_pool *ret, void **keep)
{
    FIND(pool, storage_pool, pool, "pool", arg(a, option));
}

int find_nwfilter(struct args *a, struct vireo_nwfilter *ret, void **keep)
{
    FIND(nwfilter, nwfilter, nwfilter, "nwfilter", arg(a, "nwfilter"));
}

int find_volume(struct args *a, const char *option, const char *pool_option,
                struct vireo_storage_vol *ret, void **keep)
{
    struct vireo_connect *c = a->sh->conn;
    const char *name = arg(a, option), *in = pool_option != NULL ? arg(a, pool_option) : NULL;
    struct vireo_storage_vol_lookup_by_name_ret *by_name;
    struct vireo_storage_vol_lookup_by_key_ret *by_key;
    struct vireo_storage_vol_lookup_by_path_ret *by_path;
    AUTO_RET void *pool_keep = NULL;
    struct vireo_storage_pool pool;

    if (in != NULL) {
        AUTO_RET struct vireo_storage_pool_is_active_ret *active = NULL;

        if (find_pool(a, pool_option, &pool, &pool_keep)) {
            return -1;
        }
        if (vireo_storage_pool_is_active(c, &pool, &active) == 0 && !active->active) {
            return error("pool '%s' is not active", in);
        }
        if (vireo_storage_vol_lookup_by_name(c, &pool, name, &by_name) == 0) {
            *keep = by_name;
            *ret = by_name->vol;
            return 0;
        }
    }
    if (vireo_storage_vol_lookup_by_key(c, name, &by_key) == 0) {
        *keep = by_key;
        *ret = by_key->vol;
    } else if (vireo_storage_vol_lookup_by_path(c, name, &by_path) == 0) {
        *keep = by_path;
        *ret = by_path->vol;
    } else {
        if (in != NULL) {
            return fail("failed to get vol '%s'", name);
        }
        (void)error("failed to get vol '%s', specifying --%s might help", name,
                    pool_option != NULL ? pool_option : "pool");
        return fail_last();
    }
    if (in != NULL && !str_eq(ret->pool, pool.name)) {
        return error("Requested volume '%s' is not in pool '%s'", name, in);
    }
    return 0;
}

int find_secret(struct args *a, struct vireo_secret *ret, void **keep)
{
    struct vireo_secret_lookup_by_uuid_ret *by_uuid;
    const char *name = arg(a, "secret");
    uint8_t uuid[16];

    if (!uuid_read(name, uuid) || vireo_secret_lookup_by_uuid(a->sh->conn, uuid, &by_uuid) < 0) {
        return uuid_read(name, uuid)
                   ? fail("failed to get secret '%s'", name)
                   : error(
                         "failed to get secret '%s'\nerror: invalid argument: uuidstr in virSecretLookupByUUIDString must be a valid UUID",
                         name);
    }
    *keep = by_uuid;
    *ret = by_uuid->secret;
    return 0;
}

int find_interface(struct args *a, struct vireo_interface *ret, void **keep)
{
    struct vireo_interface_lookup_by_name_ret *by_name;
    struct vireo_interface_lookup_by_mac_string_ret *by_mac;
    const char *name = arg(a, "interface");

    if (vireo_interface_lookup_by_name(a->sh->conn, name, &by_name) == 0) {
        *keep = by_name;
        *ret = by_name->iface;
        return 0;
    }
    if (strchr(name, ':') != NULL &&
        vireo_interface_lookup_by_mac_string(a->sh->conn, name, &by_mac) == 0) {
        *keep = by_mac;
        *ret = by_mac->iface;
        return 0;
    }
    return fail("failed to get interface '%s'", name);
}
