/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/fw/acpi.h"

#include "base/bytes.h"
#include "vmm/dev/misc/ged.h"
#include "vmm/fw/aml.h"
#include "vmm/fw/boot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    HEADER = 36,
    FADT_BYTES = 276,
    RSDP_BYTES = 36,
    IOAPIC_ID = 0,
    /* FADT flags (ACPI 6.4, 5.2.9) */
    FADT_WBINVD = 1 << 0,
    FADT_POWER_BUTTON_NOT_FIXED = 1 << 4,
    FADT_SLEEP_BUTTON_NOT_FIXED = 1 << 5,
    FADT_RTC_NOT_FIXED = 1 << 6,
    FADT_RESET_REG = 1 << 10,
    FADT_HW_REDUCED = 1 << 20,
    BOOT_8042 = 1 << 1,
    BOOT_NO_VGA = 1 << 2,
    BOOT_NO_RTC = 1 << 5,
};

#define IOAPIC_GPA 0xfec00000u
#define LAPIC_GPA  0xfee00000u

/* The table under construction: everything lies one after the other in buf. */
struct tables {
    uint8_t *buf;
    size_t max;
    size_t len;
};

static uint8_t *table_begin(struct tables *t, const char *sig, unsigned rev, size_t len)
{
    uint8_t *h = t->buf + t->len;

    if (t->len + len > t->max) {
        return NULL;
    }
    memset(h, 0, len);
    memcpy(h, sig, 4);
    h[8] = (uint8_t)rev;
    memcpy(h + 10, "VIREO ", 6);
    memcpy(h + 16, "VIREOVM ", 8);
    le32_put(h + 24, 1);
    memcpy(h + 28, "VIRE", 4);
    le32_put(h + 32, 1);
    return h;
}

static uint8_t sum_of(const uint8_t *p, size_t len)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++) {
        sum = (uint8_t)(sum + p[i]);
    }
    return sum;
}

/* Sets length and checksum; returns the table's address. */
static uint64_t table_end(struct tables *t, uint8_t *h, size_t len)
{
    uint64_t gpa = ACPI_GPA + (uint64_t)(h - t->buf);

    le32_put(h + 4, (uint32_t)len);
    h[9] = (uint8_t)-sum_of(h, len);
    t->len = round_up_u64(t->len + len, 16);
    return gpa;
}

static void add_virtio(struct aml *a, const struct acpi_config *c)
{
    for (unsigned i = 0; i < c->n_virtio; i++) {
        char name[5];

        (void)snprintf(name, sizeof(name), "VR%02u", i % 100);
        aml_open_device(a, name);
        aml_name(a, "_HID");
        aml_string(a, "LNRO0005");
        aml_name(a, "_UID");
        aml_int(a, i);
        aml_name(a, "_CCA");
        aml_int(a, 1);
        aml_open_crs(a);
        aml_crs_memory32(a, (uint32_t)c->virtio[i].gpa, 0x200);
        aml_crs_gsi(a, c->virtio[i].gsi, false);
        aml_close_crs(a);
        aml_close(a);
    }
}

static void add_legacy(struct aml *a, const struct acpi_config *c)
{
    if (c->has_serial) {
        aml_open_device(a, "COM1");
        aml_name(a, "_HID");
        aml_eisa_id(a, "PNP0501");
        aml_name(a, "_UID");
        aml_int(a, 1);
        aml_name(a, "_STA");
        aml_int(a, 0xf);
        aml_open_crs(a);
        aml_crs_io(a, 0x3f8, 8);
        aml_crs_irq(a, 4);
        aml_close_crs(a);
        aml_close(a);
    }
    if (c->has_rtc) {
        aml_open_device(a, "RTC_");
        aml_name(a, "_HID");
        aml_eisa_id(a, "PNP0B00");
        aml_open_crs(a);
        aml_crs_io(a, 0x70, 2);
        aml_crs_irq(a, 8);
        aml_close_crs(a);
        aml_close(a);
    }
    if (c->has_fw_cfg) {
        aml_open_device(a, "FWCF");
        aml_name(a, "_HID");
        aml_string(a, "QEMU0002");
        aml_name(a, "_STA");
        aml_int(a, 0xb);
        aml_open_crs(a);
        aml_crs_io(a, 0x510, 12);
        aml_close_crs(a);
        aml_close(a);
    }
}

/* The generic event device tells the guest of the power button (ACPI 6.4, 5.6.9). */
static void add_ged(struct aml *a, const struct acpi_config *c)
{
    aml_open_device(a, "PWRB");
    aml_name(a, "_HID");
    aml_eisa_id(a, "PNP0C0C");
    aml_name(a, "_UID");
    aml_int(a, 0);
    aml_close(a);

    aml_open_device(a, "GED_");
    aml_name(a, "_HID");
    aml_string(a, "ACPI0013");
    aml_name(a, "_UID");
    aml_string(a, "GED");
    aml_open_crs(a);
    aml_crs_gsi(a, c->ged_gsi, true);
    aml_close_crs(a);
    aml_region(a, "EREG", 0, c->ged_gpa + GED_EVENTS, 1);
    aml_open_field(a, "EREG");
    aml_field_unit(a, "ESEL", 8);
    aml_close(a);
    aml_open_method(a, "_EVT", 1, true);
    /* Store(ESEL, Local0): reading the selector clears it. */
    aml_byte(a, 0x70);
    aml_name_string(a, "ESEL");
    aml_byte(a, 0x60);
    /* If (Local0 & GED_POWER_BUTTON) { Notify(PWRB, 0x80) } */
    aml_open_if(a);
    aml_byte(a, 0x7b);
    aml_byte(a, 0x60);
    aml_int(a, GED_POWER_BUTTON);
    aml_byte(a, 0);
    aml_byte(a, 0x86);
    aml_name_string(a, "PWRB");
    aml_int(a, 0x80);
    aml_close(a);
    aml_close(a);
    aml_close(a);
}

