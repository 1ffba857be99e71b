/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chain.h - a disk's chain of images in a definition: the disk on top, its backingStore elements
 * below. While the domain runs each layer has an index, and the emulator knows it as the block
 * nodes libvirt-INDEX-format and libvirt-INDEX-storage.
 */
#pragma once

#include "mgmt/driver/qemu/run.h"

/* The layer with that index; by "vda[2]" or the path of its file. NULL: none. */
struct node *chain_layer(struct node *disk, unsigned index);
struct node *chain_find(struct node *disk, const char *name);
/* Both take a disk or a backingStore. */
unsigned chain_index(const struct node *layer);
const char *chain_format(const struct node *layer);
/* The layer below, NULL at the end. */
struct node *chain_below(const struct node *layer);

/* A new image on top: the old source becomes the backing store. */
int chain_push(struct node *disk, const char *file, const char *format);
/* The disk becomes the layer below it. */
int chain_pop(struct node *disk);
/* Source and format of a disk that is not running; without a chain. */
int chain_set_file(struct node *disk, const char *file, const char *format);
/* The next start's definition gets the file that the running disk has now. */
int chain_follow(struct domain *d, const char *target, struct err **err);

/* The emulator forgets the block nodes of a layer. */
void chain_drop_nodes(struct run *r, unsigned index);
