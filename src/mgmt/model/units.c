/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/model/units.h"

#include "base/bytes.h"
#include "rpc/fault.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <sys/random.h>

int unit_scale(const char *unit, uint64_t *ret)
{
    static const char letters[] = "kmgtpe";
    const char *p;
    uint64_t base = 1024;

    if (unit == NULL || *unit == '\0' || strcasecmp(unit, "b") == 0 ||
        strcasecmp(unit, "byte") == 0 || strcasecmp(unit, "bytes") == 0) {
        *ret = 1;
        return 0;
    }
    p = strchr(letters, tolower((unsigned char)unit[0]));
    if (p == NULL) {
        return -EINVAL;
    }
    if (unit[1] != '\0' && strcasecmp(unit + 1, "ib") != 0) {
        if (strcasecmp(unit + 1, "b") != 0) {
            return -EINVAL;
        }
        base = 1000;
    }
    *ret = 1;
    for (ptrdiff_t i = p - letters; i >= 0; i--) {
        *ret *= base;
    }
    return 0;
}

int unit_normalize(struct node *n, uint64_t default_scale, uint64_t out_scale, const char *out_unit,
                   int domain, struct err **err)
{
    const char *unit = node_attr(n, "unit");
    uint64_t v, scale = default_scale;
    AUTO_FREE char *text = NULL;

    if (n->text == NULL || str_to_u64(n->text, 10, &v) < 0) {
        return err_set(err, FAULT_CODE(domain, XML_ERROR),
                       "Invalid value '%s' for element or attribute './%s[1]'",
                       n->text != NULL ? n->text : "", n->name);
    }
    if (unit != NULL && unit_scale(unit, &scale) < 0) {
        return err_set(err, FAULT_CODE(domain, INVALID_ARG), "unknown suffix '%s'", unit);
    }
    if (!u64_mul(v, scale, &v)) {
        return err_set(err, FAULT_CODE(domain, OVERFLOW), "value too large: %s%s", n->text,
                       unit != NULL ? unit : "");
    }
    v = v / out_scale + (v % out_scale != 0);
    text = str_format("%llu", (unsigned long long)v);
    if (text == NULL || node_set_text(n, text) < 0 || node_set_attr(n, "unit", out_unit) < 0) {
        return -ENOMEM;
    }
    return 0;
}

void uuid_generate(uint8_t uuid[16])
{
    (void)!getrandom(uuid, 16, 0);
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

static int nibble(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int uuid_parse(const char *s, uint8_t uuid[16])
{
    while (isspace((unsigned char)*s)) {
        s++;
    }
    for (int i = 0; i < 16; i++) {
        int hi, lo;

        while (*s == '-') {
            s++;
        }
        hi = nibble(s[0]);
        lo = hi >= 0 ? nibble(s[1]) : -1;
        if (lo < 0) {
            return -EINVAL;
        }
        uuid[i] = (uint8_t)(hi << 4 | lo);
        s += 2;
    }
    while (isspace((unsigned char)*s)) {
        s++;
    }
    return *s == '\0' ? 0 : -EINVAL;
}

void uuid_format(const uint8_t u[16], char text[UUID_TEXT_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    char *p = text;

    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *p++ = '-';
        }
        *p++ = hex[u[i] >> 4];
        *p++ = hex[u[i] & 15];
    }
    *p = '\0';
}

int mac_parse(const char *s, uint8_t mac[6])
{
    for (int i = 0; i < 6; i++) {
        int hi = nibble(s[0]), lo;

        if (hi < 0) {
            return -EINVAL;
        }
        lo = nibble(s[1]);
        if (lo < 0) {
            lo = hi;
            hi = 0;
            s += 1;
        } else {
            s += 2;
        }
        mac[i] = (uint8_t)(hi << 4 | lo);
        if (*s != (i < 5 ? ':' : '\0')) {
            return -EINVAL;
        }
        s++;
    }
    return 0;
}

void mac_format(const uint8_t m[6], char text[MAC_TEXT_BYTES])
{
    (void)snprintf(text, MAC_TEXT_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
                   m[4], m[5]);
}

void mac_generate(char text[MAC_TEXT_BYTES])
{
    uint8_t m[6] = { 0x52, 0x54, 0x00 };

    (void)!getrandom(m + 3, 3, 0);
    mac_format(m, text);
}

int cpuset_parse(const char *s, uint8_t *map, size_t bytes)
{
    memset(map, 0, bytes);
    for (;;) {
        bool off = false;
        unsigned long a, b;
        char *end;

        while (isspace((unsigned char)*s)) {
            s++;
        }
        if (*s == '^') {
            off = true;
            s++;
        }
        if (!isdigit((unsigned char)*s)) {
            return -EINVAL;
        }
        a = b = strtoul(s, &end, 10);
        if (*end == '-') {
            s = end + 1;
            if (off || !isdigit((unsigned char)*s)) {
                return -EINVAL;
            }
            b = strtoul(s, &end, 10);
        }
        if (b < a || b >= bytes * 8) {
            return -EINVAL;
        }
        for (unsigned long i = a; i <= b; i++) {
            if (off) {
                map[i / 8] &= (uint8_t) ~(1u << (i % 8));
            } else {
                map[i / 8] |= (uint8_t)(1u << (i % 8));
            }
        }
        s = end;
        while (isspace((unsigned char)*s)) {
            s++;
        }
        if (*s == '\0') {
            return 0;
        }
        if (*s++ != ',') {
            return -EINVAL;
        }
    }
}

char *cpuset_format(const uint8_t *map, size_t bytes)
{
    struct strbuf b = STRBUF_INIT(CPUSET_MAX * 8);
    size_t n = bytes * 8;

    for (size_t i = 0; i < n; i++) {
        size_t j = i;

        if (!(map[i / 8] & (1u << (i % 8)))) {
            continue;
        }
        while (j + 1 < n && (map[(j + 1) / 8] & (1u << ((j + 1) % 8)))) {
            j++;
        }
        strbuf_printf(&b, j > i ? "%s%zu-%zu" : "%s%zu", b.len > 0 ? "," : "", i, j);
        i = j;
    }
    return strbuf_take(&b);
}
