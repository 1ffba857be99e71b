/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot.h - snapshots and checkpoints of a domain: a tree by name, kept as XML files.
 */
#pragma once

#include "mgmt/object/domain.h"

struct snapshot {
    struct list link;
    struct domain *domain; /* borrowed */
    char *name;            /* owned */
    char *parent;          /* owned; NULL: a root */
    struct node *def;      /* owned; without name-dependent parts missing */
};

struct snapshot *snapshot_find(struct list *list, const char *name);
/* Takes def; its parent is the element "parent/name". */
int snapshot_add(struct domain *d, struct list *list, struct node *def, struct snapshot **ret);
void snapshot_remove(struct snapshot *s);
void snapshot_forget_all(struct domain *d);

/* Its file, in LIB/snapshot/DOMAIN/ or LIB/checkpoint/DOMAIN/. */
int snapshot_save(struct snapshot *s, bool checkpoint, bool current, struct err **err) MUST_CHECK;
void snapshot_unlink(struct snapshot *s, bool checkpoint);
void snapshot_load_all(struct domain *d);
bool snapshot_is_below(struct list *list, const struct snapshot *s, const char *ancestor);
unsigned snapshot_children(struct list *list, const char *name, bool descendants);
