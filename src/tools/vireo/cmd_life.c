/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_life.c - defining, starting, stopping, saving domains. */
#include "tools/vireo/console.h"
#include "tools/vireo/shell.h"

enum { XML_SECURE = 1, XML_INACTIVE = 2, XML_UPDATE_CPU = 4, XML_MIGRATABLE = 8 };

/* A command that is one call on a domain. */
#define SIMPLE(fn, call, done, failed)               \
    static int fn(struct shell *sh, struct args *a)  \
    {                                                \
        DOMAIN(a, d);                                \
        if ((call) < 0) {                            \
            return fail(failed " '%s'", d.name);     \
        }                                            \
        extra(sh, "Domain '%s' " done "\n", d.name); \
        return 0;                                    \
    }

SIMPLE(suspend, vireo_domain_suspend(sh->conn, &d), "suspended", "Failed to suspend domain")
SIMPLE(resume, vireo_domain_resume(sh->conn, &d), "resumed", "Failed to resume domain")
SIMPLE(reset, vireo_domain_reset(sh->conn, &d, 0), "was reset", "Failed to reset domain")
SIMPLE(pm_wakeup, vireo_domain_pm_wakeup(sh->conn, &d, 0), "successfully woken up",
       "Domain could not be woken up:")

static int destroy(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "graceful", 1 }, { "remove-logs", 2 }, { NULL, 0 } };

    DOMAIN(a, d);
    if (vireo_domain_destroy_flags(sh->conn, &d, arg_flags(a, flags)) < 0) {
        return fail("Failed to destroy domain '%s'", d.name);
    }
    extra(sh, "Domain '%s' destroyed\n", d.name);
    return 0;
}

static int start(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "paused", 1 },       { "autodestroy", 2 },
                                         { "bypass-cache", 4 }, { "force-boot", 8 },
                                         { "reset-nvram", 32 }, { NULL, 0 } };
    AUTO_RET struct vireo_domain_create_with_flags_ret *ret = NULL;
    uint32_t bits = arg_flags(a, flags);

    DOMAIN(a, d);
    if (d.id >= 0) {
        return error("Domain is already active");
    }
    if (vireo_domain_create_with_flags(sh->conn, &d, bits, &ret) < 0) {
        return fail("Failed to start domain '%s'", d.name);
    }
    extra(sh, "Domain '%s' started\n", d.name);
    return arg_set(a, "console") ? console_run(sh, &ret->dom, NULL, 0, bits & 1) : 0;
}

static int create(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "paused", 1 },
                                         { "autodestroy", 2 },
                                         { "validate", 16 },
                                         { "reset-nvram", 32 },
                                         { NULL, 0 } };
    AUTO_RET struct vireo_domain_create_xml_ret *ret = NULL;
    AUTO_FREE char *xml = read_file(arg(a, "file"));

    if (xml == NULL) {
        return -1;
    }
    if (vireo_domain_create_xml(sh->conn, xml, arg_flags(a, flags), &ret) < 0) {
        return fail("Failed to create domain from %s", arg(a, "file"));
    }
    extra(sh, "Domain '%s' created from %s\n", ret->dom.name, arg(a, "file"));
    return arg_set(a, "console") ? console_run(sh, &ret->dom, NULL, 0, false) : 0;
}

static int define(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml = read_file(arg(a, "file"));

    if (xml == NULL) {
        return -1;
    }
    if (arg_set(a, "validate")) {
        AUTO_RET struct vireo_domain_define_xml_flags_ret *ret = NULL;

        if (vireo_domain_define_xml_flags(sh->conn, xml, 1, &ret) < 0) {
            return fail("Failed to define domain from %s", arg(a, "file"));
        }
        extra(sh, "Domain '%s' defined from %s\n", ret->dom.name, arg(a, "file"));
    } else {
        AUTO_RET struct vireo_domain_define_xml_ret *ret = NULL;

        if (vireo_domain_define_xml(sh->conn, xml, &ret) < 0) {
            return fail("Failed to define domain from %s", arg(a, "file"));
        }
        extra(sh, "Domain '%s' defined from %s\n", ret->dom.name, arg(a, "file"));
    }
    return 0;
}

