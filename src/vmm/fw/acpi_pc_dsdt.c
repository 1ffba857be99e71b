/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * acpi_pc_dsdt.c - the namespace of pc and q35, in the order:
 *
 *     \PICF, \_PIC           which interrupt model the operating system uses
 *     \_SB.PCI0              the root bus: windows, interrupt routing, hot-plug slots (pc)
 *     \_SB.PCI0.ISA_         the bridge: routing registers and LNKA.. links, ISA devices
 *     \_SB.GSIA..            IOAPIC pins 16 to 23 (q35)
 *     \_SB.CPUS              processors
 *     \_GPE                  hot-plug events (pc)
 *     \_S3_, \_S4_, \_S5_
 */
#include "vmm/fw/acpi_pc_dsdt.h"

#include "base/bytes.h"
#include "vmm/dev/chipset/acpi_pm.h"
#include "vmm/fw/acpi_pc.h"
#include "vmm/fw/aml.h"

#include <stdio.h>
#include <string.h>

enum {
    HEADER = 36,
    N_SLOTS = 32,
    /* AML (ACPI 6.4, 20.3) that aml.h has no word for. */
    OP_ELSE = 0xa1,
    OP_RETURN = 0xa4,
    OP_STORE = 0x70,
    OP_AND = 0x7b,
    OP_OR = 0x7d,
    OP_CREATE_DWORD_FIELD = 0x8a,
    OP_LEQUAL = 0x93,
    OP_NOTIFY = 0x86,
    LOCAL0 = 0x60,
    ARG0 = 0x68,
    ARG3 = 0x6b,
    NO_TARGET = 0,
    SPACE_IO = 1,
    SPACE_PCI_CONFIG = 2,
};

static void name_int(struct aml *a, const char *name, uint64_t v)
{
    aml_name(a, name);
    aml_int(a, v);
}

static void name_eisa(struct aml *a, const char *name, const char *id)
{
    aml_name(a, name);
    aml_eisa_id(a, id);
}

static void return_int(struct aml *a, uint64_t v)
{
    aml_byte(a, OP_RETURN);
    aml_int(a, v);
}

/* Address space descriptors (ACPI 6.4, 6.4.3.5); type 0 memory, 1 I/O, 2 bus numbers. */
static void crs_window(struct aml *a, unsigned width, unsigned type, unsigned type_flags,
                       uint64_t min, uint64_t max)
{
    uint8_t d[46] = { 0 };
    uint8_t tag = width == 2 ? 0x88 : width == 4 ? 0x87 : 0x8a;
    uint64_t fields[5] = { 0, min, max, 0, max - min + 1 };

    d[0] = tag;
    le16_put(d + 1, (uint16_t)(3 + width * 5));
    d[3] = (uint8_t)type;
    d[4] = 0x0c; /* both ends fixed, produced */
    d[5] = (uint8_t)type_flags;
    for (unsigned i = 0; i < 5; i++) {
        uint8_t le[8];

        le64_put(le, fields[i]);
        memcpy(d + 6 + i * width, le, width);
    }
    aml_bytes(a, d, 6 + (size_t)width * 5);
}

/* Level, active high, shared. */
static void crs_level(struct aml *a, const uint32_t *irqs, unsigned n)
{
    uint8_t d[5 + 8 * 4] = { 0x89 };

    le16_put(d + 1, (uint16_t)(2 + n * 4));
    d[3] = 0x09;
    d[4] = (uint8_t)n;
    for (unsigned i = 0; i < n; i++) {
        le32_put(d + 5 + i * 4, irqs[i]);
    }
    aml_bytes(a, d, 5 + (size_t)n * 4);
}

static void add_crs(struct aml *a, const struct acpi_pc_config *c)
{
    aml_open_crs(a);
    crs_window(a, 2, 2, 0, 0, 0xff);
    aml_crs_io(a, 0xcf8, 8);
    crs_window(a, 2, 1, 3, 0, 0xcf7);
    crs_window(a, 2, 1, 3, 0xd00, 0xffff);
    crs_window(a, 4, 0, 3, 0xa0000, 0xbffff);
    crs_window(a, 4, 0, 1, c->pci_hole, 0xfebfffff);
    if (c->pci64_end > c->pci64_base) {
        crs_window(a, 8, 0, 1, c->pci64_base, c->pci64_end - 1);
    }
    aml_close_crs(a);
}

