/* SPDX-License-Identifier: GPL-2.0-or-later */
/* document.h - reading the daemon's XML: elements by path, relative to another one. */
#pragma once

#include "base/own.h"

#include <libxml/parser.h>
#include <stdbool.h>

/* NULL after an error was said. */
xmlDoc *document_read(const char *xml);
static inline xmlDoc *document_free(xmlDoc *d)
{
    xmlFreeDoc(d);
    return NULL;
}
DEFINE_CLEANUP(xmlDoc, document_free)
#define AUTO_DOC CLEANUP(document_freep)

/* The next element of that name, the first for after NULL. */
xmlNode *element_next(xmlNode *parent, xmlNode *after, const char *name);
/* By "a/b/c"; NULL. */
xmlNode *element_at(xmlNode *from, const char *path);
/* "a/b/@attr" or "a/b" (its text): owned, NULL when absent. */
char *element_get(xmlNode *from, const char *path);
char *element_attr(xmlNode *e, const char *attr);
/* The element as text, owned. */
char *element_text(xmlNode *e);