static int undefine(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "managed-save", 1 },
                                         { "snapshots-metadata", 2 },
                                         { "nvram", 4 },
                                         { "keep-nvram", 8 },
                                         { "checkpoints-metadata", 16 },
                                         { "tpm", 32 },
                                         { "keep-tpm", 64 },
                                         { NULL, 0 } };
    uint32_t bits = arg_flags(a, flags);

    DOMAIN(a, d);
    if (arg_exclusive(a, "nvram", "keep-nvram") || arg_exclusive(a, "tpm", "keep-tpm")) {
        return -1;
    }
    if ((arg_set(a, "storage") || arg_set(a, "remove-all-storage")) && d.id >= 0) {
        return error("Storage volume deletion is supported only on stopped domains");
    }
    if (arg_set(a, "storage") || arg_set(a, "remove-all-storage")) {
        AUTO_RET struct vireo_domain_get_xml_desc_ret *x = NULL;

        if (vireo_domain_get_xml_desc(sh->conn, &d, XML_INACTIVE, &x) < 0) {
            return fail_last();
        }
        if ((bits != 0 ? vireo_domain_undefine_flags(sh->conn, &d, bits)
                       : vireo_domain_undefine(sh->conn, &d)) < 0) {
            return fail("Failed to undefine domain '%s'", d.name);
        }
        extra(sh, "Domain '%s' has been undefined\n", d.name);
        return remove_volumes(sh, x->xml, arg(a, "storage"));
    }
    if ((bits != 0 ? vireo_domain_undefine_flags(sh->conn, &d, bits)
                   : vireo_domain_undefine(sh->conn, &d)) < 0) {
        return fail("Failed to undefine domain '%s'", d.name);
    }
    extra(sh, "Domain '%s' has been undefined\n", d.name);
    return 0;
}

/* "acpi,agent": the flags of shutdown and reboot. */
static int read_mode(struct args *a, uint32_t *ret)
{
    static const char *const names[] = { "acpi", "agent", "initctl", "signal", "paravirt" };
    AUTO_FREE char *copy = arg(a, "mode") != NULL ? strdup(arg(a, "mode")) : NULL;

    *ret = 0;
    for (char *rest = copy; rest != NULL && *rest != '\0';) {
        const char *p = strsep(&rest, ",");
        uint32_t bit = 0;

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            bit = str_eq(names[i], p) ? 1u << i : bit;
        }
        if (bit == 0) {
            return error(
                "Unknown mode %s, only acpi, agent, initctl, signal, paravirt are supported", p);
        }
        *ret |= bit;
    }
    return 0;
}

static int shut_down(struct shell *sh, struct args *a)
{
    uint32_t mode;

    DOMAIN(a, d);
    if (read_mode(a, &mode)) {
        return -1;
    }
    if ((mode != 0 ? vireo_domain_shutdown_flags(sh->conn, &d, mode)
                   : vireo_domain_shutdown(sh->conn, &d)) < 0) {
        return fail("Failed to shutdown domain '%s'", d.name);
    }
    extra(sh, "Domain '%s' is being shutdown\n", d.name);
    return 0;
}

static int reboot(struct shell *sh, struct args *a)
{
    uint32_t mode;

    DOMAIN(a, d);
    if (read_mode(a, &mode)) {
        return -1;
    }
    if (vireo_domain_reboot(sh->conn, &d, mode) < 0) {
        return fail("Failed to reboot domain '%s'", d.name);
    }
    extra(sh, "Domain '%s' is being rebooted\n", d.name);
    return 0;
}

static int autostart(struct shell *sh, struct args *a)
{
    bool off = arg_set(a, "disable");

    DOMAIN(a, d);
    if (vireo_domain_set_autostart(sh->conn, &d, !off) < 0) {
        return off ? fail("Failed to unmark domain '%s' as autostarted", d.name)
                   : fail("Failed to mark domain '%s' as autostarted", d.name);
    }
    extra(sh, off ? "Domain '%s' unmarked as autostarted\n" : "Domain '%s' marked as autostarted\n",
          d.name);
    return 0;
}

