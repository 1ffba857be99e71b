/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cli/build.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/str.h"
#include "block/core/block.h"
#include "os/fd.h"
#include "vmm/accel/cpuid.h"
#include "vmm/char/chardev.h"
#include "vmm/cli/config.h"
#include "vmm/cli/drive.h"
#include "vmm/dev/device.h"
#include "vmm/dev/misc/fw_cfg.h"
#include "vmm/machine/class.h"
#include "vmm/machine/fsdev.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/object.h"
#include "vmm/net/netdev.h"
#include "vmm/qmp/job.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MAX_FW_CFG_FILE = 16 << 20 };

/* The machine's properties are set on the board; accel= was taken by the parser. */
static int make_board(struct machine *m, struct config *c, struct err **err)
{
    const char *type = keyval_get(c->machine, "type");
    int r;

    m->cls = type != NULL ? machine_class_find(type) : machine_classes[0];
    if (m->cls == NULL) {
        return err_set(err, EINVAL, "-machine: '%s' is no machine of ours: see -machine help",
                       type);
    }
    if (c->n_cpus > m->cls->max_cpus) {
        return err_set(err, EINVAL, "-smp %u: machine '%s' has at most %u CPUs", c->n_cpus,
                       m->cls->name, m->cls->max_cpus);
    }
    m->type_name =
        type != NULL && !str_eq(type, "pc") && !str_eq(type, "q35") ? strdup(type) : NULL;
    m->board = calloc(1, m->cls->board_size);
    if (m->board == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    r = opt_defaults(m->cls->opts, m->board, err);
    for (size_t i = 0; r == 0 && i < c->machine->n; i++) {
        const struct keyval_pair *p = &c->machine->pairs[i];

        if (!str_eq(p->key, "type") && !str_eq(p->key, "accel")) {
            r = opt_set(m->cls->opts, m->board, p->key, p->value, err);
            if (r < 0) {
                err_prefix(err, "-machine %s: ", m->cls->name);
            }
        }
    }
    return r;
}

static int parse_uuid(struct machine *m, const char *text, struct err **err)
{
    unsigned n = 0;

    for (const char *p = text; *p != '\0' && n < 32; p++) {
        const char *digits = "0123456789abcdef";
        const char *d;

        if (*p == '-') {
            continue;
        }
        d = strchr(digits, *p >= 'A' && *p <= 'F' ? *p + 32 : *p);
        if (d == NULL) {
            break;
        }
        m->uuid[n / 2] = (uint8_t)(m->uuid[n / 2] << 4 | (d - digits));
        n++;
    }
    if (n != 32 || strlen(text) != 36) {
        return err_set(err, EINVAL, "-uuid: '%s' is no UUID", text);
    }
    m->has_uuid = true;
    return 0;
}

static int parse_rtc(struct machine *m, const char *base, struct err **err)
{
    time_t now = time(NULL);
    struct tm tm = { .tm_isdst = -1 };

    if (base == NULL || str_eq(base, "utc")) {
        return 0;
    }
    if (str_eq(base, "localtime")) {
        if (localtime_r(&now, &tm) != NULL) {
            m->rtc_offset_usec = (int64_t)tm.tm_gmtoff * 1000000;
        }
        return 0;
    }
    if (strptime(base, "%Y-%m-%dT%H:%M:%S", &tm) == NULL &&
        strptime(base, "%Y-%m-%d", &tm) == NULL) {
        return err_set(err, EINVAL, "-rtc: base=%s is neither utc nor localtime nor a date", base);
    }
    m->rtc_offset_usec = (timegm(&tm) - now) * INT64_C(1000000);
    return 0;
}

static int make_cpus(struct machine *m, const struct config *c, struct err **err)
{
    m->vcpus = calloc(m->n_vcpus, sizeof(*m->vcpus));
    if (m->vcpus == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    for (unsigned i = 0; i < m->n_vcpus; i++) {
        int r = vcpu_init(&m->vcpus[i], m, i, err);

        if (r < 0) {
            return r;
        }
    }
    (void)c;
    return 0;
}

static int give_memory(struct machine *m, struct err **err)
{
    for (unsigned i = 0; i < m->mem.n; i++) {
        const struct gmem_region *g = &m->mem.regions[i];
        int r = accel_set_memory(m->accel, i, g->gpa, g->size, g->host, g->rom, err);

        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* ---- back ends ---- */

/* A network card, and its back end when it is not given by netdev=. */
static int add_nic(struct machine *m, struct keyval *opts, size_t n, struct err **err)
{
    AUTO_FREE char *id = str_format("nic%zu", n);
    AUTO_FREE char *text = NULL;
    const char *mac = keyval_get(opts, "mac");
    const char *mac2 = keyval_get(opts, "macaddr");
    const char *model = keyval_get(opts, "model");
    int r = id != NULL ? keyval_add(opts, "id", id) : -ENOMEM;

    if (model == NULL) {
        model = m->cls->default_nic != NULL ? m->cls->default_nic : "virtio-net";
    } else if (str_eq(model, "virtio")) {
        model = "virtio-net";
    }
    if (mac == NULL) {
        mac = mac2;
    }
    if (device_class_for(m, model) == NULL) {
        return err_set(err, EINVAL, "model=%s is no network card of ours: see -device help", model);
    }
    if (r == 0) {
        r = netdev_add(m, opts, err);
    }
    text = str_format("%s,netdev=%s%s%s", model, id, mac != NULL ? ",mac=" : "",
                      mac != NULL ? mac : "");
    return r == 0 ? device_create_text(m, text, NULL, err) : r;
}

static int add_device(struct machine *m, struct keyval *opts, struct err **err)
{
    const char *driver = keyval_get(opts, "driver");
    const struct device_class *cls = driver != NULL ? device_class_for(m, driver) : NULL;
    const char *nearest = NULL;
    unsigned best = 6;

    if (cls != NULL && !cls->internal) {
        int r = device_create(m, cls, opts, NULL, err);

        if (r < 0) {
            err_prefix(err, "-device: ");
        }
        return r;
    }
    for (const struct device_class *const *c = device_classes; driver != NULL && *c != NULL; c++) {
        unsigned d = str_distance((*c)->name, driver);

        if (!(*c)->internal && d < best) {
            best = d;
            nearest = (*c)->name;
        }
    }
    return nearest != NULL
               ? err_set(err, ENODEV, "-device: '%s' is no device of ours: did you mean '%s'?",
                         driver, nearest)
               : err_set(err, ENODEV, "-device: '%s' is no device of ours: see -device help",
                         driver != NULL ? driver : "");
}

/* -virtfs: the folder and its device in one; the folder's id is the mount tag, as QEMU's. */
static int add_virtfs(struct machine *m, struct keyval *opts, struct err **err)
{
    const char *tag = keyval_get(opts, "mount_tag");
    CLEANUP(keyval_freep) struct keyval *dev = NULL;
    int r;

    if (tag == NULL) {
        return err_set(err, EINVAL, "mount_tag= is missing");
    }
    r = keyval_get(opts, "id") == NULL ? keyval_add(opts, "id", tag) : 0;
    if (r == 0) {
        r = fsdev_add(m, opts, err);
    }
    if (r == 0) {
        r = keyval_parse("virtio-9p", "driver", false, &dev, err);
    }
    if (r == 0) {
        r = keyval_add(dev, "fsdev", keyval_get(opts, "id"));
    }
    if (r == 0) {
        r = keyval_add(dev, "mount_tag", tag);
    }
    return r == 0 ? add_device(m, dev, err) : r;
}

static int add_fw_cfg(struct machine *m, struct keyval *opts, struct err **err)
{
    const char *name = keyval_get(opts, "name");
    const char *string = keyval_get(opts, "string");
    const char *file = keyval_get(opts, "file");
    AUTO_FREE char *data = NULL;
    size_t len = 0;
    int r = 0;

    if (name == NULL || (string == NULL) == (file == NULL)) {
        return err_set(err, EINVAL, "-fw_cfg: name= and one of string= and file= are needed");
    }
    if (file != NULL) {
        r = file_slurp(file, MAX_FW_CFG_FILE, &data, &len);
        if (r < 0) {
            return err_set(err, -r, "-fw_cfg: cannot read '%s': %s", file, strerror(-r));
        }
    }
    LIST_FOREACH (&m->devices, it) {
        struct device *dev = CONTAINER_OF(it, struct device, link);

        if (str_eq(dev->cls->name, "fw_cfg_io")) {
            return fw_cfg_add_file(dev, name, file != NULL ? data : string,
                                   (uint32_t)(file != NULL ? len : strlen(string)), err);
        }
    }
    return err_set(err, ENODEV, "-fw_cfg: this machine has none");
}

/* ---- serial ports ---- */

static int add_serials(struct machine *m, const struct config *c, struct err **err)
{
    size_t n = c->serials.n;
    const char *dflt = NULL;
    int r = 0;

    /* As QEMU: -nographic puts the first port on the terminal. */
    if (n == 0 && !c->nodefaults && c->display == DISPLAY_NOGRAPHIC) {
        dflt = "mon:stdio";
    }
    for (size_t i = 0; r == 0 && i < (dflt != NULL ? 1 : n); i++) {
        const char *text = dflt != NULL ? dflt : c->serials.items[i];
        AUTO_FREE char *id = str_format("serial%zu", i);
        struct chardev *chr = NULL;

        r = id != NULL ? chardev_add_short(m, text, id, &chr, err) : -ENOMEM;
        if (r < 0) {
            err_prefix(err, "-serial: ");
        } else if (!str_eq(text, "none")) {
            r = m->cls->add_serial(m, (unsigned)i, chr->id, err);
        }
    }
    if (r == 0 && n == 0 && dflt == NULL && !c->nodefaults) {
        r = m->cls->add_serial(m, 0, NULL, err);
    }
    return r;
}

static int add_backends(struct machine *m, struct block_ctx *blocks, struct config *c,
                        struct err **err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->lists[LIST_OBJECT].n; i++) {
        r = object_add(m, c->lists[LIST_OBJECT].items[i], err);
        if (r < 0) {
            err_prefix(err, "-object: ");
        }
    }
    for (size_t i = 0; r == 0 && i < c->lists[LIST_CHARDEV].n; i++) {
        r = chardev_add(m, c->lists[LIST_CHARDEV].items[i], NULL, err);
    }
    for (size_t i = 0; r == 0 && i < c->lists[LIST_BLOCKDEV].n; i++) {
        r = blockdev_add(m, blocks, c->lists[LIST_BLOCKDEV].items[i], err);
        if (r < 0) {
            err_prefix(err, "-blockdev: ");
        }
    }
    for (size_t i = 0; r == 0 && i < c->lists[LIST_NETDEV].n; i++) {
        r = netdev_add(m, c->lists[LIST_NETDEV].items[i], err);
    }
    for (size_t i = 0; r == 0 && i < c->lists[LIST_FSDEV].n; i++) {
        r = fsdev_add(m, c->lists[LIST_FSDEV].items[i], err);
        if (r < 0) {
            err_prefix(err, "-fsdev: ");
        }
    }
    return r;
}

static bool device_given(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->lists[LIST_DEVICE].n; i++) {
        const char *driver = keyval_get(c->lists[LIST_DEVICE].items[i], "driver");

        if (driver != NULL && str_eq(driver, name)) {
            return true;
        }
    }
    return false;
}

/* What a machine has without being asked, as QEMU's: graphics, a network card, a CD-ROM drive. */
static int add_graphics(struct machine *m, const struct config *c, struct err **err)
{
    const char *kind = c->vga;

    if (m->cls->default_vga == NULL) {
        return kind == NULL || str_eq(kind, "none")
                   ? 0
                   : err_set(err, EINVAL, "-vga %s: machine '%s' has no graphics", kind,
                             m->cls->name);
    }
    if (kind == NULL) {
        if (c->nodefaults || device_given(c, "VGA") || device_given(c, "virtio-vga")) {
            return 0;
        }
        kind = "std";
    }
    return str_eq(kind, "none")
               ? 0
               : device_create_text(m, str_eq(kind, "virtio") ? "virtio-vga" : m->cls->default_vga,
                                    NULL, err);
}

static int add_default_devices(struct machine *m, const struct config *c, struct err **err)
{
    int r = 0;

    if (c->nodefaults) {
        return 0;
    }
    if (m->cls->default_nic != NULL && !c->no_nic && c->lists[LIST_NIC].n == 0 &&
        c->lists[LIST_NETDEV].n == 0) {
        CLEANUP(keyval_freep) struct keyval *kv = NULL;

        r = keyval_parse("user", "type", false, &kv, err);
        if (r == 0) {
            r = add_nic(m, kv, 0, err);
        }
    }
    if (r == 0 && m->cls->disk_interface != NULL) {
        /* The second channel's first place, when it is free. */
        CLEANUP(err_freep) struct err *taken = NULL;

        if (!device_given(c, "ide-cd") && !device_given(c, "scsi-cd")) {
            (void)!device_create_text(m,
                                      m->cls->alias != NULL && str_eq(m->cls->alias, "pc")
                                          ? "ide-cd,bus=ide.1,unit=0"
                                          : "ide-cd,bus=ide.2",
                                      NULL, &taken);
        }
    }
    return r;
}

static int add_devices(struct machine *m, struct block_ctx *blocks, struct config *c,
                       struct err **err)
{
    int r = add_serials(m, c, err);

    if (r == 0) {
        r = add_graphics(m, c, err);
    }

    for (size_t i = 0; r == 0 && i < c->lists[LIST_FW_CFG].n; i++) {
        r = add_fw_cfg(m, c->lists[LIST_FW_CFG].items[i], err);
    }
    for (size_t i = 0; r == 0 && i < c->lists[LIST_DRIVE].n; i++) {
        r = drive_add(m, blocks, c->lists[LIST_DRIVE].items[i], i, err);
        if (r < 0) {
            err_prefix(err, "-drive: ");
        }
    }
    for (size_t i = 0; r == 0 && i < c->lists[LIST_NIC].n; i++) {
        r = add_nic(m, c->lists[LIST_NIC].items[i], i, err);
    }
    for (size_t i = 0; r == 0 && i < c->lists[LIST_VIRTFS].n; i++) {
        r = add_virtfs(m, c->lists[LIST_VIRTFS].items[i], err);
        if (r < 0) {
            err_prefix(err, "-virtfs: ");
        }
    }
    for (size_t i = 0; r == 0 && i < c->lists[LIST_DEVICE].n; i++) {
        r = add_device(m, c->lists[LIST_DEVICE].items[i], err);
    }
    return r == 0 ? add_default_devices(m, c, err) : r;
}

static int open_one_accel(struct machine *m, const char *name, bool quiet, struct err **err)
{
    const struct accel_provider *p;
    AUTO_FREE char *why = NULL;
    int r = accel_choose(name, &p, &why, err);

    if (r < 0) {
        return r;
    }
    r = accel_open(p, &m->accel, err);
    if (r == 0 && why != NULL && !quiet) {
        log_note("%s", why);
    }
    return r;
}

/* -accel and accel= may name several, joined by colons: the first that works is taken. */
static int open_accel(struct machine *m, const struct config *c, struct err **err)
{
    int r = 0;

    if (c->accel == NULL) {
        return open_one_accel(m, NULL, c->quiet, err);
    }
    for (const char *p = c->accel; *p != '\0';) {
        size_t len = strcspn(p, ":");
        AUTO_FREE char *name = strndup(p, len);
        CLEANUP(err_freep) struct err *why_not = NULL;

        if (name == NULL) {
            return err_set(err, ENOMEM, "no memory");
        }
        r = open_one_accel(m, name, c->quiet, p[len] == '\0' ? err : &why_not);
        if (r == 0) {
            return 0;
        }
        p += len + (p[len] == ':');
    }
    return r;
}

int machine_build(struct config *c, struct loop *loop, struct machine **ret,
                  struct block_ctx **ret_blocks, struct err **err)
{
    const struct board_config board = {
        .kernel = c->kernel,
        .initrd = c->initrd,
        .append = c->append,
        .bios = c->bios,
        .boot =
            c->lists[LIST_BOOT].n > 0 ? c->lists[LIST_BOOT].items[c->lists[LIST_BOOT].n - 1] : NULL,
        .smbios = c->lists[LIST_SMBIOS].items,
        .n_smbios = c->lists[LIST_SMBIOS].n,
        .numa = c->lists[LIST_NUMA].items,
        .n_numa = c->lists[LIST_NUMA].n,
        .sockets = c->sockets,
        .cores = c->cores,
        .threads = c->threads,
        .cpu = c->cpu,
        .nographic = c->display == DISPLAY_NOGRAPHIC,
    };
    struct machine *m = NULL;
    int r;

    if (c->kernel == NULL && (c->initrd != NULL || c->append != NULL)) {
        return err_set(err, EINVAL, "-initrd and -append need -kernel");
    }
    r = machine_new(loop, &m, err);
    if (r < 0) {
        return r;
    }
    *ret = m; /* the caller tears down what there is, also after an error */
    m->no_reboot = c->no_reboot;
    m->no_shutdown = c->no_shutdown;
    m->snapshot_mode = c->snapshot;
    m->watchdog_action = c->watchdog_action;
    m->panic_action = c->panic_action;
    m->name = c->name != NULL ? strdup(c->name) : NULL;
    m->ram_bytes = c->memory;
    for (size_t i = 0; i < c->data_dirs.n && i < MACHINE_MAX_DATA_DIRS; i++) {
        m->data_dirs[m->n_data_dirs++] = strdup(c->data_dirs.items[i]);
    }
    r = block_ctx_new(loop, ret_blocks, err);
    m->block_ctx = *ret_blocks;
    if (r == 0) {
        r = make_board(m, c, err);
    }
    if (r == 0 && c->uuid != NULL) {
        r = parse_uuid(m, c->uuid, err);
    }
    if (r == 0) {
        r = parse_rtc(m, c->rtc_base, err);
    }
    if (r == 0) {
        r = cpu_model_parse(c->cpu != NULL ? c->cpu : m->cls->default_cpu, c->n_cpus, &m->cpu, err);
        if (r < 0) {
            err_prefix(err, "-cpu: ");
        }
    }
    if (r == 0) {
        r = open_accel(m, c, err);
    }
    m->n_vcpus = r == 0 && !m->cls->no_cpus ? c->n_cpus : 0;
    if (r == 0) {
        r = m->cls->init(m, err);
    }
    if (r == 0 && m->n_vcpus > 0) {
        r = make_cpus(m, c, err);
    }
    if (r == 0) {
        r = add_backends(m, *ret_blocks, c, err);
    }
    if (r == 0) {
        r = add_devices(m, *ret_blocks, c, err);
    }
    if (r == 0) {
        r = m->cls->finish(m, &board, err);
    }
    if (r == 0) {
        r = give_memory(m, err);
    }
    return r == 0 ? machine_reset(m, CAUSE_NONE, err) : r;
}

static int unref_node(const char *key, void *value, void *arg)
{
    (void)key;
    (void)arg;
    (void)block_unref(value);
    return 0;
}

void machine_tear_down(struct machine *m, struct block_ctx *blocks)
{
    if (m == NULL) {
        (void)block_ctx_free(blocks);
        return;
    }
    qmp_jobs_free(m);
    qmp_nbd_free(m);
    machine_free_devices(m);
    (void)hash_each(m->blocks, unref_node, NULL);
    (void)block_ctx_free(blocks);
    netdev_free_all(m);
    fsdev_free_all(m);
    chardev_free_all(m);
    (void)machine_free(m);
}
