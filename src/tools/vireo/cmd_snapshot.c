/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_snapshot.c - snapshots, checkpoints, backups. */
#include "tools/vireo/document.h"
#include "tools/vireo/shell.h"
#include "tools/vireo/tree.h"

#include <inttypes.h>
#include <time.h>

enum { XML_BYTES = 1 << 20, LIST_ROOTS = 1, LIST_DESCENDANTS = 1 };

/* ---- what both kinds have: the call differs ---- */

static char *time_text(xmlDoc *doc)
{
    AUTO_FREE char *text = element_get(xmlDocGetRootElement(doc), "creationTime");
    char out[64];
    time_t t = text != NULL ? (time_t)strtoll(text, NULL, 10) : 0;
    struct tm tm;

    (void)strftime(out, sizeof(out), "%Y-%m-%d %H:%M:%S %z", localtime_r(&t, &tm));
    return strdup(out);
}

/* "name[,key=value...]" of --diskspec: commas inside are doubled. */
static int disk_line(struct strbuf *b, const char *spec, bool checkpoint)
{
    AUTO_FREE char *copy = strdup(spec);
    const char *mode = NULL, *driver = NULL, *file = NULL, *type = NULL, *bitmap = NULL;
    char *fields[16], *out = copy;
    unsigned n = 0;
    AUTO_FREE char *q = NULL;

    if (copy == NULL) {
        return -1;
    }
    fields[n++] = copy;
    for (const char *p = spec; *p != '\0'; p++) {
        if (*p == ',' && p[1] == ',') {
            *out++ = *p++;
        } else if (*p == ',' && n < 16) {
            *out++ = '\0';
            fields[n++] = out;
        } else {
            *out++ = *p;
        }
    }
    *out = '\0';
    for (unsigned i = 1; i < n; i++) {
        if (str_starts(fields[i], checkpoint ? "checkpoint=" : "snapshot=")) {
            mode = strchr(fields[i], '=') + 1;
        } else if (str_starts(fields[i], "bitmap=") && checkpoint) {
            bitmap = fields[i] + 7;
        } else if (str_starts(fields[i], "driver=") && !checkpoint) {
            driver = fields[i] + 7;
        } else if (str_starts(fields[i], "stype=") && !checkpoint) {
            type = fields[i] + 6;
        } else if (str_starts(fields[i], "file=") && !checkpoint) {
            file = fields[i] + 5;
        } else {
            return error("unable to parse diskspec: %s", spec);
        }
    }
    q = xml_quote(fields[0]);
    strbuf_printf(b, "    <disk name='%s'", q != NULL ? q : "");
    if (mode != NULL) {
        strbuf_printf(b, checkpoint ? " checkpoint='%s'" : " snapshot='%s'", mode);
    }
    if (bitmap != NULL) {
        strbuf_printf(b, " bitmap='%s'", bitmap);
    }
    if (type != NULL) {
        strbuf_printf(b, " type='%s'", type);
    }
    if (driver == NULL && file == NULL) {
        strbuf_puts(b, "/>\n");
        return 0;
    }
    strbuf_puts(b, ">\n");
    if (driver != NULL) {
        strbuf_printf(b, "      <driver type='%s'/>\n", driver);
    }
    if (file != NULL) {
        AUTO_FREE char *f = xml_quote(file);

        strbuf_printf(b, "      <source %s='%s'/>\n",
                      type != NULL && str_eq(type, "block") ? "dev" : "file", f != NULL ? f : "");
    }
    strbuf_puts(b, "    </disk>\n");
    return 0;
}

static int memory_line(struct strbuf *b, const char *spec)
{
    AUTO_FREE char *copy = strdup(spec), *q = NULL;
    const char *mode = NULL, *file = NULL;

    for (char *p = copy; p != NULL && *p != '\0';) {
        char *v = strsep(&p, ",");

        if (str_starts(v, "snapshot=")) {
            mode = v + 9;
        } else if (str_starts(v, "file=")) {
            file = v + 5;
        } else if (file == NULL && *v == '/') {
            file = v;
        } else {
            return error("unable to parse memspec: %s", spec);
        }
    }
    q = file != NULL ? xml_quote(file) : NULL;
    strbuf_puts(b, "  <memory");
    if (mode != NULL) {
        strbuf_printf(b, " snapshot='%s'", mode);
    }
    if (q != NULL) {
        strbuf_printf(b, " file='%s'", q);
    }
    strbuf_puts(b, "/>\n");
    return 0;
}

