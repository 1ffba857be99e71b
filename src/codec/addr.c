/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "codec/addr.h"

#include "base/str.h"

#include <errno.h>

void addr_done(struct addr *a)
{
    free_memp(&a->host);
}

static int parse_host_port(const char *text, struct addr *ret, struct err **err)
{
    const char *colon = strrchr(text, ':');
    size_t len;

    if (colon == NULL) {
        return err_set(err, EINVAL, "'%s' has no port: write HOST:PORT", text);
    }
    if (str_to_u32(colon + 1, 65535, &ret->port) < 0) {
        return err_set(err, EINVAL, "'%s' is not a port (0 to 65535)", colon + 1);
    }
    len = (size_t)(colon - text);
    if (*text == '[') {
        if (len < 2 || text[len - 1] != ']') {
            return err_set(err, EINVAL, "'%s' has no ']' before its port", text);
        }
        text++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL) {
        return err_set(err, EINVAL, "'%s': write an IPv6 address as [ADDRESS]:PORT", text);
    }
    ret->kind = ADDR_TCP;
    ret->host = strndup(text, len);
    return ret->host != NULL ? 0 : -ENOMEM;
}

static int parse_vsock(const char *text, struct addr *ret, struct err **err)
{
    size_t len = strcspn(text, ":");
    AUTO_FREE char *cid = strndup(text, len);

    if (cid == NULL) {
        return -ENOMEM;
    }
    ret->kind = ADDR_VSOCK;
    if (text[len] != ':' || str_to_u32(cid, UINT32_MAX, &ret->cid) < 0 ||
        str_to_u32(text + len + 1, UINT32_MAX, &ret->port) < 0) {
        return err_set(err, EINVAL, "'%s' is not CID:PORT", text);
    }
    return 0;
}

int addr_parse(const char *text, struct addr *ret, struct err **err)
{
    *ret = (struct addr) { .kind = ADDR_TCP };
    if (str_starts(text, "unix:") || str_starts(text, "fd:")) {
        const char *rest = strchr(text, ':') + 1;

        if (*rest == '\0') {
            return err_set(err, EINVAL, "'%s' lacks a name", text);
        }
        ret->kind = *text == 'u' ? ADDR_UNIX : ADDR_FD;
        ret->host = strdup(rest);
        return ret->host != NULL ? 0 : -ENOMEM;
    }
    if (str_starts(text, "vsock:")) {
        return parse_vsock(text + strlen("vsock:"), ret, err);
    }
    return parse_host_port(str_starts(text, "tcp:") ? text + strlen("tcp:") : text, ret, err);
}

char *addr_format(const struct addr *a)
{
    switch (a->kind) {
    case ADDR_UNIX:
        return str_format("unix:%s", a->host);
    case ADDR_FD:
        return str_format("fd:%s", a->host);
    case ADDR_VSOCK:
        return str_format("vsock:%u:%u", a->cid, a->port);
    case ADDR_TCP:
        break;
    }
    return str_format(strchr(a->host, ':') != NULL ? "tcp:[%s]:%u" : "tcp:%s:%u", a->host, a->port);
}
