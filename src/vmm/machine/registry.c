/* SPDX-License-Identifier: GPL-2.0-or-later */
/* registry.c - the machines. */
#include "vmm/machine/class.h"

#include "base/str.h"

extern const struct machine_class pc_class;
extern const struct machine_class q35_class;
extern const struct machine_class microvm_class;
extern const struct machine_class none_class;

static bool is_version(const struct machine_class *c, const char *name)
{
    if (c->prefix == NULL || !str_starts(name, c->prefix)) {
        return false;
    }
    for (const char *const *v = machine_versions; *v != NULL; v++) {
        if (str_eq(name + strlen(c->prefix), *v)) {
            return true;
        }
    }
    return false;
}

const struct machine_class *machine_class_find(const char *name)
{
    for (const struct machine_class *const *c = machine_classes; *c != NULL; c++) {
        if (str_eq((*c)->name, name) || ((*c)->alias != NULL && str_eq((*c)->alias, name)) ||
            is_version(*c, name)) {
            return *c;
        }
    }
    return NULL;
}

const char *const machine_versions[] = { "7.2",  "7.1",  "7.0",  "6.2", "6.1", "6.0", "5.2",
                                         "5.1",  "5.0",  "4.2",  "4.1", "4.0", "3.1", "3.0",
                                         "2.12", "2.11", "2.10", "2.9", NULL };

const struct machine_class *const machine_classes[] = {
    &pc_class, &q35_class, &microvm_class, &none_class, NULL,
};
