/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_object.c - network filters, secrets, the host's devices. */
#include "tools/vireo/shell.h"
#include "tools/vireo/tree.h"

/* ---- filters ---- */

#define FILTER(a, f)                       \
    AUTO_RET void *f##_keep = NULL;        \
    struct vireo_nwfilter f;               \
    if (find_nwfilter(a, &f, &f##_keep)) { \
        return -1;                         \
    }

static int filter_define(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_nwfilter_define_xml_ret *plain = NULL;
    AUTO_RET struct vireo_nwfilter_define_xml_flags_ret *ret = NULL;
    AUTO_FREE char *xml = read_file(arg(a, "file"));

    if (xml == NULL) {
        return -1;
    }
    if ((arg_set(a, "validate") ? vireo_nwfilter_define_xml_flags(sh->conn, xml, 1, &ret)
                                : vireo_nwfilter_define_xml(sh->conn, xml, &plain)) < 0) {
        return fail("Failed to define network filter from %s", arg(a, "file"));
    }
    extra(sh, "Network filter %s defined from %s\n",
          ret != NULL ? ret->nwfilter.name : plain->nwfilter.name, arg(a, "file"));
    return 0;
}

static int filter_undefine(struct shell *sh, struct args *a)
{
    FILTER(a, f)
    if (vireo_nwfilter_undefine(sh->conn, &f) < 0) {
        return fail("Failed to undefine network filter %s", f.name);
    }
    extra(sh, "Network filter %s undefined\n", f.name);
    return 0;
}

static int filter_dumpxml(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_nwfilter_get_xml_desc_ret *x = NULL;

    FILTER(a, f)
    return vireo_nwfilter_get_xml_desc(sh->conn, &f, 0, &x) < 0 ? fail_last()
                                                                : print_xml(a, x->xml);
}

static int filter_edit(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_nwfilter_get_xml_desc_ret *x = NULL;
    AUTO_RET struct vireo_nwfilter_define_xml_ret *ret = NULL;
    AUTO_FREE char *text = NULL;

    FILTER(a, f)
    if (vireo_nwfilter_get_xml_desc(sh->conn, &f, 0, &x) < 0) {
        return fail_last();
    }
    if (edit_text(x->xml, &text)) {
        return -1;
    }
    if (text == NULL) {
        extra(sh, "Network filter %s XML configuration not changed.\n", f.name);
        return 0;
    }
    if (vireo_nwfilter_define_xml(sh->conn, text, &ret) < 0) {
        return fail_last();
    }
    extra(sh, "Network filter %s XML configuration edited.\n", ret->nwfilter.name);
    return 0;
}

static int filter_by_name(const void *x, const void *y)
{
    return strcasecmp(((const struct vireo_nwfilter *)x)->name,
                      ((const struct vireo_nwfilter *)y)->name);
}

static int filter_list(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_list_all_nwfilters_ret *ret = NULL;
    struct table *t;

    (void)a;
    if (vireo_connect_list_all_nwfilters(sh->conn, 1, 0, &ret) < 0) {
        return fail("Failed to list network filters");
    }
    qsort(ret->filters, ret->n_filters, sizeof(ret->filters[0]), filter_by_name);
    t = table_new("UUID", "Name", NULL);
    for (uint32_t i = 0; i < ret->n_filters; i++) {
        char text[37];

        uuid_text(ret->filters[i].uuid, text);
        table_row(t, text, ret->filters[i].name);
    }
    table_print(t, sh, true);
    return 0;
}

static int binding_create(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_nwfilter_binding_create_xml_ret *ret = NULL;
    AUTO_FREE char *xml = read_file(arg(a, "file"));

    if (xml == NULL) {
        return -1;
    }
    if (vireo_nwfilter_binding_create_xml(sh->conn, xml, arg_set(a, "validate") ? 1 : 0, &ret) <
        0) {
        return fail("Failed to create network filter from %s", arg(a, "file"));
    }
    extra(sh, "Network filter binding on %s created from %s\n", ret->nwfilter.portdev,
          arg(a, "file"));
    return 0;
}

static int binding_delete(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_nwfilter_binding_lookup_by_port_dev_ret *b = NULL;

    if (vireo_nwfilter_binding_lookup_by_port_dev(sh->conn, arg(a, "binding"), &b) < 0) {
        return fail("failed to get nwfilter binding '%s'", arg(a, "binding"));
    }
    if (vireo_nwfilter_binding_delete(sh->conn, &b->nwfilter) < 0) {
        return fail("Failed to delete network filter binding %s", b->nwfilter.portdev);
    }
    extra(sh, "Network filter binding on %s deleted\n", b->nwfilter.portdev);
    return 0;
}

static int binding_dumpxml(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_nwfilter_binding_lookup_by_port_dev_ret *b = NULL;
    AUTO_RET struct vireo_nwfilter_binding_get_xml_desc_ret *x = NULL;

    if (vireo_nwfilter_binding_lookup_by_port_dev(sh->conn, arg(a, "binding"), &b) < 0) {
        return fail("failed to get nwfilter binding '%s'", arg(a, "binding"));
    }
    return vireo_nwfilter_binding_get_xml_desc(sh->conn, &b->nwfilter, 0, &x) < 0
               ? fail_last()
               : print_xml(a, x->xml);
}

static int binding_list(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_list_all_nwfilter_bindings_ret *ret = NULL;
    struct table *t;

    (void)a;
    if (vireo_connect_list_all_nwfilter_bindings(sh->conn, 1, 0, &ret) < 0) {
        return fail("Failed to list network filter bindings");
    }
    t = table_new("Port Dev", "Filter", NULL);
    for (uint32_t i = 0; i < ret->n_bindings; i++) {
        table_row(t, ret->bindings[i].portdev, ret->bindings[i].filtername);
    }
    table_print(t, sh, true);
    return 0;
}

const struct shell_command filter_commands[] = {
    { "nwfilter-binding-create", "file! --validate", binding_create, "put a filter on a port",
      false },
    { "nwfilter-binding-delete", "binding!", binding_delete, "take a filter off a port", false },
    { "nwfilter-binding-dumpxml", "binding! xpath --wrap", binding_dumpxml,
      "print the XML of a filter on a port", false },
    { "nwfilter-binding-list", "", binding_list, "list filters on ports", false },
    { "nwfilter-define", "file! --validate", filter_define,
      "define a network filter from an XML file", false },
    { "nwfilter-dumpxml", "nwfilter! xpath --wrap", filter_dumpxml, "print a network filter's XML",
      false },
    { "nwfilter-edit", "nwfilter!", filter_edit, "edit a network filter's XML", false },
    { "nwfilter-list", "", filter_list, "list network filters", false },
    { "nwfilter-undefine", "nwfilter!", filter_undefine, "forget a network filter", false },
    { NULL, NULL, NULL, NULL, false },
};

/* ---- secrets ---- */

#define SECRET(a, s)                     \
    AUTO_RET void *s##_keep = NULL;      \
    struct vireo_secret s;               \
    if (find_secret(a, &s, &s##_keep)) { \
        return -1;                       \
    }

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void print_base64(const uint8_t *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                     (i + 2 < n ? p[i + 2] : 0);

        (void)putchar(base64[v >> 18]);
        (void)putchar(base64[v >> 12 & 63]);
        (void)putchar(i + 1 < n ? base64[v >> 6 & 63] : '=');
        (void)putchar(i + 2 < n ? base64[v & 63] : '=');
    }
}

/* Into out, which has room for the text's length; -1 when it is none. */
static int read_base64(const char *text, uint8_t *out)
{
    uint32_t bits = 0;
    int n = 0, have = 0;

    for (; *text != '\0' && *text != '='; text++) {
        const char *at = *text == '\n' ? NULL : strchr(base64, *text);

        if (*text == '\n') {
            continue;
        }
        if (at == NULL) {
            return -1;
        }
        bits = bits << 6 | (uint32_t)(at - base64);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (uint8_t)(bits >> have);
        }
    }
    return n;
}

