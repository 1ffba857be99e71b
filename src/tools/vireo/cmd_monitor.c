/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_monitor.c - what domains are and how they do. */
#include "tools/vireo/document.h"
#include "tools/vireo/shell.h"

#include <inttypes.h>
#include <time.h>

enum { XML_INACTIVE = 2 };

/* The domain's document; NULL after an error. */
static xmlDoc *document_of(struct shell *sh, const struct vireo_domain *d, uint32_t flags)
{
    AUTO_RET struct vireo_domain_get_xml_desc_ret *ret = NULL;

    if (vireo_domain_get_xml_desc(sh->conn, d, flags, &ret) < 0) {
        (void)fail_last();
        return NULL;
    }
    return document_read(ret->xml);
}

/* ---- list ---- */

static int by_place(const void *x, const void *y)
{
    const struct vireo_domain *a = x, *b = y;

    if ((a->id >= 0) != (b->id >= 0)) {
        return a->id >= 0 ? -1 : 1;
    }
    return a->id >= 0 ? a->id - b->id : strcasecmp(a->name, b->name);
}

static void list_one(struct shell *sh, struct args *a, struct table *t,
                     const struct vireo_domain *d)
{
    AUTO_RET struct vireo_domain_get_state_ret *state = NULL;
    AUTO_RET struct vireo_domain_has_managed_save_image_ret *saved = NULL;
    AUTO_RET struct vireo_domain_get_metadata_ret *title = NULL;
    char id[16] = "-", uuid[37];
    const char *text;

    uuid_text(d->uuid, uuid);
    if (d->id >= 0) {
        (void)snprintf(id, sizeof(id), "%d", d->id);
    }
    if (arg_set(a, "uuid") || arg_set(a, "name") || arg_set(a, "id")) {
        const char *sep = "";

        if (d->id < 0 && arg_set(a, "id") && !arg_set(a, "uuid") && !arg_set(a, "name")) {
            return;
        }
        if (arg_set(a, "id")) {
            printf("%s", d->id >= 0 ? id : "-");
            sep = " ";
        }
        if (arg_set(a, "uuid")) {
            printf("%s%s", sep, uuid);
            sep = " ";
        }
        if (arg_set(a, "name")) {
            printf("%s%s", sep, d->name);
        }
        printf("\n");
        return;
    }
    text =
        vireo_domain_get_state(sh->conn, d, 0, &state) == 0 ? state_text(state->state) : "no state";
    if (arg_set(a, "managed-save") && d->id < 0 &&
        vireo_domain_has_managed_save_image(sh->conn, d, 0, &saved) == 0 && saved->result) {
        text = "saved";
    }
    if (arg_set(a, "title")) {
        const char *s =
            vireo_domain_get_metadata(sh->conn, d, 1, NULL, 0, &title) == 0 ? title->metadata : "";

        table_row(t, id, d->name, text, s);
    } else {
        table_row(t, id, d->name, text);
    }
}

static int list(struct shell *sh, struct args *a)
{
    static const struct flag flags[] = { { "persistent", 4 },
                                         { "transient", 8 },
                                         { "state-running", 16 },
                                         { "state-paused", 32 },
                                         { "state-shutoff", 64 },
                                         { "state-other", 128 },
                                         { "with-managed-save", 256 },
                                         { "without-managed-save", 512 },
                                         { "autostart", 1024 },
                                         { "no-autostart", 2048 },
                                         { "with-snapshot", 4096 },
                                         { "without-snapshot", 8192 },
                                         { "with-checkpoint", 16384 },
                                         { "without-checkpoint", 32768 },
                                         { NULL, 0 } };
    AUTO_RET struct vireo_connect_list_all_domains_ret *ret = NULL;
    uint32_t bits = arg_flags(a, flags) | (arg_set(a, "all")        ? 3u
                                           : arg_set(a, "inactive") ? 2u
                                                                    : 1u);
    bool plain = arg_set(a, "uuid") || arg_set(a, "name") || arg_set(a, "id");
    struct table *t = NULL;

    if (arg_exclusive(a, "table", "name") || arg_exclusive(a, "table", "id")) {
        return -1;
    }
    if (vireo_connect_list_all_domains(sh->conn, 1, bits, &ret) < 0) {
        return fail("Failed to list domains");
    }
    qsort(ret->domains, ret->n_domains, sizeof(ret->domains[0]), by_place);
    if (!plain) {
        t = arg_set(a, "title") ? table_new("Id", "Name", "State", "Title", NULL)
                                : table_new("Id", "Name", "State", NULL);
    }
    for (uint32_t i = 0; i < ret->n_domains; i++) {
        list_one(sh, a, t, &ret->domains[i]);
    }
    table_print(t, sh, true);
    return 0;
}

