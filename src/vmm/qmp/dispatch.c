/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dispatch.c - from a command's name and arguments to its handler. */
#include "vmm/qmp/command.h"

#include "base/str.h"

#include <errno.h>

static const char *const kind_names[] = {
    [QMP_STR] = "string", [QMP_INT] = "integer", [QMP_BOOL] = "boolean", [QMP_ANY] = "any"
};

static bool kind_matches(enum qmp_kind kind, struct json_object *v)
{
    switch (kind) {
    case QMP_STR:
        return json_object_is_type(v, json_type_string);
    case QMP_INT:
        return json_object_is_type(v, json_type_int);
    case QMP_BOOL:
        return json_object_is_type(v, json_type_boolean);
    default:
        return true;
    }
}

static int check_args(const struct qmp_command *cmd, struct json_object *args, struct err **err)
{
    for (const struct qmp_arg *a = cmd->args; a->name != NULL; a++) {
        struct json_object *v = json_member(args, a->name);

        if (v == NULL && !a->optional) {
            return err_set(err, EINVAL, "Parameter '%s' is missing", a->name);
        }
        if (v != NULL && !kind_matches(a->kind, v)) {
            return err_set(err, EINVAL, "Invalid parameter type for '%s', expected: %s", a->name,
                           kind_names[a->kind]);
        }
    }
    json_object_object_foreach(args, key, value)
    {
        const struct qmp_arg *a = cmd->args;

        (void)value;
        while (a->name != NULL && !str_eq(a->name, key)) {
            a++;
        }
        if (a->name == NULL && !cmd->open) {
            return err_set(err, EINVAL, "Parameter '%s' is unexpected", key);
        }
    }
    return 0;
}

const struct qmp_command *qmp_command_find(const char *name)
{
    for (const struct qmp_command *c = qmp_commands; c->name != NULL; c++) {
        if (str_eq(c->name, name)) {
            return c;
        }
    }
    return NULL;
}

int qmp_dispatch(struct machine *m, const char *name, struct json_object *args,
                 struct json_object **ret, const char **ret_class, struct err **err)
{
    const struct qmp_command *cmd = qmp_command_find(name);
    AUTO_JSON struct json_object *none = NULL;
    int r;

    *ret_class = "GenericError";
    if (cmd == NULL) {
        *ret_class = "CommandNotFound";
        return err_set(err, ENOENT, "The command %s has not been found", name);
    }
    if (args == NULL) {
        args = none = json_object_new_object();
        if (args == NULL) {
            return err_set(err, ENOMEM, "no memory");
        }
    }
    if (!json_object_is_type(args, json_type_object)) {
        return err_set(err, EINVAL, "QMP input member 'arguments' must be an object");
    }
    r = check_args(cmd, args, err);
    if (r == 0) {
        r = cmd->fn(m, args, ret, err);
        if (r == -ENODEV) {
            *ret_class = "DeviceNotFound";
        }
    }
    return r;
}
