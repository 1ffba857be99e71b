/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/model/node.h"

#include "mgmt/model/schema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { XML_MAX = 64 << 20 };

struct node *node_new(const struct elem *e, const char *name)
{
    struct node *n = calloc(1, sizeof(*n));

    if (n != NULL) {
        n->elem = e;
        n->name = name;
    }
    return n;
}

struct node *node_free(struct node *n)
{
    if (n == NULL) {
        return NULL;
    }
    while (n->first != NULL) {
        struct node *c = n->first;

        n->first = c->next;
        c->parent = NULL;
        node_free(c);
    }
    for (unsigned i = 0; i < n->n_attrs; i++) {
        if (n->foreign) {
            free((void *)(uintptr_t)n->attrs[i].name);
        }
        free(n->attrs[i].value);
    }
    free(n->attrs);
    free(n->text);
    free(n->own_name);
    free(n);
    return NULL;
}

struct node *node_copy(const struct node *n)
{
    struct node *c = node_new(n->elem, n->name);

    if (c == NULL) {
        return NULL;
    }
    c->raw = n->raw;
    c->foreign = n->foreign;
    if (n->own_name != NULL) {
        c->own_name = strdup(n->own_name);
        c->name = c->own_name;
    }
    c->text = n->text != NULL ? strdup(n->text) : NULL;
    if (n->n_attrs > 0) {
        c->attrs = calloc(n->n_attrs, sizeof(*c->attrs));
        if (c->attrs == NULL) {
            return node_free(c);
        }
        for (unsigned i = 0; i < n->n_attrs; i++) {
            c->attrs[i].name = n->foreign ? strdup(n->attrs[i].name) : n->attrs[i].name;
            c->attrs[i].value = strdup(n->attrs[i].value);
            c->n_attrs++;
            if (c->attrs[i].value == NULL || c->attrs[i].name == NULL) {
                return node_free(c);
            }
        }
    }
    for (const struct node *k = n->first; k != NULL; k = k->next) {
        struct node *kc = node_copy(k);

        if (kc == NULL) {
            return node_free(c);
        }
        kc->parent = c;
        if (c->last != NULL) {
            c->last->next = kc;
        } else {
            c->first = kc;
        }
        c->last = kc;
    }
    return c;
}

struct node *node_child(const struct node *n, const char *name)
{
    for (struct node *c = n != NULL ? n->first : NULL; c != NULL; c = c->next) {
        if (str_eq(c->name, name)) {
            return c;
        }
    }
    return NULL;
}

struct node *node_next(const struct node *after, const char *name)
{
    for (struct node *c = after->next; c != NULL; c = c->next) {
        if (str_eq(c->name, name)) {
            return c;
        }
    }
    return NULL;
}

unsigned node_count(const struct node *n, const char *name)
{
    unsigned k = 0;

    for (struct node *c = node_child(n, name); c != NULL; c = node_next(c, name)) {
        k++;
    }
    return k;
}

/* Where among its siblings an element belongs. */
static unsigned rank(const struct node *parent, const char *name)
{
    unsigned i;
    const struct elem_ref *ref = parent->elem != NULL ? elem_child(parent->elem, name, &i) : NULL;

    return ref != NULL ? (ref->group != 0 ? ref->group : i + 1) : 100000;
}

void node_insert(struct node *n, struct node *child)
{
    unsigned at = rank(n, child->name);
    struct node *before = NULL;

    for (struct node *c = n->first; c != NULL && rank(n, c->name) <= at; c = c->next) {
        before = c;
    }
    child->parent = n;
    child->next = before != NULL ? before->next : n->first;
    if (before != NULL) {
        before->next = child;
    } else {
        n->first = child;
    }
    if (child->next == NULL) {
        n->last = child;
    }
}

struct node *node_add(struct node *n, const char *name)
{
    const struct elem_ref *ref = n->elem != NULL ? elem_child(n->elem, name, NULL) : NULL;
    struct node *c = node_new(ref != NULL ? ref->elem : NULL, ref != NULL ? ref->name : name);

    if (c != NULL) {
        node_insert(n, c);
    }
    return c;
}

struct node *node_need(struct node *n, const char *name)
{
    struct node *c = node_child(n, name);

    return c != NULL ? c : node_add(n, name);
}

struct node *node_detach(struct node *n)
{
    struct node *p = n->parent, *prev = NULL;

