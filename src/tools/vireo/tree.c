/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/vireo/tree.h"

#include "base/str.h"

#include <stdio.h>

enum { INDENT_MAX = 4096 };

static int find(const char *const *names, uint32_t n, const char *name)
{
    for (uint32_t i = 0; name != NULL && i < n; i++) {
        if (str_eq(names[i], name)) {
            return (int)i;
        }
    }
    return -1;
}

/* A name and what is below it. The indent has a bar for each level above that goes on. */
static void branch(const char *const *names, const char *const *parents, uint32_t n, int at,
                   bool root, bool last, char *indent, size_t len)
{
    int last_child = -1;

    if (len + 8 > INDENT_MAX) {
        return;
    }
    printf("%s%s%s\n", indent, root ? "" : "+- ", names[at]);
    if (!root) {
        memcpy(indent + len, last ? "  " : "| ", 3);
        len += 2;
    }
    for (uint32_t i = 0; i < n; i++) {
        last_child = find(names, n, parents[i]) == at ? (int)i : last_child;
    }
    if (last_child >= 0) {
        printf("%s  |\n", indent);
    }
    memcpy(indent + len, "  ", 3);
    for (uint32_t i = 0; i < n; i++) {
        if (find(names, n, parents[i]) == at) {
            branch(names, parents, n, (int)i, false, (int)i == last_child, indent, len + 2);
        }
    }
    indent[len] = '\0';
    if (last_child < 0 && last) {
        printf("%s\n", indent);
    }
    indent[root ? len : len - 2] = '\0';
}

void tree_print(const char *const *names, const char *const *parents, uint32_t n)
{
    char indent[INDENT_MAX] = "";

    for (uint32_t i = 0; i < n; i++) {
        if (find(names, n, parents[i]) < 0) {
            branch(names, parents, n, (int)i, true, true, indent, 0);
        }
    }
}