/* The document that the options of "...-create-as" describe; owned, NULL after an error. */
static char *describe(struct args *a, bool checkpoint)
{
    const char *root = checkpoint ? "domaincheckpoint" : "domainsnapshot";
    static const char *const texts[] = { "name", "description" };
    struct strbuf b = STRBUF_INIT(XML_BYTES);

    strbuf_printf(&b, "<%s>\n", root);
    for (int i = 0; i < 2; i++) {
        AUTO_FREE char *v = arg(a, texts[i]) != NULL ? xml_quote(arg(a, texts[i])) : NULL;

        if (v != NULL) {
            strbuf_printf(&b, "  <%s>%s</%s>\n", texts[i], v, texts[i]);
        }
    }
    if (!checkpoint && arg(a, "memspec") != NULL && memory_line(&b, arg(a, "memspec"))) {
        strbuf_done(&b);
        return NULL;
    }
    if (a->n_rest > 0) {
        strbuf_puts(&b, "  <disks>\n");
        for (unsigned i = 0; i < a->n_rest; i++) {
            if (disk_line(&b, a->rest[i], checkpoint)) {
                strbuf_done(&b);
                return NULL;
            }
        }
        strbuf_puts(&b, "  </disks>\n");
    }
    strbuf_printf(&b, "</%s>\n", root);
    return strbuf_take(&b);
}

/* One of the list, for "...-list". */
struct item {
    char *name, *parent, *time, *state, *location; /* owned */
    long long created;
};

static void item_done(struct item *i)
{
    free(i->name);
    free(i->parent);
    free(i->time);
    free(i->state);
    free(i->location);
}

static int by_name(const void *x, const void *y)
{
    return strcasecmp(((const struct item *)x)->name, ((const struct item *)y)->name);
}

static void read_item(struct item *i, const char *name, const char *xml)
{
    xmlDoc *doc = document_read(xml);
    xmlNode *root = doc != NULL ? xmlDocGetRootElement(doc) : NULL;

    *i = (struct item) { .name = strdup(name) };
    if (root != NULL) {
        AUTO_FREE char *created = element_get(root, "creationTime");

        i->parent = element_get(root, "parent/name");
        i->state = element_get(root, "state");
        i->time = time_text(doc);
        i->created = created != NULL ? strtoll(created, NULL, 10) : 0;
    }
    xmlFreeDoc(doc);
}

static void print_items(struct shell *sh, struct args *a, struct item *items, uint32_t n,
                        bool checkpoint)
{
    if (arg_set(a, "tree")) {
        const char **names = calloc(n + 1, sizeof(*names)),
                   **parents = calloc(n + 1, sizeof(*parents));

        for (uint32_t i = 0; names != NULL && parents != NULL && i < n; i++) {
            names[i] = items[i].name;
            parents[i] = items[i].parent;
        }
        if (names != NULL && parents != NULL) {
            tree_print(names, parents, n);
        }
        free(names);
        free(parents);
        return;
    }
    if (arg_set(a, "name")) {
        for (uint32_t i = 0; i < n; i++) {
            printf("%s\n", items[i].name);
        }
        return;
    }
    {
        bool parent = arg_set(a, "parent");
        struct table *t =
            checkpoint ? (parent ? table_new("Name", "Creation Time", "Parent", NULL)
                                 : table_new("Name", "Creation Time", NULL))
                       : (parent ? table_new("Name", "Creation Time", "State", "Parent", NULL)
                                 : table_new("Name", "Creation Time", "State", NULL));

        for (uint32_t i = 0; i < n; i++) {
            const char *p = items[i].parent != NULL ? items[i].parent : "";

            if (checkpoint) {
                table_row(t, items[i].name, items[i].time, p);
            } else {
                table_row(t, items[i].name, items[i].time, items[i].state, p);
            }
        }
        table_print(t, sh, true);
    }
}

/* ---- snapshots ---- */

/* The one that is named, or the current one. */
static int find_snapshot(struct shell *sh, struct args *a, const struct vireo_domain *d,
                         struct vireo_domain_snapshot *ret, void **keep)
{
    const char *name = arg(a, "snapshotname");
    bool current = arg_set(a, "current");

