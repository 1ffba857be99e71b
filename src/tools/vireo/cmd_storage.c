/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_storage.c - storage pools. */
#include "tools/vireo/shell.h"

#include <inttypes.h>

enum { XML_BYTES = 1 << 20 };

#define POOL(a, p)                             \
    AUTO_RET void *p##_keep = NULL;            \
    struct vireo_storage_pool p;               \
    if (find_pool(a, "pool", &p, &p##_keep)) { \
        return -1;                             \
    }

#define SIMPLE(fn, call, done, failed)              \
    static int fn(struct shell *sh, struct args *a) \
    {                                               \
        POOL(a, p)                                  \
        if ((call) < 0) {                           \
            return fail(failed " %s", p.name);      \
        }                                           \
        extra(sh, "Pool %s " done "\n", p.name);    \
        return 0;                                   \
    }

static uint32_t build_flags(const struct args *a)
{
    return (arg_set(a, "build") ? 1u : 0) | (arg_set(a, "overwrite") ? 2u : 0) |
           (arg_set(a, "no-overwrite") ? 4u : 0);
}

SIMPLE(destroy, vireo_storage_pool_destroy(sh->conn, &p), "destroyed", "Failed to destroy pool")
SIMPLE(delete_pool, vireo_storage_pool_delete(sh->conn, &p, 0), "deleted", "Failed to delete pool")
SIMPLE(undefine, vireo_storage_pool_undefine(sh->conn, &p), "has been undefined",
       "Failed to undefine pool")
SIMPLE(refresh, vireo_storage_pool_refresh(sh->conn, &p, 0), "refreshed", "Failed to refresh pool")
SIMPLE(start, vireo_storage_pool_create(sh->conn, &p, build_flags(a)), "started",
       "Failed to start pool")
SIMPLE(build,
       vireo_storage_pool_build(sh->conn, &p,
                                (arg_set(a, "no-overwrite") ? 4u : 0) |
                                    (arg_set(a, "overwrite") ? 8u : 0)),
       "built", "Failed to build pool")

static int autostart(struct shell *sh, struct args *a)
{
    bool off = arg_set(a, "disable");

    POOL(a, p)
    if (vireo_storage_pool_set_autostart(sh->conn, &p, !off) < 0) {
        return off ? fail("failed to unmark pool %s as autostarted", p.name)
                   : fail("failed to mark pool %s as autostarted", p.name);
    }
    extra(sh, off ? "Pool %s unmarked as autostarted\n" : "Pool %s marked as autostarted\n",
          p.name);
    return 0;
}

static int define_xml(struct shell *sh, const char *xml, const char *from, uint32_t flags)
{
    AUTO_RET struct vireo_storage_pool_define_xml_ret *ret = NULL;

    if (vireo_storage_pool_define_xml(sh->conn, xml, flags, &ret) < 0) {
        return from != NULL ? fail("Failed to define pool from %s", from) : fail_last();
    }
    if (from != NULL) {
        extra(sh, "Pool %s defined from %s\n", ret->pool.name, from);
    } else {
        extra(sh, "Pool %s defined\n", ret->pool.name);
    }
    return 0;
}

static int create_xml(struct shell *sh, const char *xml, const char *from, uint32_t flags)
{
    AUTO_RET struct vireo_storage_pool_create_xml_ret *ret = NULL;

    if (vireo_storage_pool_create_xml(sh->conn, xml, flags, &ret) < 0) {
        return from != NULL ? fail("Failed to create pool from %s", from) : fail_last();
    }
    if (from != NULL) {
        extra(sh, "Pool %s created from %s\n", ret->pool.name, from);
    } else {
        extra(sh, "Pool %s created\n", ret->pool.name);
    }
    return 0;
}

static int define(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml = read_file(arg(a, "file"));

    return xml != NULL ? define_xml(sh, xml, arg(a, "file"), arg_set(a, "validate") ? 1 : 0) : -1;
}

static int create(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml = read_file(arg(a, "file"));

    return xml != NULL ? create_xml(sh, xml, arg(a, "file"), build_flags(a)) : -1;
}

/* The document that the options describe, owned. */
static char *describe(struct args *a)
{
    static const struct {
        const char *option, *before, *after;
    } parts[] = { { "source-host", "    <host name='", "'/>\n" },
                  { "source-path", "    <dir path='", "'/>\n" },
                  { "source-dev", "    <device path='", "'/>\n" } };
    struct strbuf b = STRBUF_INIT(XML_BYTES);
    AUTO_FREE char *name = xml_quote(arg(a, "name")), *type = xml_quote(arg(a, "type"));
    bool source = false;
    static const char *const any[] = { "source-host",        "source-path",   "source-dev",
                                       "source-name",        "source-format", "auth-type",
                                       "adapter-name",       "adapter-wwnn",  "source-initiator",
                                       "source-protocol-ver" };

    for (size_t i = 0; i < sizeof(any) / sizeof(any[0]); i++) {
        source |= arg(a, any[i]) != NULL;
    }
    strbuf_printf(&b, "<pool type='%s'>\n  <name>%s</name>\n", type != NULL ? type : "",
                  name != NULL ? name : "");
    if (source) {
        strbuf_puts(&b, "  <source>\n");
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
            AUTO_FREE char *v =
                arg(a, parts[i].option) != NULL ? xml_quote(arg(a, parts[i].option)) : NULL;

            if (v != NULL) {
                strbuf_printf(&b, "%s%s%s", parts[i].before, v, parts[i].after);
            }
        }
        if (arg(a, "source-initiator") != NULL) {
            strbuf_printf(&b, "    <initiator>\n      <iqn name='%s'/>\n    </initiator>\n",
                          arg(a, "source-initiator"));
        }
        if (arg(a, "adapter-wwnn") != NULL && arg(a, "adapter-wwpn") != NULL) {
            strbuf_printf(&b, "    <adapter type='fc_host'%s%s%s wwnn='%s' wwpn='%s'/>\n",
                          arg(a, "adapter-parent") ? " parent='" : "",
                          arg(a, "adapter-parent") ? arg(a, "adapter-parent") : "",
                          arg(a, "adapter-parent") ? "'" : "", arg(a, "adapter-wwnn"),
                          arg(a, "adapter-wwpn"));
        } else if (arg(a, "adapter-name") != NULL) {
            strbuf_printf(&b, "    <adapter type='scsi_host' name='%s'/>\n",
                          arg(a, "adapter-name"));
        }
        if (arg(a, "auth-type") != NULL && arg(a, "auth-username") != NULL) {
            strbuf_printf(&b, "    <auth type='%s' username='%s'>\n", arg(a, "auth-type"),
                          arg(a, "auth-username"));
            if (arg(a, "secret-usage") != NULL) {
                strbuf_printf(&b, "      <secret usage='%s'/>\n", arg(a, "secret-usage"));
            } else if (arg(a, "secret-uuid") != NULL) {
                strbuf_printf(&b, "      <secret uuid='%s'/>\n", arg(a, "secret-uuid"));
            }
            strbuf_puts(&b, "    </auth>\n");
        }
        if (arg(a, "source-format") != NULL) {
            strbuf_printf(&b, "    <format type='%s'/>\n", arg(a, "source-format"));
        }
        if (arg(a, "source-name") != NULL) {
            AUTO_FREE char *v = xml_quote(arg(a, "source-name"));

            strbuf_printf(&b, "    <name>%s</name>\n", v != NULL ? v : "");
        }
        if (arg(a, "source-protocol-ver") != NULL) {
            strbuf_printf(&b, "    <protocol ver='%s'/>\n", arg(a, "source-protocol-ver"));
        }
        strbuf_puts(&b, "  </source>\n");
    }
    if (arg(a, "target") != NULL) {
        AUTO_FREE char *v = xml_quote(arg(a, "target"));

        strbuf_printf(&b, "  <target>\n    <path>%s</path>\n  </target>\n", v != NULL ? v : "");
    }
    strbuf_puts(&b, "</pool>\n");
    return strbuf_take(&b);
}

