/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_volume.c - volumes of storage pools. */
#include "tools/vireo/console.h"
#include "tools/vireo/document.h"
#include "tools/vireo/shell.h"

#include <inttypes.h>

enum { XML_BYTES = 1 << 20, PREALLOC_METADATA = 1, REFLINK = 2 };

#define VOLUME(a, v)                                    \
    AUTO_RET void *v##_keep = NULL;                     \
    struct vireo_storage_vol v;                         \
    if (find_volume(a, "vol", "pool", &v, &v##_keep)) { \
        return -1;                                      \
    }

static const char *volume_type(int type)
{
    static const char *const names[] = { "file", "block", "dir", "network", "netdir", "ploop" };

    return type >= 0 && type < 6 ? names[type] : "unknown";
}

static uint32_t create_flags(const struct args *a)
{
    return (arg_set(a, "prealloc-metadata") ? PREALLOC_METADATA : 0u) |
           (arg_set(a, "reflink") ? REFLINK : 0u);
}

static int create_as(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_storage_vol_create_xml_ret *ret = NULL;
    AUTO_RET void *keep = NULL;
    struct vireo_storage_pool pool;
    struct strbuf b = STRBUF_INIT(XML_BYTES);
    AUTO_FREE char *name = xml_quote(arg(a, "name")), *xml = NULL;
    unsigned long long capacity, allocation = 0;
    int given;

    if (find_pool(a, "pool", &pool, &keep) || arg_size(a, "capacity", 1, &capacity) < 0 ||
        (given = arg_size(a, "allocation", 1, &allocation)) < 0) {
        return -1;
    }
    strbuf_printf(&b, "<volume>\n  <name>%s</name>\n  <capacity>%llu</capacity>\n",
                  name != NULL ? name : "", capacity);
    if (given == 1) {
        strbuf_printf(&b, "  <allocation>%llu</allocation>\n", allocation);
    }
    if (arg(a, "format") != NULL) {
        strbuf_printf(&b, "  <target>\n    <format type='%s'/>\n  </target>\n", arg(a, "format"));
    }
    if (arg(a, "backing-vol") != NULL) {
        AUTO_RET struct vireo_storage_vol_lookup_by_name_ret *by_name = NULL;
        AUTO_RET struct vireo_storage_vol_lookup_by_key_ret *by_key = NULL;
        AUTO_RET struct vireo_storage_vol_lookup_by_path_ret *by_path = NULL;
        AUTO_RET struct vireo_storage_vol_get_path_ret *path = NULL;
        const struct vireo_storage_vol *v = NULL;

        if (vireo_storage_vol_lookup_by_name(sh->conn, &pool, arg(a, "backing-vol"), &by_name) ==
            0) {
            v = &by_name->vol;
        } else if (vireo_storage_vol_lookup_by_key(sh->conn, arg(a, "backing-vol"), &by_key) == 0) {
            v = &by_key->vol;
        } else if (vireo_storage_vol_lookup_by_path(sh->conn, arg(a, "backing-vol"), &by_path) ==
                   0) {
            v = &by_path->vol;
        }
        if (v == NULL || vireo_storage_vol_get_path(sh->conn, v, &path) < 0) {
            strbuf_done(&b);
            return fail("failed to get vol '%s'", arg(a, "backing-vol"));
        }
        strbuf_printf(&b, "  <backingStore>\n    <path>%s</path>\n", path->name);
        if (arg(a, "backing-vol-format") != NULL) {
            strbuf_printf(&b, "    <format type='%s'/>\n", arg(a, "backing-vol-format"));
        }
        strbuf_puts(&b, "  </backingStore>\n");
    }
    strbuf_puts(&b, "</volume>\n");
    xml = strbuf_take(&b);
    if (xml == NULL) {
        return -1;
    }
    if (arg_set(a, "print-xml")) {
        printf("%s", xml);
        return 0;
    }
    if (vireo_storage_vol_create_xml(sh->conn, &pool, xml, create_flags(a), &ret) < 0) {
        return fail("Failed to create vol %s", arg(a, "name"));
    }
    extra(sh, "Vol %s created\n", arg(a, "name"));
    return 0;
}

static int create(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_storage_vol_create_xml_ret *ret = NULL;
    AUTO_RET void *keep = NULL;
    struct vireo_storage_pool pool;
    AUTO_FREE char *xml = NULL;

    if (find_pool(a, "pool", &pool, &keep) || (xml = read_file(arg(a, "file"))) == NULL) {
        return -1;
    }
    if (vireo_storage_vol_create_xml(sh->conn, &pool, xml, create_flags(a), &ret) < 0) {
        return fail("Failed to create vol from %s", arg(a, "file"));
    }
    extra(sh, "Vol %s created from %s\n", ret->vol.name, arg(a, "file"));
    return 0;
}

static int create_from(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_storage_vol_create_xml_from_ret *ret = NULL;
    AUTO_RET void *keep = NULL;
    AUTO_RET void *input_keep = NULL;
    struct vireo_storage_pool pool;
    struct vireo_storage_vol input;
    AUTO_FREE char *xml = NULL;

    if (find_pool(a, "pool", &pool, &keep) || (xml = read_file(arg(a, "file"))) == NULL ||
        find_volume(a, "vol", "inputpool", &input, &input_keep)) {
        return -1;
    }
    if (vireo_storage_vol_create_xml_from(sh->conn, &pool, xml, &input, create_flags(a), &ret) <
        0) {
        return fail("Failed to create vol from %s", arg(a, "file"));
    }
    extra(sh, "Vol %s created from input vol %s\n", ret->vol.name, input.name);
    return 0;
}

static int clone(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_storage_vol_get_xml_desc_ret *x = NULL;
    AUTO_RET struct vireo_storage_pool_lookup_by_volume_ret *pool = NULL;
    AUTO_RET struct vireo_storage_vol_create_xml_from_ret *ret = NULL;
    AUTO_DOC xmlDoc *doc = NULL;
    AUTO_FREE char *text = NULL;
    xmlNode *name;

    VOLUME(a, v)
    if (vireo_storage_pool_lookup_by_volume(sh->conn, &v, &pool) < 0) {
        return fail("failed to get parent pool");
    }
    if (vireo_storage_vol_get_xml_desc(sh->conn, &v, 0, &x) < 0 ||
        (doc = document_read(x->xml)) == NULL) {
        return fail_last();
    }
    name = element_at(xmlDocGetRootElement(doc), "name");
    if (name != NULL) {
        AUTO_FREE char *q = xml_quote(arg(a, "newname"));

        xmlNodeSetContent(name, (const xmlChar *)(q != NULL ? q : ""));
    }
    text = element_text(xmlDocGetRootElement(doc));
    if (text == NULL) {
        return -1;
    }
    if (arg_set(a, "print-xml")) {
        printf("%s", text);
        return 0;
    }
    if (vireo_storage_vol_create_xml_from(sh->conn, &pool->pool, text, &v, create_flags(a), &ret) <
        0) {
        return fail("Failed to clone vol from %s", v.name);
    }
    extra(sh, "Vol %s cloned from %s\n", ret->vol.name, v.name);
    return 0;
}

static int delete_volume(struct shell *sh, struct args *a)
{
    VOLUME(a, v)
    if (vireo_storage_vol_delete(sh->conn, &v, arg_set(a, "delete-snapshots") ? 2 : 0) < 0) {
        return fail("Failed to delete vol %s", arg(a, "vol"));
    }
    extra(sh, "Vol %s deleted\n", arg(a, "vol"));
    return 0;
}

static int wipe(struct shell *sh, struct args *a)
{
    static const char *const names[] = { "zero",     "nnsa",      "dod",        "bsi",    "gutmann",
                                         "schneier", "pfitzner7", "pfitzner33", "random", "trim" };
    uint32_t algorithm = 0;
    const char *want = arg(a, "algorithm");

    VOLUME(a, v)
    while (want != NULL && algorithm < 10 && !str_eq(names[algorithm], want)) {
        algorithm++;
    }
    if (algorithm == 10) {
        return error("Unsupported algorithm '%s'", want);
    }
    if ((want != NULL ? vireo_storage_vol_wipe_pattern(sh->conn, &v, algorithm, 0)
                      : vireo_storage_vol_wipe(sh->conn, &v, 0)) < 0) {
        return fail("Failed to wipe vol %s", v.name);
    }
    extra(sh, "Vol %s wiped\n", v.name);
    return 0;
}

static int resize(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = {
        { "allocate", 1 }, { "delta", 2 }, { "shrink", 4 }, { NULL, 0 }
    };
    const char *text = arg(a, "capacity");
    bool minus = *text == '-', delta;
    unsigned long long size = 0;
    uint32_t bits = arg_flags(a, flags);

    VOLUME(a, v)
    delta = arg_set(a, "delta");
    if (minus) {
        struct args copy = *a;

        for (unsigned i = 0; i < copy.n_given; i++) {
            if (str_eq(copy.given[i].name, "capacity")) {
                copy.given[i].value = text + 1;
            }
        }
        if (arg_size(&copy, "capacity", 1, &size) < 0) {
            return -1;
        }
        bits |= 6;
        delta = true;
    } else if (arg_size(a, "capacity", 1, &size) < 0) {
        return -1;
    }
    if (vireo_storage_vol_resize(sh->conn, &v, size, bits) < 0) {
        return delta ? fail("Failed to change size of volume '%s' by %s", v.name, text)
                     : fail("Failed to change size of volume '%s' to %s", v.name, text);
    }
    extra(sh,
          delta ? "Size of volume '%s' successfully changed by %s\n"
                : "Size of volume '%s' successfully changed to %s\n",
          v.name, text);
    return 0;
}

static int upload(struct shell *sh, struct args *a)
{
    unsigned long long offset = 0, length = 0;
    struct vireo_stream *s;

    if (arg_ull(a, "offset", &offset) < 0 || arg_ull(a, "length", &length) < 0) {
        return -1;
    }
    {
        VOLUME(a, v)
        if (vireo_storage_vol_upload(sh->conn, &v, offset, length, arg_set(a, "sparse") ? 1 : 0,
                                     &s) < 0) {
            return fail("cannot upload to volume %s", v.name);
        }
    }
    return file_to_stream(arg(a, "file"), length, arg_set(a, "sparse"), s);
}

static int download(struct shell *sh, struct args *a)
{
    unsigned long long offset = 0, length = 0;
    struct vireo_stream *s;

    if (arg_ull(a, "offset", &offset) < 0 || arg_ull(a, "length", &length) < 0) {
        return -1;
    }
    {
        VOLUME(a, v)
        if (vireo_storage_vol_download(sh->conn, &v, offset, length, arg_set(a, "sparse") ? 1 : 0,
                                       &s) < 0) {
            return fail("cannot download from volume %s", v.name);
        }
    }
    return stream_to_file(s, arg(a, "file"));
}

static int dumpxml(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_storage_vol_get_xml_desc_ret *x = NULL;

    VOLUME(a, v)
    return vireo_storage_vol_get_xml_desc(sh->conn, &v, 0, &x) < 0 ? fail_last()
                                                                   : print_xml(a, x->xml);
}

static int info(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_storage_vol_get_info_flags_ret *i = NULL;
    bool bytes = arg_set(a, "bytes"), physical = arg_set(a, "physical");

    VOLUME(a, v)
    printf("%-15s %s\n", "Name:", v.name);
    if (physical ? vireo_storage_vol_get_info_flags(sh->conn, &v, 1, &i) < 0 : false) {
        return fail_last();
    }
    if (!physical) {
        AUTO_RET struct vireo_storage_vol_get_info_ret *plain = NULL;

        if (vireo_storage_vol_get_info(sh->conn, &v, &plain) < 0) {
            return fail_last();
        }
        printf("%-15s %s\n", "Type:", volume_type(plain->type_));
        for (int k = 0; k < 2; k++) {
            uint64_t size = k == 0 ? plain->capacity : plain->allocation;
            const char *unit;
            double nice = pretty_size(size, &unit);

            if (bytes) {
                printf("%-15s %" PRIu64 " bytes\n", k == 0 ? "Capacity:" : "Allocation:", size);
            } else {
                printf("%-15s %2.2lf %s\n", k == 0 ? "Capacity:" : "Allocation:", nice, unit);
            }
        }
        return 0;
    }
    printf("%-15s %s\n", "Type:", volume_type(i->type_));
    for (int k = 0; k < 2; k++) {
        uint64_t size = k == 0 ? i->capacity : i->allocation;
        const char *unit;
        double nice = pretty_size(size, &unit);

        if (bytes) {
            printf("%-15s %" PRIu64 " bytes\n", k == 0 ? "Capacity:" : "Physical:", size);
        } else {
            printf("%-15s %2.2lf %s\n", k == 0 ? "Capacity:" : "Physical:", nice, unit);
        }
    }
    return 0;
}

static int key(struct shell *sh, struct args *a)
{
    (void)sh;
    VOLUME(a, v)
    printf("%s\n", v.key);
    return 0;
}

static int name(struct shell *sh, struct args *a)
{
    AUTO_RET void *keep = NULL;
    struct vireo_storage_vol v;

    (void)sh;
    if (find_volume(a, "vol", NULL, &v, &keep)) {
        return -1;
    }
    printf("%s\n", v.name);
    return 0;
}

static int path(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_storage_vol_get_path_ret *p = NULL;

    VOLUME(a, v)
    if (vireo_storage_vol_get_path(sh->conn, &v, &p) < 0) {
        return fail_last();
    }
    printf("%s\n", p->name);
    return 0;
}

static int pool_of(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_storage_pool_lookup_by_volume_ret *p = NULL;
    AUTO_RET void *keep = NULL;
    struct vireo_storage_vol v;
    char text[37];

    if (find_volume(a, "vol", NULL, &v, &keep)) {
        return -1;
    }
    if (vireo_storage_pool_lookup_by_volume(sh->conn, &v, &p) < 0) {
        return fail("failed to get parent pool");
    }
    uuid_text(p->pool.uuid, text);
    printf("%s\n", arg_set(a, "uuid") ? text : p->pool.name);
    return 0;
}

static int by_name(const void *x, const void *y)
{
    return strcasecmp(((const struct vireo_storage_vol *)x)->name,
                      ((const struct vireo_storage_vol *)y)->name);
}

static int list(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_storage_pool_list_all_volumes_ret *ret = NULL;
    AUTO_RET void *keep = NULL;
    struct vireo_storage_pool pool;
    struct table *t;

    if (find_pool(a, "pool", &pool, &keep)) {
        return -1;
    }
    if (vireo_storage_pool_list_all_volumes(sh->conn, &pool, 1, 0, &ret) < 0) {
        return fail("Failed to list volumes");
    }
    qsort(ret->vols, ret->n_vols, sizeof(ret->vols[0]), by_name);
    t = arg_set(a, "details") ? table_new("Name", "Path", "Type", "Capacity", "Allocation", NULL)
                              : table_new("Name", "Path", NULL);
    for (uint32_t i = 0; i < ret->n_vols; i++) {
        AUTO_RET struct vireo_storage_vol_get_path_ret *p = NULL;
        AUTO_RET struct vireo_storage_vol_get_info_ret *v = NULL;
        char capacity[64] = "unknown", allocation[64] = "unknown";
        const char *where = vireo_storage_vol_get_path(sh->conn, &ret->vols[i], &p) == 0
                                ? p->name
                                : "unknown",
                   *unit;

        if (!arg_set(a, "details")) {
            table_row(t, ret->vols[i].name, where);
            continue;
        }
        if (vireo_storage_vol_get_info(sh->conn, &ret->vols[i], &v) == 0) {
            double nice = pretty_size(v->capacity, &unit);

            (void)snprintf(capacity, sizeof(capacity), "%.2lf %s", nice, unit);
            nice = pretty_size(v->allocation, &unit);
            (void)snprintf(allocation, sizeof(allocation), "%.2lf %s", nice, unit);
        }
        table_row(t, ret->vols[i].name, where, v != NULL ? volume_type(v->type_) : "unknown",
                  capacity, allocation);
    }
    table_print(t, sh, true);
    return 0;
}

const struct shell_command volume_commands[] = {
    { "vol-clone", "vol! newname! pool --prealloc-metadata --reflink --print-xml", clone,
      "clone a volume", false },
    { "vol-create", "pool! file! --prealloc-metadata --validate", create,
      "make a volume described by an XML file", false },
    { "vol-create-as",
      "pool! name! capacity! allocation format backing-vol backing-vol-format --prealloc-metadata --print-xml",
      create_as, "make a volume described by options", false },
    { "vol-create-from", "pool! file! vol! inputpool --prealloc-metadata --reflink --validate",
      create_from, "make a volume with the data of another one", false },
    { "vol-delete", "vol! pool --delete-snapshots", delete_volume, "delete a volume", false },
    { "vol-download", "vol! file! pool offset# length# --sparse", download,
      "copy a volume to a file", false },
    { "vol-dumpxml", "vol! pool xpath --wrap", dumpxml, "print a volume's XML", false },
    { "vol-info", "vol! pool --bytes --physical", info, "show a volume's main facts", false },
    { "vol-key", "vol! pool", key, "show a volume's key", false },
    { "vol-list", "pool! --details", list, "list a pool's volumes", false },
    { "vol-name", "vol!", name, "show a volume's name", false },
    { "vol-path", "vol! pool", path, "show a volume's path", false },
    { "vol-pool", "vol! --uuid", pool_of, "show a volume's pool", false },
    { "vol-resize", "vol! capacity! pool --allocate --delta --shrink", resize,
      "change the size of a volume", false },
    { "vol-upload", "vol! file! pool offset# length# --sparse", upload, "copy a file to a volume",
      false },
    { "vol-wipe", "vol! pool algorithm", wipe, "overwrite a volume", false },
    { NULL, NULL, NULL, NULL, false },
};
