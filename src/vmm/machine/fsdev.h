/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsdev.h - -fsdev: a folder of the host that a device (virtio-9p) shares with the guest. */
#pragma once

#include "base/err.h"

#include <stdbool.h>

struct keyval;
struct machine;

struct fsdev {
    char *path; /* owned */
    bool read_only;
};

/* opts: the driver under "fsdriver", "id", "path", "security_model", "readonly", ... */
int fsdev_add(struct machine *m, struct keyval *opts, struct err **err) MUST_CHECK;
/* Borrowed, for as long as the machine; NULL: there is none of this name. */
const struct fsdev *fsdev_find(struct machine *m, const char *id);
void fsdev_free_all(struct machine *m);
