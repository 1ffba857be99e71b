/* SPDX-License-Identifier: GPL-2.0-or-later */
/* table.c - columns as wide as their widest cell. */
#include "tools/vireo/shell.h"

#include <stdarg.h>
#include <wchar.h>

enum { COLUMNS_MAX = 16 };

struct table {
    unsigned n, rows, room;
    char **cells; /* owned, with the texts; the first row is the header */
};

static size_t width(const char *s)
{
    wchar_t w;
    mbstate_t state = { 0 };
    size_t total = 0;

    while (*s != '\0') {
        size_t n = mbrtowc(&w, s, 8, &state);

        if (n == (size_t)-1 || n == (size_t)-2 || n == 0) {
            s++;
            total++;
            memset(&state, 0, sizeof(state));
            continue;
        }
        total += wcwidth(w) > 0 ? (size_t)wcwidth(w) : 0;
        s += n;
    }
    return total;
}

static void add_row(struct table *t, const char *const *cells)
{
    if (t->rows == t->room) {
        unsigned room = t->room > 0 ? t->room * 2 : 16;
        char **p = realloc(t->cells, room * t->n * sizeof(*p));

        if (p == NULL) {
            return;
        }
        t->cells = p;
        t->room = room;
    }
    for (unsigned i = 0; i < t->n; i++) {
        t->cells[t->rows * t->n + i] = strdup(cells[i] != NULL ? cells[i] : "");
    }
    t->rows++;
}

struct table *table_new(const char *first, ...)
{
    struct table *t = calloc(1, sizeof(*t));
    const char *cells[COLUMNS_MAX];
    va_list ap;

    if (t == NULL) {
        return NULL;
    }
    va_start(ap, first);
    for (const char *s = first; s != NULL && t->n < COLUMNS_MAX; s = va_arg(ap, const char *)) {
        cells[t->n++] = s;
    }
    va_end(ap);
    add_row(t, cells);
    return t;
}

void table_row(struct table *t, const char *first, ...)
{
    const char *cells[COLUMNS_MAX];
    va_list ap;

    if (t == NULL) {
        return;
    }
    cells[0] = first;
    va_start(ap, first);
    for (unsigned i = 1; i < t->n; i++) {
        cells[i] = va_arg(ap, const char *);
    }
    va_end(ap);
    add_row(t, cells);
}

void table_print(struct table *t, const struct shell *sh, bool header)
{
    size_t widths[COLUMNS_MAX] = { 0 }, total = 0;
    bool with_header = header && !sh->quiet;

    if (t == NULL) {
        return;
    }
    for (unsigned r = with_header ? 0 : 1; r < t->rows; r++) {
        for (unsigned i = 0; i < t->n; i++) {
            size_t w = t->cells[r * t->n + i] != NULL ? width(t->cells[r * t->n + i]) : 0;

            widths[i] = w > widths[i] ? w : widths[i];
        }
    }
    for (unsigned i = 0; i < t->n; i++) {
        total += widths[i] + 3;
    }
    for (unsigned r = 0; r < t->rows; r++) {
        for (unsigned i = 0; i < t->n && (r > 0 || with_header); i++) {
            const char *s = t->cells[r * t->n + i] != NULL ? t->cells[r * t->n + i] : "";

            printf(" %s%*s", s, i + 1 < t->n ? (int)(widths[i] - width(s) + 2) : 0, "");
        }
        if (r > 0 || with_header) {
            (void)putchar('\n');
        }
        if (r == 0 && with_header) {
            for (size_t k = 0; k < total; k++) {
                (void)putchar('-');
            }
            (void)putchar('\n');
        }
    }
    for (unsigned i = 0; i < t->rows * t->n; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    free(t);
}
