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
/* Gives it another definition of the same name, at its place in the list. Takes def. */
int snapshot_redefine(struct snapshot *s, struct node *def);
int snapshot_set_parent(struct snapshot *s, const char *parent);
void snapshot_forget_all(struct domain *d);

/* Its file, in LIB/snapshot/DOMAIN/ or LIB/checkpoint/DOMAIN/. */
int snapshot_save(struct snapshot *s, bool checkpoint, bool current, struct err **err) MUST_CHECK;
void snapshot_unlink(struct snapshot *s, bool checkpoint);
void snapshot_load_all(struct domain *d);
bool snapshot_is_below(struct list *list, const struct snapshot *s, const char *ancestor);
unsigned snapshot_children(struct list *list, const char *name, bool descendants);
/* A parent that exists and is not below the snapshot itself. */
int snapshot_check_parent(const struct domain *d, struct list *list, const struct node *def,
                          bool checkpoint, struct err **err) MUST_CHECK;

enum { MOMENTS_ROOTS = 1, MOMENTS_DESCENDANTS = 1, MOMENTS_LEAVES = 4, MOMENTS_NO_LEAVES = 8 };

/* Those of the list that the flags ask for: all (below NULL), or the children of one; filter may be
 * NULL. The array lives in the arena. */
int snapshot_collect(struct list *list, const char *below, unsigned flags,
                     bool (*filter)(const struct snapshot *s, unsigned flags), struct arena *a,
                     struct snapshot ***ret, uint32_t *ret_n);
