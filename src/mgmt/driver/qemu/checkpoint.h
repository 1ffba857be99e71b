/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * checkpoint.h - checkpoints: each is a dirty bitmap of its name in every disk's image, all of them
 * recording, so that deleting one needs no other.
 */
#pragma once

#include "codec/json.h"
#include "mgmt/object/snapshot.h"

/* The newest leaf, which the next one stands on; NULL. */
struct snapshot *checkpoint_current(struct domain *d);
/* Fills in a definition: name, time, which disks; checks it. */
int checkpoint_plan(struct domain *d, struct node *def, struct err **err) MUST_CHECK;
/* Adds to a transaction what makes the bitmaps. */
void checkpoint_actions(struct domain *d, const struct node *def, struct json_object *actions);
/* It was made: into the tree and onto the disk. Takes def. */
int checkpoint_keep(struct domain *d, struct node *def, struct snapshot **ret, struct err **err)
    MUST_CHECK;

/* The emulator's answer about its block nodes; counted. */
int bitmaps_query(struct domain *d, struct json_object **ret, struct err **err) MUST_CHECK;
/* A bitmap of a layer ("libvirt-N-format") in that answer; borrowed, NULL. */
struct json_object *bitmaps_find(struct json_object *nodes, unsigned layer, const char *name);
/* For transactions: an action on a bitmap of a layer. */
struct json_object *bitmap_action(const char *action, unsigned layer, const char *name,
                                  struct json_object **ret_data);
