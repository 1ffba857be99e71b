/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * schema.h - which elements and attributes a document has, in the order in which they are written.
 *
 * The tables are generated from *.schema (see gen-schema.py for the notation). Reading a document
 * by them drops what they do not name, as libvirt does, and refuses values of the wrong kind.
 */
#pragma once

#include "mgmt/model/node.h"

struct _xmlNode;

enum value_kind {
    VALUE_TEXT,
    VALUE_UINT,
    VALUE_INT,
    VALUE_HEX, /* number, written as given */
    VALUE_YESNO,
    VALUE_ONOFF,
    VALUE_ENUM,
};

struct attr {
    const char *name;
    const char *const *values; /* VALUE_ENUM; ends with NULL */
    enum value_kind kind;
    unsigned width; /* VALUE_HEX: digits it is written with; 0: as given */
};

enum elem_flags {
    ELEM_MANY = 1 << 0,  /* may occur again */
    ELEM_TEXT = 1 << 1,  /* has text */
    ELEM_ANY = 1 << 2,   /* content is kept as it is */
    ELEM_EMPTY = 1 << 3, /* kept although nothing is in it */
    ELEM_LIVE = 1 << 4,  /* only of running objects; dropped when read */
};

struct elem_ref {
    const char *name;
    const struct elem *elem;
    unsigned flags;
    unsigned group; /* children of one group keep their common order */
};

struct elem {
    const char *name;
    const struct attr *attrs;
    unsigned n_attrs;
    const struct elem_ref *children;
    unsigned n_children;
    unsigned flags;
    struct attr text; /* kind of the text */
};

enum { SCHEMA_XML_MAX = 10 << 20, SCHEMA_DEPTH_MAX = 100, SCHEMA_CHILDREN_MAX = 65536 };

/* live: keep what only running objects have (our own state files). domain: enum fault_domain. */
int schema_parse(const char *xml, const struct elem *root, int domain, bool live, struct node **ret,
                 struct err **err) MUST_CHECK;
/* The part of a document that is already in libxml2's form. */
int schema_read(struct _xmlNode *xml, const struct elem *e, int domain, bool live,
                struct node **ret, struct err **err) MUST_CHECK;

const struct elem_ref *elem_child(const struct elem *e, const char *name, unsigned *ret_index);
/* Position of an attribute, or -1. */
int elem_attr(const struct elem *e, const char *name);

extern const struct elem schema_domain;
extern const struct elem schema_domainsnapshot;
extern const struct elem schema_domaincheckpoint;
extern const struct elem schema_domainbackup;
extern const struct elem schema_network;
extern const struct elem schema_pool;
extern const struct elem schema_volume;
extern const struct elem schema_secret;
extern const struct elem schema_filter;
extern const struct elem schema_filterbinding;
extern const struct elem schema_interface;
extern const struct elem schema_cpu;
extern const struct elem schema_device;
extern const struct elem schema_source;
extern const struct elem schema_domstatus;
/* One device of a domain, by its name ("disk"); NULL when there is none. */
const struct elem *schema_device_elem(const char *name);