static int secret_define(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_secret_define_xml_ret *ret = NULL;
    AUTO_FREE char *xml = read_file(arg(a, "file"));
    char text[37];

    if (xml == NULL) {
        return -1;
    }
    if (vireo_secret_define_xml(sh->conn, xml, arg_set(a, "validate") ? 1 : 0, &ret) < 0) {
        return fail("Failed to set attributes from %s", arg(a, "file"));
    }
    uuid_text(ret->secret.uuid, text);
    extra(sh, "Secret %s created\n", text);
    return 0;
}

static int secret_dumpxml(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_secret_get_xml_desc_ret *x = NULL;

    SECRET(a, s)
    return vireo_secret_get_xml_desc(sh->conn, &s, 0, &x) < 0 ? fail_last() : print_xml(a, x->xml);
}

static int secret_set(struct shell *sh, struct args *a)
{
    AUTO_FREE char *text = NULL;
    AUTO_FREE uint8_t *value = NULL;
    int n;

    if (arg_exclusive(a, "file", "base64") || arg_exclusive(a, "plain", "base64") ||
        arg_exclusive(a, "interactive", "base64") || arg_exclusive(a, "interactive", "file")) {
        return -1;
    }
    SECRET(a, s)
    if (arg(a, "base64") != NULL) {
        (void)fprintf(stderr,
                      "error: Passing secret value as command-line argument is insecure!\n");
        text = strdup(arg(a, "base64"));
    } else if (arg(a, "file") != NULL) {
        text = read_file(arg(a, "file"));
    } else if (arg_set(a, "interactive")) {
        char *typed = getpass("Enter new value for secret:");

        text = typed != NULL ? strdup(typed) : NULL;
    } else {
        return error("Input secret value is missing");
    }
    if (text == NULL) {
        return -1;
    }
    value = malloc(strlen(text) + 1);
    if (value == NULL) {
        return -1;
    }
    if (arg_set(a, "plain") || arg_set(a, "interactive")) {
        n = (int)strlen(text);
        memcpy(value, text, (size_t)n);
    } else {
        n = read_base64(text, value);
    }
    if (n < 0) {
        return error("Failed to decode base64 secret");
    }
    if (vireo_secret_set_value(sh->conn, &s, value, (uint32_t)n, 0) < 0) {
        return fail("Failed to set secret value");
    }
    extra(sh, "Secret value set\n");
    return 0;
}