static void prt_entry(struct aml *a, unsigned slot, unsigned pin, const char *link)
{
    aml_open_package(a, 4);
    aml_int(a, (uint64_t)slot << 16 | 0xffff);
    aml_int(a, pin);
    aml_name_string(a, link);
    aml_int(a, 0);
    aml_close(a);
}

/* Which of the eight links a pin is at: as piix3.c and ich9_lpc.c map them. */
static unsigned link_of(const struct acpi_pc_config *c, unsigned slot, unsigned pin)
{
    if (!c->q35) {
        return (slot + pin - 1) % 4;
    }
    return slot < 25 ? (slot + pin) % 4 + 4 : pin;
}

static void prt_package(struct aml *a, const struct acpi_pc_config *c, const char *form)
{
    aml_open_package(a, N_SLOTS * 4);
    for (unsigned slot = 0; slot < N_SLOTS; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            char link[16];

            (void)snprintf(link, sizeof(link), "%s%c", form, (char)('A' + link_of(c, slot, pin)));
            prt_entry(a, slot, pin, link);
        }
    }
    aml_close(a);
}

static void add_prt(struct aml *a, const struct acpi_pc_config *c)
{
    if (!c->q35) {
        aml_name(a, "_PRT");
        prt_package(a, c, "ISA_.LNK");
        return;
    }
    aml_name(a, "PRTP");
    prt_package(a, c, "ISA_.LNK");
    aml_name(a, "PRTA");
    prt_package(a, c, "\\_SB_.GSI");
    aml_open_method(a, "_PRT", 0, false);
    aml_open_if(a);
    aml_name_string(a, "PICF");
    aml_byte(a, OP_RETURN);
    aml_name_string(a, "PRTA");
    aml_close(a);
    aml_byte(a, OP_RETURN);
    aml_name_string(a, "PRTP");
    aml_close(a);
}

/* The operating system may have all of PCIe but what we do not have (PCI firmware 3.0, 4.5.1). */
static void add_osc(struct aml *a)
{
    static const uint8_t uuid[16] = { 0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,
                                      0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66 };
    static const uint8_t buffer[] = { 0x11, 0x13, 0x0a, 0x10 };

    aml_open_method(a, "_OSC", 4, true);
    aml_byte(a, OP_CREATE_DWORD_FIELD);
    aml_byte(a, ARG3);
    aml_int(a, 0);
    aml_name_string(a, "CDW1");
    aml_open_if(a);
    aml_byte(a, OP_LEQUAL);
    aml_byte(a, ARG0);
    aml_bytes(a, buffer, sizeof(buffer));
    aml_bytes(a, uuid, sizeof(uuid));
    aml_byte(a, OP_CREATE_DWORD_FIELD);
    aml_byte(a, ARG3);
    aml_int(a, 8);
    aml_name_string(a, "CDW3");
    aml_byte(a, OP_AND);
    aml_name_string(a, "CDW3");
    aml_int(a, 0x1f);
    aml_name_string(a, "CDW3");
    aml_byte(a, OP_RETURN);
    aml_byte(a, ARG3);
    aml_close(a);
    aml_byte(a, OP_OR);
    aml_name_string(a, "CDW1");
    aml_int(a, 4);
    aml_name_string(a, "CDW1");
    aml_byte(a, OP_RETURN);
    aml_byte(a, ARG3);
    aml_close(a);
}

static void add_link(struct aml *a, unsigned i)
{
    static const uint32_t choices[] = { 5, 10, 11 };
    static const uint32_t none[] = { 0 };
    char name[5] = { 'L', 'N', 'K', (char)('A' + i), '\0' };
    char reg[5] = { 'P', 'R', 'Q', (char)('A' + i), '\0' };

    aml_open_device(a, name);
    name_eisa(a, "_HID", "PNP0C0F");
    name_int(a, "_UID", i);
    aml_open_template(a, "_PRS");
    crs_level(a, choices, 3);
    aml_close_crs(a);
    aml_open_template(a, "PRR0");
    crs_level(a, none, 1);
    aml_close_crs(a);
    aml_byte(a, OP_CREATE_DWORD_FIELD);
    aml_name_string(a, "PRR0");
    aml_int(a, 5);
    aml_name_string(a, "PRRI");
    aml_open_method(a, "_STA", 0, false);
    aml_open_if(a);
    aml_byte(a, OP_AND);
    aml_name_string(a, reg);
    aml_int(a, 0x80);
    aml_byte(a, NO_TARGET);
    return_int(a, 9);
    aml_close(a);
    return_int(a, 0xb);
    aml_close(a);
    aml_open_method(a, "_DIS", 0, false);
    aml_byte(a, OP_OR);
    aml_name_string(a, reg);
    aml_int(a, 0x80);
    aml_name_string(a, reg);
    aml_close(a);
    aml_open_method(a, "_CRS", 0, true);
    aml_byte(a, OP_AND);
    aml_name_string(a, reg);
    aml_int(a, 0xf);
    aml_name_string(a, "PRRI");
    aml_byte(a, OP_RETURN);
    aml_name_string(a, "PRR0");
    aml_close(a);
    aml_open_method(a, "_SRS", 1, true);
    aml_byte(a, OP_CREATE_DWORD_FIELD);
    aml_byte(a, ARG0);
    aml_int(a, 5);
    aml_name_string(a, "PRRS");
    aml_byte(a, OP_STORE);
    aml_name_string(a, "PRRS");
    aml_name_string(a, reg);
    aml_close(a);
    aml_close(a);
}