    if (p == NULL) {
        return n;
    }
    for (struct node *c = p->first; c != NULL && c != n; c = c->next) {
        prev = c;
    }
    if (prev != NULL) {
        prev->next = n->next;
    } else {
        p->first = n->next;
    }
    if (p->last == n) {
        p->last = prev;
    }
    n->next = NULL;
    n->parent = NULL;
    return n;
}

void node_remove(struct node *n, const char *name)
{
    struct node *c;

    while ((c = node_child(n, name)) != NULL) {
        node_free(node_detach(c));
    }
}

const char *node_attr(const struct node *n, const char *name)
{
    for (unsigned i = 0; n != NULL && i < n->n_attrs; i++) {
        if (str_eq(n->attrs[i].name, name)) {
            return n->attrs[i].value;
        }
    }
    return NULL;
}

int node_set_attr(struct node *n, const char *name, const char *value)
{
    struct node_attr *a;
    unsigned at = 0;
    int order;
    char *copy;

    for (unsigned i = 0; i < n->n_attrs; i++) {
        if (!str_eq(n->attrs[i].name, name)) {
            continue;
        }
        if (value == NULL) {
            free(n->attrs[i].value);
            memmove(&n->attrs[i], &n->attrs[i + 1], (n->n_attrs - i - 1) * sizeof(*a));
            n->n_attrs--;
            return 0;
        }
        copy = strdup(value);
        if (copy == NULL) {
            return -ENOMEM;
        }
        free(n->attrs[i].value);
        n->attrs[i].value = copy;
        return 0;
    }
    if (value == NULL) {
        return 0;
    }
    copy = strdup(value);
    a = copy != NULL ? realloc(n->attrs, (n->n_attrs + 1u) * sizeof(*a)) : NULL;
    if (a == NULL) {
        free(copy);
        return -ENOMEM;
    }
    n->attrs = a;
    order = n->elem != NULL ? elem_attr(n->elem, name) : -1;
    if (order >= 0) {
        name = n->elem->attrs[order].name;
        while (at < n->n_attrs && elem_attr(n->elem, a[at].name) < order) {
            at++;
        }
    } else {
        at = n->n_attrs;
    }
    memmove(&a[at + 1], &a[at], (n->n_attrs - at) * sizeof(*a));
    a[at] = (struct node_attr) { .name = name, .value = copy };
    n->n_attrs++;
    return 0;
}

int node_set_foreign(struct node *n, const char *name, const char *value)
{
    char *own = strdup(name), *copy = strdup(value);
    struct node_attr *a =
        own != NULL && copy != NULL ? realloc(n->attrs, (n->n_attrs + 1u) * sizeof(*a)) : NULL;

    if (a == NULL) {
        free(own);
        free(copy);
        return -ENOMEM;
    }
    n->attrs = a;
    a[n->n_attrs++] = (struct node_attr) { .name = own, .value = copy };
    return 0;
}

int node_set_text(struct node *n, const char *text)
{
    char *copy = text != NULL ? strdup(text) : NULL;

    if (text != NULL && copy == NULL) {
        return -ENOMEM;
    }
    free(n->text);
    n->text = copy;
    return 0;
}

/* The next part of a path, copied into part; NULL at the end. */
static const char *path_part(const char *path, char part[64])
{
    size_t len = strcspn(path, "/");

    if (len >= 64) {
        len = 63;
    }
    memcpy(part, path, len);
    part[len] = '\0';
    return path[len] == '/' ? path + len + 1 : NULL;
}

const char *node_get(const struct node *n, const char *path)
{
    char part[64];

    while (n != NULL) {
        const char *rest = path_part(path, part);

        if (part[0] == '@') {
            return node_attr(n, part + 1);
        }
        n = node_child(n, part);
        if (rest == NULL) {
            return n != NULL ? (n->text != NULL ? n->text : "") : NULL;
        }
        path = rest;
    }
    return NULL;
}

bool node_is(const struct node *n, const char *path, const char *value)
{
    const char *v = node_get(n, path);

    return v != NULL && str_eq(v, value);
}

uint64_t node_get_u64(const struct node *n, const char *path, uint64_t dflt)
{
    const char *v = node_get(n, path);
    uint64_t u;

    return v != NULL && str_to_u64(v, 0, &u) == 0 ? u : dflt;
}