static int define_as(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml = describe(a);

    if (xml != NULL && arg_set(a, "print-xml")) {
        printf("%s", xml);
        return 0;
    }
    return xml == NULL                    ? -1
           : define_xml(sh, xml, NULL, 0) ? error("Failed to define pool %s", arg(a, "name"))
                                          : 0;
}

static int create_as(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml = describe(a);

    if (xml != NULL && arg_set(a, "print-xml")) {
        printf("%s", xml);
        return 0;
    }
    return xml == NULL ? -1
           : create_xml(sh, xml, NULL, build_flags(a))
               ? error("Failed to create pool %s", arg(a, "name"))
               : 0;
}

static int dumpxml(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_storage_pool_get_xml_desc_ret *x = NULL;

    POOL(a, p)
    return vireo_storage_pool_get_xml_desc(sh->conn, &p, arg_set(a, "inactive") ? 1 : 0, &x) < 0
               ? fail_last()
               : print_xml(a, x->xml);
}

static int edit(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_storage_pool_get_xml_desc_ret *x = NULL;
    AUTO_RET struct vireo_storage_pool_define_xml_ret *ret = NULL;
    AUTO_FREE char *text = NULL;

    POOL(a, p)
    if (vireo_storage_pool_get_xml_desc(sh->conn, &p, 1, &x) < 0) {
        return fail_last();
    }
    if (edit_text(x->xml, &text)) {
        return -1;
    }
    if (text == NULL) {
        extra(sh, "Pool %s XML configuration not changed.\n", p.name);
        return 0;
    }
    if (vireo_storage_pool_define_xml(sh->conn, text, 0, &ret) < 0) {
        return fail_last();
    }
    extra(sh, "Pool %s XML configuration edited.\n", ret->pool.name);
    return 0;
}

