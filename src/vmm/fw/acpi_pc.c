/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/fw/acpi_pc.h"

#include "base/bytes.h"
#include "vmm/fw/acpi_pc_dsdt.h"

#include <errno.h>
#include <string.h>

enum {
    HEADER = 36,
    FADT_BYTES = 244,
    PM_BASE = 0x600,
    PIIX_GPE = 0xafe0,
    ICH9_GPE = PM_BASE + 0x20,
    SCI = 9,
    /* FADT flags (ACPI 6.4, 5.2.9) */
    FADT_WBINVD = 1 << 0,
    FADT_PROC_C1 = 1 << 2,
    FADT_SLEEP_BUTTON = 1 << 5,
    FADT_RTC_S4 = 1 << 7,
    FADT_RESET_REG = 1 << 10,
    FADT_PLATFORM_CLOCK = 1 << 15,
    BOOT_LEGACY = 1 << 0,
    BOOT_8042 = 1 << 1,
};

#define IOAPIC_GPA 0xfec00000u
#define LAPIC_GPA  0xfee00000u
#define HPET_GPA   0xfed00000u
#define ECAM_GPA   0xb0000000u

/* Generic address structure (ACPI 6.4, 5.2.3.2) in I/O space. */
static void put_gas_io(uint8_t *p, uint32_t port, unsigned bits)
{
    p[0] = 1;
    p[1] = (uint8_t)bits;
    le64_put(p + 4, port);
}

static size_t add_facs(struct acpi_loader *l)
{
    size_t at = round_up_u64(l->len, 64);

    memcpy(l->tables + at, "FACS", 4);
    le32_put(l->tables + at + 4, 64);
    l->len = at + 64;
    return at;
}

static size_t add_fadt(struct acpi_loader *l, const struct acpi_pc_config *c, size_t facs,
                       size_t dsdt)
{
    size_t at = acpi_loader_begin(l, "FACP", 3, FADT_BYTES, 16);
    uint8_t *h = l->tables + at;
    uint32_t gpe = c->q35 ? ICH9_GPE : PIIX_GPE;

    if (l->failed) {
        return 0;
    }
    h[44] = 1;
    le16_put(h + 46, SCI);
    le32_put(h + 48, 0xb2);
    h[52] = c->q35 ? 2 : 0xf1;
    h[53] = c->q35 ? 3 : 0xf0;
    le32_put(h + 56, PM_BASE);
    le32_put(h + 64, PM_BASE + 4);
    le32_put(h + 76, PM_BASE + 8);
    le32_put(h + 80, gpe);
    h[88] = 4;
    h[89] = 2;
    h[91] = 4;
    h[92] = c->q35 ? 16 : 4;
    le16_put(h + 96, 0xfff); /* no C2, no C3 */
    le16_put(h + 98, 0xfff);
    h[108] = 0x32; /* century */
    le16_put(h + 109, (uint16_t)(BOOT_LEGACY | (c->has_i8042 ? BOOT_8042 : 0)));
    le32_put(h + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_SLEEP_BUTTON | FADT_RTC_S4 |
                          FADT_PLATFORM_CLOCK | FADT_RESET_REG);
    put_gas_io(h + 116, 0xcf9, 8);
    h[128] = 0xf;
    put_gas_io(h + 148, PM_BASE, 32);
    put_gas_io(h + 172, PM_BASE + 4, 16);
    put_gas_io(h + 208, PM_BASE + 8, 32);
    put_gas_io(h + 220, gpe, h[92] * 8u);
    acpi_loader_pointer(l, LOADER_TABLES, at + 36, 4, facs);
    acpi_loader_pointer(l, LOADER_TABLES, at + 40, 4, dsdt);
    acpi_loader_pointer(l, LOADER_TABLES, at + 140, 8, dsdt);
    acpi_loader_end(l, at, FADT_BYTES);
    return at;
}

/* MADT (ACPI 6.4, 5.2.12): local APICs, x2APIC entries from id 255 on, IOAPIC, overrides. */
static size_t add_madt(struct acpi_loader *l, const struct acpi_pc_config *c)
{
    static const uint8_t level[] = { 5, 9, 10, 11 }; /* PCI and the SCI: active high, level */
    size_t len = HEADER + 8 + c->max_cpus * 8 + 12 + 10 + sizeof(level) * 10 + 6;
    size_t at = acpi_loader_begin(l, "APIC", 3, len, 16);
    uint8_t *p = l->tables + at + HEADER;

    if (l->failed) {
        return 0;
    }
    le32_put(p, LAPIC_GPA);
    le32_put(p + 4, 1); /* 8259s */
    p += 8;
    for (unsigned i = 0; i < c->max_cpus; i++, p += 8) {
        p[1] = 8;
        p[2] = (uint8_t)i;
        p[3] = (uint8_t)i;
        le32_put(p + 4, i < c->n_cpus);
    }
    p[0] = 1;
    p[1] = 12;
    le32_put(p + 4, IOAPIC_GPA);
    p += 12;
    p[0] = 2; /* ISA IRQ 0, the PIT, is at pin 2 */
    p[1] = 10;
    le32_put(p + 4, 2);
    p += 10;
    for (size_t i = 0; i < sizeof(level); i++, p += 10) {
        p[0] = 2;
        p[1] = 10;
        p[3] = level[i];
        le32_put(p + 4, level[i]);
        le16_put(p + 8, 0xd);
    }
    p[0] = 4; /* every CPU's LINT1 is the NMI */
    p[1] = 6;
    p[2] = 0xff;
    p[5] = 1;
    acpi_loader_end(l, at, len);
    return at;
}

