/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

static char *vformat(const char *fmt, va_list ap)
{
    char *out = NULL;

    return vasprintf(&out, fmt, ap) < 0 ? NULL : out;
}

int err_set(struct err **err, int code, const char *fmt, ...)
{
    struct err *e;
    va_list ap;

    if (err == NULL || *err != NULL) {
        return -code;
    }
    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return -code;
    }
    e->code = code;
    va_start(ap, fmt);
    e->text = vformat(fmt, ap);
    va_end(ap);
    *err = e;
    return -code;
}

void err_prefix(struct err **err, const char *fmt, ...)
{
    AUTO_FREE char *head = NULL;
    char *joined = NULL;
    va_list ap;

    if (err == NULL || *err == NULL) {
        return;
    }
    va_start(ap, fmt);
    head = vformat(fmt, ap);
    va_end(ap);
    if (head == NULL || asprintf(&joined, "%s%s", head, (*err)->text) < 0) {
        return; /* keep the text we have */
    }
    free((*err)->text);
    (*err)->text = joined;
}

struct err *err_free(struct err *err)
{
    if (err != NULL) {
        free(err->text);
        free(err);
    }
    return NULL;
}
