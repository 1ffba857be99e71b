/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/model/metadata.h"

#include "mgmt/model/schema.h"
#include "rpc/fault.h"

#include <errno.h>

static int strip(struct node *n, const char *prefix)
{
    size_t len = strlen(prefix);

    if (strncmp(n->name, prefix, len) == 0 && n->name[len] == ':') {
        char *bare = strdup(n->name + len + 1);

        if (bare == NULL) {
            return -ENOMEM;
        }
        free(n->own_name);
        n->own_name = bare;
        n->name = bare;
    }
    for (struct node *c = n->first; c != NULL; c = c->next) {
        if (strip(c, prefix) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static int put_on(struct node *n, const char *prefix)
{
    if (strchr(n->name, ':') == NULL) {
        char *full = str_format("%s:%s", prefix, n->name);

        if (full == NULL) {
            return -ENOMEM;
        }
        free(n->own_name);
        n->own_name = full;
        n->name = full;
    }
    for (struct node *c = n->first; c != NULL; c = c->next) {
        if (put_on(c, prefix) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* Takes the declaration of uri away; its prefix into buf. */
static void undeclare(struct node *n, const char *uri, char *buf, size_t room)
{
    buf[0] = '\0';
    for (unsigned i = 0; i < n->n_attrs; i++) {
        if (str_starts(n->attrs[i].name, "xmlns:") && str_eq(n->attrs[i].value, uri)) {
            const char *p = n->attrs[i].name + 6;

            if (strlen(p) < room) {
                memcpy(buf, p, strlen(p) + 1);
            }
            free((void *)(uintptr_t)n->attrs[i].name);
            free(n->attrs[i].value);
            memmove(&n->attrs[i], &n->attrs[i + 1], (n->n_attrs - i - 1) * sizeof(n->attrs[0]));
            n->n_attrs--;
            return;
        }
    }
}

char *metadata_to_xml(const struct node *e, const char *uri)
{
    CLEANUP(node_freep) struct node *copy = node_copy(e);
    char prefix[128];
    char *xml;
    size_t len;

    if (copy == NULL) {
        return NULL;
    }
    undeclare(copy, uri, prefix, sizeof(prefix));
    if (prefix[0] != '\0' && strip(copy, prefix) < 0) {
        return NULL;
    }
    xml = node_to_xml(copy);
    len = xml != NULL ? strlen(xml) : 0;
    if (len > 0 && xml[len - 1] == '\n') {
        xml[len - 1] = '\0';
    }
    return xml;
}

int metadata_add(struct node *def, const char *xml, const char *prefix, const char *uri,
                 struct err **err)
{
    CLEANUP(node_freep) struct node *doc = NULL;
    AUTO_FREE char *wrapped = NULL;
    AUTO_FREE char *name = NULL;
    struct node *m, *e;
    int r;

    if (prefix == NULL || uri == NULL) {
        return fault(err, DOM_DOMAIN, INVALID_ARG, "metadata key and uri must be given");
    }
    /* Read by the schema of a domain, whose metadata takes any content. */
    while (*xml == ' ' || *xml == '\n' || *xml == '\t') {
        xml++;
    }
    if (str_starts(xml, "<?xml") && strstr(xml, "?>") != NULL) {
        xml = strstr(xml, "?>") + 2;
    }
    wrapped = str_format("<domain><metadata>%s</metadata></domain>", xml);
    if (wrapped == NULL) {
        return -ENOMEM;
    }
    r = schema_parse(wrapped, &schema_domain, DOM_DOMAIN, false, &doc, err);
    if (r < 0) {
        return r;
    }
    e = node_child(doc, "metadata")->first;
    if (e == NULL || e->next != NULL) {
        return fault(err, DOM_XML, XML_ERROR, "metadata must be one element");
    }
    node_detach(e);
    name = str_format("xmlns:%s", prefix);
    if (name == NULL || put_on(e, prefix) < 0 || node_set_foreign(e, name, uri) < 0) {
        node_free(e);
        return -ENOMEM;
    }
    m = node_need(def, "metadata");
    if (m == NULL) {
        node_free(e);
        return -ENOMEM;
    }
    node_insert(m, e);
    return 0;
}
