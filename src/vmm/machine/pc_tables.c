/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pc_tables.c - what firmware and guest read about the machine: CMOS, fw_cfg, ACPI, SMBIOS. */
#include "base/bytes.h"
#include "base/str.h"
#include "codec/keyval.h"
#include "vmm/bus/pci/pci.h"
#include "vmm/dev/device.h"
#include "vmm/dev/misc/fw_cfg.h"
#include "vmm/dev/timer/mc146818.h"
#include "vmm/fw/acpi_pc.h"
#include "vmm/fw/smbios.h"
#include "vmm/machine/pc.h"

#include <errno.h>
#include <stdio.h>

#define FOUR_GIB  0x100000000ull
#define PCI64_END 0x8000000000ull

static const struct device *find_class(struct machine *m, const char *name, unsigned nth)
{
    LIST_FOREACH (&m->devices, it) {
        const struct device *dev = CONTAINER_OF(it, struct device, link);

        if (str_eq(dev->cls->name, name) && nth-- == 0) {
            return dev;
        }
    }
    return NULL;
}

/* ---- CMOS ---- */

static uint8_t boot_code(char c)
{
    return c == 'a' ? 1 : c == 'c' ? 2 : c == 'd' ? 3 : c == 'n' ? 4 : 0;
}

static void set_word(struct device *rtc, unsigned low, unsigned high, uint64_t v)
{
    rtc_set_nvram(rtc, low, (uint8_t)v);
    rtc_set_nvram(rtc, high, (uint8_t)(v >> 8));
}

static int fill_cmos(struct machine *m, const struct board_config *config, struct err **err)
{
    struct pc *pc = m->board;
    const char *order = config->boot != NULL ? keyval_get(config->boot, "order") : NULL;
    uint8_t codes[3] = { 0 };

    if (order == NULL && config->boot != NULL) {
        order = keyval_get(config->boot, "once");
    }
    if (order == NULL) {
        order = "cad";
    }
    for (size_t i = 0; order[i] != '\0'; i++) {
        uint8_t code = boot_code(order[i]);

        if (code == 0 && order[i] != 'b' && (order[i] < 'n' || order[i] > 'p')) {
            return err_set(err, EINVAL, "-boot: order=%s: letters are a, c, d and n", order);
        }
        if (i < 3) {
            codes[i] = code;
        }
    }
    set_word(pc->rtc, 0x15, 0x16, 640);
    set_word(pc->rtc, 0x17, 0x18, min_u64((pc->ram_low - (1 << 20)) >> 10, 0xffff));
    set_word(pc->rtc, 0x30, 0x31, min_u64((pc->ram_low - (1 << 20)) >> 10, 0xffff));
    set_word(pc->rtc, 0x34, 0x35,
             pc->ram_low > 16 << 20 ? min_u64((pc->ram_low - (16 << 20)) >> 16, 0xffff) : 0);
    rtc_set_nvram(pc->rtc, 0x5b, (uint8_t)(pc->ram_high >> 16));
    rtc_set_nvram(pc->rtc, 0x5c, (uint8_t)(pc->ram_high >> 24));
    rtc_set_nvram(pc->rtc, 0x5d, (uint8_t)(pc->ram_high >> 32));
    rtc_set_nvram(pc->rtc, 0x5f, (uint8_t)(m->n_vcpus - 1));
    rtc_set_nvram(pc->rtc, 0x3d, (uint8_t)(codes[0] | codes[1] << 4));
    rtc_set_nvram(pc->rtc, 0x38, (uint8_t)(codes[2] << 4 | 1)); /* no floppy signature check */
    rtc_set_nvram(pc->rtc, 0x14, 0x06);                         /* FPU, mouse */
    return 0;
}

/* ---- boot order ---- */

struct candidate {
    int64_t index;
    const struct device *dev;
};