/* ---- one domain ---- */

static int id(struct shell *sh, struct args *a)
{
    (void)sh;
    DOMAIN(a, d);
    if (d.id < 0) {
        printf("-\n");
    } else {
        printf("%d\n", d.id);
    }
    return 0;
}

static int name(struct shell *sh, struct args *a)
{
    (void)sh;
    DOMAIN(a, d);
    printf("%s\n", d.name);
    return 0;
}

static int uuid(struct shell *sh, struct args *a)
{
    char text[37];

    (void)sh;
    DOMAIN(a, d);
    uuid_text(d.uuid, text);
    printf("%s\n", text);
    return 0;
}

static int state(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_state_ret *ret = NULL;

    DOMAIN(a, d);
    if (vireo_domain_get_state(sh->conn, &d, 0, &ret) < 0) {
        return fail_last();
    }
    if (arg_set(a, "reason")) {
        printf("%s (%s)\n", state_text(ret->state), state_reason(ret->state, ret->reason));
    } else {
        printf("%s\n", state_text(ret->state));
    }
    return 0;
}

static int info(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_info_ret *i = NULL;
    AUTO_RET struct vireo_domain_get_os_type_ret *os = NULL;
    AUTO_RET struct vireo_domain_is_persistent_ret *persistent = NULL;
    AUTO_RET struct vireo_domain_get_autostart_ret *autostart = NULL;
    AUTO_RET struct vireo_domain_has_managed_save_image_ret *saved = NULL;
    AUTO_RET struct vireo_node_get_security_model_ret *model = NULL;
    AUTO_RET struct vireo_domain_get_security_label_ret *label = NULL;
    AUTO_RET struct vireo_domain_get_messages_ret *messages = NULL;
    char text[37];

    DOMAIN(a, d);
    if (d.id < 0) {
        printf("%-15s %s\n", "Id:", "-");
    } else {
        printf("%-15s %d\n", "Id:", d.id);
    }
    uuid_text(d.uuid, text);
    printf("%-15s %s\n%-15s %s\n", "Name:", d.name, "UUID:", text);
    if (vireo_domain_get_os_type(sh->conn, &d, &os) == 0) {
        printf("%-15s %s\n", "OS Type:", os->type_);
    }
    if (vireo_domain_get_info(sh->conn, &d, &i) == 0) {
        printf("%-15s %s\n", "State:", state_text(i->state));
        printf("%-15s %d\n", "CPU(s):", i->nrVirtCpu);
        if (i->cpuTime != 0) {
            printf("%-15s %.1fs\n", "CPU time:", (double)i->cpuTime / 1000000000.0);
        }
        if (i->maxMem != UINT32_MAX) {
            printf("%-15s %" PRIu64 " KiB\n", "Max memory:", i->maxMem);
        } else {
            printf("%-15s %s\n", "Max memory:", "no limit");
        }
        printf("%-15s %" PRIu64 " KiB\n", "Used memory:", i->memory);
    }
    if (vireo_domain_is_persistent(sh->conn, &d, &persistent) == 0) {
        printf("%-15s %s\n", "Persistent:", persistent->persistent ? "yes" : "no");
    } else {
        printf("%-15s %s\n", "Persistent:", "unknown");
    }
    if (vireo_domain_get_autostart(sh->conn, &d, &autostart) == 0) {
        printf("%-15s %s\n", "Autostart:", autostart->autostart ? "enable" : "disable");
    }
    if (vireo_domain_has_managed_save_image(sh->conn, &d, 0, &saved) == 0) {
        printf("%-15s %s\n", "Managed save:", saved->result ? "yes" : "no");
    } else {
        printf("%-15s %s\n", "Managed save:", "unknown");
    }
    if (vireo_node_get_security_model(sh->conn, &model) == 0 && model->n_model > 0 &&
        *(const char *)model->model != '\0') {
        printf("%-15s %s\n%-15s %s\n", "Security model:", (const char *)model->model,
               "Security DOI:", (const char *)model->doi);
        if (d.id >= 0 && vireo_domain_get_security_label(sh->conn, &d, &label) == 0 &&
            label->n_label > 0 && *(const char *)label->label != '\0') {
            printf("%-15s %s (%s)\n", "Security label:", (const char *)label->label,
                   label->enforcing ? "enforcing" : "permissive");
        }
    }
    if (vireo_domain_get_messages(sh->conn, &d, 0, &messages) == 0) {
        for (uint32_t k = 0; k < messages->n_msgs; k++) {
            printf("%-15s %s\n", k == 0 ? "Messages:" : "", messages->msgs[k]);
        }
    }
    return 0;
}

