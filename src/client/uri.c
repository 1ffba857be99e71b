/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/uri.h"

#include "base/str.h"
#include "rpc/fault.h"

#include <errno.h>

static char *unescape(const char *s, size_t len)
{
    char *out = malloc(len + 1), *p = out;

    for (size_t i = 0; out != NULL && i < len; i++) {
        char hex[3] = { 0 };
        uint64_t v;

        if (s[i] == '%' && i + 2 < len) {
            memcpy(hex, s + i + 1, 2);
            if (str_to_u64(hex, 16, &v) == 0) {
                *p++ = (char)v;
                i += 2;
                continue;
            }
        }
        *p++ = s[i];
    }
    if (out != NULL) {
        *p = '\0';
    }
    return out;
}

static int read_params(const char *query, struct uri *u)
{
    while (*query != '\0' && u->n_params < URI_PARAMS_MAX) {
        size_t len = strcspn(query, "&;#"), name = strcspn(query, "=&;#");

        if (len > 0) {
            u->params[u->n_params].name = unescape(query, name < len ? name : len);
            u->params[u->n_params].value =
                name < len ? unescape(query + name + 1, len - name - 1) : strdup("");
            u->n_params++;
            if (u->params[u->n_params - 1].name == NULL ||
                u->params[u->n_params - 1].value == NULL) {
                return -ENOMEM;
            }
        }
        query += len;
        query += *query != '\0' ? 1 : 0;
    }
    return 0;
}

static int read_authority(const char *s, size_t len, struct uri *u, const char *text,
                          struct err **err)
{
    const char *at = memchr(s, '@', len), *end = s + len, *colon;

    if (at != NULL) {
        u->user = unescape(s, (size_t)(at - s));
        s = at + 1;
    }
    if (s < end && *s == '[') {
        const char *close = memchr(s, ']', (size_t)(end - s));

        if (close == NULL) {
            return fault(err, DOM_URI, INTERNAL_ERROR, "Unable to parse URI %s", text);
        }
        u->host = strndup(s + 1, (size_t)(close - s - 1));
        colon = close + 1 < end && close[1] == ':' ? close + 1 : NULL;
    } else {
        colon = memchr(s, ':', (size_t)(end - s));
        if (s < (colon != NULL ? colon : end)) {
            u->host = unescape(s, (size_t)((colon != NULL ? colon : end) - s));
        }
    }
    if (colon != NULL && colon + 1 < end) {
        AUTO_FREE char *digits = strndup(colon + 1, (size_t)(end - colon - 1));

        if (digits == NULL || str_to_u32(digits, 65535, &u->port) < 0) {
            return fault(err, DOM_URI, INTERNAL_ERROR, "Unable to parse URI %s", text);
        }
    }
    return 0;
}

int uri_parse(const char *text, struct uri *ret, struct err **err)
{
    const char *colon = strchr(text, ':'), *plus, *path, *query;
    int r;

    memset(ret, 0, sizeof(*ret));
    if (colon == NULL || !str_starts(colon, "://") || colon == text) {
        return fault(err, DOM_URI, INTERNAL_ERROR, "Unable to parse URI %s", text);
    }
    plus = memchr(text, '+', (size_t)(colon - text));
    ret->driver = strndup(text, (size_t)((plus != NULL ? plus : colon) - text));
    ret->transport = plus != NULL ? strndup(plus + 1, (size_t)(colon - plus - 1)) : NULL;
    path = colon + 3 + strcspn(colon + 3, "/?");
    query = path + strcspn(path, "?");
    ret->path = unescape(path, (size_t)(query - path));
    r = read_authority(colon + 3, (size_t)(path - colon - 3), ret, text, err);
    if (r == 0 && *query == '?') {
        r = read_params(query + 1, ret);
    }
    if (r == 0 && (ret->driver == NULL || ret->path == NULL)) {
        r = -ENOMEM;
    }
    if (r < 0) {
        uri_done(ret);
    }
    return r;
}

void uri_done(struct uri *u)
{
    free(u->driver);
    free(u->transport);
    free(u->user);
    free(u->host);
    free(u->path);
    for (unsigned i = 0; i < u->n_params; i++) {
        free(u->params[i].name);
        free(u->params[i].value);
    }
    memset(u, 0, sizeof(*u));
}

const char *uri_param(const struct uri *u, const char *name)
{
    for (unsigned i = 0; i < u->n_params; i++) {
        if (str_eq(u->params[i].name, name)) {
            return u->params[i].value;
        }
    }
    return NULL;
}

char *uri_for_server(const struct uri *u)
{
    const char *name = uri_param(u, "name");

    return name != NULL ? strdup(name) : str_format("%s://%s", u->driver, u->path);
}