    if (name != NULL && current) {
        return error("Options --snapshotname and --current are mutually exclusive");
    }
    if (name != NULL) {
        struct vireo_domain_snapshot_lookup_by_name_ret *r;

        if (vireo_domain_snapshot_lookup_by_name(sh->conn, d, name, 0, &r) < 0) {
            return fail_last();
        }
        *keep = r;
        *ret = r->snap;
    } else if (current) {
        struct vireo_domain_snapshot_current_ret *r;

        if (vireo_domain_snapshot_current(sh->conn, d, 0, &r) < 0) {
            return fail_last();
        }
        *keep = r;
        *ret = r->snap;
    } else {
        return error("--snapshotname or --current is required");
    }
    return 0;
}

#define SNAPSHOT(a, d, s)                          \
    AUTO_RET void *s##_keep = NULL;                \
    struct vireo_domain_snapshot s;                \
    if (find_snapshot(sh, a, &d, &s, &s##_keep)) { \
        return -1;                                 \
    }

static const struct flag create_flags[] = {
    { "redefine", 1 },   { "current", 2 },         { "no-metadata", 4 }, { "halt", 8 },
    { "disk-only", 16 }, { "reuse-external", 32 }, { "quiesce", 64 },    { "atomic", 128 },
    { "live", 256 },     { "validate", 512 },      { NULL, 0 }
};

static int create_from(struct shell *sh, struct args *a, const struct vireo_domain *d,
                       const char *xml, const char *from)
{
    AUTO_RET struct vireo_domain_snapshot_create_xml_ret *ret = NULL;
    uint32_t flags = arg_flags(a, create_flags);

    if (vireo_domain_snapshot_create_xml(sh->conn, d, xml, flags, &ret) < 0) {
        return fail_last();
    }
    if (from != NULL) {
        extra(sh, "Domain snapshot %s created from '%s'", ret->snap.name, from);
    } else {
        extra(sh, "Domain snapshot %s created", ret->snap.name);
    }
    return 0;
}

static int snapshot_create(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml =
        arg(a, "xmlfile") != NULL ? read_file(arg(a, "xmlfile")) : strdup("<domainsnapshot/>");

    if (xml == NULL) {
        return -1;
    }
    DOMAIN(a, d);
    return create_from(sh, a, &d, xml, arg(a, "xmlfile"));
}

static int snapshot_create_as(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml = describe(a, false);

    if (xml == NULL || arg_exclusive(a, "print-xml", "no-metadata") ||
        arg_exclusive(a, "print-xml", "halt")) {
        return -1;
    }
    if (arg_set(a, "print-xml")) {
        printf("%s\n", xml);
        return 0;
    }
    DOMAIN(a, d);
    return create_from(sh, a, &d, xml, NULL);
}

static int snapshot_current(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_has_current_snapshot_ret *has = NULL;
    AUTO_RET struct vireo_domain_snapshot_current_ret *now = NULL;
    AUTO_RET struct vireo_domain_snapshot_get_xml_desc_ret *x = NULL;

    DOMAIN(a, d);
    if (arg(a, "snapshotname") != NULL) {
        AUTO_RET struct vireo_domain_snapshot_lookup_by_name_ret *s = NULL;
        AUTO_RET struct vireo_domain_snapshot_create_xml_ret *ret = NULL;

        if (vireo_domain_snapshot_lookup_by_name(sh->conn, &d, arg(a, "snapshotname"), 0, &s) < 0 ||
            vireo_domain_snapshot_get_xml_desc(sh->conn, &s->snap, 1, &x) < 0 ||
            vireo_domain_snapshot_create_xml(sh->conn, &d, x->xml, 3, &ret) < 0) {
            return fail_last();
        }
        extra(sh, "Snapshot %s set as current", arg(a, "snapshotname"));
        return 0;
    }
    if (vireo_domain_has_current_snapshot(sh->conn, &d, 0, &has) < 0) {
        return fail_last();
    }
    if (!has->result) {
        return error("domain '%s' has no current snapshot", d.name);
    }
    if (vireo_domain_snapshot_current(sh->conn, &d, 0, &now) < 0) {
        return fail_last();
    }
    if (arg_set(a, "name")) {
        printf("%s", now->snap.name);
        return 0;
    }
    if (vireo_domain_snapshot_get_xml_desc(sh->conn, &now->snap,
                                           arg_set(a, "security-info") ? 1 : 0, &x) < 0) {
        return fail_last();
    }
    printf("%s", x->xml);
    return 0;
}

static int snapshot_delete(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = {
        { "children", 1 }, { "metadata", 2 }, { "children-only", 4 }, { NULL, 0 }
    };

    DOMAIN(a, d);
    SNAPSHOT(a, d, s)
    if (vireo_domain_snapshot_delete(sh->conn, &s, arg_flags(a, flags)) < 0) {
        return fail("Failed to delete snapshot %s", s.name);
    }
    extra(sh,
          arg_set(a, "children-only") ? "Domain snapshot %s children deleted\n"
                                      : "Domain snapshot %s deleted\n",
          s.name);
    return 0;
}

static int snapshot_dumpxml(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_snapshot_get_xml_desc_ret *x = NULL;

    DOMAIN(a, d);
    SNAPSHOT(a, d, s)
    return vireo_domain_snapshot_get_xml_desc(sh->conn, &s, arg_set(a, "security-info") ? 1 : 0,
                                              &x) < 0
               ? fail_last()
               : print_xml(a, x->xml);
}

static int snapshot_edit(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_snapshot_get_xml_desc_ret *x = NULL;
    AUTO_RET struct vireo_domain_snapshot_create_xml_ret *ret = NULL;
    AUTO_FREE char *text = NULL;

    DOMAIN(a, d);
    if (arg_exclusive(a, "rename", "clone")) {
        return -1;
    }
    SNAPSHOT(a, d, s)
    if (vireo_domain_snapshot_get_xml_desc(sh->conn, &s, 1, &x) < 0) {
        return fail_last();
    }
    if (edit_text(x->xml, &text)) {
        return -1;
    }
    if (text == NULL) {
        extra(sh, "Snapshot %s XML configuration not changed.\n", s.name);
        return 0;
    }
    if (vireo_domain_snapshot_create_xml(sh->conn, &d, text, arg_set(a, "current") ? 3 : 1, &ret) <
        0) {
        return fail("Failed to update %s", s.name);
    }
    if (!str_eq(ret->snap.name, s.name)) {
        if (!arg_set(a, "rename") && !arg_set(a, "clone")) {
            (void)vireo_domain_snapshot_delete(sh->conn, &ret->snap, 2);
            return error("Must use --rename or --clone to change %s to %s", s.name, ret->snap.name);
        }
        if (arg_set(a, "rename") && vireo_domain_snapshot_delete(sh->conn, &s, 2) < 0) {
            return fail("Failed to clean up %s", s.name);
        }
    }
    extra(sh, "Snapshot %s edited.\n", ret->snap.name);
    return 0;
}

static const char *location(xmlNode *root)
{
    AUTO_FREE char *memory = element_get(root, "memory/@snapshot");
    xmlNode *disks = element_at(root, "disks"), *k = NULL;

    if (memory != NULL && str_eq(memory, "external")) {
        return "external";
    }
    while ((k = element_next(disks, k, "disk")) != NULL) {
        AUTO_FREE char *mode = element_attr(k, "snapshot");

        if (mode != NULL && str_eq(mode, "external")) {
            return "external";
        }
    }
    return "internal";
}

static int snapshot_info(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_snapshot_get_xml_desc_ret *x = NULL;
    AUTO_RET struct vireo_domain_snapshot_is_current_ret *current = NULL;
    AUTO_RET struct vireo_domain_snapshot_has_metadata_ret *metadata = NULL;
    AUTO_RET struct vireo_domain_snapshot_num_children_ret *children = NULL;
    AUTO_RET struct vireo_domain_snapshot_num_children_ret *below = NULL;
    AUTO_DOC xmlDoc *doc = NULL;
    AUTO_FREE char *state = NULL, *parent = NULL;

    DOMAIN(a, d);
    SNAPSHOT(a, d, s)
    if (vireo_domain_snapshot_get_xml_desc(sh->conn, &s, 0, &x) < 0 ||
        (doc = document_read(x->xml)) == NULL) {
        return fail_last();
    }
    printf("%-15s %s\n%-15s %s\n", "Name:", s.name, "Domain:", d.name);
    if (vireo_domain_snapshot_is_current(sh->conn, &s, 0, &current) == 0) {
        printf("%-15s %s\n", "Current:", current->current ? "yes" : "no");
    }
    state = element_get(xmlDocGetRootElement(doc), "state");
    parent = element_get(xmlDocGetRootElement(doc), "parent/name");
    printf("%-15s %s\n%-15s %s\n%-15s %s\n", "State:", state != NULL ? state : "",
           "Location:", location(xmlDocGetRootElement(doc)),
           "Parent:", parent != NULL ? parent : "-");
    if (vireo_domain_snapshot_num_children(sh->conn, &s, 0, &children) == 0 &&
        vireo_domain_snapshot_num_children(sh->conn, &s, LIST_DESCENDANTS, &below) == 0) {
        printf("%-15s %d\n%-15s %d\n", "Children:", children->num, "Descendants:", below->num);
    }
    if (vireo_domain_snapshot_has_metadata(sh->conn, &s, 0, &metadata) == 0) {
        printf("%-15s %s\n", "Metadata:", metadata->metadata ? "yes" : "no");
    }
    return 0;
}

static int snapshot_list(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = {
        { "roots", LIST_ROOTS }, { "metadata", 2 },   { "leaves", 4 },         { "no-leaves", 8 },
        { "no-metadata", 16 },   { "inactive", 32 },  { "active", 64 },        { "disk-only", 128 },
        { "internal", 256 },     { "external", 512 }, { "topological", 1024 }, { NULL, 0 }
    };
    AUTO_RET struct vireo_domain_list_all_snapshots_ret *all = NULL;
    AUTO_RET struct vireo_domain_snapshot_list_all_children_ret *below = NULL;
    const struct vireo_domain_snapshot *list;
    struct item *items;
    uint32_t n, bits = arg_flags(a, flags);
    int r = 0;

    DOMAIN(a, d);
    if (arg_exclusive(a, "tree", "name") || arg_exclusive(a, "parent", "roots") ||
        arg_exclusive(a, "parent", "tree") || arg_exclusive(a, "roots", "tree") ||
        arg_exclusive(a, "roots", "from") || arg_exclusive(a, "roots", "current")) {
        return -1;
    }
    if (arg(a, "from") != NULL || arg_set(a, "current")) {
        AUTO_RET struct vireo_domain_snapshot_lookup_by_name_ret *from = NULL;
        AUTO_RET struct vireo_domain_snapshot_current_ret *now = NULL;

        if (arg(a, "from") != NULL
                ? vireo_domain_snapshot_lookup_by_name(sh->conn, &d, arg(a, "from"), 0, &from) < 0
                : vireo_domain_snapshot_current(sh->conn, &d, 0, &now) < 0) {
            return fail_last();
        }
        if (vireo_domain_snapshot_list_all_children(
                sh->conn, from != NULL ? &from->snap : &now->snap, 1,
                bits | (arg_set(a, "descendants") || arg_set(a, "tree") ? LIST_DESCENDANTS : 0),
                &below) < 0) {
            return fail_last();
        }
        list = below->snapshots;
        n = below->n_snapshots;
    } else {
        if (vireo_domain_list_all_snapshots(sh->conn, &d, 1, bits, &all) < 0) {
            return fail_last();
        }
        list = all->snapshots;
        n = all->n_snapshots;
    }
    items = calloc(n + 1, sizeof(*items));
    for (uint32_t i = 0; items != NULL && r == 0 && i < n; i++) {
        AUTO_RET struct vireo_domain_snapshot_get_xml_desc_ret *x = NULL;

        r = vireo_domain_snapshot_get_xml_desc(sh->conn, &list[i], 0, &x) < 0 ? fail_last() : 0;
        if (r == 0) {
            read_item(&items[i], list[i].name, x->xml);
        }
    }
    if (items != NULL && r == 0) {
        if (!arg_set(a, "topological")) {
            qsort(items, n, sizeof(*items), by_name);
        }
        print_items(sh, a, items, n, false);
    }
    for (uint32_t i = 0; items != NULL && i < n; i++) {
        item_done(&items[i]);
    }
    free(items);
    return r;
}

static int snapshot_parent(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_snapshot_get_parent_ret *p = NULL;

    DOMAIN(a, d);
    SNAPSHOT(a, d, s)
    if (vireo_domain_snapshot_get_parent(sh->conn, &s, 0, &p) < 0) {
        return vireo_last_error()->code == 72 ? error("snapshot '%s' has no parent", s.name)
                                              : fail_last();
    }
    printf("%s", p->snap.name);
    return 0;
}

static int snapshot_revert(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = {
        { "running", 1 }, { "paused", 2 }, { "force", 4 }, { "reset-nvram", 8 }, { NULL, 0 }
    };

    DOMAIN(a, d);
    SNAPSHOT(a, d, s)
    if (vireo_domain_revert_to_snapshot(sh->conn, &s, arg_flags(a, flags)) < 0) {
        return fail("Failed to revert snapshot %s", s.name);
    }
    extra(sh, "Domain snapshot %s reverted\n", s.name);
    return 0;
}

const struct shell_command snapshot_commands[] = {
    { "snapshot-create",
      "domain! xmlfile --redefine --current --no-metadata --halt --disk-only --reuse-external --quiesce --atomic --live --validate",
      snapshot_create, "take a snapshot described by an XML file", false },
    { "snapshot-create-as",
      "domain! name description --print-xml --no-metadata --halt --disk-only --reuse-external --quiesce --atomic --live --validate memspec= diskspec*",
      snapshot_create_as, "take a snapshot described by options", false },
    { "snapshot-current", "domain! --name --security-info snapshotname", snapshot_current,
      "show or set the current snapshot", false },
    { "snapshot-delete", "domain! snapshotname --current --children --children-only --metadata",
      snapshot_delete, "delete a snapshot", false },
    { "snapshot-dumpxml", "domain! snapshotname! --security-info xpath --wrap", snapshot_dumpxml,
      "print a snapshot's XML", false },
    { "snapshot-edit", "domain! snapshotname --current --rename --clone", snapshot_edit,
      "edit a snapshot's XML", false },
    { "snapshot-info", "domain! snapshotname --current", snapshot_info,
      "show a snapshot's main facts", false },
    { "snapshot-list",
      "domain! --parent --roots --leaves --no-leaves --metadata --no-metadata --inactive --active --disk-only --internal --external --tree from --current --descendants --name --topological",
      snapshot_list, "list snapshots", false },
    { "snapshot-parent", "domain! snapshotname --current", snapshot_parent,
      "show a snapshot's parent", false },
    { "snapshot-revert", "domain! snapshotname --current --running --paused --force --reset-nvram",
      snapshot_revert, "go back to a snapshot", false },
    { NULL, NULL, NULL, NULL, false },
};

/* ---- checkpoints ---- */

static int find_checkpoint(struct shell *sh, struct args *a, const struct vireo_domain *d,
                           struct vireo_domain_checkpoint *ret, void **keep)
{
    struct vireo_domain_checkpoint_lookup_by_name_ret *r;

    if (arg(a, "checkpointname") == NULL) {
        return error("command '%s' requires <checkpointname> option", a->command->name);
    }
    if (vireo_domain_checkpoint_lookup_by_name(sh->conn, d, arg(a, "checkpointname"), 0, &r) < 0) {
        return fail_last();
    }
    *keep = r;
    *ret = r->checkpoint;
    return 0;
}

#define CHECKPOINT(a, d, s)                          \
    AUTO_RET void *s##_keep = NULL;                  \
    struct vireo_domain_checkpoint s;                \
    if (find_checkpoint(sh, a, &d, &s, &s##_keep)) { \
        return -1;                                   \
    }

static int checkpoint_from(struct shell *sh, struct args *a, const struct vireo_domain *d,
                           const char *xml, const char *from)
{
    static const struct flag flags[] = {
        { "redefine", 1 }, { "quiesce", 2 }, { "redefine-validate", 4 }, { NULL, 0 }
    };
    AUTO_RET struct vireo_domain_checkpoint_create_xml_ret *ret = NULL;
    uint32_t bits = arg_flags(a, flags);

    if (vireo_domain_checkpoint_create_xml(sh->conn, d, xml, bits & 4 ? bits | 1 : bits, &ret) <
        0) {
        return fail_last();
    }
    if (from != NULL) {
        extra(sh, "Domain checkpoint %s created from '%s'", ret->checkpoint.name, from);
    } else {
        extra(sh, "Domain checkpoint %s created", ret->checkpoint.name);
    }
    return 0;
}

static int checkpoint_create(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml =
        arg(a, "xmlfile") != NULL ? read_file(arg(a, "xmlfile")) : strdup("<domaincheckpoint/>");

    if (xml == NULL) {
        return -1;
    }
    DOMAIN(a, d);
    return checkpoint_from(sh, a, &d, xml, arg(a, "xmlfile"));
}

static int checkpoint_create_as(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml = describe(a, true);

    if (xml == NULL) {
        return -1;
    }
    if (arg_set(a, "print-xml")) {
        printf("%s\n", xml);
        return 0;
    }
    DOMAIN(a, d);
    return checkpoint_from(sh, a, &d, xml, NULL);
}

static int checkpoint_delete(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = {
        { "children", 1 }, { "metadata", 2 }, { "children-only", 4 }, { NULL, 0 }
    };

    DOMAIN(a, d);
    CHECKPOINT(a, d, s)
    if (vireo_domain_checkpoint_delete(sh->conn, &s, arg_flags(a, flags)) < 0) {
        return fail("Failed to delete checkpoint %s", s.name);
    }
    extra(sh,
          arg_set(a, "children-only") ? "Domain checkpoint %s children deleted\n"
                                      : "Domain checkpoint %s deleted\n",
          s.name);
    return 0;
}

static int checkpoint_dumpxml(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = {
        { "security-info", 1 }, { "no-domain", 2 }, { "size", 4 }, { NULL, 0 }
    };
    AUTO_RET struct vireo_domain_checkpoint_get_xml_desc_ret *x = NULL;

    DOMAIN(a, d);
    CHECKPOINT(a, d, s)
    return vireo_domain_checkpoint_get_xml_desc(sh->conn, &s, arg_flags(a, flags), &x) < 0
               ? fail_last()
               : print_xml(a, x->xml);
}

static int checkpoint_edit(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_checkpoint_get_xml_desc_ret *x = NULL;
    AUTO_RET struct vireo_domain_checkpoint_create_xml_ret *ret = NULL;
    AUTO_FREE char *text = NULL;

    DOMAIN(a, d);
    CHECKPOINT(a, d, s)
    if (vireo_domain_checkpoint_get_xml_desc(sh->conn, &s, 1, &x) < 0) {
        return fail_last();
    }
    if (edit_text(x->xml, &text)) {
        return -1;
    }
    if (text == NULL) {
        extra(sh, "Checkpoint %s XML configuration not changed.\n", s.name);
        return 0;
    }
    if (vireo_domain_checkpoint_create_xml(sh->conn, &d, text, 1, &ret) < 0) {
        return fail("Failed to update %s", s.name);
    }
    extra(sh, "Checkpoint %s edited.\n", ret->checkpoint.name);
    return 0;
}

static int checkpoint_info(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_checkpoint_get_parent_ret *p = NULL;
    AUTO_RET struct vireo_domain_checkpoint_list_all_children_ret *children = NULL;
    AUTO_RET struct vireo_domain_checkpoint_list_all_children_ret *below = NULL;

    DOMAIN(a, d);
    CHECKPOINT(a, d, s)
    printf("%-15s %s\n%-15s %s\n", "Name:", s.name, "Domain:", d.name);
    printf("%-15s %s\n", "Parent:",
           vireo_domain_checkpoint_get_parent(sh->conn, &s, 0, &p) == 0 ? p->parent.name : "-");
    if (vireo_domain_checkpoint_list_all_children(sh->conn, &s, 0, 0, &children) < 0 ||
        vireo_domain_checkpoint_list_all_children(sh->conn, &s, 0, LIST_DESCENDANTS, &below) < 0) {
        return fail_last();
    }
    printf("%-15s %d\n%-15s %d\n", "Children:", children->ret, "Descendants:", below->ret);
    return 0;
}

static int checkpoint_list(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "roots", LIST_ROOTS },
                                         { "leaves", 4 },
                                         { "no-leaves", 8 },
                                         { "topological", 2 },
                                         { NULL, 0 } };
    AUTO_RET struct vireo_domain_list_all_checkpoints_ret *all = NULL;
    AUTO_RET struct vireo_domain_checkpoint_list_all_children_ret *below = NULL;
    const struct vireo_domain_checkpoint *list;
    struct item *items;
    uint32_t n, bits = arg_flags(a, flags);
    int r = 0;

    DOMAIN(a, d);
    if (arg_exclusive(a, "tree", "name") || arg_exclusive(a, "parent", "roots") ||
        arg_exclusive(a, "parent", "tree") || arg_exclusive(a, "roots", "tree") ||
        arg_exclusive(a, "roots", "from")) {
        return -1;
    }
    if (arg(a, "from") != NULL) {
        AUTO_RET struct vireo_domain_checkpoint_lookup_by_name_ret *from = NULL;

        if (vireo_domain_checkpoint_lookup_by_name(sh->conn, &d, arg(a, "from"), 0, &from) < 0 ||
            vireo_domain_checkpoint_list_all_children(
                sh->conn, &from->checkpoint, 1,
                bits | (arg_set(a, "descendants") || arg_set(a, "tree") ? LIST_DESCENDANTS : 0),
                &below) < 0) {
            return fail_last();
        }
        list = below->checkpoints;
        n = below->n_checkpoints;
    } else {
        if (vireo_domain_list_all_checkpoints(sh->conn, &d, 1, bits, &all) < 0) {
            return fail_last();
        }
        list = all->checkpoints;
        n = all->n_checkpoints;
    }
    items = calloc(n + 1, sizeof(*items));
    for (uint32_t i = 0; items != NULL && r == 0 && i < n; i++) {
        AUTO_RET struct vireo_domain_checkpoint_get_xml_desc_ret *x = NULL;

        r = vireo_domain_checkpoint_get_xml_desc(sh->conn, &list[i], 2, &x) < 0 ? fail_last() : 0;
        if (r == 0) {
            read_item(&items[i], list[i].name, x->xml);
        }
    }
    if (items != NULL && r == 0) {
        if (!arg_set(a, "topological")) {
            qsort(items, n, sizeof(*items), by_name);
        }
        print_items(sh, a, items, n, true);
    }
    for (uint32_t i = 0; items != NULL && i < n; i++) {
        item_done(&items[i]);
    }
    free(items);
    return r;
}