static int control(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_control_info_ret *ret = NULL;
    static const char *const states[] = { "ok", "background job", "occupied", "error" };
    static const char *const errors[] = { "none", "unknown", "monitor failure",
                                          "internal (locking) error" };

    DOMAIN(a, d);
    if (vireo_domain_get_control_info(sh->conn, &d, 0, &ret) < 0) {
        return fail_last();
    }
    if (ret->state == 0) {
        printf("%s\n", states[0]);
    } else if (ret->state < 3) {
        printf("%s (%0.3fs)\n", states[ret->state], (double)ret->stateTime / 1000.0);
    } else {
        printf("%s: %s\n", states[3], errors[ret->details < 4 ? ret->details : 1]);
    }
    return 0;
}

/* ---- disks ---- */

static int blklist(struct shell *sh, struct args *a)
{
    AUTO_DOC xmlDoc *doc = NULL;
    bool details = arg_set(a, "details");
    struct table *t;
    xmlNode *devices;

    DOMAIN(a, d);
    doc = document_of(sh, &d, arg_set(a, "inactive") ? XML_INACTIVE : 0);
    if (doc == NULL) {
        return -1;
    }
    devices = element_at(xmlDocGetRootElement(doc), "devices");
    t = details ? table_new("Type", "Device", "Target", "Source", NULL)
                : table_new("Target", "Source", NULL);
    for (xmlNode *k = NULL; (k = element_next(devices, k, "disk")) != NULL;) {
        AUTO_FREE char *type = element_attr(k, "type"), *device = element_attr(k, "device"),
                       *target = element_get(k, "target/@dev");
        static const char *const keys[] = { "source/@file", "source/@dev",    "source/@dir",
                                            "source/@name", "source/@volume", "source/@path" };
        AUTO_FREE char *source = NULL;

        for (size_t i = 0; source == NULL && i < sizeof(keys) / sizeof(keys[0]); i++) {
            source = element_get(k, keys[i]);
        }
        if (details) {
            table_row(t, type, device, target, source != NULL ? source : "-");
        } else {
            table_row(t, target, source != NULL ? source : "-");
        }
    }
    table_print(t, sh, true);
    return 0;
}

static int blkerror(struct shell *sh, struct args *a)
{
    static const char *const names[] = { "no error", "unspecified error", "no space" };
    AUTO_RET struct vireo_domain_get_disk_errors_ret *ret = NULL;

    DOMAIN(a, d);
    if (vireo_domain_get_disk_errors(sh->conn, &d, 256, 0, &ret) < 0) {
        return fail_last();
    }
    if (ret->n_errors == 0) {
        printf("No errors found\n");
    }
    for (uint32_t i = 0; i < ret->n_errors; i++) {
        printf("%s: %s\n", ret->errors[i].disk,
               names[ret->errors[i].error < 3 ? ret->errors[i].error : 1]);
    }
    return 0;
}

