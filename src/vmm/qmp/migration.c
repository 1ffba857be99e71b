/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migration.c - QMP commands about moving a machine's state (schema/migration.json). */
#include "base/str.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"

#include <errno.h>

/* "events" is true: state changes are told. */
int qmp_do_query_migrate_capabilities(struct machine *m, struct json_object *args,
                                      struct json_object **ret, struct err **err)
{
    struct json_object *o = json_object_new_object();

    (void)m;
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    (void)json_add_str(o, "capability", "events");
    (void)json_add_bool(o, "state", true);
    (void)json_object_array_add(*ret, o);
    return 0;
}

int qmp_do_migrate_set_capabilities(struct machine *m, struct json_object *args,
                                    struct json_object **ret, struct err **err)
{
    struct json_object *list = json_member(args, "capabilities");

    (void)m;
    (void)ret;
    if (!json_object_is_type(list, json_type_array)) {
        return err_set(err, EINVAL, "Invalid parameter type for 'capabilities', expected: array");
    }
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *o = json_object_array_get_idx(list, i);
        const char *name = NULL;
        bool state = false;

        if (json_get_str(o, "capability", &name, err) < 0 ||
            json_get_bool(o, "state", &state, err) < 0) {
            return -EINVAL;
        }
        if (state && !str_eq(name, "events")) {
            return err_set(err, ENOTSUP, "Capability '%s' is not supported", name);
        }
    }
    return 0;
}

int qmp_do_query_migrate(struct machine *m, struct json_object *args, struct json_object **ret,
                         struct err **err)
{
    (void)m;
    (void)args;
    (void)err;
    *ret = json_object_new_object();
    return 0;
}
