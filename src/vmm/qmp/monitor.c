/* SPDX-License-Identifier: GPL-2.0-or-later */
/* monitor.c - QMP commands about the emulator itself (schema/monitor.json). */
#include "base/hash.h"
#include "base/str.h"
#include "vmm/char/chardev.h"
#include "vmm/cli/config.h"
#include "vmm/machine/class.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/command.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

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

static void add_machine(struct json_object *list, const struct machine_class *c, const char *name,
                        const char *alias, bool is_default)
{
    struct json_object *o = json_object_new_object();
    AUTO_FREE char *cpu = str_format("%s-x86_64-cpu", c->default_cpu);

    (void)json_add_str(o, "name", name);
    if (alias != NULL) {
        (void)json_add_str(o, "alias", alias);
    }
    if (is_default) {
        (void)json_add_bool(o, "is-default", true);
    }
    (void)json_add_i64(o, "cpu-max", c->max_cpus);
    (void)json_add_bool(o, "hotpluggable-cpus", false);
    (void)json_add_bool(o, "numa-mem-supported", false);
    (void)json_add_bool(o, "deprecated", false);
    (void)json_add_str(o, "default-cpu-type", cpu != NULL ? cpu : "");
    if (!c->no_cpus) {
        (void)json_add_str(o, "default-ram-id", "pc.ram");
    }
    (void)json_object_array_add(list, o);
}

int qmp_do_query_machines(struct machine *m, struct json_object *args, struct json_object **ret,
                          struct err **err)
{
    (void)m;
    (void)args;
    (void)err;
    *ret = json_object_new_array();
    for (const struct machine_class *const *c = machine_classes; *c != NULL; c++) {
        add_machine(*ret, *c, (*c)->name, (*c)->alias, c == machine_classes);
        for (const char *const *v = machine_versions; (*c)->prefix != NULL && *v != NULL; v++) {
            AUTO_FREE char *name = str_format("%s%s", (*c)->prefix, *v);

            if (name != NULL && !str_eq(name, (*c)->name)) {
                add_machine(*ret, *c, name, NULL, false);
            }
        }
    }
    return 0;
}

int qmp_do_query_qmp_schema(struct machine *m, struct json_object *args, struct json_object **ret,
                            struct err **err)
{
    (void)m;
    (void)args;
    return json_parse(qmp_schema, strlen(qmp_schema), ret, err);
}

int qmp_do_query_target(struct machine *m, struct json_object *args, struct json_object **ret,
                        struct err **err)
{
    (void)m;
    (void)args;
    (void)err;
    *ret = json_object_new_object();
    (void)json_add_str(*ret, "arch", "x86_64");
    return 0;
}

int qmp_do_query_command_line_options(struct machine *m, struct json_object *args,
                                      struct json_object **ret, struct err **err)
{
    (void)m;
    (void)args;
    (void)err;
    *ret = cli_describe_options();
    return 0;
}

static int name_fd(struct machine *m, const char *name, int fd)
{
    machine_close_fd(m, name);
    for (unsigned i = 0; i < MACHINE_MAX_FDS; i++) {
        if (m->fds[i].name == NULL) {
            m->fds[i].name = strdup(name);
            m->fds[i].fd = fd;
            return m->fds[i].name != NULL ? 0 : -ENOMEM;
        }
    }
    return -ENOSPC;
}

int qmp_do_getfd(struct machine *m, struct json_object *args, struct json_object **ret,
                 struct err **err)
{
    const char *name = NULL;
    int fd = m->received_fd;

    (void)ret;
    (void)!json_get_str(args, "fdname", &name, NULL);
    if (fd < 0) {
        return err_set(err, EINVAL, "No file descriptor supplied via SCM_RIGHTS");
    }
    if (*name >= '0' && *name <= '9') {
        return err_set(err, EINVAL, "Parameter 'fdname' expects a name not starting with a digit");
    }
    m->received_fd = -1;
    if (name_fd(m, name, fd) < 0) {
        (void)close(fd);
        return err_set(err, ENOSPC, "too many descriptors");
    }
    return 0;
}

int qmp_do_closefd(struct machine *m, struct json_object *args, struct json_object **ret,
                   struct err **err)
{
    const char *name = NULL;

    (void)ret;
    (void)!json_get_str(args, "fdname", &name, NULL);
    return machine_close_fd(m, name)
               ? 0
               : err_set(err, ENOENT, "File descriptor named '%s' not found", name);
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