static int blkstat(struct shell *sh, struct args *a)
{
    static const struct {
        const char *field, *shown, *human;
    } names[] = {
        { "rd_operations", "rd_req", "number of read operations:" },
        { "rd_bytes", "rd_bytes", "number of bytes read:" },
        { "wr_operations", "wr_req", "number of write operations:" },
        { "wr_bytes", "wr_bytes", "number of bytes written:" },
        { "errs", "errs", "error count:" },
        { "flush_operations", "flush_operations", "number of flush operations:" },
        { "rd_total_times", "rd_total_times", "total duration of reads (ns):" },
        { "wr_total_times", "wr_total_times", "total duration of writes (ns):" },
        { "flush_total_times", "flush_total_times", "total duration of flushes (ns):" },
    };
    AUTO_RET struct vireo_domain_block_stats_flags_ret *count = NULL;
    AUTO_RET struct vireo_domain_block_stats_flags_ret *ret = NULL;
    const char *device = arg(a, "device") != NULL ? arg(a, "device") : "";
    bool human = arg_set(a, "human");

    DOMAIN(a, d);
    if (vireo_domain_block_stats_flags(sh->conn, &d, device, 0, 0, &count) < 0 ||
        vireo_domain_block_stats_flags(sh->conn, &d, device, count->nparams, 0, &ret) < 0) {
        return fail("Failed to get block stats for domain '%s' device '%s'", d.name, device);
    }
    if (human) {
        printf("Device: %s\n", device);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct vireo_param *p = vireo_param_find(ret->params, ret->n_params, names[i].field);

        if (p == NULL || (p->kind == VIREO_PARAM_LLONG && p->value.l < 0)) {
            continue;
        }
        if (human) {
            printf(" %-31s %" PRId64 "\n", names[i].human, p->value.l);
        } else {
            printf("%s%s%s %" PRId64 "\n", device, *device != '\0' ? " " : "", names[i].shown,
                   p->value.l);
        }
    }
    return 0;
}

static void print_blkinfo(const struct vireo_domain_get_block_info_ret *i, bool human)
{
    const uint64_t values[] = { i->capacity, i->allocation, i->physical };
    static const char *const names[] = { "Capacity:", "Allocation:", "Physical:" };

    for (int k = 0; k < 3; k++) {
        const char *unit;
        double v = pretty_size(values[k], &unit);

        if (human) {
            printf("%-15s %.3f %s\n", names[k], v, unit);
        } else {
            printf("%-15s %" PRIu64 "\n", names[k], values[k]);
        }
    }
}

static int blkinfo_all(struct shell *sh, struct args *a, const struct vireo_domain *d)
{
    AUTO_DOC xmlDoc *doc = document_of(sh, d, 0);
    struct table *t = table_new("Target", "Capacity", "Allocation", "Physical", NULL);
    xmlNode *devices = doc != NULL ? element_at(xmlDocGetRootElement(doc), "devices") : NULL;

    for (xmlNode *k = NULL; (k = element_next(devices, k, "disk")) != NULL;) {
        AUTO_FREE char *target = element_get(k, "target/@dev");
        AUTO_RET struct vireo_domain_get_block_info_ret *i = NULL;
        char cells[3][64];

        if (element_at(k, "source") == NULL ||
            vireo_domain_get_block_info(sh->conn, d, target, 0, &i) < 0) {
            table_row(t, target, "-", "-", "-");
            continue;
        }
        for (int c = 0; c < 3; c++) {
            uint64_t v = c == 0 ? i->capacity : c == 1 ? i->allocation : i->physical;
            const char *unit;
            double nice = pretty_size(v, &unit);

            if (arg_set(a, "human")) {
                (void)snprintf(cells[c], sizeof(cells[c]), "%.3f %s", nice, unit);
            } else {
                (void)snprintf(cells[c], sizeof(cells[c]), "%" PRIu64, v);
            }
        }
        table_row(t, target, cells[0], cells[1], cells[2]);
    }
    table_print(t, sh, true);
    return doc != NULL ? 0 : -1;
}

static int blkinfo(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_block_info_ret *i = NULL;

    DOMAIN(a, d);
    if (arg_exclusive(a, "all", "device")) {
        return -1;
    }
    if (arg_set(a, "all")) {
        return blkinfo_all(sh, a, &d);
    }
    if (!arg_set(a, "device")) {
        return error("command 'domblkinfo' requires <device> option");
    }
    if (vireo_domain_get_block_info(sh->conn, &d, arg(a, "device"), 0, &i) < 0) {
        return fail_last();
    }
    print_blkinfo(i, arg_set(a, "human"));
    return 0;
}

/* ---- network interfaces ---- */

