/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/model/schema.h"

#include "rpc/fault.h"

#include <ctype.h>
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdio.h>

static const char qemu_namespace[] = "http://libvirt.org/schemas/domain/qemu/1.0";

const struct elem_ref *elem_child(const struct elem *e, const char *name, unsigned *ret_index)
{
    for (unsigned i = 0; i < e->n_children; i++) {
        if (str_eq(e->children[i].name, name)) {
            if (ret_index != NULL) {
                *ret_index = i;
            }
            return &e->children[i];
        }
    }
    return NULL;
}

int elem_attr(const struct elem *e, const char *name)
{
    for (unsigned i = 0; i < e->n_attrs; i++) {
        if (str_eq(e->attrs[i].name, name)) {
            return (int)i;
        }
    }
    return -1;
}

const struct elem *schema_device_elem(const char *name)
{
    const struct elem_ref *ref = elem_child(&schema_device, name, NULL);

    return ref != NULL ? ref->elem : NULL;
}

struct reading {
    int domain;
    bool live;
    unsigned depth;
    struct err **err;
};

static int bad_value(struct reading *rd, const char *attr, const char *elem, const char *value,
                     const char *expected)
{
    if (attr == NULL) {
        return err_set(rd->err, FAULT_CODE(rd->domain, XML_ERROR),
                       "Invalid value for element '%s': '%s'.%s", elem, value, expected);
    }
    return err_set(rd->err, FAULT_CODE(rd->domain, XML_ERROR),
                   "Invalid value for attribute '%s' in element '%s': '%s'.%s", attr, elem, value,
                   expected);
}

/* The value in the form in which it is kept; NULL with an error, owned by the caller. */
static char *value_check(struct reading *rd, const struct attr *a, const char *elem, const char *v,
                         bool decimal)
{
    static const char *const yesno[] = { "yes", "no", NULL };
    static const char *const onoff[] = { "on", "off", NULL };
    const char *const *list = a->values;
    char *end;
    unsigned long long u;

    switch (a->kind) {
    case VALUE_TEXT:
        return strdup(v);
    case VALUE_UINT:
    case VALUE_INT:
        while (isspace((unsigned char)*v)) {
            v++;
        }
        errno = 0;
        u = strtoull(v, &end, 0);
        while (isspace((unsigned char)*end)) {
            end++;
        }
        if (end == v || *end != '\0' || errno != 0 || (a->kind == VALUE_UINT && *v == '-')) {
            (void)bad_value(rd, a->name, elem, v, " Expected integer value");
            return NULL;
        }
        return a->kind == VALUE_INT ? str_format("%lld", (long long)u) : str_format("%llu", u);
    case VALUE_HEX:
        if (decimal) {
            return strdup(v);
        }
        errno = 0;
        u = strtoull(v, &end, 0);
        if (end == v || *end != '\0' || errno != 0 || u > UINT32_MAX) {
            (void)bad_value(rd, a->name, elem, v, " Expected integer value");
            return NULL;
        }
        return str_format("0x%0*llx", (int)a->width, u);
    case VALUE_YESNO:
        list = yesno;
        break;
    case VALUE_ONOFF:
        list = onoff;
        break;
    case VALUE_ENUM:
        break;
    }
    for (; *list != NULL; list++) {
        if (str_eq(*list, v)) {
            return strdup(v);
        }
    }
    (void)bad_value(rd, a->name, elem, v, "");
    return NULL;
}

