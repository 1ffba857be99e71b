/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/fw/aml.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

/* Opcodes (ACPI 6.4, 20.3). */
enum {
    OP_NAME = 0x08,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_SCOPE = 0x10,
    OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12,
    OP_METHOD = 0x14,
    OP_EXT = 0x5b,
    OP_IF = 0xa0,
    EXT_REGION = 0x80,
    EXT_FIELD = 0x81,
    EXT_DEVICE = 0x82,
    PKG_LENGTH_BYTES = 4,
};

void aml_init(struct aml *a, uint8_t *buf, size_t max)
{
    *a = (struct aml) { .buf = buf, .max = max };
}

void aml_bytes(struct aml *a, const void *p, size_t len)
{
    if (a->failed || len > a->max - a->len) {
        a->failed = true;
        return;
    }
    memcpy(a->buf + a->len, p, len);
    a->len += len;
}

void aml_byte(struct aml *a, uint8_t v)
{
    aml_bytes(a, &v, 1);
}

void aml_int(struct aml *a, uint64_t v)
{
    uint8_t le[8];

    le64_put(le, v);
    if (v <= 1) {
        aml_byte(a, (uint8_t)v);
    } else if (v <= 0xff) {
        aml_byte(a, OP_BYTE);
        aml_bytes(a, le, 1);
    } else if (v <= 0xffff) {
        aml_byte(a, OP_WORD);
        aml_bytes(a, le, 2);
    } else if (v <= 0xffffffff) {
        aml_byte(a, OP_DWORD);
        aml_bytes(a, le, 4);
    } else {
        aml_byte(a, OP_QWORD);
        aml_bytes(a, le, 8);
    }
}

void aml_string(struct aml *a, const char *s)
{
    aml_byte(a, OP_STRING);
    aml_bytes(a, s, strlen(s) + 1);
}

void aml_name_string(struct aml *a, const char *name)
{
    size_t n;

    if (*name == '\\') {
        aml_byte(a, '\\');
        name++;
    }
    n = (strlen(name) + 1) / 5;
    assert(n >= 1 && n <= 15 && strlen(name) == n * 5 - 1);
    if (n == 2) {
        aml_byte(a, 0x2e); /* DualNamePrefix */
    } else if (n > 2) {
        aml_byte(a, 0x2f); /* MultiNamePrefix */
        aml_byte(a, (uint8_t)n);
    }
    for (size_t i = 0; i < n; i++) {
        aml_bytes(a, name + i * 5, 4);
    }
}

void aml_name(struct aml *a, const char *name)
{
    aml_byte(a, OP_NAME);
    aml_name_string(a, name);
}

/* Three letters of five bits and four hexadecimal digits, big-endian (ACPI 6.4, 19.3.4). */
void aml_eisa_id(struct aml *a, const char *id)
{
    uint32_t v = ((uint32_t)(id[0] - 0x40) & 0x1f) << 26 | ((uint32_t)(id[1] - 0x40) & 0x1f) << 21 |
                 ((uint32_t)(id[2] - 0x40) & 0x1f) << 16;
    uint8_t be[5] = { OP_DWORD };

    for (unsigned i = 0; i < 4; i++) {
        unsigned c = (unsigned char)id[3 + i];

        v |= (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10) << (12 - i * 4);
    }
    be32_put(be + 1, v);
    aml_bytes(a, be, sizeof(be));
}

static void open_package_length(struct aml *a)
{
    static const uint8_t place[PKG_LENGTH_BYTES] = { 0 };

    assert(a->depth < AML_MAX_DEPTH);
    a->open[a->depth++] = a->len;
    aml_bytes(a, place, sizeof(place));
}

void aml_close(struct aml *a)
{
    size_t at;
    size_t len;

    assert(a->depth > 0);
    at = a->open[--a->depth];
    if (a->failed) {
        return;
    }
    len = a->len - at;
    a->buf[at] = 0xc0 | (len & 0xf);
    a->buf[at + 1] = (len >> 4) & 0xff;
    a->buf[at + 2] = (len >> 12) & 0xff;
    a->buf[at + 3] = (len >> 20) & 0xff;
}

void aml_open_scope(struct aml *a, const char *name)
{
    aml_byte(a, OP_SCOPE);
    open_package_length(a);
    aml_name_string(a, name);
}