static int iflist(struct shell *sh, struct args *a)
{
    AUTO_DOC xmlDoc *doc = NULL;
    struct table *t;
    xmlNode *devices;

    DOMAIN(a, d);
    doc = document_of(sh, &d, arg_set(a, "inactive") ? XML_INACTIVE : 0);
    if (doc == NULL) {
        return -1;
    }
    devices = element_at(xmlDocGetRootElement(doc), "devices");
    t = table_new("Interface", "Type", "Source", "Model", "MAC", NULL);
    for (xmlNode *k = NULL; (k = element_next(devices, k, "interface")) != NULL;) {
        AUTO_FREE char *type = element_attr(k, "type"), *dev = element_get(k, "target/@dev"),
                       *model = element_get(k, "model/@type");
        AUTO_FREE char *mac = element_get(k, "mac/@address"), *attr = NULL, *source = NULL;

        attr = str_format("source/@%s", str_eq(type, "direct") ? "dev" : type);
        source = attr != NULL ? element_get(k, attr) : NULL;
        table_row(t, dev != NULL ? dev : "-", type, source != NULL ? source : "-",
                  model != NULL ? model : "-", mac);
    }
    table_print(t, sh, true);
    return 0;
}

static int ifstat(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_interface_stats_ret *s = NULL;
    const char *dev = arg(a, "interface");

    DOMAIN(a, d);
    if (vireo_domain_interface_stats(sh->conn, &d, dev, &s) < 0) {
        return fail("Failed to get interface stats %s %s", d.name, dev);
    }
    {
        const struct {
            const char *name;
            int64_t v;
        } all[] = { { "rx_bytes", s->rx_bytes }, { "rx_packets", s->rx_packets },
                    { "rx_errs", s->rx_errs },   { "rx_drop", s->rx_drop },
                    { "tx_bytes", s->tx_bytes }, { "tx_packets", s->tx_packets },
                    { "tx_errs", s->tx_errs },   { "tx_drop", s->tx_drop } };

        for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
            if (all[i].v >= 0) {
                printf("%s %s %" PRId64 "\n", dev, all[i].name, all[i].v);
            }
        }
    }
    return 0;
}

/* By target's name or MAC address; NULL. */
xmlNode *find_interface_element(xmlNode *root, const char *which);
xmlNode *find_interface_element(xmlNode *root, const char *which)
{
    xmlNode *devices = element_at(root, "devices");

    for (xmlNode *k = NULL; (k = element_next(devices, k, "interface")) != NULL;) {
        AUTO_FREE char *dev = element_get(k, "target/@dev"), *mac = element_get(k, "mac/@address");

        if ((dev != NULL && str_eq(dev, which)) || (mac != NULL && strcasecmp(mac, which) == 0)) {
            return k;
        }
    }
    return NULL;
}

static int getlink(struct shell *sh, struct args *a)
{
    AUTO_DOC xmlDoc *doc = NULL;
    AUTO_FREE char *link = NULL;
    xmlNode *k;

    DOMAIN(a, d);
    doc = document_of(sh, &d, arg_set(a, "config") ? XML_INACTIVE : 0);
    if (doc == NULL) {
        return -1;
    }
    k = find_interface_element(xmlDocGetRootElement(doc), arg(a, "interface"));
    if (k == NULL) {
        return error("Interface '%s' not found.", arg(a, "interface"));
    }
    link = element_get(k, "link/@state");
    printf("%s %s", arg(a, "interface"), link != NULL ? link : "up");
    return 0;
}

