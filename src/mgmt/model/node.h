/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * node.h - the tree that definitions are kept in: elements with attributes, text and children.
 *
 * A tree is always normal: made by schema_parse() from a peer's XML, or by our own code, it has
 * only what its schema knows, in the schema's order, so that formatting is a plain walk. Names are
 * borrowed from the schema or from literals; values are owned.
 *
 * Paths name what lies below a node: "source/@file", "driver/@name", "memory" (its text).
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct elem;

struct node_attr {
    const char *name; /* owned when the node is foreign */
    char *value;      /* owned */
};

struct node {
    const struct elem *elem; /* NULL: free content (metadata) */
    const char *name;
    char *own_name; /* owned; of free content */
    char *text;     /* owned; NULL: none */
    struct node_attr *attrs;
    struct node *first, *last, *next, *parent;
    uint16_t n_attrs;
    bool raw;     /* text is XML already */
    bool foreign; /* somebody else's element: written as libxml2 does, in double quotes */
};

struct node *node_new(const struct elem *e, const char *name);
struct node *node_free(struct node *n);
DEFINE_CLEANUP(struct node, node_free)
/* Without its parent and siblings. */
struct node *node_copy(const struct node *n);

/* The first child of that name, or NULL. The next one after "after". */
struct node *node_child(const struct node *n, const char *name);
struct node *node_next(const struct node *after, const char *name);
unsigned node_count(const struct node *n, const char *name);
/* The child, made (in schema order) when absent; NULL when there is no memory. */
struct node *node_need(struct node *n, const char *name);
/* Another child of that name, behind those that exist. */
struct node *node_add(struct node *n, const char *name);
/* Puts a whole subtree at its place among the children. */
void node_insert(struct node *n, struct node *child);
/* Takes it out of its parent. */
struct node *node_detach(struct node *n);
void node_remove(struct node *n, const char *name); /* every child of that name */

const char *node_attr(const struct node *n, const char *name);
/* NULL removes. Order is the schema's. */
int node_set_attr(struct node *n, const char *name, const char *value);
/* On a foreign node, whose attributes' names are owned. */
int node_set_foreign(struct node *n, const char *name, const char *value);
int node_set_text(struct node *n, const char *text);

/* By path; NULL when any part is absent. */
const char *node_get(const struct node *n, const char *path);
bool node_is(const struct node *n, const char *path, const char *value);
uint64_t node_get_u64(const struct node *n, const char *path, uint64_t dflt);
/* Makes the elements on the way. */
int node_set(struct node *n, const char *path, const char *value);
int node_setf(struct node *n, const char *path, const char *fmt, ...) PRINTF(3, 4);

/* XML as libvirt writes it: two blanks a level, single quotes. */
void node_format(const struct node *n, struct strbuf *out, unsigned indent);
char *node_to_xml(const struct node *n);
void xml_escape(struct strbuf *out, const char *s);
