/* SPDX-License-Identifier: GPL-2.0-or-later */
/* registry.c - the machines. */
#include "vmm/machine/class.h"

#include "base/str.h"

extern const struct machine_class microvm_class;

const struct machine_class *machine_class_find(const char *name)
{
    for (const struct machine_class *const *c = machine_classes; *c != NULL; c++) {
        if (str_eq((*c)->name, name)) {
            return *c;
        }
    }
    return NULL;
}

const struct machine_class *const machine_classes[] = {
    &microvm_class,
    NULL,
};