static int ifaddr(struct shell *sh, struct args *a)
{
    static const char *const sources[] = { "lease", "agent", "arp" };
    AUTO_RET struct vireo_domain_interface_addresses_ret *ret = NULL;
    uint32_t source = 0;
    const char *want = arg(a, "source");

    DOMAIN(a, d);
    while (want != NULL && source < 3 && !str_eq(sources[source], want)) {
        source++;
    }
    if (source == 3) {
        return error("Unknown data source '%s'", want);
    }
    if (vireo_domain_interface_addresses(sh->conn, &d, source, 0, &ret) < 0) {
        return fail("Failed to query for interfaces addresses");
    }
    printf(" %-10s %-20s %-8s     %s\n", "Name", "MAC address", "Protocol", "Address");
    printf("-------------------------------------------------------------------------------\n");
    for (uint32_t i = 0; i < ret->n_ifaces; i++) {
        const struct vireo_domain_interface *f = &ret->ifaces[i];
        const char *mac = f->hwaddr != NULL ? f->hwaddr : "N/A";

        if (arg(a, "interface") != NULL && !str_eq(arg(a, "interface"), f->name)) {
            continue;
        }
        if (f->n_addrs == 0) {
            printf(" %-10s %-17s    %-12s %s\n", f->name, mac, "N/A", "N/A");
        }
        for (uint32_t k = 0; k < f->n_addrs; k++) {
            const char *type = f->addrs[k].type_ == 1 ? "ipv6" : "ipv4";
            bool full = arg_set(a, "full") || k == 0;

            printf(" %-10s %-17s    %s         %s/%u\n", full ? f->name : "-", full ? mac : "-",
                   type, f->addrs[k].addr, f->addrs[k].prefix);
        }
    }
    return 0;
}

/* ---- memory, time, statistics ---- */

static int memstat(struct shell *sh, struct args *a)
{
    static const char *const names[] = { "swap_in",       "swap_out",    "major_fault",
                                         "minor_fault",   "unused",      "available",
                                         "actual",        "rss",         "usable",
                                         "last_update",   "disk_caches", "hugetlb_pgalloc",
                                         "hugetlb_pgfail" };
    AUTO_RET struct vireo_domain_memory_stats_ret *ret = NULL;
    uint32_t affect;
    int period = 0, r;

    DOMAIN(a, d);
    if (arg_affect(a, &affect) || (r = arg_int(a, "period", &period)) < 0) {
        return -1;
    }
    if (r == 1) {
        return vireo_domain_set_memory_stats_period(sh->conn, &d, period, affect) < 0
                   ? fail("Unable to change balloon collection period.")
                   : 0;
    }
    if (vireo_domain_memory_stats(sh->conn, &d, 13, 0, &ret) < 0) {
        return fail("Failed to get memory statistics for domain %s", d.name);
    }
    for (uint32_t i = 0; i < ret->n_stats; i++) {
        if (ret->stats[i].tag >= 0 &&
            (size_t)ret->stats[i].tag < sizeof(names) / sizeof(names[0])) {
            printf("%s %" PRIu64 "\n", names[ret->stats[i].tag], ret->stats[i].val);
        }
    }
    return 0;
}

