/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/fw/acpi_loader.h"

#include "base/bytes.h"
#include "base/str.h"

#include <assert.h>
#include <errno.h>

enum {
    ALLOCATE = 1,
    ADD_POINTER = 2,
    ADD_CHECKSUM = 3,
    WRITE_POINTER = 4,
    ZONE_HIGH = 1,
    ZONE_FSEG = 2,
    NAME_BYTES = 56,
    HEADER = 36,
};

static uint8_t *command(struct acpi_loader *l, uint32_t code, const char *file)
{
    uint8_t *c = l->script + (size_t)l->n * LOADER_COMMAND_BYTES;

    assert(l->n < LOADER_MAX_COMMANDS && strlen(file) < NAME_BYTES);
    l->n++;
    le32_put(c, code);
    memcpy(c + 4, file, strlen(file));
    return c;
}

int acpi_loader_init(struct acpi_loader *l, struct err **err)
{
    *l = (struct acpi_loader) { .tables = calloc(1, LOADER_MAX_TABLES) };
    if (l->tables == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    acpi_loader_allocate(l, LOADER_TABLES, 64);
    return 0;
}

void acpi_loader_done(struct acpi_loader *l)
{
    free(l->tables);
    l->tables = NULL;
}

void acpi_loader_allocate(struct acpi_loader *l, const char *file, unsigned align)
{
    uint8_t *c = command(l, ALLOCATE, file);

    le32_put(c + 60, align);
    c[64] = str_eq(file, LOADER_RSDP) ? ZONE_FSEG : ZONE_HIGH;
}

size_t acpi_loader_begin(struct acpi_loader *l, const char *sig, unsigned rev, size_t len,
                         unsigned align)
{
    size_t at = round_up_u64(l->len, align);
    uint8_t *h = l->tables + at;

    if (at + len > LOADER_MAX_TABLES) {
        l->failed = true;
        return 0;
    }
    l->len = at + len;
    memcpy(h, sig, 4);
    h[8] = (uint8_t)rev;
    memcpy(h + 10, "BOCHS ", 6);
    memcpy(h + 16, "BXPC    ", 8);
    le32_put(h + 24, 1);
    memcpy(h + 28, "BXPC", 4);
    le32_put(h + 32, 1);
    return at;
}

void acpi_loader_end(struct acpi_loader *l, size_t at, size_t len)
{
    uint8_t *c;

    le32_put(l->tables + at + 4, (uint32_t)len);
    l->len = at + len;
    l->tables[at + 9] = 0;
    c = command(l, ADD_CHECKSUM, LOADER_TABLES);
    le32_put(c + 60, (uint32_t)at + 9);
    le32_put(c + 64, (uint32_t)at);
    le32_put(c + 68, (uint32_t)len);
}

static uint8_t *file_bytes(struct acpi_loader *l, const char *file)
{
    return str_eq(file, LOADER_RSDP) ? l->rsdp : l->tables;
}

void acpi_loader_pointer(struct acpi_loader *l, const char *file, size_t at, unsigned size,
                         uint64_t target)
{
    uint8_t *c = command(l, ADD_POINTER, file);
    uint8_t value[8];

    le64_put(value, target);
    memcpy(file_bytes(l, file) + at, value, size);
    memcpy(c + 60, LOADER_TABLES, sizeof(LOADER_TABLES));
    le32_put(c + 116, (uint32_t)at);
    c[120] = (uint8_t)size;
}

void acpi_loader_pointer_to(struct acpi_loader *l, const char *file, size_t at, unsigned size,
                            const char *to_file)
{
    uint8_t *c = command(l, ADD_POINTER, file);

    memcpy(c + 60, to_file, strlen(to_file));
    le32_put(c + 116, (uint32_t)at);
    c[120] = (uint8_t)size;
}

void acpi_loader_write_back(struct acpi_loader *l, const char *to, const char *file,
                            uint32_t file_offset)
{
    uint8_t *c = command(l, WRITE_POINTER, to);

    memcpy(c + 60, file, strlen(file));
    le32_put(c + 116, 0);
    le32_put(c + 120, file_offset);
    c[124] = 8;
}

void acpi_loader_rsdp(struct acpi_loader *l, size_t rsdt, size_t xsdt)
{
    uint8_t *c;

    memcpy(l->rsdp, "RSD PTR ", 8);
    memcpy(l->rsdp + 9, "BOCHS ", 6);
    l->rsdp[15] = xsdt != 0 ? 2 : 0;
    le32_put(l->rsdp + 20, sizeof(l->rsdp));
    acpi_loader_allocate(l, LOADER_RSDP, 16);
    acpi_loader_pointer(l, LOADER_RSDP, 16, 4, rsdt);
    if (xsdt != 0) {
        acpi_loader_pointer(l, LOADER_RSDP, 24, 8, xsdt);
    }
    c = command(l, ADD_CHECKSUM, LOADER_RSDP);
    le32_put(c + 60, 8);
    le32_put(c + 68, 20);
    if (xsdt != 0) {
        c = command(l, ADD_CHECKSUM, LOADER_RSDP);
        le32_put(c + 60, 32);
        le32_put(c + 68, 36);
    }
}

uint64_t acpi_loader_run(struct acpi_loader *l, uint64_t gpa)
{
    uint64_t rsdp = round_up_u64(gpa + l->len, 16);

    for (unsigned i = 0; i < l->n; i++) {
        const uint8_t *c = l->script + (size_t)i * LOADER_COMMAND_BYTES;
        uint8_t *file = file_bytes(l, (const char *)c + 4);

        if (le32_get(c) == ADD_POINTER && str_eq((const char *)c + 60, LOADER_TABLES)) {
            uint64_t v = 0;
            unsigned size = c[120];

            memcpy(&v, file + le32_get(c + 116), size);
            v += gpa;
            memcpy(file + le32_get(c + 116), &v, size);
        } else if (le32_get(c) == ADD_CHECKSUM) {
            uint8_t sum = 0;

            for (uint32_t j = 0; j < le32_get(c + 68); j++) {
                sum = (uint8_t)(sum + file[le32_get(c + 64) + j]);
            }
            file[le32_get(c + 60)] = (uint8_t)(file[le32_get(c + 60)] - sum);
        }
    }
    return rsdp;
}