static int rename_domain(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_rename_ret *ret = NULL;

    DOMAIN(a, d);
    if (vireo_domain_rename(sh->conn, &d, arg(a, "new-name"), 0, &ret) < 0) {
        return fail_last();
    }
    extra(sh, "Domain successfully renamed\n");
    return 0;
}

static int pm_suspend(struct shell *sh, struct args *a)
{
    static const char *const targets[] = { "mem", "disk", "hybrid" };
    unsigned long long duration = 0;
    int target = -1;

    DOMAIN(a, d);
    if (arg_ull(a, "duration", &duration) < 0) {
        return -1;
    }
    for (int i = 0; i < 3; i++) {
        target = str_eq(arg(a, "target"), targets[i]) ? i : target;
    }
    if (target < 0) {
        return error("Invalid target");
    }
    if (vireo_domain_pm_suspend_for_duration(sh->conn, &d, (uint32_t)target, duration, 0) < 0) {
        return fail("Domain '%s' could not be suspended", d.name);
    }
    extra(sh, "Domain '%s' successfully suspended", d.name);
    return 0;
}

/* ---- definitions as text ---- */

static int dumpxml(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "security-info", XML_SECURE },
                                         { "inactive", XML_INACTIVE },
                                         { "update-cpu", XML_UPDATE_CPU },
                                         { "migratable", XML_MIGRATABLE },
                                         { NULL, 0 } };
    AUTO_RET struct vireo_domain_get_xml_desc_ret *ret = NULL;

    DOMAIN(a, d);
    return vireo_domain_get_xml_desc(sh->conn, &d, arg_flags(a, flags), &ret) < 0
               ? fail_last()
               : print_xml(a, ret->xml);
}

static int edit(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_xml_desc_ret *ret = NULL;
    AUTO_RET struct vireo_domain_define_xml_flags_ret *done = NULL;
    AUTO_FREE char *text = NULL;

    DOMAIN(a, d);
    if (vireo_domain_get_xml_desc(sh->conn, &d, XML_SECURE | XML_INACTIVE, &ret) < 0) {
        return fail_last();
    }
    if (edit_text(ret->xml, &text)) {
        return -1;
    }
    if (text == NULL) {
        extra(sh, "Domain '%s' XML configuration not changed.\n", d.name);
        return 0;
    }
    if (vireo_domain_define_xml_flags(sh->conn, text, arg_set(a, "skip-validate") ? 0 : 1, &done) <
        0) {
        return fail_last();
    }
    extra(sh, "Domain '%s' XML configuration edited.\n", done->dom.name);
    return 0;
}

static int from_native(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_domain_xml_from_native_ret *ret = NULL;
    AUTO_FREE char *text = read_file(arg(a, "config"));

    if (text == NULL) {
        return -1;
    }
    if (vireo_connect_domain_xml_from_native(sh->conn, arg(a, "format"), text, 0, &ret) < 0) {
        return fail_last();
    }
    printf("%s", ret->domainXml);
    return 0;
}

static int to_native(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_connect_domain_xml_to_native_ret *ret = NULL;
    AUTO_RET struct vireo_domain_get_xml_desc_ret *x = NULL;
    AUTO_FREE char *text = NULL;

    if (arg_exclusive(a, "domain", "xml")) {
        return -1;
    }
    if (arg_set(a, "domain")) {
        DOMAIN(a, d);
        if (vireo_domain_get_xml_desc(sh->conn, &d, 0, &x) < 0) {
            return fail_last();
        }
        text = strdup(x->xml);
    } else if (arg_set(a, "xml")) {
        text = read_file(arg(a, "xml"));
    } else {
        return error("need either domain or domain XML");
    }
    if (text == NULL) {
        return -1;
    }
    if (vireo_connect_domain_xml_to_native(sh->conn, arg(a, "format"), text, 0, &ret) < 0) {
        return fail_last();
    }
    printf("%s", ret->nativeConfig);
    return 0;
}