/* HPET (IA-PC HPET 1.0a, 3.2.4). */
static size_t add_hpet(struct acpi_loader *l)
{
    size_t at = acpi_loader_begin(l, "HPET", 1, 56, 16);
    uint8_t *h = l->tables + at;

    if (l->failed) {
        return 0;
    }
    le32_put(h + 36, 0x8086a201);
    le64_put(h + 44, HPET_GPA);
    acpi_loader_end(l, at, 56);
    return at;
}

static size_t add_mcfg(struct acpi_loader *l)
{
    size_t at = acpi_loader_begin(l, "MCFG", 1, 60, 16);
    uint8_t *h = l->tables + at;

    if (l->failed) {
        return 0;
    }
    le64_put(h + 44, ECAM_GPA);
    h[55] = 255;
    acpi_loader_end(l, at, 60);
    return at;
}

static uint8_t *srat_memory(uint8_t *p, unsigned node, uint64_t base, uint64_t len)
{
    p[0] = 1;
    p[1] = 40;
    le32_put(p + 2, node);
    le64_put(p + 8, base);
    le64_put(p + 16, len);
    le32_put(p + 28, 1);
    return p + 40;
}

/* SRAT (ACPI 6.4, 5.2.16): each node takes the next part of RAM, around the PCI hole. */
static size_t add_srat(struct acpi_loader *l, const struct acpi_pc_config *c)
{
    size_t max = HEADER + 12 + c->n_cpus * 16 + (c->n_nodes + 2) * 40;
    size_t at = acpi_loader_begin(l, "SRAT", 1, max, 16);
    uint8_t *p = l->tables + at + HEADER + 12;
    uint64_t base = 0;

    if (l->failed) {
        return 0;
    }
    le32_put(l->tables + at + HEADER, 1);
    for (unsigned i = 0; i < c->n_cpus; i++, p += 16) {
        unsigned node = 0;

        while (node < c->n_nodes && (c->nodes[node].cpus >> i & 1) == 0) {
            node++;
        }
        p[1] = 16;
        p[2] = (uint8_t)(node < c->n_nodes ? node : 0);
        p[3] = (uint8_t)i;
        le32_put(p + 4, 1);
    }
    for (unsigned n = 0; n < c->n_nodes; n++) {
        uint64_t left = c->nodes[n].bytes;

        if (base < c->ram_low) {
            uint64_t part = min_u64(left, c->ram_low - base);

            p = srat_memory(p, n, base, part);
            base += part;
            left -= part;
        }
        if (left > 0) {
            p = srat_memory(p, n, (1ull << 32) + base - c->ram_low, left);
            base += left;
        }
    }
    acpi_loader_end(l, at, (size_t)(p - (l->tables + at)));
    return at;
}

static size_t add_waet(struct acpi_loader *l)
{
    size_t at = acpi_loader_begin(l, "WAET", 1, 40, 16);

    if (l->failed) {
        return 0;
    }
    le32_put(l->tables + at + 36, 2); /* the PM timer needs one read only */
    acpi_loader_end(l, at, 40);
    return at;
}

static size_t add_root(struct acpi_loader *l, const char *sig, const size_t *list, unsigned n,
                       unsigned size)
{
    size_t at = acpi_loader_begin(l, sig, 1, HEADER + (size_t)n * size, 16);

    for (unsigned i = 0; i < n && !l->failed; i++) {
        acpi_loader_pointer(l, LOADER_TABLES, at + HEADER + (size_t)i * size, size, list[i]);
    }
    if (!l->failed) {
        acpi_loader_end(l, at, HEADER + (size_t)n * size);
    }
    return at;
}

int acpi_pc_build(struct acpi_loader *l, const struct acpi_pc_config *c, struct err **err)
{
    size_t list[8];
    unsigned n = 0;
    size_t facs = add_facs(l);
    size_t dsdt = acpi_pc_add_dsdt(l, c);
    size_t rsdt;

    list[n++] = add_fadt(l, c, facs, dsdt);
    list[n++] = add_madt(l, c);
    if (c->has_hpet) {
        list[n++] = add_hpet(l);
    }
    if (c->q35) {
        list[n++] = add_mcfg(l);
    }
    if (c->n_nodes > 0) {
        list[n++] = add_srat(l, c);
    }
    list[n++] = add_waet(l);
    rsdt = add_root(l, "RSDT", list, n, 4);
    if (!l->failed) {
        acpi_loader_rsdp(l, rsdt, add_root(l, "XSDT", list, n, 8));
    }
    return l->failed ? err_set(err, ENOSPC, "the ACPI tables do not fit") : 0;
}