static int name(struct shell *sh, struct args *a)
{
    (void)sh;
    POOL(a, p)
    printf("%s\n", p.name);
    return 0;
}

static int uuid(struct shell *sh, struct args *a)
{
    char text[37];

    (void)sh;
    POOL(a, p)
    uuid_text(p.uuid, text);
    printf("%s\n", text);
    return 0;
}

static const char *pool_state(int state)
{
    static const char *const names[] = { "inactive", "building", "running", "degraded",
                                         "inaccessible" };

    return state >= 0 && state < 5 ? names[state] : "unknown";
}

static void size_line(const char *title, uint64_t v, bool bytes)
{
    const char *unit;
    double nice = pretty_size(v, &unit);

    if (bytes) {
        printf("%-15s %" PRIu64 "\n", title, v);
    } else {
        printf("%-15s %2.2lf %s\n", title, nice, unit);
    }
}

static int info(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_storage_pool_get_info_ret *i = NULL;
    AUTO_RET struct vireo_storage_pool_is_persistent_ret *persistent = NULL;
    AUTO_RET struct vireo_storage_pool_get_autostart_ret *autostarted = NULL;
    char text[37];

    POOL(a, p)
    uuid_text(p.uuid, text);
    printf("%-15s %s\n%-15s %s\n", "Name:", p.name, "UUID:", text);
    if (vireo_storage_pool_get_info(sh->conn, &p, &i) < 0) {
        return fail_last();
    }
    printf("%-15s %s\n", "State:", pool_state(i->state));
    printf("%-15s %s\n", "Persistent:",
           vireo_storage_pool_is_persistent(sh->conn, &p, &persistent) < 0 ? "unknown"
           : persistent->persistent                                        ? "yes"
                                                                           : "no");
    printf("%-15s %s\n", "Autostart:",
           vireo_storage_pool_get_autostart(sh->conn, &p, &autostarted) < 0 ? "no autostart"
           : autostarted->autostart                                         ? "yes"
                                                                            : "no");
    if (i->state == 2 || i->state == 3) {
        size_line("Capacity:", i->capacity, arg_set(a, "bytes"));
        size_line("Allocation:", i->allocation, arg_set(a, "bytes"));
        size_line("Available:", i->available, arg_set(a, "bytes"));
    }
    return 0;
}

static int by_name(const void *x, const void *y)
{
    return strcasecmp(((const struct vireo_storage_pool *)x)->name,
                      ((const struct vireo_storage_pool *)y)->name);
}

