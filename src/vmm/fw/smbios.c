/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * smbios.c - structures of types 0 (only when asked for; firmware has its own), 1, 2 (when asked
 * for), 3, 4, 11, 16, 17, 19, 32, 127.
 */
#include "vmm/fw/smbios.h"

#include "base/bytes.h"
#include "base/str.h"
#include "codec/keyval.h"
#include "os/fd.h"

#include <errno.h>
#include <stdio.h>

enum { MAX_BYTES = 60000, MAX_STRINGS = 64, MAX_FILE = 65536 };

struct builder {
    struct strbuf out;
    unsigned n; /* structures */
    size_t largest;
    size_t begin; /* of the current structure */
    struct strbuf strings;
    unsigned n_strings;
};

static uint8_t *open_structure(uint8_t *buf, uint8_t type, uint8_t len, uint16_t handle)
{
    memset(buf, 0, len);
    buf[0] = type;
    buf[1] = len;
    le16_put(buf + 2, handle);
    return buf;
}

/* The index of a string of the current structure; 0: none. */
static uint8_t string(struct builder *b, const char *s)
{
    if (s == NULL || *s == '\0' || b->n_strings == MAX_STRINGS) {
        return 0;
    }
    strbuf_append(&b->strings, s, strlen(s) + 1);
    return (uint8_t)++b->n_strings;
}

static void close_structure(struct builder *b, const uint8_t *buf)
{
    size_t before = b->out.len;

    strbuf_append(&b->out, buf, buf[1]);
    if (b->n_strings == 0) {
        strbuf_append(&b->out, "\0\0", 2);
    } else {
        strbuf_append(&b->out, b->strings.s, b->strings.len);
        strbuf_append(&b->out, "\0", 1);
    }
    strbuf_done(&b->strings);
    b->strings = (struct strbuf)STRBUF_INIT(8192);
    b->n_strings = 0;
    b->n++;
    if (b->out.len - before > b->largest) {
        b->largest = b->out.len - before;
    }
}

/* An option of -smbios type=N, or the default. */
static const char *option(const struct smbios_config *c, unsigned type, const char *key,
                          const char *dflt)
{
    for (size_t i = c->n_options; i-- > 0;) {
        const char *t = keyval_get(c->options[i], "type");
        uint64_t n;
        const char *v;

        if (t != NULL && str_to_u64(t, 0, &n) == 0 && n == type) {
            v = keyval_get(c->options[i], key);
            if (v != NULL) {
                return v;
            }
        }
    }
    return dflt;
}

static bool wanted(const struct smbios_config *c, unsigned type)
{
    for (size_t i = 0; i < c->n_options; i++) {
        const char *t = keyval_get(c->options[i], "type");
        uint64_t n;

        if (t != NULL && str_to_u64(t, 0, &n) == 0 && n == type) {
            return true;
        }
    }
    return false;
}

static void add_bios(struct builder *b, const struct smbios_config *c)
{
    uint8_t s[24];
    const char *release = option(c, 0, "release", NULL);
    unsigned major = 0;
    unsigned minor = 0;

    if (!wanted(c, 0)) {
        return;
    }
    (void)open_structure(s, 0, sizeof(s), 0);
    s[4] = string(b, option(c, 0, "vendor", NULL));
    s[5] = string(b, option(c, 0, "version", NULL));
    le16_put(s + 6, 0xe800);
    s[8] = string(b, option(c, 0, "date", NULL));
    s[10] = 8;    /* characteristics are not supported */
    s[19] = 0x14; /* UEFI not, virtual machine, targeted content */
    s[20] = s[21] = s[22] = s[23] = 0xff;
    if (release != NULL && sscanf(release, "%3u.%3u", &major, &minor) == 2) {
        s[20] = (uint8_t)major;
        s[21] = (uint8_t)minor;
    }
    close_structure(b, s);
}

/* The first three fields of a UUID are little-endian here (DSP0134, 7.2.1). */
static void put_uuid(uint8_t *to, const uint8_t *u)
{
    static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

    for (unsigned i = 0; i < 16; i++) {
        to[i] = u[order[i]];
    }
}

static void add_system(struct builder *b, const struct smbios_config *c)
{
    uint8_t s[27];

    (void)open_structure(s, 1, sizeof(s), 0x100);
    s[4] = string(b, option(c, 1, "manufacturer", "QEMU"));
    s[5] = string(b, option(c, 1, "product", c->product));
    s[6] = string(b, option(c, 1, "version", c->version));
    s[7] = string(b, option(c, 1, "serial", NULL));
    if (c->uuid != NULL) {
        put_uuid(s + 8, c->uuid);
    }
    s[24] = 6; /* power switch */
    s[25] = string(b, option(c, 1, "sku", NULL));
    s[26] = string(b, option(c, 1, "family", NULL));
    close_structure(b, s);
}

