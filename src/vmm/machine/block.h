/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block.h - a machine's images: found by the names that people use, and exchanged. Main loop. */
#pragma once

#include "base/err.h"

#include <stdbool.h>

struct block_node;
struct device;
struct disk;
struct keyval;
struct machine;

/* By node name, drive id, device id or QOM path; NULL and an error when there is none. */
struct block_node *machine_node(struct machine *m, const char *name, struct err **err);
/* The device with a disk, by id, QOM path, or the drive's id; NULL: none. */
struct device *machine_disk_device(struct machine *m, const char *name);
struct disk *device_disk(struct device *dev);
/* Devices and drives that use from use to; from is drained. */
int machine_replace_node(struct machine *m, struct block_node *from, struct block_node *to,
                         struct err **err) MUST_CHECK;
/* Opens and names a node ("node-name" in opts, else one is made). *ret is borrowed. */
int machine_open_node(struct machine *m, struct keyval *opts, struct block_node **ret,
                      struct err **err) MUST_CHECK;
/* An image of a driver over a file, by name. */
int machine_open_image(struct machine *m, const char *filename, const char *format,
                       const char *node_name, bool backing, struct block_node **ret,
                       struct err **err) MUST_CHECK;
/* A read-only image without a name: the caller's reference. */
int machine_open_medium(struct machine *m, const char *filename, const char *format,
                        struct block_node **ret, struct err **err) MUST_CHECK;
/* Takes the name away; the node goes when nobody uses it. */
void machine_forget_node(struct machine *m, struct block_node *node);
/* Is it used by a device? */
bool machine_node_in_use(struct machine *m, const struct block_node *node);
