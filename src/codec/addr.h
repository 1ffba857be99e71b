/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * addr.h - socket addresses as text: "unix:PATH", "tcp:HOST:PORT", "HOST:PORT", "[::1]:PORT",
 * "fd:NAME", "vsock:CID:PORT". Bytes and text only: nothing is resolved or opened here.
 */
#pragma once

#include "base/err.h"

#include <stdint.h>

enum addr_kind { ADDR_UNIX, ADDR_TCP, ADDR_FD, ADDR_VSOCK };

struct addr {
    enum addr_kind kind;
    char *host; /* TCP host ("" for any), UNIX path, or FD name; owned */
    uint32_t port;
    uint32_t cid;
};

/* Without a scheme the text is HOST:PORT. */
int addr_parse(const char *text, struct addr *ret, struct err **err) MUST_CHECK;
void addr_done(struct addr *a);
/* As addr_parse() reads it, owned by the caller; NULL when there is no memory. */
char *addr_format(const struct addr *a);
