/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* url.h - names of the form SCHEME://[USER@]HOST[:PORT]/PATH[?QUERY] (RFC 3986). */
#pragma once

#include "base/own.h"

#include <stdbool.h>

struct url {
    char *user; /* each owned; NULL when it is not there */
    char *host; /* without the brackets of an IPv6 address */
    char *port;
    char *path;  /* with its first slash; "" when there is none */
    char *query; /* behind the '?', not decoded */
};

/* Decodes %XX. False: the text is no such name, or there is no memory. */
bool url_parse(const char *text, struct url *ret);
void url_done(struct url *u);
/* Owned: len bytes of s with %XX decoded. */
char *url_decode(const char *s, size_t len);