static int read_attrs(struct reading *rd, xmlNode *xml, const struct elem *e, struct node *n)
{
    xmlChar *type = xmlHasProp(xml, (const xmlChar *)"type")
                        ? xmlGetNoNsProp(xml, (const xmlChar *)"type")
                        : NULL;
    bool decimal = type != NULL && !xmlStrEqual(type, (const xmlChar *)"pci") &&
                   !xmlStrEqual(type, (const xmlChar *)"ccw");

    xmlFree(type);
    for (unsigned i = 0; i < e->n_attrs; i++) {
        const struct attr *a = &e->attrs[i];
        xmlChar *v = NULL;
        AUTO_FREE char *kept = NULL;
        int r;

        if (str_eq(a->name, "xmlns:qemu")) {
            for (const xmlNs *ns = xml->nsDef; ns != NULL; ns = ns->next) {
                if (xmlStrEqual(ns->href, (const xmlChar *)qemu_namespace)) {
                    v = xmlStrdup(ns->href);
                }
            }
        } else {
            v = xmlGetNoNsProp(xml, (const xmlChar *)a->name);
        }
        if (v == NULL) {
            continue;
        }
        kept = value_check(rd, a, e->name, (const char *)v,
                           decimal && (a->kind == VALUE_HEX || str_eq(e->name, "address")));
        xmlFree(v);
        if (kept == NULL) {
            return rd->err != NULL && *rd->err != NULL ? -(*rd->err)->code : -ENOMEM;
        }
        r = node_set_attr(n, a->name, kept);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static char *full_name(const xmlNode *xml)
{
    return xml->ns != NULL && xml->ns->prefix != NULL
               ? str_format("%s:%s", (const char *)xml->ns->prefix, (const char *)xml->name)
               : strdup((const char *)xml->name);
}

/* Keeps an element that is not ours, with its namespaces. */
static struct node *read_foreign(xmlNode *xml, unsigned depth)
{
    struct node *n = depth < SCHEMA_DEPTH_MAX ? node_new(NULL, NULL) : NULL;
    bool elements = false;

    if (n == NULL) {
        return NULL;
    }
    n->foreign = true;
    n->own_name = full_name(xml);
    n->name = n->own_name != NULL ? n->own_name : "";
    for (xmlNode *c = xml->children; c != NULL; c = c->next) {
        elements |= c->type == XML_ELEMENT_NODE;
    }
    for (const xmlNs *ns = xml->nsDef; ns != NULL; ns = ns->next) {
        AUTO_FREE char *name =
            ns->prefix != NULL ? str_format("xmlns:%s", (const char *)ns->prefix) : strdup("xmlns");

        if (name == NULL || node_set_foreign(n, name, (const char *)ns->href) < 0) {
            return node_free(n);
        }
    }
    for (xmlAttr *a = xml->properties; a != NULL; a = a->next) {
        xmlChar *v = xmlNodeListGetString(xml->doc, a->children, 1);
        AUTO_FREE char *name =
            a->ns != NULL && a->ns->prefix != NULL
                ? str_format("%s:%s", (const char *)a->ns->prefix, (const char *)a->name)
                : strdup((const char *)a->name);
        int r =
            name != NULL ? node_set_foreign(n, name, v != NULL ? (const char *)v : "") : -ENOMEM;

        xmlFree(v);
        if (r < 0) {
            return node_free(n);
        }
    }
    if (!elements) {
        xmlChar *text = xmlNodeGetContent(xml);

        if (text != NULL && *text != '\0' && node_set_text(n, (const char *)text) < 0) {
            xmlFree(text);
            return node_free(n);
        }
        xmlFree(text);
        return n;
    }
    for (xmlNode *c = xml->children; c != NULL; c = c->next) {
        struct node *k;

        if (c->type != XML_ELEMENT_NODE) {
            continue;
        }
        k = read_foreign(c, depth + 1);
        if (k == NULL) {
            return node_free(n);
        }
        node_insert(n, k);
    }
    return n;
}

static int read_elem(struct reading *rd, xmlNode *xml, const struct elem *e, struct node **ret)
{
    CLEANUP(node_freep) struct node *n = node_new(e, e->name);
    unsigned count = 0;
    int r;

    if (n == NULL) {
        return -ENOMEM;
    }
    if (++rd->depth > SCHEMA_DEPTH_MAX) {
        return err_set(rd->err, FAULT_CODE(rd->domain, XML_ERROR),
                       "element '%s' is nested too deeply", e->name);
    }
    r = read_attrs(rd, xml, e, n);
    if (r < 0) {
        return r;
    }
    if (e->flags & ELEM_ANY) {
        for (xmlNode *c = xml->children; c != NULL; c = c->next) {
            if (c->type == XML_ELEMENT_NODE) {
                struct node *k = read_foreign(c, rd->depth);

                if (k == NULL) {
                    return -ENOMEM;
                }
                node_insert(n, k);
            }
        }
        rd->depth--;
        *ret = TAKE_PTR(n);
        return 0;
    }
    if (e->flags & ELEM_TEXT) {
        xmlChar *text = xmlNodeGetContent(xml);
        AUTO_FREE char *kept = NULL;

        if (text != NULL && *text != '\0') {
            kept = value_check(rd, &e->text, e->name, (const char *)text, false);
            if (kept == NULL) {
                xmlFree(text);
                return rd->err != NULL && *rd->err != NULL ? -(*rd->err)->code : -ENOMEM;
            }
            n->text = TAKE_PTR(kept);
        }
        xmlFree(text);
    }
    for (unsigned i = 0; i < e->n_children; i++) {
        const struct elem_ref *ref = &e->children[i];
        bool found = false;

        if ((ref->flags & ELEM_LIVE) && !rd->live) {
            continue;
        }
        for (xmlNode *c = xml->children; c != NULL; c = c->next) {
            struct node *k;

            if (c->type != XML_ELEMENT_NODE || (found && !(ref->flags & ELEM_MANY))) {
                continue;
            }
            if (c->ns != NULL && xmlStrEqual(c->ns->href, (const xmlChar *)qemu_namespace)) {
                if (!str_starts(ref->name, "qemu:") ||
                    !str_eq(ref->name + 5, (const char *)c->name)) {
                    continue;
                }
            } else if (!str_eq(ref->name, (const char *)c->name)) {
                continue;
            }
            if (++count > SCHEMA_CHILDREN_MAX) {
                return err_set(rd->err, FAULT_CODE(rd->domain, XML_ERROR),
                               "element '%s' has too many children", e->name);
            }
            found = true;
            r = read_elem(rd, c, ref->elem, &k);
            if (r < 0) {
                return r;
            }
            k->name = ref->name;
            k->parent = n;
            if (n->last != NULL) {
                n->last->next = k;
            } else {
                n->first = k;
            }
            n->last = k;
        }
    }
    rd->depth--;
    *ret = TAKE_PTR(n);
    return 0;
}

int schema_read(struct _xmlNode *xml, const struct elem *e, int domain, bool live,
                struct node **ret, struct err **err)
{
    struct reading rd = { .domain = domain, .live = live, .err = err };

    return read_elem(&rd, xml, e, ret);
}

static int parse_failed(xmlParserCtxt *ctxt, const char *root, struct err **err)
{
    const xmlError *e = xmlCtxtGetLastError(ctxt);
    AUTO_FREE char *line = NULL;
    const char *base, *start, *p;
    char dashes[81];
    size_t len;

    if (e == NULL || e->message == NULL || ctxt->input == NULL || ctxt->input->base == NULL) {
        return fault(err, DOM_XML, XML_ERROR, "failed to parse xml document '(%s_definition)'",
                     root);
    }
    /* The line where the parser stood, and a pointer to the place, as xmllint shows them. */
    base = (const char *)ctxt->input->base;
    p = (const char *)ctxt->input->cur;
    while (p > base && (*p == '\n' || *p == '\r' || *p == '\0')) {
        p--;
    }
    start = p;
    while (start > base && start[-1] != '\n' && start[-1] != '\r' && p - start < 80) {
        start--;
    }
    len = strcspn(start, "\n\r");
    line = strndup(start, len < 80 ? len : 80);
    len = (const char *)ctxt->input->cur > start ? (size_t)((const char *)ctxt->input->cur - start)
                                                 : 0;
    len = len > 80 ? 80 : len;
    if (line != NULL && len > strlen(line)) {
        len = strlen(line);
    }
    memset(dashes, '-', sizeof(dashes));
    dashes[len] = '\0';
    return fault(err, DOM_XML, XML_DETAIL, "(%s_definition):%d: %.*s\n%s\n%s^", root, e->line,
                 (int)strcspn(e->message, "\n"), e->message, line != NULL ? line : "", dashes);
}

int schema_parse(const char *xml, const struct elem *root, int domain, bool live, struct node **ret,
                 struct err **err)
{
    size_t len = strlen(xml);
    xmlParserCtxt *ctxt = len <= SCHEMA_XML_MAX ? xmlNewParserCtxt() : NULL;
    xmlDoc *doc = NULL;
    xmlNode *top;
    int r;

    if (ctxt == NULL) {
        return fault(err, DOM_XML, XML_ERROR, "the document has %zu bytes, more than %d", len,
                     SCHEMA_XML_MAX);
    }
    doc = xmlCtxtReadMemory(ctxt, xml, (int)len, NULL, NULL,
                            XML_PARSE_NONET | XML_PARSE_NOWARNING | XML_PARSE_NOERROR |
                                XML_PARSE_NOBLANKS);
    if (doc == NULL) {
        r = parse_failed(ctxt, root->name, err);
    } else if ((top = xmlDocGetRootElement(doc)) == NULL) {
        r = fault(err, DOM_XML, INTERNAL_ERROR, "missing root element");
    } else if (!str_eq((const char *)top->name, root->name)) {
        r = err_set(err, FAULT_CODE(domain, XML_ERROR),
                    "unexpected root element <%s>, expecting <%s>", (const char *)top->name,
                    root->name);
    } else {
        r = schema_read(top, root, domain, live, ret, err);
    }
    xmlFreeDoc(doc);
    xmlFreeParserCtxt(ctxt);
    return r;
}