static int checkpoint_parent(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_checkpoint_get_parent_ret *p = NULL;

    DOMAIN(a, d);
    CHECKPOINT(a, d, s)
    if (vireo_domain_checkpoint_get_parent(sh->conn, &s, 0, &p) < 0) {
        return vireo_last_error()->code == 103 ? error("checkpoint '%s' has no parent", s.name)
                                               : fail_last();
    }
    printf("%s", p->parent.name);
    return 0;
}

const struct shell_command checkpoint_commands[] = {
    { "checkpoint-create", "domain! xmlfile --redefine --redefine-validate --quiesce",
      checkpoint_create, "make a checkpoint described by an XML file", false },
    { "checkpoint-create-as", "domain! name description --print-xml --quiesce diskspec*",
      checkpoint_create_as, "make a checkpoint described by options", false },
    { "checkpoint-delete", "domain! checkpointname --children --children-only --metadata",
      checkpoint_delete, "delete a checkpoint", false },
    { "checkpoint-dumpxml",
      "domain! checkpointname --security-info --no-domain --size xpath --wrap", checkpoint_dumpxml,
      "print a checkpoint's XML", false },
    { "checkpoint-edit", "domain! checkpointname", checkpoint_edit, "edit a checkpoint's XML",
      false },
    { "checkpoint-info", "domain! checkpointname", checkpoint_info,
      "show a checkpoint's main facts", false },
    { "checkpoint-list",
      "domain! --parent --roots --leaves --no-leaves --tree from --descendants --name --topological",
      checkpoint_list, "list checkpoints", false },
    { "checkpoint-parent", "domain! checkpointname", checkpoint_parent,
      "show a checkpoint's parent", false },
    { NULL, NULL, NULL, NULL, false },
};

