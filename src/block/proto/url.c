/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/proto/url.h"

#include <string.h>

static int hex_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

char *url_decode(const char *s, size_t len)
{
    char *out = malloc(len + 1);
    size_t to = 0;

    for (size_t i = 0; out != NULL && i < len; i++) {
        if (s[i] == '%' && i + 2 < len && hex_of(s[i + 1]) >= 0 && hex_of(s[i + 2]) >= 0) {
            out[to++] = (char)(hex_of(s[i + 1]) * 16 + hex_of(s[i + 2]));
            i += 2;
        } else {
            out[to++] = s[i];
        }
    }
    if (out != NULL) {
        out[to] = '\0';
    }
    return out;
}

bool url_parse(const char *text, struct url *ret)
{
    const char *at = strstr(text, "://");
    const char *end;
    const char *user;
    const char *colon;
    const char *query;

    *ret = (struct url) { 0 };
    if (at == NULL) {
        return false;
    }
    at += 3;
    end = at + strcspn(at, "/?");
    user = memchr(at, '@', (size_t)(end - at));
    if (user != NULL) {
        ret->user = url_decode(at, (size_t)(user - at));
        at = user + 1;
    }
    if (*at == '[') {
        const char *close = memchr(at, ']', (size_t)(end - at));

        if (close == NULL || (close + 1 < end && close[1] != ':')) {
            url_done(ret);
            return false;
        }
        ret->host = url_decode(at + 1, (size_t)(close - at - 1));
        colon = close + 1 < end ? close + 1 : NULL;
    } else {
        colon = memchr(at, ':', (size_t)(end - at));
        ret->host = url_decode(at, (size_t)((colon != NULL ? colon : end) - at));
    }
    if (colon != NULL && colon + 1 < end) {
        ret->port = url_decode(colon + 1, (size_t)(end - colon - 1));
    }
    query = strchr(end, '?');
    ret->path = url_decode(end, query != NULL ? (size_t)(query - end) : strlen(end));
    ret->query = query != NULL ? strdup(query + 1) : NULL;
    return ret->host != NULL && ret->path != NULL;
}

void url_done(struct url *u)
{
    free_memp(&u->user);
    free_memp(&u->host);
    free_memp(&u->port);
    free_memp(&u->path);
    free_memp(&u->query);
}