static int secret_get(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_secret_get_value_ret *ret = NULL;

    SECRET(a, s)
    if (vireo_secret_get_value(sh->conn, &s, 0, &ret) < 0) {
        return fail_last();
    }
    if (arg_set(a, "plain")) {
        (void)fwrite(ret->value, 1, ret->n_value, stdout);
    } else {
        print_base64(ret->value, ret->n_value);
    }
    return 0;
}

static int secret_undefine(struct shell *sh, struct args *a)
{
    SECRET(a, s)
    if (vireo_secret_undefine(sh->conn, &s) < 0) {
        return fail("Failed to delete secret %s", arg(a, "secret"));
    }
    extra(sh, "Secret %s deleted\n", arg(a, "secret"));
    return 0;
}

static int secret_list(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "ephemeral", 1 },
                                         { "no-ephemeral", 2 },
                                         { "private", 4 },
                                         { "no-private", 8 },
                                         { NULL, 0 } };
    static const char *const usages[] = { "none", "volume", "ceph", "iscsi", "tls", "vtpm" };
    AUTO_RET struct vireo_connect_list_all_secrets_ret *ret = NULL;
    struct table *t;

    if (vireo_connect_list_all_secrets(sh->conn, 1, arg_flags(a, flags), &ret) < 0) {
        return fail("Failed to list node secrets");
    }
    t = table_new("UUID", "Usage", NULL);
    for (uint32_t i = 0; i < ret->n_secrets; i++) {
        const struct vireo_secret *s = &ret->secrets[i];
        AUTO_FREE char *usage = s->usageType > 0 && s->usageType < 6
                                    ? str_format("%s %s", usages[s->usageType], s->usageID)
                                    : NULL;
        char text[37];

        uuid_text(s->uuid, text);
        table_row(t, text, usage != NULL ? usage : "Unused");
    }
    table_print(t, sh, true);
    return 0;
}

const struct shell_command secret_commands[] = {
    { "secret-define", "file! --validate", secret_define, "define a secret from an XML file",
      false },
    { "secret-dumpxml", "secret! xpath --wrap", secret_dumpxml, "print a secret's XML", false },
    { "secret-get-value", "secret! --plain", secret_get, "print a secret's value", false },
    { "secret-list", "--ephemeral --no-ephemeral --private --no-private", secret_list,
      "list secrets", false },
    { "secret-set-value", "secret! base64 file --plain --interactive", secret_set,
      "set a secret's value", false },
    { "secret-undefine", "secret!", secret_undefine, "forget a secret", false },
    { NULL, NULL, NULL, NULL, false },
};

/* ---- devices of the host ---- */

static int device_create(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_node_device_create_xml_ret *ret = NULL;
    AUTO_FREE char *xml = read_file(arg(a, "file"));

    if (xml == NULL) {
        return -1;
    }
    if (vireo_node_device_create_xml(sh->conn, xml, 0, &ret) < 0) {
        return fail("Failed to create node device from %s", arg(a, "file"));
    }
    extra(sh, "Node device %s created from %s\n", ret->dev.name, arg(a, "file"));
    return 0;
}