static void list_one(struct shell *sh, struct args *a, struct table *t,
                     const struct vireo_storage_pool *p)
{
    AUTO_RET struct vireo_storage_pool_get_info_ret *i = NULL;
    AUTO_RET struct vireo_storage_pool_is_persistent_ret *persistent = NULL;
    AUTO_RET struct vireo_storage_pool_get_autostart_ret *autostarted = NULL;
    AUTO_RET struct vireo_storage_pool_is_active_ret *active = NULL;
    const char *start = vireo_storage_pool_get_autostart(sh->conn, p, &autostarted) < 0
                            ? "no autostart"
                        : autostarted->autostart ? "yes"
                                                 : "no";
    char sizes[3][32] = { "-", "-", "-" };

    if (!arg_set(a, "details")) {
        table_row(t, p->name,
                  vireo_storage_pool_is_active(sh->conn, p, &active) == 0 && active->active
                      ? "active"
                      : "inactive",
                  start);
        return;
    }
    if (vireo_storage_pool_get_info(sh->conn, p, &i) == 0 && i->state != 0) {
        const uint64_t v[] = { i->capacity, i->allocation, i->available };

        for (int k = 0; k < 3; k++) {
            const char *unit;
            double nice = pretty_size(v[k], &unit);

            (void)snprintf(sizes[k], sizeof(sizes[k]), "%.2lf %s", nice, unit);
        }
    }
    table_row(t, p->name, i != NULL ? pool_state(i->state) : "unknown", start,
              vireo_storage_pool_is_persistent(sh->conn, p, &persistent) < 0 ? "unknown"
              : persistent->persistent                                       ? "yes"
                                                                             : "no",
              sizes[0], sizes[1], sizes[2]);
}

static int list(struct shell *sh, struct args *a)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } types[] = { { "dir", 64 },          { "fs", 128 },
                  { "netfs", 256 },       { "logical", 512 },
                  { "disk", 1024 },       { "iscsi", 2048 },
                  { "scsi", 4096 },       { "mpath", 8192 },
                  { "rbd", 16384 },       { "sheepdog", 32768 },
                  { "gluster", 65536 },   { "zfs", 131072 },
                  { "vstorage", 262144 }, { "iscsi-direct", 524288 } };
    static const struct flag flags[] = { { "persistent", 4 },
                                         { "transient", 8 },
                                         { "autostart", 16 },
                                         { "no-autostart", 32 },
                                         { NULL, 0 } };
    AUTO_RET struct vireo_connect_list_all_storage_pools_ret *ret = NULL;
    uint32_t bits = arg_flags(a, flags) | (arg_set(a, "all")        ? 3u
                                           : arg_set(a, "inactive") ? 1u
                                                                    : 2u);
    AUTO_FREE char *copy = arg(a, "type") != NULL ? strdup(arg(a, "type")) : NULL;
    struct table *t;

    for (char *p = copy; p != NULL && *p != '\0';) {
        char *v = strsep(&p, ",");
        uint32_t bit = 0;

        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
            bit = str_eq(types[i].name, v) ? types[i].bit : bit;
        }
        if (bit == 0) {
            return error("Invalid pool type '%s'", v);
        }
        bits |= bit;
    }
    if (vireo_connect_list_all_storage_pools(sh->conn, 1, bits, &ret) < 0) {
        return fail("Failed to list pools");
    }
    qsort(ret->pools, ret->n_pools, sizeof(ret->pools[0]), by_name);
    if (arg_set(a, "name") || arg_set(a, "uuid")) {
        for (uint32_t i = 0; i < ret->n_pools; i++) {
            char text[37];

            uuid_text(ret->pools[i].uuid, text);
            if (arg_set(a, "uuid")) {
                printf("%s%s%s\n", text, arg_set(a, "name") ? " " : "",
                       arg_set(a, "name") ? ret->pools[i].name : "");
            } else {
                printf("%-20s\n", ret->pools[i].name);
            }
        }
        return 0;
    }
    t = arg_set(a, "details") ? table_new("Name", "State", "Autostart", "Persistent", "Capacity",
                                          "Allocation", "Available", NULL)
                              : table_new("Name", "State", "Autostart", NULL);
    for (uint32_t i = 0; i < ret->n_pools; i++) {
        list_one(sh, a, t, &ret->pools[i]);
    }
    table_print(t, sh, true);
    return 0;
}

static int capabilities(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_get_storage_pool_capabilities_ret *ret = NULL;

    (void)a;
    if (vireo_connect_get_storage_pool_capabilities(sh->conn, 0, &ret) < 0) {
        return fail("failed to get storage pool capabilities");
    }
    printf("%s\n", ret->capabilities);
    return 0;
}

