/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * probe.h - what an emulator can do: asked once over QMP, kept in the cache folder by the binary's
 * size and time.
 */
#pragma once

#include "base/err.h"
#include "codec/json.h"

#include <stdbool.h>

struct world;

struct emulator {
    char *path;            /* owned */
    char *arch;            /* owned; "x86_64" */
    unsigned long version; /* 7002022 */
    struct json_object
        *facts; /* owned: "machines", "cpus", "commands", "types" as QMP lists them */
    long long mtime, size;
};

/* Borrowed from the cache; NULL with an error when the binary cannot be used. On a worker. */
const struct emulator *emulator_get(struct world *w, const char *path, struct err **err);
/* Only what is in memory or in the cache folder; NULL without an error otherwise. Any thread. */
const struct emulator *emulator_cached(struct world *w, const char *path);
void emulators_done(void);

/* The versioned name of a machine, borrowed; NULL: no such machine. */
const char *emulator_machine(const struct emulator *e, const char *name);
const char *emulator_default_machine(const struct emulator *e);
bool emulator_has_type(const struct emulator *e, const char *qom_type);
bool emulator_has_command(const struct emulator *e, const char *command);
bool emulator_kvm_usable(void);