static int desc(struct shell *sh, struct args *a)
{
    bool title = arg_set(a, "title");
    const char *what = title ? "title" : "description", *text = NULL;
    AUTO_FREE char *edited = NULL;
    struct strbuf all = STRBUF_INIT(1 << 20);
    AUTO_FREE char *joined = NULL;
    AUTO_RET struct vireo_domain_get_metadata_ret *now = NULL;
    uint32_t affect;

    DOMAIN(a, d);
    if (arg_affect(a, &affect)) {
        return -1;
    }
    for (unsigned i = 0; i < a->n_rest; i++) {
        strbuf_printf(&all, "%s%s", i > 0 ? " " : "", a->rest[i]);
    }
    joined = strbuf_take(&all);
    if (a->n_rest == 0) {
        int r = vireo_domain_get_metadata(sh->conn, &d, title ? 1 : 0, NULL, affect, &now);

        if (r < 0 && vireo_last_error()->code != 80) {
            return fail_last();
        }
        if (!arg_set(a, "edit")) {
            if (r < 0) {
                extra(sh, title ? "No title for domain: %s" : "No description for domain: %s",
                      d.name);
            } else {
                printf("%s", now->metadata);
            }
            return 0;
        }
        if (edit_text(r == 0 ? now->metadata : "", &edited)) {
            return -1;
        }
        if (edited == NULL) {
            extra(sh, "Domain %s not changed\n", what);
            return 0;
        }
        edited[strcspn(edited, "\n")] = '\0';
        text = edited;
    } else {
        text = joined;
    }
    if (vireo_domain_set_metadata(sh->conn, &d, title ? 1 : 0, text, NULL, NULL, affect) < 0) {
        return fail("Failed to set new domain %s", what);
    }
    extra(sh, "Domain %s updated successfully", what);
    return 0;
}

static int metadata(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_metadata_ret *now = NULL;
    AUTO_FREE char *edited = NULL;
    const char *set = arg(a, "set"), *uri = arg(a, "uri");
    uint32_t affect;

    DOMAIN(a, d);
    if (arg_affect(a, &affect) || arg_exclusive(a, "edit", "set") ||
        arg_exclusive(a, "remove", "set") || arg_exclusive(a, "remove", "edit")) {
        return -1;
    }
    if ((set != NULL || arg_set(a, "edit")) && !arg_set(a, "key")) {
        return error("namespace key is required when modifying metadata");
    }
    if (arg_set(a, "remove")) {
        if (vireo_domain_set_metadata(sh->conn, &d, 2, NULL, NULL, uri, affect) < 0) {
            return fail_last();
        }
        extra(sh, "Metadata removed\n");
        return 0;
    }
    if (set == NULL) {
        int r = vireo_domain_get_metadata(sh->conn, &d, 2, uri, affect, &now);

        if (!arg_set(a, "edit")) {
            if (r < 0) {
                return fail_last();
            }
            extra(sh, "%s\n", now->metadata);
            return 0;
        }
        if (edit_text(r == 0 ? now->metadata : "\n", &edited)) {
            return -1;
        }
        if (edited == NULL) {
            extra(sh, "Metadata not changed\n");
            return 0;
        }
        set = edited;
    }
    if (vireo_domain_set_metadata(sh->conn, &d, 2, set, arg(a, "key"), uri, affect) < 0) {
        return fail_last();
    }
    extra(sh, "Metadata modified\n");
    return 0;
}

static int set_lifecycle(struct shell *sh, struct args *a)
{
    static const char *const types[] = { "poweroff", "reboot", "crash" };
    static const char *const actions[] = { "destroy",  "restart",          "rename-restart",
                                           "preserve", "coredump-destroy", "coredump-restart" };
    uint32_t affect, type = 99, action = 99;

    DOMAIN(a, d);
    if (arg_affect(a, &affect)) {
        return -1;
    }
    for (uint32_t i = 0; i < 3; i++) {
        type = str_eq(types[i], arg(a, "type")) ? i : type;
    }
    for (uint32_t i = 0; i < 6; i++) {
        action = str_eq(actions[i], arg(a, "action")) ? i : action;
    }
    if (type == 99) {
        return error("Invalid lifecycle type '%s'.", arg(a, "type"));
    }
    if (action == 99) {
        return error("Invalid lifecycle action '%s'.", arg(a, "action"));
    }
    return vireo_domain_set_lifecycle_action(sh->conn, &d, type, action, affect) < 0
               ? fail("Unable to change lifecycle action.")
               : 0;
}