static int find_sources(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_find_storage_pool_sources_ret *ret = NULL;
    AUTO_FREE char *spec = arg(a, "srcSpec") != NULL ? read_file(arg(a, "srcSpec")) : NULL;

    if (arg(a, "srcSpec") != NULL && spec == NULL) {
        return -1;
    }
    if (vireo_connect_find_storage_pool_sources(sh->conn, arg(a, "type"), spec, 0, &ret) < 0) {
        return fail("Failed to find any %s pool sources", arg(a, "type"));
    }
    printf("%s", ret->xml);
    return 0;
}

static int find_sources_as(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_find_storage_pool_sources_ret *ret = NULL;
    struct strbuf b = STRBUF_INIT(XML_BYTES);
    AUTO_FREE char *spec = NULL;

    if (arg(a, "host") != NULL) {
        strbuf_printf(&b, "<source>\n  <host name='%s'", arg(a, "host"));
        if (arg(a, "port") != NULL) {
            strbuf_printf(&b, " port='%s'", arg(a, "port"));
        }
        strbuf_puts(&b, "/>\n");
        if (arg(a, "initiator") != NULL) {
            strbuf_printf(&b, "  <initiator>\n    <iqn name='%s'/>\n  </initiator>\n",
                          arg(a, "initiator"));
        }
        strbuf_puts(&b, "</source>\n");
        spec = strbuf_take(&b);
    }
    if (vireo_connect_find_storage_pool_sources(sh->conn, arg(a, "type"), spec, 0, &ret) < 0) {
        return fail("Failed to find any %s pool sources", arg(a, "type"));
    }
    printf("%s", ret->xml);
    return 0;
}

#define AS_OPTIONS                                                                                                                       \
    " --print-xml source-host source-path source-dev source-name target source-format auth-type auth-username secret-usage secret-uuid " \
    "adapter-name adapter-wwnn adapter-wwpn adapter-parent adapter-parent-wwnn adapter-parent-wwpn adapter-parent-fabric-wwn source-protocol-ver source-initiator"

const struct shell_command pool_commands[] = {
    { "find-storage-pool-sources", "type! srcSpec", find_sources,
      "look for sources of pools, with an XML file", false },
    { "find-storage-pool-sources-as", "type! host port initiator", find_sources_as,
      "look for sources of pools", false },
    { "pool-autostart", "pool! --disable", autostart, "start a pool with the host, or no longer",
      false },
    { "pool-build", "pool! --no-overwrite --overwrite", build, "make what a pool needs", false },
    { "pool-capabilities", "", capabilities, "show which pools the daemon can do", false },
    { "pool-create", "file! --build --no-overwrite --overwrite", create,
      "start a pool from an XML file", false },
    { "pool-create-as", "name! type!" AS_OPTIONS " --build --no-overwrite --overwrite", create_as,
      "start a pool described by options", false },
    { "pool-define", "file! --validate", define, "define a pool from an XML file", false },
    { "pool-define-as", "name! type!" AS_OPTIONS, define_as, "define a pool described by options",
      false },
    { "pool-delete", "pool!", delete_pool, "delete what a pool is made of", false },
    { "pool-destroy", "pool!", destroy, "stop a pool", false },
    { "pool-dumpxml", "pool! --inactive xpath --wrap", dumpxml, "print a pool's XML", false },
    { "pool-edit", "pool!", edit, "edit a pool's XML", false },
    { "pool-info", "pool! --bytes", info, "show a pool's main facts", false },
    { "pool-list",
      "--inactive --all --transient --persistent --autostart --no-autostart type --details --uuid --name",
      list, "list pools", false },
    { "pool-name", "pool!", name, "show a pool's name", false },
    { "pool-refresh", "pool!", refresh, "look again for a pool's volumes", false },
    { "pool-start", "pool! --build --no-overwrite --overwrite", start, "start a pool", false },
    { "pool-undefine", "pool!", undefine, "forget a pool's definition", false },
    { "pool-uuid", "pool!", uuid, "show a pool's UUID", false },
    { NULL, NULL, NULL, NULL, false },
};