static void device_path(const struct device *dev, struct strbuf *out)
{
    char own[128] = "";
    const struct device *parent =
        dev->cls->boot_parent != NULL ? dev->cls->boot_parent(dev) : NULL;
    const struct pci_bus *bus = NULL;
    unsigned bridges[8];
    unsigned n = 0;

    strbuf_puts(out, "/pci@i0cf8/");
    if (dev->cls->pci != NULL || parent != NULL) {
        bus = ((const struct pci_dev *)(parent != NULL ? parent : dev))->bus;
    }
    for (; bus != NULL && bus->bridge != NULL && n < 8; bus = bus->bridge->bus) {
        bridges[n++] = bus->bridge->devfn;
    }
    while (n-- > 0) {
        strbuf_printf(out, (bridges[n] & 7) != 0 ? "pci-bridge@%x,%x/" : "pci-bridge@%x/",
                      bridges[n] >> 3, bridges[n] & 7);
    }
    if (parent != NULL) {
        unsigned devfn = ((const struct pci_dev *)parent)->devfn;
        const char *kind = ((const struct pci_dev *)parent)->config[PCI_CLASS + 1] == 0x0c ? "usb"
                                                                                           : "scsi";

        strbuf_printf(out, (devfn & 7) != 0 ? "%s@%x,%x/" : "%s@%x/", kind, devfn >> 3, devfn & 7);
    }
    dev->cls->boot_path(dev, own, sizeof(own));
    strbuf_puts(out, own);
}

static int compare(const void *a, const void *b)
{
    const struct candidate *x = a;
    const struct candidate *y = b;

    return x->index < y->index ? -1 : x->index > y->index;
}

int pc_add_boot_order(struct machine *m, const struct board_config *config, struct err **err)
{
    struct pc *pc = m->board;
    struct candidate list[64];
    unsigned n = 0;
    struct strbuf text = STRBUF_INIT(65536);
    const char *strict = config->boot != NULL ? keyval_get(config->boot, "strict") : NULL;
    bool is_strict = false;
    bool any = config->kernel != NULL;
    int r;

    if (strict != NULL && str_to_bool(strict, &is_strict) < 0) {
        return err_set(err, EINVAL, "-boot: strict=%s: use on or off", strict);
    }
    if (config->kernel != NULL) {
        strbuf_puts(&text, "/rom@genroms/linuxboot.bin\n");
    }
    LIST_FOREACH (&m->devices, it) {
        const struct device *dev = CONTAINER_OF(it, struct device, link);

        if (dev->bootindex >= 0 && n < sizeof(list) / sizeof(list[0])) {
            list[n++] = (struct candidate) { dev->bootindex, dev };
        }
    }
    qsort(list, n, sizeof(list[0]), compare);
    for (unsigned i = 0; i < n; i++) {
        if (i > 0 && list[i].index == list[i - 1].index) {
            strbuf_done(&text);
            return err_set(err, EINVAL, "bootindex=%lld is given to two devices",
                           (long long)list[i].index);
        }
        device_path(list[i].dev, &text);
        strbuf_puts(&text, "\n");
        any = true;
    }
    if (is_strict) {
        strbuf_puts(&text, "HALT\n");
        any = true;
    }
    if (any && text.len > 0) {
        /* The last line ends with a zero byte. */
        AUTO_FREE char *s = strbuf_take(&text);
        size_t len = s != NULL ? strlen(s) : 0;

        if (len == 0) {
            return err_set(err, ENOMEM, "no memory");
        }
        s[len - 1] = '\0';
        r = fw_cfg_add_file(pc->fw_cfg, "bootorder", s, (uint32_t)len, err);
    } else {
        strbuf_done(&text);
        r = 0;
    }
    return r;
}

/* ---- fw_cfg ---- */

static void e820_put(uint8_t *p, uint64_t addr, uint64_t len, uint32_t type)
{
    le64_put(p, addr);
    le64_put(p + 8, len);
    le32_put(p + 16, type);
}