static int device_define(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_node_device_define_xml_ret *ret = NULL;
    AUTO_FREE char *xml = read_file(arg(a, "file"));

    if (xml == NULL) {
        return -1;
    }
    if (vireo_node_device_define_xml(sh->conn, xml, 0, &ret) < 0) {
        return fail("Failed to define node device from '%s'", arg(a, "file"));
    }
    extra(sh, "Node device '%s' defined from '%s'\n", ret->dev.name, arg(a, "file"));
    return 0;
}

/* The name of the device, by name or "wwnn,wwpn": *ret lives in *keep. */
static int find_device(struct shell *sh, struct args *a, const char **ret, void **keep)
{
    struct vireo_node_device_lookup_by_name_ret *r;

    if (vireo_node_device_lookup_by_name(sh->conn, arg(a, "device"), &r) < 0) {
        return fail("Could not find matching device '%s'", arg(a, "device"));
    }
    *keep = r;
    *ret = r->dev.name;
    return 0;
}

#define DEVICE(a, name)                            \
    AUTO_RET void *name##_keep = NULL;             \
    const char *name;                              \
    if (find_device(sh, a, &name, &name##_keep)) { \
        return -1;                                 \
    }

#define SIMPLE(fn, call, done, failed)              \
    static int fn(struct shell *sh, struct args *a) \
    {                                               \
        DEVICE(a, name)                             \
        if ((call) < 0) {                           \
            return fail(failed, name);              \
        }                                           \
        extra(sh, done "\n", name);                 \
        return 0;                                   \
    }

SIMPLE(device_destroy, vireo_node_device_destroy(sh->conn, name), "Destroyed node device '%s'",
       "Failed to destroy node device '%s'")
SIMPLE(device_reattach, vireo_node_device_re_attach(sh->conn, name), "Device %s re-attached",
       "Failed to re-attach device %s")
SIMPLE(device_reset, vireo_node_device_reset(sh->conn, name), "Device %s reset",
       "Failed to reset device %s")
SIMPLE(device_start, vireo_node_device_create(sh->conn, name, 0), "Device %s started",
       "Failed to start device %s")
SIMPLE(device_undefine, vireo_node_device_undefine(sh->conn, name, 0), "Undefined node device '%s'",
       "Failed to undefine node device '%s'")
SIMPLE(device_detach,
       arg(a, "driver") != NULL
           ? vireo_node_device_detach_flags(sh->conn, name, arg(a, "driver"), 0)
           : vireo_node_device_dettach(sh->conn, name),
       "Device %s detached", "Failed to detach device %s")

static int device_autostart(struct shell *sh, struct args *a)
{
    bool off = arg_set(a, "disable");

    DEVICE(a, name)
    if (vireo_node_device_set_autostart(sh->conn, name, !off) < 0) {
        return off ? fail("failed to unmark device %s as autostarted", name)
                   : fail("failed to mark device %s as autostarted", name);
    }
    extra(sh, off ? "Device %s unmarked as autostarted\n" : "Device %s marked as autostarted\n",
          name);
    return 0;
}

static int device_dumpxml(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_node_device_get_xml_desc_ret *x = NULL;

    DEVICE(a, name)
    return vireo_node_device_get_xml_desc(sh->conn, name, 0, &x) < 0 ? fail_last()
                                                                     : print_xml(a, x->xml);
}

static int device_info(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_node_device_get_parent_ret *parent = NULL;
    AUTO_RET struct vireo_node_device_is_active_ret *active = NULL;
    AUTO_RET struct vireo_node_device_is_persistent_ret *persistent = NULL;
    AUTO_RET struct vireo_node_device_get_autostart_ret *autostart = NULL;

    DEVICE(a, name)
    printf("%-15s %s\n", "Name:", name);
    printf("%-15s %s\n", "Parent:",
           vireo_node_device_get_parent(sh->conn, name, &parent) == 0 && parent->parentName != NULL
               ? parent->parentName
               : "");
    printf("%-15s %s\n", "Active:",
           vireo_node_device_is_active(sh->conn, name, &active) == 0 && active->active ? "yes"
                                                                                       : "no");
    printf("%-15s %s\n", "Persistent:",
           vireo_node_device_is_persistent(sh->conn, name, &persistent) < 0 ? "unknown"
           : persistent->persistent                                         ? "yes"
                                                                            : "no");
    if (vireo_node_device_get_autostart(sh->conn, name, &autostart) < 0) {
        printf("%-15s %s\n", "Autostart:", "no autostart");
    } else {
        printf("%-15s %s\n", "Autostart:", autostart->autostart ? "yes" : "no");
    }
    return 0;
}

static int device_by_name(const void *x, const void *y)
{
    return strcasecmp(((const struct vireo_node_device *)x)->name,
                      ((const struct vireo_node_device *)y)->name);
}

static int device_list(struct shell *sh, struct args *a)
{
    static const char *const caps[] = { "system",    "pci",        "usb_device",  "usb",
                                        "net",       "scsi_host",  "scsi_target", "scsi",
                                        "storage",   "fc_host",    "vports",      "scsi_generic",
                                        "drm",       "mdev_types", "mdev",        "ccw",
                                        "css",       "vdpa",       "ap_card",     "ap_queue",
                                        "ap_matrix", "vpd" };
    AUTO_RET struct vireo_connect_list_all_node_devices_ret *ret = NULL;
    AUTO_FREE char *copy = arg(a, "cap") != NULL ? strdup(arg(a, "cap")) : NULL;
    uint32_t bits = 0, n;

    if (arg_exclusive(a, "tree", "inactive") || arg_exclusive(a, "tree", "all")) {
        return -1;
    }
    for (char *p = copy; p != NULL && *p != '\0';) {
        char *v = strsep(&p, ",");
        uint32_t bit = 0;

        for (uint32_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
            bit = str_eq(caps[i], v) ? 1u << i : bit;
        }
        if (bit == 0) {
            return error("Invalid capability type");
        }
        bits |= bit;
    }
    if (arg_set(a, "tree") && bits != 0) {
        return error("Options --tree and --cap are incompatible");
    }
    bits |= arg_set(a, "all") ? 3u << 30 : arg_set(a, "inactive") ? 1u << 30 : 1u << 31;
    if (vireo_connect_list_all_node_devices(sh->conn, 1, bits, &ret) < 0) {
        return fail("Failed to list node devices");
    }
    n = ret->n_devices;
    qsort(ret->devices, n, sizeof(ret->devices[0]), device_by_name);
    if (arg_set(a, "tree")) {
        const char **names = calloc(n + 1, sizeof(*names)),
                   **parents = calloc(n + 1, sizeof(*parents));

        for (uint32_t i = 0; names != NULL && parents != NULL && i < n; i++) {
            AUTO_RET struct vireo_node_device_get_parent_ret *p = NULL;

            names[i] = ret->devices[i].name;
            if (!str_eq(names[i], "computer") &&
                vireo_node_device_get_parent(sh->conn, names[i], &p) == 0 &&
                p->parentName != NULL) {
                parents[i] = strdup(p->parentName);
            }
        }
        if (names != NULL && parents != NULL) {
            tree_print(names, parents, n);
        }
        for (uint32_t i = 0; parents != NULL && i < n; i++) {
            free((char *)(uintptr_t)parents[i]);
        }
        free(names);
        free(parents);
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        printf("%s\n", ret->devices[i].name);
    }
    return 0;
}

const struct shell_command nodedev_commands[] = {
    { "nodedev-autostart", "device! --disable", device_autostart,
      "start a device with the host, or no longer", false },
    { "nodedev-create", "file! --validate", device_create, "make a device from an XML file",
      false },
    { "nodedev-define", "file! --validate", device_define, "define a device from an XML file",
      false },
    { "nodedev-destroy", "device!", device_destroy, "end a device", false },
    { "nodedev-detach", "device! driver", device_detach, "take a device from the host's driver",
      false },
    { "nodedev-dumpxml", "device! xpath --wrap", device_dumpxml, "print a device's XML", false },
    { "nodedev-info", "device!", device_info, "show a device's main facts", false },
    { "nodedev-list", "--tree cap --inactive --all", device_list, "list the host's devices",
      false },
    { "nodedev-reattach", "device!", device_reattach, "give a device back to the host's driver",
      false },
    { "nodedev-reset", "device!", device_reset, "reset a device", false },
    { "nodedev-start", "device!", device_start, "start a defined device", false },
    { "nodedev-undefine", "device!", device_undefine, "forget a device's definition", false },
    { NULL, NULL, NULL, NULL, false },
};