static void add_board(struct builder *b, const struct smbios_config *c)
{
    uint8_t s[15];

    if (!wanted(c, 2)) {
        return;
    }
    (void)open_structure(s, 2, sizeof(s), 0x200);
    s[4] = string(b, option(c, 2, "manufacturer", "QEMU"));
    s[5] = string(b, option(c, 2, "product", c->product));
    s[6] = string(b, option(c, 2, "version", c->version));
    s[7] = string(b, option(c, 2, "serial", NULL));
    s[8] = string(b, option(c, 2, "asset", NULL));
    s[9] = 1; /* hosting board */
    s[10] = string(b, option(c, 2, "location", NULL));
    le16_put(s + 11, 0x300);
    s[13] = 0xa; /* motherboard */
    close_structure(b, s);
}

static void add_chassis(struct builder *b, const struct smbios_config *c)
{
    uint8_t s[22];

    (void)open_structure(s, 3, sizeof(s), 0x300);
    s[4] = string(b, option(c, 3, "manufacturer", "QEMU"));
    s[5] = 1; /* other */
    s[6] = string(b, option(c, 3, "version", c->version));
    s[7] = string(b, option(c, 3, "serial", NULL));
    s[8] = string(b, option(c, 3, "asset", NULL));
    s[9] = s[10] = s[11] = 3; /* safe */
    s[12] = 2;                /* security: unknown */
    s[21] = string(b, option(c, 3, "sku", NULL));
    close_structure(b, s);
}

static void add_cpus(struct builder *b, const struct smbios_config *c)
{
    for (unsigned i = 0; i < c->sockets; i++) {
        uint8_t s[42];
        char name[32];

        (void)open_structure(s, 4, sizeof(s), (uint16_t)(0x400 + i));
        (void)snprintf(name, sizeof(name), "%s %u", option(c, 4, "sock_pfx", "CPU"), i);
        s[4] = string(b, name);
        s[5] = 3; /* central processor */
        s[6] = 1; /* family: other */
        s[7] = string(b, option(c, 4, "manufacturer", "QEMU"));
        s[16] = string(b, option(c, 4, "version", c->version));
        le16_put(s + 20, 2000);
        le16_put(s + 22, 2000);
        s[24] = 0x41; /* populated, enabled */
        s[25] = 1;
        le16_put(s + 26, 0xffff);
        le16_put(s + 28, 0xffff);
        le16_put(s + 30, 0xffff);
        s[32] = string(b, option(c, 4, "serial", NULL));
        s[33] = string(b, option(c, 4, "asset", NULL));
        s[34] = string(b, option(c, 4, "part", NULL));
        s[35] = s[36] = (uint8_t)(c->cores < 255 ? c->cores : 255);
        s[37] = (uint8_t)(c->cores * c->threads < 255 ? c->cores * c->threads : 255);
        le16_put(s + 38, 2); /* characteristics: unknown */
        le16_put(s + 40, 1);
        close_structure(b, s);
    }
}

static void add_oem_strings(struct builder *b, const struct smbios_config *c)
{
    uint8_t s[5];

    if (!wanted(c, 11)) {
        return;
    }
    (void)open_structure(s, 11, sizeof(s), 0xe00);
    for (size_t i = 0; i < c->n_options; i++) {
        for (size_t j = 0; j < c->options[i]->n; j++) {
            if (str_eq(c->options[i]->pairs[j].key, "value")) {
                c->options[i]->pairs[j].used = true;
                (void)string(b, c->options[i]->pairs[j].value);
            }
        }
    }
    s[4] = (uint8_t)b->n_strings;
    close_structure(b, s);
}