/* ---- backups ---- */

static int backup_begin(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml =
        arg(a, "backupxml") != NULL ? read_file(arg(a, "backupxml")) : strdup("<domainbackup/>");
    AUTO_FREE char *checkpoint =
        arg(a, "checkpointxml") != NULL ? read_file(arg(a, "checkpointxml")) : NULL;

    if (xml == NULL || (arg(a, "checkpointxml") != NULL && checkpoint == NULL)) {
        return -1;
    }
    DOMAIN(a, d);
    if (vireo_domain_backup_begin(sh->conn, &d, xml, checkpoint,
                                  arg_set(a, "reuse-external") ? 1 : 0) < 0) {
        return fail_last();
    }
    printf("Backup started\n");
    return 0;
}

static int backup_dumpxml(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_backup_get_xml_desc_ret *x = NULL;

    DOMAIN(a, d);
    return vireo_domain_backup_get_xml_desc(sh->conn, &d, 0, &x) < 0 ? fail_last()
                                                                     : print_xml(a, x->xml);
}

const struct shell_command backup_commands[] = {
    { "backup-begin", "domain! backupxml checkpointxml --reuse-external", backup_begin,
      "begin a backup of a running domain's disks", false },
    { "backup-dumpxml", "domain! xpath --wrap", backup_dumpxml, "print the XML of a running backup",
      false },
    { NULL, NULL, NULL, NULL, false },
};