/* ---- memory in files ---- */

static uint32_t save_flags(const struct args *a)
{
    static const struct flag flags[] = {
        { "bypass-cache", 1 }, { "running", 2 }, { "paused", 4 }, { "reset-nvram", 8 }, { NULL, 0 }
    };

    return arg_flags(a, flags);
}

static int save(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml = arg(a, "xml") != NULL ? read_file(arg(a, "xml")) : NULL;
    uint32_t flags = save_flags(a);

    if (arg(a, "xml") != NULL && xml == NULL) {
        return -1;
    }
    DOMAIN(a, d);
    if ((flags != 0 || xml != NULL
             ? vireo_domain_save_flags(sh->conn, &d, arg(a, "file"), xml, flags)
             : vireo_domain_save(sh->conn, &d, arg(a, "file"))) < 0) {
        return fail("Failed to save domain '%s' to %s", d.name, arg(a, "file"));
    }
    extra(sh, "\nDomain '%s' saved to %s\n", d.name, arg(a, "file"));
    return 0;
}

static int restore(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml = arg(a, "xml") != NULL ? read_file(arg(a, "xml")) : NULL;
    uint32_t flags = save_flags(a);

    if (arg(a, "xml") != NULL && xml == NULL) {
        return -1;
    }
    if ((flags != 0 || xml != NULL
             ? vireo_domain_restore_flags(sh->conn, arg(a, "file"), xml, flags)
             : vireo_domain_restore(sh->conn, arg(a, "file"))) < 0) {
        return fail("Failed to restore domain from %s", arg(a, "file"));
    }
    extra(sh, "Domain restored from %s\n", arg(a, "file"));
    return 0;
}

static int managed_save(struct shell *sh, struct args *a)
{
    DOMAIN(a, d);
    if (vireo_domain_managed_save(sh->conn, &d, save_flags(a)) < 0) {
        return fail("Failed to save domain '%s' state", d.name);
    }
    extra(sh, "\nDomain '%s' state saved by libvirt\n", d.name);
    return 0;
}

static int managed_save_remove(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_has_managed_save_image_ret *has = NULL;

    DOMAIN(a, d);
    if (vireo_domain_has_managed_save_image(sh->conn, &d, 0, &has) < 0) {
        return fail("Failed to check for domain managed save image");
    }
    if (!has->result) {
        extra(sh, "Domain '%s' has no manage save image; removal skipped", d.name);
        return 0;
    }
    if (vireo_domain_managed_save_remove(sh->conn, &d, 0) < 0) {
        return fail("Failed to remove managed save image for domain '%s'", d.name);
    }
    extra(sh, "Removed managedsave image for domain '%s'", d.name);
    return 0;
}

static int managed_save_dumpxml(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_managed_save_get_xml_desc_ret *ret = NULL;

    DOMAIN(a, d);
    return vireo_domain_managed_save_get_xml_desc(sh->conn, &d, arg_set(a, "security-info") ? 1 : 0,
                                                  &ret) < 0
               ? fail_last()
               : print_xml(a, ret->xml);
}

static int managed_save_define(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml = read_file(arg(a, "xml"));

    if (xml == NULL) {
        return -1;
    }
    DOMAIN(a, d);
    if (vireo_domain_managed_save_define_xml(sh->conn, &d, xml, save_flags(a)) < 0) {
        return fail("Failed to update %s XML configuration", d.name);
    }
    extra(sh, "Managed save state file of domain '%s' updated.\n", d.name);
    return 0;
}