void aml_open_device(struct aml *a, const char *name)
{
    aml_byte(a, OP_EXT);
    aml_byte(a, EXT_DEVICE);
    open_package_length(a);
    aml_name_string(a, name);
}

void aml_open_method(struct aml *a, const char *name, unsigned n_args, bool serialized)
{
    aml_byte(a, OP_METHOD);
    open_package_length(a);
    aml_name_string(a, name);
    aml_byte(a, (uint8_t)(n_args | (serialized ? 8 : 0)));
}

void aml_open_if(struct aml *a)
{
    aml_byte(a, OP_IF);
    open_package_length(a);
}

void aml_open_package(struct aml *a, unsigned n)
{
    aml_byte(a, OP_PACKAGE);
    open_package_length(a);
    aml_byte(a, (uint8_t)n);
}

static void open_field(struct aml *a, const char *region, uint8_t flags)
{
    aml_byte(a, OP_EXT);
    aml_byte(a, EXT_FIELD);
    open_package_length(a);
    aml_name_string(a, region);
    aml_byte(a, flags);
}

void aml_open_field(struct aml *a, const char *region)
{
    open_field(a, region, 1); /* ByteAcc, NoLock, Preserve */
}

void aml_open_field_dword(struct aml *a, const char *region)
{
    open_field(a, region, 0x43); /* DWordAcc, NoLock, WriteAsZeros */
}

void aml_field_gap(struct aml *a, unsigned bits)
{
    aml_field_unit(a, NULL, bits);
}

void aml_field_unit(struct aml *a, const char *name, unsigned bits)
{
    assert(bits < 64);
    if (name == NULL) {
        aml_byte(a, 0); /* reserved bits */
    } else {
        aml_name_string(a, name);
    }
    aml_byte(a, (uint8_t)bits);
}

void aml_region(struct aml *a, const char *name, unsigned space, uint64_t offset, unsigned len)
{
    aml_byte(a, OP_EXT);
    aml_byte(a, EXT_REGION);
    aml_name_string(a, name);
    aml_byte(a, (uint8_t)space);
    aml_int(a, offset);
    aml_int(a, len);
}

/* The buffer's size term is written as a word when the template closes; a template is small. */
void aml_open_template(struct aml *a, const char *name)
{
    static const uint8_t size[3] = { OP_WORD, 0, 0 };

    aml_name(a, name);
    aml_byte(a, OP_BUFFER);
    open_package_length(a);
    aml_bytes(a, size, sizeof(size));
}

void aml_open_crs(struct aml *a)
{
    aml_open_template(a, "_CRS");
}

void aml_close_crs(struct aml *a)
{
    size_t start = a->open[a->depth - 1] + PKG_LENGTH_BYTES + 3;

    aml_byte(a, 0x79); /* end tag (ACPI 6.4, 6.4.2.9) */
    aml_byte(a, 0);    /* no checksum */
    if (!a->failed) {
        le16_put(a->buf + start - 2, (uint16_t)(a->len - start));
    }
    aml_close(a);
}

void aml_crs_io(struct aml *a, uint16_t base, uint8_t len)
{
    uint8_t d[8] = { 0x47, 1, 0, 0, 0, 0, 1, len };

    le16_put(d + 2, base);
    le16_put(d + 4, base);
    aml_bytes(a, d, sizeof(d));
}

void aml_crs_irq(struct aml *a, unsigned irq)
{
    uint8_t d[3] = { 0x22 };

    le16_put(d + 1, (uint16_t)(1u << irq));
    aml_bytes(a, d, sizeof(d));
}

void aml_crs_memory32(struct aml *a, uint32_t base, uint32_t len)
{
    uint8_t d[12] = { 0x86, 9, 0, 1 };

    le32_put(d + 4, base);
    le32_put(d + 8, len);
    aml_bytes(a, d, sizeof(d));
}

void aml_crs_gsi(struct aml *a, uint32_t gsi, bool edge)
{
    /* Extended interrupt (ACPI 6.4, 6.4.3.6): consumer, active high, exclusive. */
    uint8_t d[9] = { 0x89, 6, 0, edge ? 3 : 1, 1 };

    le32_put(d + 5, gsi);
    aml_bytes(a, d, sizeof(d));
}