static int fill_fw_cfg(struct machine *m, const struct board_config *config, struct err **err)
{
    struct pc *pc = m->board;
    struct device *fw = pc->fw_cfg;
    uint8_t e820[3 * 20];
    unsigned n = 0;
    /* Sleep states: S3, S4 and their values. */
    uint8_t states[6] = { 128, 0, 0, 129, 128, 128 };
    const char *menu = config->boot != NULL ? keyval_get(config->boot, "menu") : NULL;
    const char *splash_time = config->boot != NULL ? keyval_get(config->boot, "splash-time") : NULL;
    const char *reboot = config->boot != NULL ? keyval_get(config->boot, "reboot-timeout") : NULL;
    bool menu_on = false;
    uint64_t v;
    uint64_t numa[2] = { 0 };
    int r;

    if (menu != NULL && str_to_bool(menu, &menu_on) < 0) {
        return err_set(err, EINVAL, "-boot: menu=%s: use on or off", menu);
    }
    e820_put(e820 + n++ * 20, 0, pc->ram_low, 1);
    if (pc->ram_high > 0) {
        e820_put(e820 + n++ * 20, FOUR_GIB, pc->ram_high, 1);
    }
    r = fw_cfg_add_u64(fw, FW_CFG_RAM_SIZE, m->ram_bytes, err);
    if (r == 0) {
        r = fw_cfg_add_u16(fw, FW_CFG_NB_CPUS, (uint16_t)m->n_vcpus, err);
    }
    if (r == 0) {
        r = fw_cfg_add_u16(fw, FW_CFG_MAX_CPUS, (uint16_t)m->n_vcpus, err);
    }
    if (r == 0) {
        r = fw_cfg_add_u16(fw, FW_CFG_NOGRAPHIC, config->nographic, err);
    }
    if (r == 0) {
        r = fw_cfg_add_u16(fw, FW_CFG_BOOT_MENU, menu_on, err);
    }
    if (r == 0) {
        r = fw_cfg_add_u32(fw, FW_CFG_IRQ0_OVERRIDE, 1, err);
    }
    if (r == 0) {
        r = fw_cfg_add(fw, FW_CFG_UUID, m->uuid, sizeof(m->uuid), err);
    }
    if (r == 0) {
        r = fw_cfg_add(fw, FW_CFG_NUMA, numa, 8, err);
    }
    if (r == 0) {
        r = fw_cfg_add_file(fw, "etc/e820", e820, n * 20, err);
    }
    if (r == 0) {
        r = fw_cfg_add_file(fw, "etc/system-states", states, sizeof(states), err);
    }
    if (r == 0 && splash_time != NULL) {
        uint8_t le[2];

        if (str_to_u64(splash_time, 0, &v) < 0 || v > 0xffff) {
            return err_set(err, EINVAL, "-boot: splash-time=%s: 0 to 65535", splash_time);
        }
        le16_put(le, (uint16_t)v);
        r = fw_cfg_add_file(fw, "etc/boot-menu-wait", le, sizeof(le), err);
    }
    if (r == 0 && reboot != NULL) {
        uint8_t le[4];
        int64_t wait;

        if (str_to_i64(reboot, 0, &wait) < 0 || wait < -1 || wait > 0xffff) {
            return err_set(err, EINVAL, "-boot: reboot-timeout=%s: -1 to 65535", reboot);
        }
        le32_put(le, (uint32_t)wait);
        r = fw_cfg_add_file(fw, "etc/boot-fail-wait", le, sizeof(le), err);
    }
    return r;
}

/* ---- NUMA ---- */

static int parse_numa(struct acpi_pc_config *c, const struct board_config *config, uint64_t ram,
                      struct err **err)
{
    uint64_t given = 0;

    for (size_t i = 0; i < config->n_numa; i++) {
        struct keyval *kv = config->numa[i];
        const char *type = keyval_get(kv, "type");
        const char *cpus = keyval_get(kv, "cpus");
        unsigned long long id;
        unsigned long long bytes;
        unsigned first;
        unsigned last;
        int r = keyval_get_u64(kv, "nodeid", c->n_nodes, &id, err);

        if (type != NULL && str_eq(type, "dist")) {
            continue;
        }
        if (r == 0) {
            r = keyval_get_size(kv, "mem", 0, &bytes, err);
        }
        if (r < 0) {
            return r;
        }
        /* A size without a suffix is in MiB. */
        if (keyval_get(kv, "mem") != NULL && bytes < 1 << 20) {
            bytes <<= 20;
        }
        (void)keyval_get(kv, "memdev");
        if (id >= ACPI_PC_MAX_NODES || id != c->n_nodes) {
            return err_set(err, EINVAL, "-numa: nodeid=%llu: nodes are given in order, at most %d",
                           id, ACPI_PC_MAX_NODES);
        }
        c->nodes[id].bytes = bytes;
        given += bytes;
        if (cpus != NULL) {
            int n = sscanf(cpus, "%u-%u", &first, &last);

            if (n < 1 || first > 63 || (n == 2 && (last > 63 || last < first))) {
                return err_set(err, EINVAL, "-numa: cpus=%s: use N or FIRST-LAST", cpus);
            }
            for (unsigned cpu = first; cpu <= (n == 2 ? last : first); cpu++) {
                c->nodes[id].cpus |= 1ull << cpu;
            }
        }
        c->n_nodes++;
    }
    if (c->n_nodes > 0 && given == 0) {
        for (unsigned i = 0; i < c->n_nodes; i++) {
            c->nodes[i].bytes = ram / c->n_nodes;
        }
        c->nodes[c->n_nodes - 1].bytes += ram % c->n_nodes;
    } else if (c->n_nodes > 0 && given != ram) {
        return err_set(err, EINVAL, "-numa: the nodes have %llu MiB together, the machine %llu",
                       (unsigned long long)given >> 20, (unsigned long long)ram >> 20);
    }
    return 0;
}

