/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * uri.h - connection URIs: DRIVER[+TRANSPORT]://[USER@][HOST][:PORT]/PATH[?NAME=VALUE&...].
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { URI_PARAMS_MAX = 32 };

struct uri {
    char *driver;      /* "qemu" */
    char *transport;   /* "unix", "tls" ...; NULL: as the host says */
    char *user, *host; /* NULL: none */
    uint32_t port;     /* 0: none */
    char *path;        /* "/system" */
    struct {
        char *name, *value;
    } params[URI_PARAMS_MAX];
    unsigned n_params;
};

int uri_parse(const char *text, struct uri *ret, struct err **err) MUST_CHECK;
void uri_done(struct uri *u);
/* NULL: not given. */
const char *uri_param(const struct uri *u, const char *name);
/* What the server is asked to open: without transport, host and our parameters. Owned. */
char *uri_for_server(const struct uri *u);