/* IOAPIC pins that are wired to one PIRQ each. */
static void add_gsi_links(struct aml *a)
{
    for (unsigned i = 0; i < 8; i++) {
        char name[5] = { 'G', 'S', 'I', (char)('A' + i), '\0' };
        uint32_t gsi = 16 + i;

        aml_open_device(a, name);
        name_eisa(a, "_HID", "PNP0C0F");
        name_int(a, "_UID", gsi);
        aml_open_template(a, "_PRS");
        crs_level(a, &gsi, 1);
        aml_close_crs(a);
        aml_open_template(a, "_CRS");
        crs_level(a, &gsi, 1);
        aml_close_crs(a);
        aml_open_method(a, "_SRS", 1, false);
        aml_close(a);
        aml_close(a);
    }
}

static void isa_device(struct aml *a, const char *name, const char *id, int uid, uint16_t port,
                       uint8_t len, uint16_t port2, int irq)
{
    aml_open_device(a, name);
    name_eisa(a, "_HID", id);
    if (uid >= 0) {
        name_int(a, "_UID", (uint64_t)uid);
    }
    name_int(a, "_STA", 0xf);
    aml_open_crs(a);
    if (len > 0) {
        aml_crs_io(a, port, len);
    }
    if (port2 != 0) {
        aml_crs_io(a, port2, 1);
    }
    if (irq >= 0) {
        aml_crs_irq(a, (unsigned)irq);
    }
    aml_close_crs(a);
    aml_close(a);
}

