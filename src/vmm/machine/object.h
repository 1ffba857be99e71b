/* SPDX-License-Identifier: GPL-2.0-or-later */
/* object.h - -object: things that devices and back ends name; most are what their options say. */
#pragma once

#include "base/err.h"

struct keyval;
struct machine;

struct object_class {
    const char *name;
    const char *const *props; /* ends with NULL */
};

struct object {
    const struct object_class *cls;
    char *id;            /* owned */
    struct keyval *opts; /* owned */
};

extern const struct object_class *const object_classes[]; /* ends with NULL */
const struct object_class *object_class_find(const char *name);
/* opts: "qom-type", "id" and the class's; copied. */
int object_add(struct machine *m, struct keyval *opts, struct err **err) MUST_CHECK;
int object_del(struct machine *m, const char *id, struct err **err) MUST_CHECK;
struct object *object_find(struct machine *m, const char *id);
void object_free_all(struct machine *m);
