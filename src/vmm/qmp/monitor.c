/* SPDX-License-Identifier: GPL-2.0-or-later */
/* monitor.c - QMP commands about the emulator itself (schema/monitor.json). */
#include "base/hash.h"
#include "vmm/char/chardev.h"
#include "vmm/machine/class.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"

#include <errno.h>

/* In negotiation mode the server takes this command itself; afterwards it is an error. */
int qmp_do_qmp_capabilities(struct machine *m, struct json_object *args, struct json_object **ret,
                            struct err **err)
{
    (void)m;
    (void)args;
    (void)ret;
    return err_set(err, EINVAL, "Capabilities negotiation is already complete, command ignored");
}

struct json_object *qmp_version(void)
{
    struct json_object *v = json_object_new_object();
    struct json_object *qemu = json_object_new_object();

    /* The version whose commands these are, as clients compare it. */
    (void)json_add_i64(qemu, "micro", 22);
    (void)json_add_i64(qemu, "minor", 2);
    (void)json_add_i64(qemu, "major", 7);
    (void)json_add(v, "qemu", qemu);
    (void)json_add_str(v, "package", "Vireo " VIREO_VERSION);
    return v;
}

int qmp_do_query_version(struct machine *m, struct json_object *args, struct json_object **ret,
                         struct err **err)
{
    (void)m;
    (void)args;
    (void)err;
    *ret = qmp_version();
    return 0;
}

int qmp_do_query_commands(struct machine *m, struct json_object *args, struct json_object **ret,
                          struct err **err)
{
    (void)m;
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    for (const struct qmp_command *c = qmp_commands; c->name != NULL; c++) {
        struct json_object *o = json_object_new_object();

        (void)json_add_str(o, "name", c->name);
        (void)json_object_array_add(*ret, o);
    }
    return 0;
}

int qmp_do_query_machines(struct machine *m, struct json_object *args, struct json_object **ret,
                          struct err **err)
{
    (void)m;
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    for (const struct machine_class *const *c = machine_classes; *c != NULL; c++) {
        struct json_object *o = json_object_new_object();

        (void)json_add_str(o, "name", (*c)->name);
        (void)json_add_i64(o, "cpu-max", (*c)->max_cpus);
        (void)json_add_bool(o, "hotpluggable-cpus", false);
        (void)json_add_bool(o, "numa-mem-supported", false);
        (void)json_add_bool(o, "deprecated", false);
        if (c == machine_classes) {
            (void)json_add_bool(o, "is-default", true);
        }
        (void)json_object_array_add(*ret, o);
    }
    return 0;
}

static int add_chardev(const char *key, void *value, void *arg)
{
    const struct chardev *chr = value;
    struct json_object *o = json_object_new_object();

    (void)json_add_str(o, "label", key);
    (void)json_add_str(o, "filename", chr->filename != NULL ? chr->filename : chr->cls->name);
    (void)json_add_bool(o, "frontend-open", chr->n_frontends > 0);
    (void)json_object_array_add(arg, o);
    return 0;
}

int qmp_do_query_chardev(struct machine *m, struct json_object *args, struct json_object **ret,
                         struct err **err)
{
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    (void)hash_each(m->chardevs, add_chardev, *ret);
    return 0;
}