static void add_isa_devices(struct aml *a, const struct acpi_pc_config *c)
{
    static const uint16_t com_ports[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
    static const int com_irqs[] = { 4, 3, 4, 3 };

    isa_device(a, "RTC_", "PNP0B00", -1, 0x70, 8, 0, 8);
    if (c->has_i8042) {
        isa_device(a, "KBD_", "PNP0303", -1, 0x60, 1, 0x64, 1);
        isa_device(a, "MOU_", "PNP0F13", -1, 0, 0, 0, 12);
    }
    for (int i = 0; i < 4; i++) {
        char name[5] = { 'C', 'O', 'M', (char)('1' + i), '\0' };

        if (c->has_serial[i]) {
            isa_device(a, name, "PNP0501", i + 1, com_ports[i], 8, 0, com_irqs[i]);
        }
    }
    if (c->has_parallel) {
        isa_device(a, "LPT1", "PNP0400", 1, 0x378, 8, 0, 7);
    }
    if (c->has_pvpanic) {
        aml_open_device(a, "PEVT");
        aml_name(a, "_HID");
        aml_string(a, "QEMU0001");
        aml_open_crs(a);
        aml_crs_io(a, 0x505, 1);
        aml_close_crs(a);
        aml_region(a, "PEOR", SPACE_IO, 0x505, 1);
        aml_open_field(a, "PEOR");
        aml_field_unit(a, "PEPT", 8);
        aml_close(a);
        name_int(a, "_STA", 0xf);
        aml_open_method(a, "RDPT", 0, false);
        aml_byte(a, OP_RETURN);
        aml_name_string(a, "PEPT");
        aml_close(a);
        aml_open_method(a, "WRPT", 1, false);
        aml_byte(a, OP_STORE);
        aml_byte(a, ARG0);
        aml_name_string(a, "PEPT");
        aml_close(a);
        aml_close(a);
    }
}

static void add_isa_bridge(struct aml *a, const struct acpi_pc_config *c)
{
    aml_open_device(a, "ISA_");
    name_int(a, "_ADR", c->q35 ? 0x1f0000 : 0x10000);
    aml_region(a, "PIRQ", SPACE_PCI_CONFIG, 0x60, c->q35 ? 12 : 4);
    aml_open_field(a, "PIRQ");
    for (unsigned i = 0; i < (c->q35 ? 8u : 4u); i++) {
        char reg[5] = { 'P', 'R', 'Q', (char)('A' + i), '\0' };

        if (i == 4) {
            aml_field_gap(a, 32);
        }
        aml_field_unit(a, reg, 8);
    }
    aml_close(a);
    for (unsigned i = 0; i < (c->q35 ? 8u : 4u); i++) {
        add_link(a, i);
    }
    add_isa_devices(a, c);
    aml_close(a);
}

static void slot_name(char name[5], unsigned slot)
{
    (void)snprintf(name, 5, "S%02X_", slot << 3 & 0xff);
}

/* Hot-plug on pc's root bus by ACPI: registers of dev/chipset/acpi_hotplug.c. */
static void add_hotplug_slots(struct aml *a)
{
    aml_region(a, "PCST", SPACE_IO, ACPI_PC_HOTPLUG_PORT, 8);
    aml_open_field_dword(a, "PCST");
    aml_field_unit(a, "PCIU", 32);
    aml_field_unit(a, "PCID", 32);
    aml_close(a);
    aml_region(a, "SEJ_", SPACE_IO, ACPI_PC_HOTPLUG_PORT + 8, 4);
    aml_open_field_dword(a, "SEJ_");
    aml_field_unit(a, "B0EJ", 32);
    aml_close(a);
    for (unsigned slot = 2; slot < N_SLOTS; slot++) {
        char name[5];

        slot_name(name, slot);
        aml_open_device(a, name);
        name_int(a, "_SUN", slot);
        name_int(a, "_ADR", (uint64_t)slot << 16);
        aml_open_method(a, "_EJ0", 1, true);
        aml_byte(a, OP_STORE);
        aml_int(a, 1ull << slot);
        aml_name_string(a, "B0EJ");
        aml_close(a);
        aml_close(a);
    }
    aml_open_method(a, "PCNT", 0, true);
    for (unsigned remove = 0; remove < 2; remove++) {
        aml_byte(a, OP_STORE);
        aml_name_string(a, remove != 0 ? "PCID" : "PCIU");
        aml_byte(a, LOCAL0);
        for (unsigned slot = 2; slot < N_SLOTS; slot++) {
            char name[5];

            slot_name(name, slot);
            aml_open_if(a);
            aml_byte(a, OP_AND);
            aml_byte(a, LOCAL0);
            aml_int(a, 1ull << slot);
            aml_byte(a, NO_TARGET);
            aml_byte(a, OP_NOTIFY);
            aml_name_string(a, name);
            aml_int(a, remove != 0 ? 3 : 1);
            aml_close(a);
        }
    }
    aml_close(a);
}

static void add_hpet_device(struct aml *a)
{
    aml_open_device(a, "HPET");
    name_eisa(a, "_HID", "PNP0103");
    name_int(a, "_UID", 0);
    aml_open_crs(a);
    aml_crs_memory32(a, 0xfed00000, 0x400);
    aml_close_crs(a);
    aml_close(a);
}

static void add_cpus(struct aml *a, const struct acpi_pc_config *c)
{
    aml_open_device(a, "CPUS");
    aml_name(a, "_HID");
    aml_string(a, "ACPI0010");
    name_eisa(a, "_CID", "PNP0A05");
    for (unsigned i = 0; i < c->n_cpus; i++) {
        char name[5];

        (void)snprintf(name, sizeof(name), "C%03X", i & 0xfff);
        aml_open_device(a, name);
        aml_name(a, "_HID");
        aml_string(a, "ACPI0007");
        name_int(a, "_UID", i);
        name_int(a, "_STA", 0xf);
        aml_close(a);
    }
    aml_close(a);
}

static void add_fw_cfg(struct aml *a)
{
    aml_open_device(a, "FWCF");
    aml_name(a, "_HID");
    aml_string(a, "QEMU0002");
    name_int(a, "_STA", 0xb);
    aml_open_crs(a);
    aml_crs_io(a, 0x510, 12);
    aml_close_crs(a);
    aml_close(a);
}

static void add_vmgenid(struct aml *a)
{
    aml_name(a, "VGIA"); /* the firmware puts the address here */
    aml_byte(a, 0x0c);
    aml_bytes(a, "\0\0\0\0", 4);
    aml_open_scope(a, "\\_SB_");
    aml_open_device(a, "VGEN");
    aml_name(a, "_HID");
    aml_string(a, "QEMUVGID");
    aml_name(a, "_CID");
    aml_string(a, "VM_Gen_Counter");
    aml_name(a, "_DDN");
    aml_string(a, "VM_Gen_Counter");
    aml_open_method(a, "ADDR", 0, false);
    aml_byte(a, OP_STORE);
    aml_open_package(a, 2);
    aml_int(a, 0);
    aml_int(a, 0);
    aml_close(a);
    aml_byte(a, LOCAL0);
    aml_byte(a, OP_STORE); /* Store(VGIA + 40, Index(Local0, 0)) */
    aml_byte(a, 0x72);
    aml_name_string(a, "VGIA");
    aml_int(a, 40);
    aml_byte(a, NO_TARGET);
    aml_byte(a, 0x88);
    aml_byte(a, LOCAL0);
    aml_int(a, 0);
    aml_byte(a, NO_TARGET);
    aml_byte(a, OP_RETURN);
    aml_byte(a, LOCAL0);
    aml_close(a);
    aml_close(a);
    aml_close(a);
}

static void add_sleep(struct aml *a, const char *name, unsigned type)
{
    aml_name(a, name);
    aml_open_package(a, 4);
    aml_int(a, type);
    aml_int(a, type);
    aml_int(a, 0);
    aml_int(a, 0);
    aml_close(a);
}

static void add_pci(struct aml *a, const struct acpi_pc_config *c)
{
    aml_open_scope(a, "\\_SB_");
    aml_open_device(a, "PCI0");
    name_eisa(a, "_HID", c->q35 ? "PNP0A08" : "PNP0A03");
    if (c->q35) {
        name_eisa(a, "_CID", "PNP0A03");
    }
    name_int(a, "_ADR", 0);
    name_int(a, "_UID", 0);
    add_crs(a, c);
    add_prt(a, c);
    if (c->q35) {
        add_osc(a);
    }
    add_isa_bridge(a, c);
    if (!c->q35) {
        add_hotplug_slots(a);
    }
    aml_close(a);
    if (c->q35) {
        add_gsi_links(a);
    }
    if (c->has_hpet) {
        add_hpet_device(a);
    }
    if (c->has_fw_cfg) {
        add_fw_cfg(a);
    }
    add_cpus(a, c);
    aml_close(a);
}

size_t acpi_pc_add_dsdt(struct acpi_loader *l, const struct acpi_pc_config *c)
{
    size_t at = acpi_loader_begin(l, "DSDT", 1, HEADER, 16);
    struct aml aml;
    struct aml *a = &aml;

    if (l->failed) {
        return 0;
    }
    aml_init(a, l->tables + at + HEADER, LOADER_MAX_TABLES - at - HEADER);
    name_int(a, "\\PICF", 0);
    aml_open_method(a, "\\_PIC", 1, false);
    aml_byte(a, OP_STORE);
    aml_byte(a, ARG0);
    aml_name_string(a, "PICF");
    aml_close(a);
    add_pci(a, c);
    aml_open_scope(a, "\\_GPE");
    if (!c->q35) {
        aml_open_method(a, "_E01", 0, false);
        aml_name_string(a, "\\_SB_.PCI0.PCNT");
        aml_close(a);
    }
    aml_close(a);
    if (c->s3) {
        add_sleep(a, "\\_S3_", PM_S3);
    }
    if (c->s4) {
        add_sleep(a, "\\_S4_", PM_S4);
    }
    add_sleep(a, "\\_S5_", PM_S5);
    if (c->has_vmgenid) {
        size_t vgia = at + HEADER + a->len + 6;

        add_vmgenid(a);
        acpi_loader_allocate(l, "etc/vmgenid_guid", 4096);
        acpi_loader_write_back(l, "etc/vmgenid_addr", "etc/vmgenid_guid", 40);
        acpi_loader_pointer_to(l, LOADER_TABLES, vgia, 4, "etc/vmgenid_guid");
    }
    if (a->failed) {
        l->failed = true;
        return 0;
    }
    acpi_loader_end(l, at, HEADER + a->len);
    return at;
}