static int domtime(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_time_ret *ret = NULL;
    unsigned long long seconds = 0;
    int r;

    DOMAIN(a, d);
    if (arg_exclusive(a, "now", "sync") || arg_exclusive(a, "now", "pretty") ||
        arg_exclusive(a, "sync", "pretty") || arg_exclusive(a, "now", "time") ||
        arg_exclusive(a, "time", "sync") || (r = arg_ull(a, "time", &seconds)) < 0) {
        return -1;
    }
    if (r == 1 || arg_set(a, "now") || arg_set(a, "sync")) {
        int64_t when = arg_set(a, "now") ? (int64_t)time(NULL) : (int64_t)seconds;

        return vireo_domain_set_time(sh->conn, &d, when, 0, arg_set(a, "sync") ? 1 : 0) < 0
                   ? fail_last()
                   : 0;
    }
    if (vireo_domain_get_time(sh->conn, &d, 0, &ret) < 0) {
        return fail_last();
    }
    if (arg_set(a, "pretty")) {
        char text[64];
        time_t t = (time_t)ret->seconds;
        struct tm tm;

        (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", gmtime_r(&t, &tm));
        printf("Time: %s\n", text);
    } else {
        printf("Time: %" PRId64 "\n", ret->seconds);
    }
    return 0;
}

/* A parameter's value as text, owned. */
char *param_text(const struct vireo_param *p);
char *param_text(const struct vireo_param *p)
{
    switch (p->kind) {
    case VIREO_PARAM_INT:
        return str_format("%d", p->value.i);
    case VIREO_PARAM_UINT:
        return str_format("%u", p->value.ui);
    case VIREO_PARAM_LLONG:
        return str_format("%" PRId64, p->value.l);
    case VIREO_PARAM_ULLONG:
        return str_format("%" PRIu64, p->value.ul);
    case VIREO_PARAM_DOUBLE:
        return str_format("%f", p->value.d);
    case VIREO_PARAM_BOOLEAN:
        return strdup(p->value.b ? "yes" : "no");
    default:
        return strdup(p->value.s != NULL ? p->value.s : "");
    }
}

static int stats(struct shell *sh, struct args *a)
{
    static const struct flag groups[] = {
        { "state", 1 },      { "cpu-total", 2 },   { "balloon", 4 }, { "vcpu", 8 },
        { "interface", 16 }, { "block", 32 },      { "perf", 64 },   { "iothread", 128 },
        { "memory", 256 },   { "dirtyrate", 512 }, { "vm", 1024 },   { NULL, 0 }
    };
    static const struct flag flags[] = { { "list-active", 1 },     { "list-inactive", 2 },
                                         { "list-persistent", 4 }, { "list-transient", 8 },
                                         { "list-running", 16 },   { "list-paused", 32 },
                                         { "list-shutoff", 64 },   { "list-other", 128 },
                                         { "backing", 1u << 30 },  { "enforce", 1u << 31 },
                                         { "nowait", 1u << 29 },   { NULL, 0 } };
    AUTO_RET struct vireo_connect_get_all_domain_stats_ret *ret = NULL;
    struct vireo_domain list[VALUES_MAX];
    void *keep[VALUES_MAX] = { NULL };
    int r = 0;

    for (unsigned i = 0; r == 0 && i < a->n_rest; i++) {
        r = find_domain_named(a, a->rest[i], &list[i], &keep[i]);
    }
    if (r == 0 &&
        vireo_connect_get_all_domain_stats(sh->conn, list, a->n_rest, arg_flags(a, groups),
                                           arg_flags(a, flags), &ret) < 0) {
        r = fail_last();
    }
    for (unsigned i = 0; i < a->n_rest; i++) {
        vireo_free(keep[i]);
    }
    for (uint32_t i = 0; r == 0 && i < ret->n_retStats; i++) {
        printf("%sDomain: '%s'\n", i > 0 ? "\n" : "", ret->retStats[i].dom.name);
        for (uint32_t k = 0; k < ret->retStats[i].n_params; k++) {
            AUTO_FREE char *text = param_text(&ret->retStats[i].params[k]);

            printf("  %s=%s\n", ret->retStats[i].params[k].field, text != NULL ? text : "");
        }
    }
    return r;
}

/* ---- displays and consoles ---- */

static int ttyconsole(struct shell *sh, struct args *a)
{
    AUTO_DOC xmlDoc *doc = NULL;
    AUTO_FREE char *tty = NULL;

    DOMAIN(a, d);
    doc = document_of(sh, &d, 0);
    tty = doc != NULL ? element_get(xmlDocGetRootElement(doc), "devices/console/@tty") : NULL;
    if (tty != NULL) {
        printf("%s\n", tty);
    }
    return doc != NULL ? 0 : -1;
}

static int vncdisplay(struct shell *sh, struct args *a)
{
    AUTO_DOC xmlDoc *doc = NULL;
    xmlNode *devices, *g = NULL;

    DOMAIN(a, d);
    if (d.id < 0) {
        return error("Domain is not running");
    }
    doc = document_of(sh, &d, 0);
    devices = doc != NULL ? element_at(xmlDocGetRootElement(doc), "devices") : NULL;
    while ((g = element_next(devices, g, "graphics")) != NULL) {
        AUTO_FREE char *type = element_attr(g, "type"), *port = element_attr(g, "port"),
                       *listen = element_attr(g, "listen");

        if (type == NULL || !str_eq(type, "vnc") || port == NULL) {
            continue;
        }
        printf("%s:%ld\n", listen != NULL && !str_eq(listen, "0.0.0.0") ? listen : "",
               strtol(port, NULL, 10) - 5900);
        return 0;
    }
    return doc != NULL ? error("Failed to get VNC port. Is this domain using VNC?") : -1;
}

static int display(struct shell *sh, struct args *a)
{
    AUTO_DOC xmlDoc *doc = NULL;
    xmlNode *devices, *g = NULL;
    bool found = false;

    DOMAIN(a, d);
    if (d.id < 0) {
        return error("Domain is not running");
    }
    doc = document_of(sh, &d, arg_set(a, "include-password") ? 1 : 0);
    devices = doc != NULL ? element_at(xmlDocGetRootElement(doc), "devices") : NULL;
    while ((g = element_next(devices, g, "graphics")) != NULL) {
        AUTO_FREE char *type = element_attr(g, "type"), *port = element_attr(g, "port"),
                       *tls = element_attr(g, "tlsPort");
        AUTO_FREE char *listen = element_get(g, "listen/@address"),
                       *password = element_attr(g, "passwd"),
                       *socket = element_get(g, "listen/@socket");
        bool any = listen == NULL || str_eq(listen, "0.0.0.0") || str_eq(listen, "::");

        if (type == NULL || (arg(a, "type") != NULL && !str_eq(arg(a, "type"), type)) ||
            (port == NULL && socket == NULL)) {
            continue;
        }
        if (socket != NULL) {
            printf("%s+unix://%s", type, socket);
        } else {
            printf("%s://", type);
            if (password != NULL && arg_set(a, "include-password")) {
                printf(":%s@", password);
            }
            printf(strchr(any ? "" : listen, ':') != NULL ? "[%s]" : "%s",
                   any ? "localhost" : listen);
            printf(":%ld",
                   str_eq(type, "vnc") ? strtol(port, NULL, 10) - 5900 : strtol(port, NULL, 10));
            if (tls != NULL) {
                printf("?tls-port=%s", tls);
            }
        }
        found = true;
        if (arg_set(a, "all")) {
            printf("\n");
        } else {
            break;
        }
    }
    if (doc != NULL && !found && arg(a, "type") != NULL) {
        return error("No graphical display with type '%s' found", arg(a, "type"));
    }
    return doc == NULL ? -1 : found ? 0 : error("No graphical display found");
}

const struct shell_command monitor_commands[] = {
    { "domblkerror", "domain!", blkerror, "show disks with errors", false },
    { "domblkinfo", "domain! device --human --all", blkinfo, "show the sizes of a disk", false },
    { "domblklist", "domain! --inactive --details", blklist, "list a domain's disks", false },
    { "domblkstat", "domain! device --human", blkstat, "show a disk's statistics", false },
    { "domcontrol", "domain!", control, "show the state of a domain's control interface", false },
    { "domif-getlink", "domain! interface! --config", getlink,
      "show the link state of a network interface", false },
    { "domifaddr", "domain! interface --full source", ifaddr, "show the guest's addresses", false },
    { "domiflist", "domain! --inactive", iflist, "list a domain's network interfaces", false },
    { "domifstat", "domain! interface!", ifstat, "show a network interface's statistics", false },
    { "dominfo", "domain!", info, "show a domain's main facts", false },
    { "dommemstat", "domain! period# --config --live --current", memstat,
      "show a domain's memory statistics", false },
    { "domstate", "domain! --reason", state, "show a domain's state", false },
    { "domstats",
      "--state --cpu-total --balloon --vcpu --interface --block --perf --iothread --memory --dirtyrate --vm --list-active --list-inactive --list-persistent --list-transient --list-running --list-paused --list-shutoff --list-other --raw --enforce --backing --nowait domain*",
      stats, "show statistics of one, some or all domains", false },
    { "domtime", "domain! --now --pretty --sync time#", domtime, "show or set the guest's time",
      false },
    { "list",
      "--inactive --all --transient --persistent --with-snapshot --without-snapshot --with-checkpoint --without-checkpoint --state-running --state-paused --state-shutoff --state-other --autostart --no-autostart --with-managed-save --without-managed-save --uuid --name --id --table --managed-save --title",
      list, "list domains", false },
    { NULL, NULL, NULL, NULL, false },
};

const struct shell_command facts_commands[] = {
    { "domdisplay", "domain! --include-password type --all", display,
      "show the URI of a domain's display", false },
    { "domid", "domain!", id, "show a domain's id", false },
    { "domname", "domain!", name, "show a domain's name", false },
    { "domuuid", "domain!", uuid, "show a domain's UUID", false },
    { "ttyconsole", "domain!", ttyconsole, "show the terminal of a domain's console", false },
    { "vncdisplay", "domain!", vncdisplay, "show a domain's VNC display", false },
    { NULL, NULL, NULL, NULL, false },
};