int node_set(struct node *n, const char *path, const char *value)
{
    char part[64];

    for (;;) {
        const char *rest = path_part(path, part);

        if (part[0] == '@') {
            /* Names of attributes outlive the node: the schema's, else the caller's literal. */
            return node_set_attr(n, path + 1, value);
        }
        if (value == NULL && node_child(n, part) == NULL) {
            return 0;
        }
        if (rest == NULL && value == NULL) {
            node_remove(n, part);
            return 0;
        }
        {
            struct node *c = node_child(n, part);

            if (c == NULL) {
                const struct elem_ref *ref =
                    n->elem != NULL ? elem_child(n->elem, part, NULL) : NULL;

                if (ref != NULL) {
                    c = node_add(n, ref->name);
                } else {
                    c = node_new(NULL, NULL);
                    if (c != NULL) {
                        c->own_name = strdup(part);
                        c->name = c->own_name != NULL ? c->own_name : "";
                        node_insert(n, c);
                    }
                }
            }
            n = c;
        }
        if (n == NULL) {
            return -ENOMEM;
        }
        if (rest == NULL) {
            return node_set_text(n, value);
        }
        path = rest;
    }
}

int node_setf(struct node *n, const char *path, const char *fmt, ...)
{
    AUTO_FREE char *v = NULL;
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = vasprintf(&v, fmt, ap);
    va_end(ap);
    if (r < 0) {
        v = NULL;
        return -ENOMEM;
    }
    return node_set(n, path, v);
}

void xml_escape(struct strbuf *out, const char *s)
{
    for (;;) {
        size_t len = strcspn(s, "<>&'\"");

        strbuf_append(out, s, len);
        s += len;
        switch (*s++) {
        case '\0':
            return;
        case '<':
            strbuf_puts(out, "&lt;");
            break;
        case '>':
            strbuf_puts(out, "&gt;");
            break;
        case '&':
            strbuf_puts(out, "&amp;");
            break;
        case '\'':
            strbuf_puts(out, "&apos;");
            break;
        default:
            strbuf_puts(out, "&quot;");
            break;
        }
    }
}

/* Quotes stay in text, and in double quotes an apostrophe does. */
static void escape_foreign(struct strbuf *out, const char *s)
{
    for (;;) {
        size_t len = strcspn(s, "<>&\"");

        strbuf_append(out, s, len);
        s += len;
        switch (*s++) {
        case '\0':
            return;
        case '<':
            strbuf_puts(out, "&lt;");
            break;
        case '>':
            strbuf_puts(out, "&gt;");
            break;
        case '&':
            strbuf_puts(out, "&amp;");
            break;
        default:
            strbuf_puts(out, "&quot;");
            break;
        }
    }
}

static void put_indent(struct strbuf *out, unsigned n)
{
    static const char blanks[] = "                                        ";

    while (n > 0) {
        unsigned k = n < sizeof(blanks) - 1 ? n : (unsigned)sizeof(blanks) - 1;

        strbuf_append(out, blanks, k);
        n -= k;
    }
}

void node_format(const struct node *n, struct strbuf *out, unsigned indent)
{
    if (n->raw) {
        put_indent(out, indent);
        strbuf_puts(out, n->text);
        strbuf_puts(out, "\n");
        return;
    }
    put_indent(out, indent);
    strbuf_puts(out, "<");
    strbuf_puts(out, n->name);
    for (unsigned i = 0; i < n->n_attrs; i++) {
        strbuf_puts(out, " ");
        strbuf_puts(out, n->attrs[i].name);
        strbuf_puts(out, n->foreign ? "=\"" : "='");
        (n->foreign ? escape_foreign : xml_escape)(out, n->attrs[i].value);
        strbuf_puts(out, n->foreign ? "\"" : "'");
    }
    if (n->text == NULL && n->first == NULL) {
        strbuf_puts(out, "/>\n");
        return;
    }
    strbuf_puts(out, ">");
    if (n->text != NULL) {
        (n->foreign ? escape_foreign : xml_escape)(out, n->text);
    }
    if (n->first != NULL) {
        strbuf_puts(out, "\n");
        for (const struct node *c = n->first; c != NULL; c = c->next) {
            node_format(c, out, indent + 2);
        }
        put_indent(out, indent);
    }
    strbuf_puts(out, "</");
    strbuf_puts(out, n->name);
    strbuf_puts(out, ">\n");
}

char *node_to_xml(const struct node *n)
{
    struct strbuf b = STRBUF_INIT(XML_MAX);

    node_format(n, &b, 0);
    return strbuf_take(&b);
}
