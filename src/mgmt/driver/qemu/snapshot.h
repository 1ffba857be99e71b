/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot.h - making, going back to and deleting snapshots of a qemu domain.
 *
 * An internal snapshot lives inside the qcow2 images that were on top when it was taken. An
 * external one froze these images (they are in its definition, "base" below) and put a new file,
 * its overlay, on top of each; the memory is in a file of its own. Going back to an external
 * snapshot puts another overlay on the base ("revertDisks" while the first one is still needed by
 * snapshots taken later), and deleting it merges the overlay into the base:
 *
 *      base  <-  overlay of S  <-  overlay of S's child ...
 *            <-  overlay made when going back to S
 */
#pragma once

#include "mgmt/object/snapshot.h"

enum {
    SNAPSHOT_REDEFINE = 1,
    SNAPSHOT_CURRENT = 2,
    SNAPSHOT_NO_METADATA = 4,
    SNAPSHOT_HALT = 8,
    SNAPSHOT_DISK_ONLY = 16,
    SNAPSHOT_REUSE_EXT = 32,
    SNAPSHOT_QUIESCE = 64,
    SNAPSHOT_ATOMIC = 128,
    SNAPSHOT_LIVE = 256,
    SNAPSHOT_VALIDATE = 512,
    REVERT_RUNNING = 1,
    REVERT_PAUSED = 2,
    REVERT_FORCE = 4,
    REVERT_RESET_NVRAM = 8,
};

bool snapshot_is_external(const struct node *def);
bool snapshot_memory_external(const struct node *def);
/* The base of a disk: its line in the definition kept with the snapshot. */
const struct node *snapshot_base(const struct node *def, const char *target);

/* Fills in a definition: name, state, what is done with each disk; checks it. */
int snapshot_plan(struct domain *d, struct node *def, unsigned flags, struct err **err) MUST_CHECK;
/* Does what the plan says. */
int snapshot_make(struct domain *d, const struct node *def, unsigned flags, struct err **err)
    MUST_CHECK;
int snapshot_revert(struct domain *d, struct snapshot *s, unsigned flags, struct err **err)
    MUST_CHECK;
/* The snapshot alone; its children move up. */
int snapshot_delete(struct domain *d, struct snapshot *s, bool metadata_only, struct err **err)
    MUST_CHECK;

/* The current snapshot changes, in memory and on disk; NULL: none. */
int snapshot_set_current(struct domain *d, struct snapshot *s, struct err **err) MUST_CHECK;
/* A file was committed into the one below: definitions that named it name that one. */
int snapshot_file_merged(struct domain *d, const char *file, const char *into, const char *format,
                         struct err **err);

/* "savevm", "delvm" of the running emulator. */
int snapshot_monitor(struct domain *d, const char *command, const char *name, struct err **err)
    MUST_CHECK;
/* The image program's "snapshot OPTION NAME" on each file that the plan has as internal. */
int snapshot_images(const struct node *def, const char *option, bool must, struct err **err);
/* A new image on the base; of the same size. */
int snapshot_overlay(const char *base, const char *base_format, const char *file,
                     const char *format, struct err **err) MUST_CHECK;