static uint64_t add_dsdt(struct tables *t, const struct acpi_config *c)
{
    uint8_t *h = table_begin(t, "DSDT", 2, HEADER);
    struct aml a;

    if (h == NULL) {
        return 0;
    }
    aml_init(&a, h + HEADER, t->max - t->len - HEADER);
    aml_open_scope(&a, "\\_SB_");
    add_legacy(&a, c);
    add_ged(&a, c);
    add_virtio(&a, c);
    aml_close(&a);
    aml_name(&a, "\\_S5_");
    aml_open_package(&a, 4);
    aml_int(&a, GED_SLEEP_S5);
    aml_int(&a, 0);
    aml_int(&a, 0);
    aml_int(&a, 0);
    aml_close(&a);
    return a.failed ? 0 : table_end(t, h, HEADER + a.len);
}

/* Generic address structure (ACPI 6.4, 5.2.3.2): one byte of memory. */
static void put_gas(uint8_t *p, uint64_t gpa)
{
    p[1] = 8;
    p[3] = 1;
    le64_put(p + 4, gpa);
}

static uint64_t add_fadt(struct tables *t, const struct acpi_config *c, uint64_t dsdt)
{
    uint8_t *h = table_begin(t, "FACP", 6, FADT_BYTES);

    if (h == NULL) {
        return 0;
    }
    le32_put(h + 40, (uint32_t)dsdt);
    le16_put(h + 109, (uint16_t)((c->has_i8042 ? BOOT_8042 : 0) | BOOT_NO_VGA |
                                 (c->has_rtc ? 0 : BOOT_NO_RTC)));
    le32_put(h + 112, FADT_WBINVD | FADT_POWER_BUTTON_NOT_FIXED | FADT_SLEEP_BUTTON_NOT_FIXED |
                          FADT_RTC_NOT_FIXED | FADT_RESET_REG | FADT_HW_REDUCED);
    put_gas(h + 116, c->ged_gpa + GED_RESET);
    h[128] = GED_RESET_VALUE;
    h[131] = 4; /* minor version */
    le64_put(h + 140, dsdt);
    put_gas(h + 244, c->ged_gpa + GED_SLEEP_CONTROL);
    put_gas(h + 256, c->ged_gpa + GED_SLEEP_STATUS);
    memcpy(h + 268, "VIREO", 5);
    return table_end(t, h, FADT_BYTES);
}

/* MADT (ACPI 6.4, 5.2.12): local APICs (x2APIC entries above id 254), IOAPIC, overrides. */
static uint64_t add_madt(struct tables *t, const struct acpi_config *c)
{
    size_t len = HEADER + 8 + c->n_cpus * 8 + 12 + 10 + 6;
    uint8_t *h = table_begin(t, "APIC", 5, len);
    uint8_t *p = h + HEADER;

    if (h == NULL) {
        return 0;
    }
    le32_put(p, LAPIC_GPA);
    le32_put(p + 4, c->has_pic ? 1 : 0);
    p += 8;
    for (unsigned i = 0; i < c->n_cpus; i++, p += 8) {
        p[0] = 0;
        p[1] = 8;
        p[2] = (uint8_t)i;
        p[3] = (uint8_t)i;
        le32_put(p + 4, 1);
    }
    p[0] = 1;
    p[1] = 12;
    p[2] = IOAPIC_ID;
    le32_put(p + 4, IOAPIC_GPA);
    p += 12;
    p[0] = 2; /* ISA IRQ 0, the PIT, is at pin 2 */
    p[1] = 10;
    le32_put(p + 4, 2);
    p += 10;
    p[0] = 4; /* every CPU's LINT1 is the NMI */
    p[1] = 6;
    p[2] = 0xff;
    p[5] = 1;
    return table_end(t, h, len);
}

size_t acpi_build(const struct acpi_config *c, uint8_t *buf, size_t max)
{
    struct tables t = { .buf = buf, .max = max, .len = 64 }; /* the RSDP comes first */
    uint64_t dsdt;
    uint64_t list[2];
    uint8_t *h;
    uint64_t xsdt;

    if (max < 4096) {
        return 0;
    }
    memset(buf, 0, 64);
    dsdt = add_dsdt(&t, c);
    if (dsdt == 0) {
        return 0;
    }
    list[0] = add_fadt(&t, c, dsdt);
    list[1] = add_madt(&t, c);
    h = table_begin(&t, "XSDT", 1, HEADER + sizeof(list));
    if (list[0] == 0 || list[1] == 0 || h == NULL) {
        return 0;
    }
    le64_put(h + HEADER, list[0]);
    le64_put(h + HEADER + 8, list[1]);
    xsdt = table_end(&t, h, HEADER + sizeof(list));
    memcpy(buf, "RSD PTR ", 8);
    memcpy(buf + 9, "VIREO ", 6);
    buf[15] = 2;
    le32_put(buf + 20, RSDP_BYTES);
    le64_put(buf + 24, xsdt);
    buf[8] = (uint8_t)-sum_of(buf, 20);
    buf[32] = (uint8_t)-sum_of(buf, RSDP_BYTES);
    return t.len;
}

int acpi_add(struct boot *b, const struct acpi_config *c, struct err **err)
{
    AUTO_FREE uint8_t *buf = malloc(ACPI_MAX_BYTES);
    size_t len = buf != NULL ? acpi_build(c, buf, ACPI_MAX_BYTES) : 0;

    if (len == 0) {
        return err_set(err, ENOSPC, "the ACPI tables do not fit");
    }
    return boot_add(b, ACPI_GPA, TAKE_PTR(buf), len, err);
}