/* ---- ACPI and SMBIOS ---- */

static int add_acpi(struct machine *m, const struct board_config *config, struct err **err)
{
    struct pc *pc = m->board;
    struct acpi_loader l;
    struct acpi_pc_config c = {
        .q35 = pc->q35,
        .has_hpet = pc->hpet,
        .has_i8042 = pc->i8042,
        .has_pvpanic = find_class(m, "pvpanic", 0) != NULL,
        .has_vmgenid = find_class(m, "vmgenid", 0) != NULL,
        .has_fw_cfg = true,
        .has_parallel = find_class(m, "isa-parallel", 0) != NULL,
        .s3 = m->s3_off == false,
        .s4 = m->s4_off == false,
        .n_cpus = m->n_vcpus,
        .max_cpus = m->n_vcpus,
        .ram_low = pc->ram_low,
        .ram_high = pc->ram_high,
        .pci_hole = pc->q35 ? max_u64(pc->ram_low, 0xc0000000u) : pc->ram_low,
        .pci64_base = round_up_u64(FOUR_GIB + pc->ram_high, 1ull << 30),
        .pci64_end = PCI64_END,
    };
    int r = parse_numa(&c, config, m->ram_bytes, err);

    for (unsigned i = 0; i < 4; i++) {
        c.has_serial[i] = find_class(m, "isa-serial", i) != NULL;
    }
    if (r == 0) {
        r = acpi_loader_init(&l, err);
    }
    if (r < 0) {
        return r;
    }
    r = acpi_pc_build(&l, &c, err);
    if (r == 0) {
        r = fw_cfg_add_file(pc->fw_cfg, LOADER_TABLES, l.tables, (uint32_t)l.len, err);
    }
    if (r == 0) {
        r = fw_cfg_add_file(pc->fw_cfg, LOADER_RSDP, l.rsdp, sizeof(l.rsdp), err);
    }
    if (r == 0) {
        r = fw_cfg_add_file(pc->fw_cfg, "etc/table-loader", l.script, l.n * LOADER_COMMAND_BYTES,
                            err);
    }
    acpi_loader_done(&l);
    return r;
}

static int add_smbios(struct machine *m, const struct board_config *config, struct err **err)
{
    struct pc *pc = m->board;
    struct smbios_config c = {
        .options = config->smbios,
        .n_options = config->n_smbios,
        .product = m->cls->desc,
        .version = m->type_name != NULL ? m->type_name : m->cls->name,
        .uuid = m->has_uuid ? m->uuid : NULL,
        .cpu = config->cpu,
        .n_cpus = m->n_vcpus,
        .sockets = config->sockets,
        .cores = config->cores,
        .threads = config->threads,
        .ram_low = pc->ram_low,
        .ram_high = pc->ram_high,
    };
    AUTO_FREE uint8_t *tables = NULL;
    size_t len = 0;
    uint8_t anchor[31];
    int r = smbios_build(&c, &tables, &len, anchor, err);

    if (r == 0) {
        r = fw_cfg_add_file(pc->fw_cfg, "etc/smbios/smbios-tables", tables, (uint32_t)len, err);
    }
    return r == 0 ? fw_cfg_add_file(pc->fw_cfg, "etc/smbios/smbios-anchor", anchor, sizeof(anchor),
                                    err)
                  : r;
}

int pc_add_tables(struct machine *m, const struct board_config *config, bool direct,
                  uint64_t *ret_rsdp, struct err **err)
{
    struct pc *pc = m->board;
    int r = fill_cmos(m, config, err);

    (void)direct;
    (void)ret_rsdp;
    if (r == 0) {
        r = fill_fw_cfg(m, config, err);
    }
    if (r == 0 && pc->acpi) {
        r = add_acpi(m, config, err);
    }
    return r == 0 ? add_smbios(m, config, err) : r;
}