static int managed_save_edit(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_managed_save_get_xml_desc_ret *ret = NULL;
    AUTO_FREE char *text = NULL;

    DOMAIN(a, d);
    if (vireo_domain_managed_save_get_xml_desc(sh->conn, &d, 1, &ret) < 0) {
        return fail_last();
    }
    if (edit_text(ret->xml, &text)) {
        return -1;
    }
    if (text == NULL) {
        extra(sh, "Managed save image of domain '%s' XML configuration not changed.\n", d.name);
        return 0;
    }
    if (vireo_domain_managed_save_define_xml(sh->conn, &d, text, save_flags(a)) < 0) {
        return fail_last();
    }
    extra(sh, "Managed save image of Domain '%s' XML configuration edited.\n", d.name);
    return 0;
}

static int image_dumpxml(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_save_image_get_xml_desc_ret *ret = NULL;

    return vireo_domain_save_image_get_xml_desc(sh->conn, arg(a, "file"),
                                                arg_set(a, "security-info") ? 1 : 0, &ret) < 0
               ? fail_last()
               : print_xml(a, ret->xml);
}

static int image_define(struct shell *sh, struct args *a)
{
    AUTO_FREE char *xml = read_file(arg(a, "xml"));

    if (xml == NULL) {
        return -1;
    }
    if (vireo_domain_save_image_define_xml(sh->conn, arg(a, "file"), xml, save_flags(a)) < 0) {
        return fail("Failed to update %s", arg(a, "file"));
    }
    extra(sh, "State file %s updated.\n", arg(a, "file"));
    return 0;
}

static int image_edit(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_save_image_get_xml_desc_ret *ret = NULL;
    AUTO_FREE char *text = NULL;

    if (vireo_domain_save_image_get_xml_desc(sh->conn, arg(a, "file"), 1, &ret) < 0) {
        return fail_last();
    }
    if (edit_text(ret->xml, &text)) {
        return -1;
    }
    if (text == NULL) {
        extra(sh, "Saved image %s XML configuration not changed.\n", arg(a, "file"));
        return 0;
    }
    if (vireo_domain_save_image_define_xml(sh->conn, arg(a, "file"), text, save_flags(a)) < 0) {
        return fail_last();
    }
    extra(sh, "State file %s edited.\n", arg(a, "file"));
    return 0;
}

static int dump(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "crash", 1 },        { "live", 2 },
                                         { "bypass-cache", 4 }, { "reset", 8 },
                                         { "memory-only", 16 }, { NULL, 0 } };
    static const char *const formats[] = { "elf", "kdump-zlib", "kdump-lzo", "kdump-snappy",
                                           "win-dmp" };
    uint32_t format = 0;
    const char *name = arg(a, "format");

    DOMAIN(a, d);
    if (arg_exclusive(a, "live", "crash") || arg_exclusive(a, "crash", "reset") ||
        arg_exclusive(a, "live", "reset")) {
        return -1;
    }
    if (name != NULL && !arg_set(a, "memory-only")) {
        return error("--format only works with --memory-only");
    }
    while (name != NULL && format < 5 && !str_eq(formats[format], name)) {
        format++;
    }
    if (format >= 5) {
        return error(
            "format '%s' is not supported, expecting 'kdump-zlib', 'kdump-lzo', 'kdump-snappy', 'win-dmp' or 'elf'",
            name);
    }
    if ((format > 0
             ? vireo_domain_core_dump_with_format(sh->conn, &d, arg(a, "file"), format,
                                                  arg_flags(a, flags))
             : vireo_domain_core_dump(sh->conn, &d, arg(a, "file"), arg_flags(a, flags))) < 0) {
        return fail("Failed to core dump domain '%s' to %s", d.name, arg(a, "file"));
    }
    extra(sh, "\nDomain '%s' dumped to %s\n", d.name, arg(a, "file"));
    return 0;
}

static int screenshot(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_screenshot_ret *ret = NULL;
    struct vireo_stream *s;
    unsigned screen = 0;

    DOMAIN(a, d);
    if (arg_uint(a, "screen", &screen) < 0) {
        return -1;
    }
    if (vireo_domain_screenshot(sh->conn, &d, screen, 0, &s, &ret) < 0) {
        return fail("could not take a screenshot of %s", d.name);
    }
    return stream_to_image(sh, s, d.name, ret->mime != NULL ? ret->mime : "", arg(a, "file"));
}