/* Modules of 16 GiB, as QEMU's. */
static void add_memory(struct builder *b, const struct smbios_config *c)
{
    const uint64_t module = 16ull << 30;
    uint64_t total = c->ram_low + c->ram_high;
    unsigned n = (unsigned)((total + module - 1) / module);
    uint8_t s[40];

    (void)open_structure(s, 16, 23, 0x1000);
    s[4] = 1; /* other */
    s[5] = 3; /* system memory */
    s[6] = 6; /* multi-bit ECC */
    if (total >> 10 < 0x80000000u) {
        le32_put(s + 7, (uint32_t)(total >> 10));
    } else {
        le32_put(s + 7, 0x80000000u);
        le64_put(s + 15, total);
    }
    le16_put(s + 11, 0xfffe);
    le16_put(s + 13, (uint16_t)n);
    close_structure(b, s);
    for (unsigned i = 0; i < n; i++) {
        uint64_t mib = min_u64(module, total - i * module) >> 20;
        char name[32];

        (void)open_structure(s, 17, sizeof(s), (uint16_t)(0x1100 + i));
        le16_put(s + 4, 0x1000);
        le16_put(s + 6, 0xfffe);
        le16_put(s + 8, 0xffff);
        le16_put(s + 10, 0xffff);
        le16_put(s + 12, (uint16_t)(mib < 0x7fff ? mib : 0x7fff));
        if (mib >= 0x7fff) {
            le32_put(s + 28, (uint32_t)mib);
        }
        s[14] = 9; /* DIMM */
        (void)snprintf(name, sizeof(name), "%s %u", option(c, 17, "loc_pfx", "DIMM"), i);
        s[16] = string(b, name);
        s[17] = string(b, option(c, 17, "bank", NULL));
        s[18] = 7; /* RAM */
        s[19] = 2;
        s[23] = string(b, option(c, 17, "manufacturer", "QEMU"));
        s[24] = string(b, option(c, 17, "serial", NULL));
        s[25] = string(b, option(c, 17, "asset", NULL));
        s[26] = string(b, option(c, 17, "part", NULL));
        close_structure(b, s);
    }
    for (unsigned i = 0; i < (c->ram_high > 0 ? 2u : 1u); i++) {
        uint64_t from = i == 0 ? 0 : 1ull << 32;
        uint64_t end = from + (i == 0 ? c->ram_low : c->ram_high);

        (void)open_structure(s, 19, 31, (uint16_t)(0x1300 + i));
        if (end >> 10 < 0xffffffffu) {
            le32_put(s + 4, (uint32_t)(from >> 10));
            le32_put(s + 8, (uint32_t)((end >> 10) - 1));
        } else {
            le32_put(s + 4, 0xffffffff);
            le32_put(s + 8, 0xffffffff);
            le64_put(s + 15, from);
            le64_put(s + 23, end - 1);
        }
        le16_put(s + 12, 0x1000);
        s[14] = 1;
        close_structure(b, s);
    }
}

static int add_file(struct builder *b, const char *path, struct err **err)
{
    AUTO_FREE char *data = NULL;
    size_t len;
    int r = file_slurp(path, MAX_FILE, &data, &len);

    if (r < 0) {
        return err_set(err, -r, "-smbios: cannot read '%s': %s", path, strerror(-r));
    }
    if (len < 6 || (uint8_t)data[1] > len) {
        return err_set(err, EINVAL, "-smbios: '%s' is no SMBIOS structure", path);
    }
    strbuf_append(&b->out, data, len);
    b->n++;
    if (len > b->largest) {
        b->largest = len;
    }
    return 0;
}

static uint8_t sum_of(const uint8_t *p, size_t len)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++) {
        sum = (uint8_t)(sum + p[i]);
    }
    return sum;
}

int smbios_build(const struct smbios_config *c, uint8_t **ret, size_t *ret_len, uint8_t anchor[31],
                 struct err **err)
{
    struct builder b = { .out = STRBUF_INIT(MAX_BYTES), .strings = STRBUF_INIT(8192) };
    uint8_t s[11];
    int r = 0;

    add_bios(&b, c);
    add_system(&b, c);
    add_board(&b, c);
    add_chassis(&b, c);
    add_cpus(&b, c);
    add_oem_strings(&b, c);
    add_memory(&b, c);
    for (size_t i = 0; i < c->n_options && r == 0; i++) {
        const char *file = keyval_get(c->options[i], "file");

        r = file != NULL ? add_file(&b, file, err) : 0;
    }
    (void)open_structure(s, 32, sizeof(s), 0x2000); /* boot status: no errors */
    close_structure(&b, s);
    (void)open_structure(s, 127, 4, 0x7f00);
    close_structure(&b, s);
    strbuf_done(&b.strings);
    for (size_t i = 0; i < c->n_options && r == 0; i++) {
        (void)keyval_get(c->options[i], "uefi");
        (void)keyval_get(c->options[i], "uuid");
        (void)keyval_get(c->options[i], "speed");
        r = keyval_check_used(c->options[i], err);
    }
    *ret_len = b.out.len;
    if (r < 0) {
        strbuf_done(&b.out);
        return r;
    }
    *ret = (uint8_t *)strbuf_take(&b.out);
    if (*ret == NULL) {
        return err_set(err, ENOSPC, "the SMBIOS tables do not fit");
    }
    memset(anchor, 0, 31);
    memcpy(anchor, "_SM_", 4);
    anchor[5] = 31;
    anchor[6] = 2;
    anchor[7] = 8;
    le16_put(anchor + 8, (uint16_t)b.largest);
    memcpy(anchor + 16, "_DMI_", 5);
    le16_put(anchor + 22, (uint16_t)*ret_len);
    le16_put(anchor + 28, (uint16_t)b.n);
    anchor[30] = 0x28;
    anchor[21] = (uint8_t)-sum_of(anchor + 16, 15);
    anchor[4] = (uint8_t)-sum_of(anchor, 31);
    return 0;
}
