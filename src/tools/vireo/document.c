/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/vireo/document.h"

#include "tools/vireo/shell.h"

xmlDoc *document_read(const char *xml)
{
    xmlDoc *d = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL,
                              XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);

    if (d == NULL || xmlDocGetRootElement(d) == NULL) {
        (void)error("Failed to parse the XML document");
        xmlFreeDoc(d);
        return NULL;
    }
    return d;
}

xmlNode *element_next(xmlNode *parent, xmlNode *after, const char *name)
{
    xmlNode *n = after != NULL ? after->next : parent != NULL ? parent->children : NULL;

    while (n != NULL && (n->type != XML_ELEMENT_NODE || !str_eq((const char *)n->name, name))) {
        n = n->next;
    }
    return n;
}

xmlNode *element_at(xmlNode *from, const char *path)
{
    while (from != NULL && *path != '\0') {
        size_t len = strcspn(path, "/");
        AUTO_FREE char *name = strndup(path, len);

        from = name != NULL ? element_next(from, NULL, name) : NULL;
        path += len + (path[len] == '/' ? 1 : 0);
    }
    return from;
}

char *element_attr(xmlNode *e, const char *attr)
{
    xmlChar *v = e != NULL ? xmlGetProp(e, (const xmlChar *)attr) : NULL;
    char *copy = v != NULL ? strdup((const char *)v) : NULL;

    xmlFree(v);
    return copy;
}

char *element_get(xmlNode *from, const char *path)
{
    const char *at = strchr(path, '@');
    AUTO_FREE char *way = strndup(path, at != NULL && at > path ? (size_t)(at - path - 1)
                                        : at != NULL            ? 0
                                                                : strlen(path));
    xmlNode *e = way != NULL ? element_at(from, way) : NULL;
    xmlChar *v;
    char *copy;

    if (e == NULL || at != NULL) {
        return element_attr(e, at != NULL ? at + 1 : "");
    }
    v = xmlNodeGetContent(e);
    copy = v != NULL ? strdup((const char *)v) : NULL;
    xmlFree(v);
    return copy;
}

char *element_text(xmlNode *e)
{
    xmlBuffer *b = xmlBufferCreate();
    char *copy = NULL;

    if (b != NULL && xmlNodeDump(b, e->doc, e, 0, 0) >= 0) {
        copy = strdup((const char *)xmlBufferContent(b));
    }
    xmlBufferFree(b);
    return copy;
}