static int console(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "force", 1 }, { "safe", 2 }, { NULL, 0 } };

    DOMAIN(a, d);
    return console_run(sh, &d, arg(a, "devname"), arg_flags(a, flags), false);
}

const struct shell_command life_commands[] = {
    { "autostart", "domain! --disable", autostart, "start a domain with the host, or no longer",
      false },
    { "console", "domain! devname --force --safe", console, "connect to the guest's console",
      false },
    { "create", "file! --console --paused --autodestroy pass-fds --validate --reset-nvram", create,
      "start a domain from an XML file", false },
    { "define", "file! --validate", define, "define a domain from an XML file, or change it",
      false },
    { "desc", "domain! --live --config --current --title --edit new-desc*", desc,
      "show or set a domain's description or title", false },
    { "destroy", "domain! --graceful --remove-logs", destroy, "end a domain at once", false },
    { "dompmsuspend", "domain! target! duration#", pm_suspend, "let the guest suspend itself",
      false },
    { "dompmwakeup", "domain!", pm_wakeup, "wake a suspended guest", false },
    { "domrename", "domain! new-name!", rename_domain, "give a domain another name", false },
    { "domxml-from-native", "format! config!", from_native, "turn a native configuration into XML",
      false },
    { "domxml-to-native", "format! domain xml", to_native, "turn XML into a native configuration",
      false },
    { "dump", "domain! file! --live --crash --bypass-cache --reset --verbose --memory-only format",
      dump, "write the guest's memory to a file", false },
    { "dumpxml", "domain! --inactive --security-info --update-cpu --migratable xpath --wrap",
      dumpxml, "print a domain's XML", false },
    { "edit", "domain! --skip-validate", edit, "edit a domain's XML", false },
    { "managedsave", "domain! --bypass-cache --running --paused --verbose", managed_save,
      "save a domain's state where its next start finds it", false },
    { "managedsave-define", "domain! xml! --running --paused", managed_save_define,
      "replace the XML of a managed save", false },
    { "managedsave-dumpxml", "domain! --security-info xpath --wrap", managed_save_dumpxml,
      "print the XML of a managed save", false },
    { "managedsave-edit", "domain! --running --paused", managed_save_edit,
      "edit the XML of a managed save", false },
    { "managedsave-remove", "domain!", managed_save_remove, "delete a managed save", false },
    { "metadata", "domain! uri! --live --config --current --edit key set --remove", metadata,
      "show or set a domain's own XML metadata", false },
    { "reboot", "domain! mode", reboot, "ask the guest to reboot", false },
    { "reset", "domain!", reset, "reset the machine", false },
    { "restore", "file! --bypass-cache xml --running --paused --reset-nvram", restore,
      "start a domain from a saved state", false },
    { "resume", "domain!", resume, "let a suspended domain go on", false },
    { "save", "domain! file! --bypass-cache xml --running --paused --verbose", save,
      "save a domain's state to a file and end it", false },
    { "save-image-define", "file! xml! --running --paused", image_define,
      "replace the XML in a saved state", false },
    { "save-image-dumpxml", "file! --security-info xpath --wrap", image_dumpxml,
      "print the XML in a saved state", false },
    { "save-image-edit", "file! --running --paused", image_edit, "edit the XML in a saved state",
      false },
    { "screenshot", "domain! file screen#", screenshot, "save a picture of the guest's screen",
      false },
    { "set-lifecycle-action", "domain! type! action! --config --live --current", set_lifecycle,
      "set what happens at poweroff, reboot or crash", false },
    { "shutdown", "domain! mode", shut_down, "ask the guest to shut down", false },
    { "start",
      "domain! --console --paused --autodestroy --bypass-cache --force-boot pass-fds --reset-nvram",
      start, "start a defined domain", false },
    { "suspend", "domain!", suspend, "stop the guest's CPUs", false },
    { "undefine",
      "domain! --managed-save storage --remove-all-storage --delete-storage-volume-snapshots --wipe-storage --snapshots-metadata --checkpoints-metadata --nvram --keep-nvram --tpm --keep-tpm",
      undefine, "forget a domain's definition", false },
    { NULL, NULL, NULL, NULL, false },
};
