/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metadata.h - other programs' elements in a definition, each told apart by its namespace.
 */
#pragma once

#include "mgmt/model/node.h"

/* The element without its namespace prefix, as a document of its own; owned by the caller. */
char *metadata_to_xml(const struct node *e, const char *uri);
/* Adds the document to def's <metadata>, as prefix:NAME in the namespace uri. */
int metadata_add(struct node *def, const char *xml, const char *prefix, const char *uri,
                 struct err **err) MUST_CHECK;
