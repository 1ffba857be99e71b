/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * files.h - definitions on disk: one XML file each, written in one step.
 */
#pragma once

#include "mgmt/model/schema.h"

struct world;

/* Makes the folder when it is missing. Without the daemon's lock while it writes. */
int files_write_node(const char *path, const struct node *n, struct err **err) MUST_CHECK;
int files_write(const char *path, const char *text, struct err **err) MUST_CHECK;
int files_read_node(const char *path, const struct elem *root, bool live, struct node **ret,
                    struct err **err) MUST_CHECK;
/* A symbolic link that is there or not. */
int files_link(const char *target, const char *path, bool on, struct err **err) MUST_CHECK;
/* Calls fn for each file with that ending; logs what fails, and goes on. */
int files_each(const char *dir, const char *suffix,
               int (*fn)(struct world *w, const char *path, struct err **err), struct world *w);
